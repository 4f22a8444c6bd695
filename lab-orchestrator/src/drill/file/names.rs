//! Whether a scenario's sentences fit together: members that exist, names that were given.

use std::collections::BTreeSet;

use lab_protocol::MemberNo;
use lab_protocol::scenario::{
    Action, ClusterWish, Condition, FaultVerb, LinkWord, MemberVerb, Shape, Target, Verb,
};

/// The number of the member that a line starts: `raft-node --name m4 …`.
fn started(line: &str) -> Option<u8> {
    let words = line.strip_prefix("raft-node ")?;
    let name = words.split_once("--name")?.1.trim_start_matches(['=', ' ']);
    let name = name.split_whitespace().next()?;
    name.strip_prefix('m')?.parse().ok()
}

/// The names a scenario has given so far.
#[derive(Clone)]
pub(super) struct Names {
    members: u8,
    targets: BTreeSet<String>,
    leases: BTreeSet<String>,
    zones: BTreeSet<String>,
    /// The members are of the training program.
    training: bool,
}

impl Names {
    pub(super) fn new(cluster: &ClusterWish) -> Self {
        Self {
            members: cluster.members,
            targets: BTreeSet::new(),
            leases: BTreeSet::new(),
            zones: cluster.zones.keys().cloned().collect(),
            training: cluster.training || cluster.bug.is_some(),
        }
    }

    pub(super) fn known(&self, target: &Target, in_partition: bool) -> Result<(), String> {
        match target {
            Target::Member(MemberNo(number)) if *number > self.members => {
                Err(format!("{target} is not a member; this cluster has m1 to m{}", self.members))
            }
            Target::Named(name) if !self.targets.contains(name) => Err(format!(
                "nothing is named `{name}` yet; an earlier action names members with `as {name}`"
            )),
            Target::Rest if !in_partition => {
                Err("`rest` is what a partition's other groups leave; name the members".into())
            }
            Target::Member(_)
            | Target::All
            | Target::Leader
            | Target::Followers
            | Target::AFollower
            | Target::Minority { .. }
            | Target::Majority { .. }
            | Target::Running
            | Target::Learners
            | Target::Freshest
            | Target::MostBehind
            | Target::Rest
            | Target::Named(_) => Ok(()),
            Target::Clients => Err("`clients` stands at an end of a link only".into()),
            Target::Zone(name) if self.zones.contains(name) => Ok(()),
            Target::Zone(name) => {
                let zones: Vec<_> = self.zones.iter().cloned().collect();
                Err(format!("there is no zone `{name}`; zones are [{}]", zones.join(", ")))
            }
            Target::Several(parts) => {
                parts.iter().try_for_each(|part| self.known(part, in_partition))
            }
            Target::Without(these, without) => {
                self.known(these, in_partition)?;
                self.known(without, in_partition)
            }
        }
    }

    fn named(&mut self, target: &Target, name: Option<&String>) -> Result<(), String> {
        self.known(target, false)?;
        self.targets.extend(name.cloned());
        Ok(())
    }

    pub(super) fn action(&mut self, action: &Action) -> Result<(), String> {
        self.verb(action.verb())
    }

    fn link(&self, link: &LinkWord) -> Result<(), String> {
        let known = |end: &Target| match end {
            Target::Clients => Ok(()),
            end => self.known(end, false),
        };
        known(&link.from)?;
        known(&link.to)
    }

    fn fault(&mut self, fault: &FaultVerb) -> Result<(), String> {
        match fault {
            FaultVerb::Hold { link }
            | FaultVerb::Refuse { link }
            | FaultVerb::HalfOpen { link }
            | FaultVerb::Throttle { link, .. }
            | FaultVerb::Mangle { link, .. }
            | FaultVerb::Flap { link, .. }
            | FaultVerb::Reset { link }
            | FaultVerb::HeldMessages { link, .. } => self.link(link),
            FaultVerb::Shape(shape) => match shape {
                Shape::Halves | Shape::Ring | Shape::Chain => Ok(()),
                Shape::Bridge { over: target }
                | Shape::Star { around: target }
                | Shape::Mute { target }
                | Shape::Deafen { target } => self.known(target, false),
            },
            FaultVerb::LosePower { .. } | FaultVerb::CrashAt { .. } if !self.training => {
                Err("only the training program's disk loses its power, and only it ends at a \
                 failpoint; ask for it: [cluster] training = true"
                    .into())
            }
            FaultVerb::Starve { who, .. }
            | FaultVerb::KeepRestarting { who, .. }
            | FaultVerb::SlowDisk { who, .. }
            | FaultVerb::StickDisk { who }
            | FaultVerb::FailDisk { who }
            | FaultVerb::FillDisk { who }
            | FaultVerb::LockDisk { who }
            | FaultVerb::DriftClock { who, .. }
            | FaultVerb::FreezeClock { who }
            | FaultVerb::JumpClock { who, .. }
            | FaultVerb::LosePower { who }
            | FaultVerb::CrashAt { who, .. } => self.named(&who.0, who.1.as_ref()),
            FaultVerb::Tick { target, .. }
            | FaultVerb::Campaign { target }
            | FaultVerb::Lift { target }
            | FaultVerb::DamageFile { target, .. } => self.known(target, false),
            FaultVerb::Timers { .. } => Ok(()),
        }
    }

