//! The kinds of programs that a run's members are, and what each kind tells of itself.
//!
//! A run's first event names its engine in words, such as `raft-node 0.1.0` or `etcd 3.4.23`. What
//! a member does not tell, nobody can know: a check that lives from it ends *unknown* and says so,
//! and a picture leaves it out.
//!
//! | account | `raft-node`, simulation | etcd | a cluster that is only observed |
//! |---|---|---|---|
//! | role, term, leader, commit, applied, revision | told when it changes | asked ten times a second | asked ten times a second |
//! | elections: each change of role, each vote | told | told, in etcd's own log | not told |
//! | log: entries, their terms, what is kept, truncated | told | not told | not told |
//! | progress: what a leader knows of its peers | told | not told | not told |
//! | timers: ticks until a campaign | told | not told | not told |
//! | messages: kind, term, index, on the wire | read | not read | not seen |
//! | restores: that a cluster came of a snapshot | told | seen by the lab, in the files | not told |

/// The engine of a run without processes: a cluster in one thread, with made-up time.
pub const SIMULATION: &str = "simulation";

/// How the name of the engine begins where members are real etcd.
const ETCD: &str = "etcd ";

/// How the name of the engine ends where the lab started nobody.
const OBSERVED: &str = ", only observed";

/// What the members of a run are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// Our own node, which has telemetry.
    RaftNode,
    /// Real etcd, started by the lab.
    Etcd,
    /// Whatever speaks etcd's API and was there before the lab.
    Observed,
    /// A cluster in one thread, with made-up time.
    Simulation,
}

/// Something that members may tell of themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// Each change of role, and each vote.
    Elections,
    /// The entries of the log.
    Log,
    /// What a leader knows of its peers.
    Progress,
    /// The ticks until a campaign.
    Timers,
    /// That a cluster came of a snapshot.
    Restores,
    /// Its messages, which the lab reads on the wire.
    Messages,
}

impl EngineKind {
    /// The kind of the engine with this name ([`crate::Event::RunStarted`]).
    pub fn of(engine: &str) -> Self {
        match engine {
            SIMULATION => Self::Simulation,
            name if name.ends_with(OBSERVED) => Self::Observed,
            name if name.starts_with(ETCD) => Self::Etcd,
            _ => Self::RaftNode,
        }
    }

    /// The name of real etcd in this version.
    pub fn etcd(version: &str) -> String {
        format!("{ETCD}{version}")
    }

    /// The name of a cluster of etcd's API, in this version, that is only observed.
    pub fn observed(version: &str) -> String {
        format!("{ETCD}{version}{OBSERVED}")
    }

    /// Whether its members tell of this.
    pub fn tells(self, account: Account) -> bool {
        match (self, account) {
            (Self::RaftNode | Self::Simulation, _)
            | (Self::Etcd, Account::Elections | Account::Restores) => true,
            (Self::Etcd | Self::Observed, _) => false,
        }
    }

    /// Why a check that needs it cannot be judged; none if it can.
    pub fn silence(self, account: Account) -> Option<String> {
        if self.tells(account) {
            return None;
        }
        let who = match self {
            Self::Observed => "a cluster that is only observed",
            Self::RaftNode | Self::Etcd | Self::Simulation => "etcd",
        };
        let what = match account {
            Account::Elections => "each change of its members' roles",
            Account::Log => "what is in its log",
            Account::Progress => "what a leader knows of its peers",
            Account::Timers => "its timers",
            Account::Restores => "that it came of a snapshot",
            Account::Messages => "its messages to the wire, where the lab reads",
        };
        Some(format!("{who} does not tell {what}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_the_kind() {
        for (name, kind) in [
            ("raft-node 0.1.0", EngineKind::RaftNode),
            ("raft-node-training 0.1.0", EngineKind::RaftNode),
            ("simulation", EngineKind::Simulation),
            (&EngineKind::etcd("3.4.23"), EngineKind::Etcd),
            (&EngineKind::observed("3.5.1"), EngineKind::Observed),
        ] {
            assert_eq!(EngineKind::of(name), kind, "{name}");
        }
    }

    #[test]
    fn what_is_not_told_is_said() {
        assert_eq!(EngineKind::RaftNode.silence(Account::Log), None);
        assert_eq!(EngineKind::Etcd.silence(Account::Elections), None);
        let log = EngineKind::Etcd.silence(Account::Log).expect("not told");
        assert_eq!(log, "etcd does not tell what is in its log");
        assert!(EngineKind::Observed.silence(Account::Elections).is_some());
    }
}
