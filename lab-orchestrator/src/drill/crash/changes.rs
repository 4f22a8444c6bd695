//! Changes of the members, each with a member that ends somewhere on the way from the proposal to
//! the disk. Whatever came of the change, all members have the same configuration in the end.

use std::collections::BTreeSet;
use std::time::Duration;

use etcd_api::etcdserverpb::{MemberListRequest, MemberUpdateRequest};
use lab_check::convergence;
use lab_protocol::node_protocol::MemberId;
use lab_protocol::{By, Command, Ended, LabState, MemberNo, Process, Standing};
use rand::Rng;
use tokio::time::{Instant, timeout};

use super::super::runner::Trouble;
use super::ledger::How;
use super::life::{JUDGE_EVERY, Life, RECOVER, is_down};
use crate::engine::control::Order;
use crate::engine::peer_url;
use crate::handle::SubmitError;
use crate::supervisor::PLACES;
use crate::workload::{Connection, Dialler};

/// Changes until a cluster has done enough; it has room for few members that are new.
const CHANGES: u32 = 8;

/// No cluster grows larger, and none becomes smaller.
const MOST: usize = 5;
const FEWEST: usize = 2;

/// Up to so many hits of a failpoint under load: about as many as a change takes to go through.
const HITS: u64 = 12;

/// How long the one that is to end may take to come by its failpoint.
const ONE_HIT: Duration = Duration::from_secs(4);

/// How long one member may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Between two looks at what members say.
const LOOK: Duration = Duration::from_millis(50);

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    AddVoter,
    AddLearner,
    Promote(MemberNo),
    Remove(MemberNo),
    RemoveLeader(MemberNo),
    Update(MemberNo),
    Transfer(MemberNo),
}

impl Change {
    pub(super) const NAMES: [&str; 7] = [
        "add a voter",
        "add a learner",
        "promote a learner",
        "remove a member",
        "remove the leader",
        "update peer URLs",
        "transfer leadership",
    ];

    /// Which of the names is its own.
    pub(super) fn kind(self) -> usize {
        match self {
            Self::AddVoter => 0,
            Self::AddLearner => 1,
            Self::Promote(_) => 2,
            Self::Remove(_) => 3,
            Self::RemoveLeader(_) => 4,
            Self::Update(_) => 5,
            Self::Transfer(_) => 6,
        }
    }
}

/// All that may be asked of a cluster in this state.
fn possible(state: &LabState) -> Vec<Change> {
    let of = |standing| {
        let all = state.taking_part().filter(move |(_, member)| member.standing == standing);
        all.map(|(no, _)| no).collect::<Vec<_>>()
    };
    let (voters, learners) = (of(Standing::Voter), of(Standing::Learner));
    let leader = state.leader();
    let mut all = Vec::new();
    if voters.len() + learners.len() < MOST && state.members.len() < usize::from(PLACES) {
        all.push(Change::AddVoter);
        all.extend(learners.is_empty().then_some(Change::AddLearner));
    }
    all.extend(learners.iter().map(|&learner| Change::Promote(learner)));
    all.extend(learners.iter().map(|&learner| Change::Remove(learner)));
    for &voter in &voters {
        let leads = leader == Some(voter);
        if voters.len() > FEWEST {
            all.push(if leads { Change::RemoveLeader(voter) } else { Change::Remove(voter) });
        }
        if !leads {
            all.push(Change::Transfer(voter));
        }
        all.push(Change::Update(voter));
    }
    all
}