    fn verb(&mut self, verb: &Verb) -> Result<(), String> {
        match verb {
            Verb::Crash { target, name }
            | Verb::Stop { target, name }
            | Verb::Pause { target, name }
            | Verb::Resume { target, name }
            | Verb::Restart { target, name }
            | Verb::Wipe { target, name }
            | Verb::Isolate { target, name } => self.named(target, name.as_ref()),
            Verb::Cut { link } | Verb::Heal { link } | Verb::Delay { link, .. } => self.link(link),
            Verb::For { verb, .. } => self.verb(verb),
            Verb::Fault(fault) => self.fault(fault),
            Verb::Partition { groups } => groups.iter().try_for_each(|(target, name)| {
                self.known(target, true)?;
                self.targets.extend(name.clone());
                Ok(())
            }),
            Verb::Token { target, .. } | Verb::Put { target, .. } | Verb::Read { target, .. } => {
                self.known(target, false)
            }
            Verb::LeaseGrant { target, name, .. } => {
                self.leases.insert(name.clone());
                self.known(target, false)
            }
            Verb::LeaseTimeToLive { name, target } => {
                if !self.leases.contains(name) {
                    return Err(format!("no lease is named `{name}` yet"));
                }
                self.known(target, false)
            }
            Verb::Members { change, in_vain } => match change {
                MemberVerb::Add { name, .. } => {
                    if !in_vain {
                        self.members += 1;
                    }
                    self.targets.extend(name.clone());
                    Ok(())
                }
                MemberVerb::Remove { target, name } => self.named(target, name.as_ref()),
                MemberVerb::Promote { target } | MemberVerb::TransferLeadership { to: target } => {
                    self.known(target, false)
                }
            },
            Verb::Type { line, .. } => {
                self.members = self.members.max(started(line).unwrap_or(0));
                Ok(())
            }
            Verb::Name { target, name } => self.named(target, Some(name)),
            Verb::WaitUntil { condition, .. } => self.condition(condition),
            Verb::Wait(_)
            | Verb::UndoFaults
            | Verb::StartOver
            | Verb::ReadBack
            | Verb::Workload { .. }
            | Verb::Backups(_)
            | Verb::Damage { .. } => Ok(()),
        }
    }

    /// Whether a condition is of members that are the same at every look.
    pub(super) fn condition(&self, condition: &Condition) -> Result<(), String> {
        match condition {
            Condition::Lead(target)
            | Condition::Resigned(target)
            | Condition::Up(target)
            | Condition::Down(target)
            | Condition::Lost(target)
            | Condition::Voter(target)
            | Condition::Learner(target)
            | Condition::Removed(target)
            | Condition::InSync(target)
            | Condition::Paused(target)
            | Condition::Campaigning(target)
            | Condition::Probed(target)
            | Condition::Replicating(target)
            | Condition::FedASnapshot(target) => self.fixed(target),
            Condition::Compare(comparison) => {
                comparison.quantity.targets().into_iter().try_for_each(|target| match target {
                    Target::Clients => Ok(()),
                    target => self.fixed(target),
                })
            }
            Condition::Not(condition) => self.condition(condition),
            Condition::Both(one, other) => {
                self.condition(one)?;
                self.condition(other)
            }
            Condition::Leader
            | Condition::NewLeader
            | Condition::NoLeader
            | Condition::AllAgree
            | Condition::Converged
            | Condition::Voters(_)
            | Condition::Acked(_)
            | Condition::Backups(_)
            | Condition::DamagedBackup
            | Condition::TotalLoss
            | Condition::Quorum
            | Condition::Settled
            | Condition::Said(_)
            | Condition::Answered => Ok(()),
        }
    }

    fn fixed(&self, target: &Target) -> Result<(), String> {
        match target {
            Target::Member(_) | Target::Named(_) | Target::All | Target::Zone(_) => {
                self.known(target, false)
            }
            Target::Several(parts) => parts.iter().try_for_each(|part| self.fixed(part)),
            Target::Without(these, without) => {
                self.fixed(these)?;
                self.fixed(without)
            }
            Target::Leader
            | Target::Followers
            | Target::AFollower
            | Target::Minority { .. }
            | Target::Majority { .. }
            | Target::Running
            | Target::Clients
            | Target::Learners
            | Target::Freshest
            | Target::MostBehind
            | Target::Rest => Err(format!(
                "`{target}` may be somebody else at every look; wait for members by number, by a \
                 name given with `as`, by their zone, or for `all`"
            )),
        }
    }
}
