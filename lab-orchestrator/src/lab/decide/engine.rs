//! What cannot be done to members of a kind, and why.

use lab_protocol::{Command, EngineKind, Fault, LabState, LinkCondition};

/// Whether the members of this run can be made to do this at all.
///
/// # Errors
/// For a person: why not.
pub(super) fn able(state: &LabState, command: &Command) -> Result<(), String> {
    match EngineKind::of(&state.engine) {
        EngineKind::RaftNode | EngineKind::Simulation => Ok(()),
        EngineKind::Etcd => match beyond_etcd(command) {
            None => Ok(()),
            Some(why) => Err(format!("real etcd cannot {why}")),
        },
        EngineKind::Observed => Err("this cluster is only observed: the lab did not start its \
             members, and stands on none of its wires"
            .to_owned()),
    }
}

/// What real etcd cannot, behind "real etcd cannot"; none if it can.
fn beyond_etcd(command: &Command) -> Option<&'static str> {
    const MESSAGES: &str = "have single messages touched: its peers speak HTTP, in which a message \
        that is lost ends the connection; links are cut, held, slowed and refused as a whole";
    match command {
        Command::SetLink { condition: LinkCondition::Mangled { .. }, .. }
        | Command::Held { .. } => Some(MESSAGES),
        Command::Inject { fault } | Command::Lift { fault } => match fault {
            Fault::DriftingClock { .. } | Fault::FrozenClock { .. } => {
                Some("have its clocks touched: it has those of the machine, and no others")
            }
            Fault::ReadOnlyDisk { .. } => Some(
                "have its disk made read-only: what it writes to files cannot be told from what it \
                 writes to its peers",
            ),
            Fault::SlowSync { .. }
            | Fault::StuckSync { .. }
            | Fault::FailingSync { .. }
            | Fault::FullDisk { .. }
            | Fault::Starved { .. }
            | Fault::Restarting { .. }
            | Fault::Flapping { .. } => None,
        },
        Command::JumpClock { .. } => {
            Some("have its clocks touched: it has those of the machine, and no others")
        }
        Command::GrantTicks { .. } => Some("be granted ticks: its clocks are the machine's"),
        Command::SetTimers { .. } => Some("have its election timers set: it draws them itself"),
        Command::Campaign { .. } => Some("be made to campaign: it campaigns when it hears nothing"),
        Command::LosePower { .. } => Some(
            "lose the power of its disk: what a killed process wrote is still in the system's \
             memory; crash it, or damage its files",
        ),
        Command::CrashAt { .. } => Some("end at a failpoint: its programs are built without them"),
        Command::For { command, .. } => beyond_etcd(command),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use lab_protocol::{Event, Kinds, Link, Mangling, MemberNo, Numbered};

    use super::*;

    fn of(engine: String) -> LabState {
        let mut state = LabState::default();
        let event = Event::RunStarted {
            run: String::new(),
            seed: 0,
            version: String::new(),
            engine,
            token: String::new(),
            wall_millis: 0,
            members: Vec::new(),
        };
        state.apply(&Numbered { seq: 1, at_micros: 0, event }, true);
        state
    }

    #[test]
    fn etcd_is_asked_for_what_it_can() {
        let member = MemberNo(1);
        let link = Link { from: member, to: MemberNo(2) };
        let etcd = of(EngineKind::etcd("3.4.23"));
        let mangled = LinkCondition::Mangled { how: Mangling::Drop, percent: 5, only: Kinds::Any };
        for (command, needle) in [
            (Command::SetLink { link, condition: mangled }, "single messages"),
            (Command::Campaign { member }, "campaign"),
            (Command::LosePower { member }, "power"),
            (
                Command::For {
                    millis: 5,
                    command: Box::new(Command::Inject { fault: Fault::FrozenClock { member } }),
                },
                "clocks",
            ),
        ] {
            let why = able(&etcd, &command).expect_err("beyond it");
            assert!(why.starts_with("real etcd cannot ") && why.contains(needle), "{why}");
            able(&of("raft-node 0.1.0".to_owned()), &command).expect("ours can");
        }
        able(&etcd, &Command::Inject { fault: Fault::StuckSync { member } }).expect("by strace");
        able(&etcd, &Command::Cut { link }).expect("by the fabric");
        let observed = of(EngineKind::observed("3.5.1"));
        assert!(able(&observed, &Command::Cut { link }).is_err());
    }
}
