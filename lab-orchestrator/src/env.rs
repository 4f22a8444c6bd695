//! `raft-lab env`: what a shell needs to speak to a running lab, and to start its members by hand.
//!
//! `eval "$(raft-lab env)"` sets `$M1` and its like, as lines of the lab's own terminal know them,
//! `$ENDPOINTS`, and for each member a function of its name that starts it. `ETCDCTL_ENDPOINTS` is
//! only shown: where it is set etcdctl refuses `--endpoints`, which every line of the guides has.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};

use crate::supervisor::{Seat, Seats, find};

/// Prints it for the lab in this directory, or the only one in a temporary directory.
///
/// # Errors
/// There is no such lab, or it cannot be told which.
pub fn env(dir: Option<&Path>, json: bool) -> Result<()> {
    let seats = find(dir).context("find a running lab")?;
    let text = match json {
        true => serde_json::to_string_pretty(&seats).context("write it as JSON")? + "\n",
        false => shell(&seats)?,
    };
    std::io::stdout().write_all(text.as_bytes()).context("print it")
}

/// Lines for a POSIX shell.
fn shell(seats: &Seats) -> Result<String> {
    let Seats { schema: _, directory: _, desk, members } = seats;
    let mut text = String::new();
    let mut export = |name: &str, value: &str| -> Result<()> {
        let value = shlex::try_quote(value).context("quote a value")?;
        text.push_str(&format!("export {name}={value}\n"));
        Ok(())
    };
    let mut endpoints = Vec::new();
    for seat in members {
        let Seat {
            member,
            client_url,
            peer_url,
            listen_peer_url,
            telemetry_url,
            proxy_url,
            data_dir: _,
            start,
        } = seat;
        let name = member.to_string().to_uppercase();
        let address = client_url.trim_start_matches("http://");
        endpoints.push(address);
        export(&name, address)?;
        export(&format!("{name}_CLIENT"), client_url)?;
        export(&format!("{name}_PEER"), peer_url)?;
        export(&format!("{name}_LISTEN"), listen_peer_url)?;
        // What the lab sees and breaks it by; the one thing that a line of one's own needs more.
        // Whoever has no telemetry is not started by hand.
        if !telemetry_url.is_empty() {
            let seat = format!("--listen-telemetry-urls {telemetry_url} --peer-proxy {proxy_url}");
            export(&format!("{name}_SEAT"), &seat)?;
        }
        let start = shlex::try_join(start.iter().map(String::as_str)).context("quote a line")?;
        export(&format!("{name}_START"), &start)?;
    }
    let endpoints = endpoints.join(",");
    export("ENDPOINTS", &endpoints)?;
    export("ETCDCTL_API", "3")?;
    export("RAFTLAB_DESK", &desk.display().to_string())?;
    text.push_str(&format!(
        "# For lines without --endpoints, which is refused beside it:\n\
         # export ETCDCTL_ENDPOINTS={endpoints}\n"
    ));
    for seat in members {
        let start =
            shlex::try_join(seat.start.iter().map(String::as_str)).context("quote a line")?;
        text.push_str(&format!("{}() {{ {start} \"$@\"; }}\n", seat.member));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use lab_protocol::MemberNo;

    use super::*;

    #[test]
    fn a_shell_reads_it() {
        let seat = Seat {
            member: MemberNo(1),
            client_url: "http://127.0.0.1:1".into(),
            peer_url: "http://m1.test:2380".into(),
            listen_peer_url: "http://127.0.0.1:2".into(),
            telemetry_url: "http://127.0.0.1:3".into(),
            proxy_url: "socks5://127.0.0.1:4".into(),
            data_dir: "/a b/desk/m1.etcd".into(),
            start: ["echo", "--data-dir", "/a b/desk/m1.etcd"].map(str::to_owned).into(),
        };
        let desk = "/a b/desk".into();
        let text = shell(&Seats::new(Path::new("/a b"), desk, vec![seat])).expect("quoted");
        let script = format!(
            "set -eu\n{text}echo \"$M1 $ENDPOINTS $ETCDCTL_API\"\nm1 --more\neval \"$M1_START\"\n\
             set -- $M1_SEAT\necho $# \"$4\"\n"
        );
        let said = std::process::Command::new("sh").args(["-c", &script]).output().expect("sh");
        assert_eq!(
            String::from_utf8_lossy(&said.stdout),
            "127.0.0.1:1 127.0.0.1:1 3\n--data-dir /a b/desk/m1.etcd --more\n\
             --data-dir /a b/desk/m1.etcd\n4 socks5://127.0.0.1:4\n",
            "{}",
            String::from_utf8_lossy(&said.stderr)
        );
    }
}
