//! Real etcd, from 3.4 on.
//!
//! It has no flag for a proxy, but Go's own: `HTTP_PROXY`, which is not used for loopback
//! addresses, hence the virtual ones. It does not end with its standard input, so the system has
//! to end it with the lab ([`ends_with_the_lab`](crate::supervisor::ends_with_the_lab)), which
//! Linux does. What it says of its elections is in its log, as JSON.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use lab_protocol::EngineKind;
use tokio::process::Command;

use super::{
    Beginning, EngineError, MemberFiles, MemberSeat, VERSION_DEADLINE, asked_version, client_url,
    initial_cluster, numbered_peer_url,
};
use crate::supervisor::Launch;

/// Begins the line of `--version` that says it.
const VERSION_LINE: &str = "etcd Version:";

/// The program, and what it is given beside its seat.
#[derive(Clone, Debug)]
pub struct Etcd {
    program: PathBuf,
    extra_args: Vec<OsString>,
}

impl Etcd {
    /// The etcd at this path, or of this name on the search path, with flags that every member is
    /// given beside its own.
    ///
    /// # Errors
    /// There is none, or it would outlive the lab here.
    pub fn new(program: &Path, extra_args: Vec<OsString>) -> Result<Self, EngineError> {
        if !cfg!(target_os = "linux") {
            return Err(EngineError::NotHere);
        }
        let program = found(program).ok_or_else(|| EngineError::NoEtcd(program.to_owned()))?;
        Ok(Self { program, extra_args })
    }

    /// The program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// What the program calls itself, such as `etcd 3.4.23`.
    pub async fn version(&self) -> String {
        let said = asked_version(&self.program).await;
        let own = said.lines().find_map(|line| line.strip_prefix(VERSION_LINE)).map(str::trim);
        EngineKind::etcd(own.filter(|own| !own.is_empty()).unwrap_or("of no version"))
    }

    /// The first of these flags that the program does not have, by its own help; each is as on a
    /// command line, `--name` or `--name=value`.
    pub async fn unknown_flag(&self, flags: &[OsString]) -> Option<String> {
        let mut command = Command::new(&self.program);
        command.arg("--help").stdin(Stdio::null()).kill_on_drop(true);
        let help = tokio::time::timeout(VERSION_DEADLINE, command.output()).await.ok()?.ok()?;
        let help = [help.stdout, help.stderr].concat();
        let help = String::from_utf8_lossy(&help);
        let known = |name: &str| help.split_whitespace().any(|word| word == name);
        let names = flags.iter().filter_map(|flag| {
            let flag = flag.to_string_lossy().into_owned();
            let name = flag.split('=').next()?.to_owned();
            name.starts_with("--").then_some(name)
        });
        names.into_iter().find(|name| !known(name))
    }

    /// How to start the member in this seat.
    pub fn launch(&self, seat: &MemberSeat) -> Launch {
        let MemberSeat {
            member,
            cluster,
            token,
            data_dir,
            ports,
            proxy_url,
            control: _,
            power: _,
            output,
            typed,
        } = seat;
        let (members, state) = match cluster {
            Beginning::Founds(members) => {
                let named: Vec<_> = members
                    .iter()
                    .map(|&peer| (peer.to_string(), numbered_peer_url(peer)))
                    .collect();
                let named = named.iter().map(|(name, url)| (name.as_str(), url.as_str()));
                (initial_cluster(named), "new")
            }
            Beginning::Joins(members) => (members.clone(), "existing"),
        };
        let flags: [(&str, OsString); 7] = [
            ("--name", member.to_string().into()),
            ("--data-dir", data_dir.into()),
            ("--listen-client-urls", client_url(*ports).into()),
            ("--advertise-client-urls", client_url(*ports).into()),
            ("--listen-peer-urls", format!("http://127.0.0.1:{}", ports.peer).into()),
            ("--initial-advertise-peer-urls", numbered_peer_url(*member).into()),
            // Lines of JSON, in which the lab finds what the member says of elections.
            ("--logger", "zap".into()),
        ];
        let mut args = self.extra_args.clone();
        for (flag, value) in flags {
            args.push(flag.into());
            args.push(value);
        }
        match typed {
            // Of a flag that is there twice the last one counts.
            Some(typed) => args.extend(typed.iter().map(OsString::from)),
            None => {
                let cluster: [(&str, OsString); 3] = [
                    ("--initial-cluster", members.into()),
                    ("--initial-cluster-token", token.into()),
                    ("--initial-cluster-state", state.into()),
                ];
                for (flag, value) in cluster {
                    args.push(flag.into());
                    args.push(value);
                }
            }
        }
        // Nothing of the lab's own environment reaches it, `NO_PROXY` neither.
        let proxied = |name: &str| (name.to_owned(), OsString::from(proxy_url));
        let environment = BTreeMap::from(["HTTP_PROXY", "HTTPS_PROXY"].map(proxied));
        Launch {
            member: *member,
            program: self.program.clone(),
            args,
            environment,
            output: output.clone(),
        }
    }

