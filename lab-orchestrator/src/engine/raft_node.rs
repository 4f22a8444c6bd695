//! Our own node, `raft-node`, which takes etcd's flag names.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{
    Beginning, EngineError, MemberFiles, MemberSeat, asked_version, client_url, initial_cluster,
    peer_url,
};
use crate::supervisor::Launch;

/// Ends a member with whoever holds its standard input.
const LIFELINE: &str = "--exit-on-stdin-eof";

/// Begins the line of `--version` that says our own version; the others are etcd's.
const VERSION_LINE: &str = "Raftlab Version:";

/// The program, and what it is given beside its seat.
#[derive(Clone, Debug)]
pub struct RaftNode {
    program: PathBuf,
    extra_args: Vec<OsString>,
}

impl RaftNode {
    /// The node at this path, with flags that every member is given beside its own.
    pub fn new(program: &Path, extra_args: Vec<OsString>) -> Result<Self, EngineError> {
        let program = std::fs::canonicalize(program)
            .ok()
            .filter(|path| path.is_file())
            .ok_or_else(|| EngineError::Missing(program.to_owned()))?;
        Ok(Self { program, extra_args })
    }

    /// The program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// What the program calls itself, such as `raft-node 0.1.0`; its file name if it does not say.
    pub async fn version(&self) -> String {
        let said = asked_version(&self.program).await;
        let name = self.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let own = said.lines().find_map(|line| line.strip_prefix(VERSION_LINE));
        match own.or_else(|| said.lines().next()).map(str::trim) {
            Some(version) if !version.is_empty() => {
                let version: String = version.chars().take(80).collect();
                format!("{name} {version}")
            }
            Some(_) | None => name,
        }
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
            control,
            power,
            output,
            typed,
        } = seat;
        let (members, state) = match cluster {
            Beginning::Founds(members) => {
                let named: Vec<_> =
                    members.iter().map(|&peer| (peer.to_string(), peer_url(peer))).collect();
                let named = named.iter().map(|(name, url)| (name.as_str(), url.as_str()));
                (initial_cluster(named), "new")
            }
            Beginning::Joins(members) => (members.clone(), "existing"),
        };
        let flags: [(&str, OsString); 8] = [
            ("--name", member.to_string().into()),
            ("--data-dir", data_dir.into()),
            ("--listen-client-urls", client_url(*ports).into()),
            ("--advertise-client-urls", client_url(*ports).into()),
            ("--listen-peer-urls", format!("http://127.0.0.1:{}", ports.peer).into()),
            ("--initial-advertise-peer-urls", peer_url(*member).into()),
            ("--listen-telemetry-urls", format!("http://127.0.0.1:{}", ports.telemetry).into()),
            ("--peer-proxy", proxy_url.into()),
        ];
        // First, because the training program takes its own flags before all others.
        let mut args = Vec::new();
        if let Some(power) = power {
            args.extend(["--power-loss".into(), power.into()]);
        }
        args.extend(self.extra_args.iter().cloned());
        args.extend(["--lab-control".into(), control.into()]);
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
        args.push(LIFELINE.into());
        Launch {
            member: *member,
            program: self.program.clone(),
            args,
            environment: BTreeMap::new(),
            output: output.clone(),
        }
    }

    /// Where its members keep their files.
    pub fn files(&self) -> MemberFiles {
        MemberFiles {
            log: "member/wal",
            log_ending: ".wal",
            state: "member/state.redb",
            snapshot: "member/snap",
            snapshot_ending: "/db",
        }
    }

    /// The words by which somebody starts the member in this seat in a shell of their own.
    pub fn by_hand(&self, seat: &MemberSeat) -> Vec<String> {
        let Launch { program, args, .. } = self.launch(seat);
        let args = args.iter().filter(|arg| *arg != LIFELINE);
        let words = std::iter::once(program.as_os_str()).chain(args.map(OsString::as_os_str));
        words.map(|word| word.to_string_lossy().into_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use lab_protocol::MemberNo;

    use super::*;
    use crate::supervisor::{MemberPorts, Output};

    #[test]
    fn the_command_line_is_etcds() {
        let node = RaftNode::new(Path::new("/bin/sh"), vec!["--heartbeat-interval=50".into()])
            .expect("there is a shell");
        let mut seat = MemberSeat {
            member: MemberNo(2),
            cluster: Beginning::Founds(vec![MemberNo(1), MemberNo(2)]),
            token: "t".into(),
            data_dir: "/d/m2/data".into(),
            ports: MemberPorts { client: 1, peer: 2, telemetry: 3 },
            proxy_url: "socks5://127.0.0.1:4".into(),
            control: "/d/m2/control".into(),
            power: Some("/d/m2/power".into()),
            output: Output::new(None),
            typed: None,
        };
        let args = |seat: &MemberSeat| {
            let args = node.launch(seat).args;
            let args: Vec<_> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
            args.join(" ")
        };
        assert_eq!(
            args(&seat),
            "--power-loss /d/m2/power --heartbeat-interval=50 --lab-control /d/m2/control \
             --name m2 --data-dir /d/m2/data --listen-client-urls http://127.0.0.1:1 \
             --advertise-client-urls http://127.0.0.1:1 --listen-peer-urls http://127.0.0.1:2 \
             --initial-advertise-peer-urls http://m2.test:2380 \
             --listen-telemetry-urls http://127.0.0.1:3 --peer-proxy socks5://127.0.0.1:4 \
             --initial-cluster m1=http://m1.test:2380,m2=http://m2.test:2380 \
             --initial-cluster-token t --initial-cluster-state new --exit-on-stdin-eof"
        );
        seat.cluster = Beginning::Joins("m1=http://m1.test:2380,m2=http://m2.test:2380".into());
        let joins = "--initial-cluster m1=http://m1.test:2380,m2=http://m2.test:2380 \
                     --initial-cluster-token t --initial-cluster-state existing";
        assert!(args(&seat).contains(joins), "{}", args(&seat));

        seat.typed = Some(vec!["--force-new-cluster".into()]);
        let by_hand = node.by_hand(&seat);
        assert!(by_hand[0].starts_with('/') && by_hand.last().is_some_and(|w| w.contains("force")));
        let typed = args(&seat);
        assert!(typed.ends_with("--force-new-cluster --exit-on-stdin-eof"), "{typed}");
        assert!(!typed.contains("--initial-cluster "), "{typed}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = RaftNode::new(Path::new("/no/such/raft-node"), vec![]).expect_err("missing");
        assert!(error.to_string().contains("/no/such/raft-node"), "{error}");
    }
}