impl Life<'_> {
    /// From the first start to the last judgement, with changes of the members for blows.
    pub(super) async fn live_changing(&mut self) -> Result<(), Trouble> {
        self.whole().await?;
        self.load().await?;
        for change in 1..=CHANGES {
            if !self.ledger.lock().deal_change() {
                break;
            }
            self.change_members().await?;
            if change % JUDGE_EVERY == 0 {
                self.judge().await?;
                self.load().await?;
            }
        }
        self.judge().await?;
        self.all_restart().await
    }

    /// One change, one end, and the way back to one configuration.
    async fn change_members(&mut self) -> Result<(), Trouble> {
        let state = &self.runner.seen.tally.state;
        let (possible, all) = (possible(state), self.voting());
        if possible.is_empty() || all.is_empty() {
            return Err(Trouble::Impossible("no member has a vote".into()));
        }
        // The kind first, or updates, which are always possible, would be most of it.
        let mut kinds: Vec<usize> = possible.iter().map(|change| change.kind()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let kind = kinds[self.draws.random_range(0..kinds.len())];
        let of_kind: Vec<Change> =
            possible.into_iter().filter(|change| change.kind() == kind).collect();
        let change = of_kind[self.draws.random_range(0..of_kind.len())];
        let victim = all[self.draws.random_range(0..all.len())];
        let at = self.ledger.lock().of_change();
        let how = if self.draws.random_ratio(1, 5) {
            How::PowerLoss(self.draws.random_range(1..u64::MAX))
        } else {
            How::Crash
        };
        let once = self.ledger.lock().is_of_changes_alone(at);
        let hits = if once { 1 } else { self.draws.random_range(1..=HITS) };
        if let Change::Remove(member) | Change::RemoveLeader(member) = change {
            self.going.insert(member);
        }
        self.give(victim, &self.order(at, how, hits)).await?;
        let done = self.ask(change, victim).await?;
        let fell = self.ended(victim).await?;
        self.ledger.lock().count_change(change, at, done, fell.then_some(how));
        self.start_again().await?;
        self.one_configuration().await
    }

    fn voting(&self) -> Vec<MemberNo> {
        let all = self.runner.seen.tally.state.taking_part();
        let voting = all.filter(|(_, member)| member.standing == Standing::Voter);
        voting.map(|(no, _)| no).collect()
    }

    /// Whether the change was acknowledged; that it was not says nothing of what comes of it.
    async fn ask(&mut self, change: Change, victim: MemberNo) -> Result<bool, Trouble> {
        let command = match change {
            Change::AddVoter => Command::AddMember { learner: false },
            Change::AddLearner => Command::AddMember { learner: true },
            Change::Promote(member) => Command::PromoteMember { member },
            Change::Remove(member) | Change::RemoveLeader(member) => {
                Command::RemoveMember { member }
            }
            Change::Transfer(to) => Command::TransferLeadership { to },
            Change::Update(member) => {
                let through = self.voting().into_iter().find(|through| *through != victim);
                return Ok(self.update_member(member, through.unwrap_or(victim)).await);
            }
        };
        match self.runner.lab.submit(By::Drill, command).await {
            Ok(_) => Ok(true),
            Err(SubmitError::Refused { .. }) => Ok(false),
            Err(SubmitError::Ended) => Err(Trouble::Lab(super::super::runner::DrillError::Ended)),
        }
    }

    /// Sets a member's peer URLs to what they are: an entry that changes nothing, through all the
    /// steps of one that does.
    pub(super) async fn update_member(&self, member: MemberNo, through: MemberNo) -> bool {
        let Some((id, _)) = self.runner.seen.tally.state.members.get(&member).and_then(|of| of.id)
        else {
            return false;
        };
        let request = MemberUpdateRequest { id: id.0, peer_urls: vec![peer_url(member)] };
        let asking = |connection: Connection| async move {
            connection.cluster().member_update(request).await.is_ok()
        };
        self.asked(through, asking).await.unwrap_or(false)
    }

    /// What a member answers, if it does in time: it may be the one that ends.
    async fn asked<T, F: Future<Output = T>>(
        &self,
        member: MemberNo,
        asking: impl FnOnce(Connection) -> F,
    ) -> Option<T> {
        let plan = &self.runner.seen.tally.state.members.get(&member)?.plan;
        let origin = plan.client_url.parse().ok()?;
        let dialler = Dialler::default();
        let answer = async { Some(asking(dialler.dial(&origin).await.ok()?).await) };
        let answer = timeout(ANSWER, answer).await.ok().flatten();
        dialler.shutdown().await;
        answer
    }

    /// Waits until the one that was told to end has ended there, or stops waiting for it.
    async fn ended(&mut self, victim: MemberNo) -> Result<bool, Trouble> {
        let mut may_be_down: Vec<MemberNo> = self.going.iter().copied().collect();
        may_be_down.push(victim);
        if !self.until(ONE_HIT, &may_be_down, |state| is_down(state, victim)).await? {
            // Whoever does not listen has come by just now.
            if self.give(victim, &Order::Disarm).await.is_ok() {
                self.runner.catch_up()?;
                return Ok(false);
            }
            self.until(ONE_HIT, &may_be_down, |state| is_down(state, victim)).await?;
        }
        if self.has_left(victim) {
            return Ok(false);
        }
        self.ended_at(victim, "")?;
        Ok(true)
    }

    /// Whether a member that was to be removed has ended because a peer told it so.
    fn has_left(&self, member: MemberNo) -> bool {
        let process =
            self.runner.seen.tally.state.members.get(&member).map(|member| &member.process);
        let by_itself =
            matches!(process, Some(Process::Down { ended: Ended::Exit { code: 1 }, .. }));
        self.going.contains(&member) && by_itself
    }

    /// Starts everybody who is down and still takes part.
    async fn start_again(&mut self) -> Result<(), Trouble> {
        self.runner.catch_up()?;
        for member in self.down() {
            let removed =
                self.runner.seen.tally.state.members[&member].standing == Standing::Removed;
            if removed || self.has_left(member) {
                continue;
            }
            match self.restart(member).await {
                // Its removal may have come through meanwhile.
                Err(Trouble::Impossible(_)) if self.going.contains(&member) => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Waits until every member that takes part runs, and all of them say the same of who does: by
    /// their telemetry and by their list of members.
    async fn one_configuration(&mut self) -> Result<(), Trouble> {
        let deadline = Instant::now() + RECOVER;
        loop {
            let going: Vec<MemberNo> = self.going.iter().copied().collect();
            self.until(LOOK, &going, |_| false).await?;
            self.start_again().await?;
            let unseated = self.unseated();
            if let Some(learner) = unseated {
                // It was added, and who was asked ended before the lab heard of it.
                let command = Command::AddMember { learner };
                self.runner.lab.submit(By::Drill, command).await.ok();
            }
            let why = match self.difference().await {
                None if unseated.is_none() => return Ok(()),
                None => "a member that was added has no place".to_owned(),
                Some(why) => why,
            };
            if Instant::now() > deadline {
                return Err(Trouble::Broken(format!(
                    "the members did not come to one configuration within {} s: {why}; {}",
                    RECOVER.as_secs(),
                    convergence::account(&self.runner.seen.tally.state)
                )));
            }
        }
    }

    /// A member of the configuration that the lab does not know: whether it is a learner.
    fn unseated(&self) -> Option<bool> {
        let state = &self.runner.seen.tally.state;
        let known: BTreeSet<MemberId> =
            state.members.values().filter_map(|member| Some(member.id?.0)).collect();
        let unseated = |ids: &BTreeSet<MemberId>| ids.iter().any(|id| !known.contains(id));
        let configuration = &state.configuration;
        (unseated(&configuration.voters).then_some(false))
            .or(unseated(&configuration.learners).then_some(true))
    }

    /// What keeps the members from having one configuration.
    async fn difference(&self) -> Option<String> {
        let state = &self.runner.seen.tally.state;
        if convergence::agreed(state).is_none() {
            return Some("not all of them follow one leader".into());
        }
        let configuration = &state.configuration;
        for (no, member) in state.taking_part() {
            let Some(status) = &member.status else { return Some(format!("{no} says nothing")) };
            let voters: BTreeSet<MemberId> = status.voters.iter().copied().collect();
            let learners: BTreeSet<MemberId> = status.learners.iter().copied().collect();
            if (&voters, &learners) != (&configuration.voters, &configuration.learners) {
                return Some(format!("{no} counts the votes of {voters:?} and not {learners:?}"));
            }
            // A learner answers no such question, in etcd neither.
            if member.standing == Standing::Learner {
                continue;
            }
            let asking = |connection: Connection| async move {
                let request = MemberListRequest { linearizable: false };
                let list = connection.cluster().member_list(request).await.ok()?.into_inner();
                let ids = |learner| {
                    let these = list.members.iter().filter(|one| one.is_learner == learner);
                    these.map(|one| MemberId(one.id)).collect::<BTreeSet<_>>()
                };
                Some((ids(false), ids(true)))
            };
            let Some(listed) = self.asked(no, asking).await.flatten() else {
                return Some(format!("{no} does not list the members"));
            };
            if listed != (voters, learners) {
                return Some(format!("{no} lists {listed:?}, and its votes are {configuration:?}"));
            }
        }
        None
    }

    /// Every member crashes at one moment; all have the same configuration as before.
    async fn all_restart(&mut self) -> Result<(), Trouble> {
        let before = self.runner.seen.tally.state.configuration.clone();
        let all: BTreeSet<MemberNo> =
            self.runner.seen.tally.state.taking_part().map(|(no, _)| no).collect();
        self.runner.submit_each(&all, |member| Command::Crash { member }).await?;
        self.runner.submit_each(&all, |member| Command::Restart { member }).await?;
        self.runner.catch_up()?;
        self.one_configuration().await?;
        let after = &self.runner.seen.tally.state.configuration;
        if *after == before {
            return Ok(());
        }
        Err(Trouble::Broken(format!("all were restarted: {before:?} became {after:?}")))
    }
}

#[cfg(test)]
mod tests {
    use lab_protocol::node_protocol::{ClusterId, Role, Status, Term};
    use lab_protocol::{Event, MemberPlan, Numbered};

    use super::*;

    /// Members of which some vote; the first leads.
    fn lab(voters: u8, learners: u8) -> LabState {
        let mut state = LabState::default();
        let all = voters + learners;
        let plan = |no| MemberPlan {
            member: MemberNo(no),
            client_url: String::new(),
            peer_url: String::new(),
        };
        let mut tell = |event| {
            let numbered = Numbered { seq: state.seq + 1, at_micros: 1, event };
            state.apply(&numbered, true);
        };
        tell(Event::RunStarted {
            run: String::new(),
            seed: 0,
            version: String::new(),
            engine: String::new(),
            token: String::new(),
            wall_millis: 0,
            members: (1..=all).map(plan).collect(),
        });
        for no in 1..=all {
            let (member, id) = (MemberNo(no), MemberId(no.into()));
            tell(Event::Process { member, process: Process::Up { pid: 1 } });
            tell(Event::Identified { member, id, cluster: ClusterId(1) });
        }
        let ids = |range: std::ops::RangeInclusive<u8>| range.map(|no| MemberId(no.into()));
        let status = Status {
            role: Role::Leader,
            term: Term(2),
            leader: Some(MemberId(1)),
            voters: ids(1..=voters).collect(),
            learners: ids(voters + 1..=all).collect(),
            ..Status::default_at(0)
        };
        tell(Event::Status { member: MemberNo(1), status: Box::new(status) });
        state
    }

    #[test]
    fn a_cluster_neither_grows_nor_shrinks_without_bounds() {
        let kinds = |state: &LabState| -> BTreeSet<usize> {
            possible(state).into_iter().map(Change::kind).collect()
        };
        let names = |kinds: &[usize]| kinds.iter().copied().collect::<BTreeSet<_>>();
        assert_eq!(kinds(&lab(3, 0)), names(&[0, 1, 3, 4, 5, 6]));
        assert_eq!(kinds(&lab(3, 1)), names(&[0, 2, 3, 4, 5, 6]), "one learner at a time");
        assert_eq!(kinds(&lab(5, 0)), names(&[3, 4, 5, 6]), "large enough");
        assert_eq!(kinds(&lab(2, 0)), names(&[0, 1, 5, 6]), "small enough");
        assert_eq!(kinds(&lab(2, 1)), names(&[0, 2, 3, 5, 6]), "a learner may always go");
    }
}