    /// Where its members keep their files.
    pub fn files(&self) -> MemberFiles {
        MemberFiles {
            log: "member/wal",
            log_ending: ".wal",
            state: "member/snap/db",
            snapshot: "member/snap",
            snapshot_ending: ".snap",
        }
    }

    /// The words that say why nobody starts it by hand: a member that the lab has not started says
    /// nothing by which it could be known.
    pub fn by_hand(&self, seat: &MemberSeat) -> Vec<String> {
        let member = seat.member;
        let why = format!(
            "{member} is etcd, which the lab can only follow when it starts it itself: restart it \
             on the page, or type `etcd --name {member} …` at its terminal"
        );
        vec!["echo".to_owned(), why]
    }
}

/// The program at this path, or of this name on the search path.
fn found(program: &Path) -> Option<PathBuf> {
    let real = |path: PathBuf| std::fs::canonicalize(path).ok().filter(|path| path.is_file());
    if program.components().count() > 1 {
        return real(program.to_owned());
    }
    let search = std::env::var_os("PATH")?;
    std::env::split_paths(&search).find_map(|folder| real(folder.join(program)))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use lab_protocol::MemberNo;

    use super::*;
    use crate::supervisor::{MemberPorts, Output};

    #[test]
    fn a_seat_becomes_a_command_line_and_a_proxy() {
        let etcd = Etcd::new(Path::new("sh"), vec!["--heartbeat-interval=50".into()])
            .expect("there is a shell");
        let seat = MemberSeat {
            member: MemberNo(2),
            cluster: Beginning::Founds(vec![MemberNo(1), MemberNo(2)]),
            token: "t".into(),
            data_dir: "/d/m2.etcd".into(),
            ports: MemberPorts { client: 1, peer: 2, telemetry: 3 },
            proxy_url: "socks5://127.0.0.1:4".into(),
            control: "/d/m2/control".into(),
            power: None,
            output: Output::new(None),
            typed: None,
        };
        let Launch { args, environment, .. } = etcd.launch(&seat);
        let args: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
        assert_eq!(
            args.join(" "),
            "--heartbeat-interval=50 --name m2 --data-dir /d/m2.etcd \
             --listen-client-urls http://127.0.0.1:1 --advertise-client-urls http://127.0.0.1:1 \
             --listen-peer-urls http://127.0.0.1:2 \
             --initial-advertise-peer-urls http://192.0.2.2:2380 --logger zap \
             --initial-cluster m1=http://192.0.2.1:2380,m2=http://192.0.2.2:2380 \
             --initial-cluster-token t --initial-cluster-state new"
        );
        assert_eq!(environment["HTTP_PROXY"], "socks5://127.0.0.1:4");
        assert_eq!(environment["HTTPS_PROXY"], "socks5://127.0.0.1:4");
        assert_eq!(environment.len(), 2);
    }

    #[test]
    fn a_missing_etcd_is_named() {
        for missing in ["/no/such/etcd", "no-such-etcd"] {
            let error = Etcd::new(Path::new(missing), vec![]).expect_err("missing").to_string();
            assert!(error.contains(missing) && error.contains("--etcd"), "{error}");
        }
    }
}
