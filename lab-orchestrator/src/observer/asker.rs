//! Asks a member that does not speak by itself: real etcd, or whoever speaks its API.
//!
//! Ten times a second it is asked for its status and for the members that it knows, on a
//! connection of its own, which no fault acts on. Where the lab started the process, the lines of
//! its log are read besides ([`EtcdLog`]): they tell each election at its moment, and what a
//! process is that does not serve clients yet.
//!
//! Of what such a member does not tell, a [`Status`] has nothing: no vote, no terms of entries, no
//! progress, no timers. `last` and `commit` are the one index that it tells, the newest one it
//! knows to be committed; what it holds behind that, and before, is not known, so `first` stands
//! behind `last`.

use std::time::Duration;

use etcd_api::etcdserverpb::{Member, MemberListRequest, StatusRequest, StatusResponse};
use http::Uri;
use lab_protocol::{Event, Feed, MemberNo};
use node_protocol::telemetry::Traced;
use node_protocol::{ClusterId, Index, MemberId, Revision, Role, Status, Term, TraceEvent};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::etcd_log::{EtcdLog, Own};
use super::{Expect, FIRST_RETRY, LAST_RETRY, LabGone, QUIET_AFTER};
use crate::clock::RunClock;
use crate::supervisor::{Lines, Printed};
use crate::workload::{Connection, Dialler};

/// Between an answer and the next question.
const EVERY: Duration = Duration::from_millis(100);

/// A status is told at least so often, changed or not.
const TELL: Duration = Duration::from_secs(1);

/// An error that every follower without a leader tells; its status says it already.
const NO_LEADER: &str = "etcdserver: no leader";

/// Who has to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The member of this name, `m1` and so on.
    Named,
    /// The member with this identity.
    Known(MemberId),
}

/// Asks one member.
pub(super) struct Asker {
    pub(super) member: MemberNo,
    pub(super) origin: Uri,
    pub(super) whose: Whose,
    pub(super) clock: RunClock,
    pub(super) expect: watch::Receiver<Expect>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) dialler: Dialler,
    /// What its processes print; none of a process that is not the lab's.
    pub(super) lines: Option<Lines>,
    pub(super) ear: Ear,
}

/// What was heard of one member so far.
#[derive(Debug, Default)]
pub(super) struct Ear {
    log: EtcdLog,
    is_learner: bool,
    /// The last term in which it named a leader, and whom.
    led: Option<(Term, MemberId)>,
    /// Trace events so far.
    traced: u64,
    said: String,
}

/// What was told of the present process.
#[derive(Default)]
struct Told {
    identity: Option<(MemberId, ClusterId)>,
    status: Option<(Box<Status>, Instant)>,
    feed: Option<Feed>,
    /// Whether it has answered anything.
    served: bool,
}

/// What a member answered.
struct Answer {
    status: StatusResponse,
    /// Nothing from a learner, which tells nobody (etcd 3.4).
    members: Vec<Member>,
}

/// What came instead of an answer.
enum Turn {
    Down,
    Due,
    Resumed,
    Printed(Printed),
}

impl Asker {
    pub(super) async fn follow(mut self) {
        // It fails when the lab is gone, and then there is nobody to tell.
        while self.one_process().await.is_ok() {}
    }

    /// Waits for a process to be up and asks it until it is down.
    async fn one_process(&mut self) -> Result<(), LabGone> {
        while *self.expect.borrow() == Expect::Nothing {
            tokio::select! {
                changed = self.expect.changed() => changed.map_err(|_| LabGone)?,
                // Its last words.
                printed = next(&mut self.lines) => drop(self.printed(&printed).await?),
            }
        }
        let mut told = Told::default();
        let mut retry = FIRST_RETRY;
        let mut connection = None;
        let mut next_at = Instant::now();
        loop {
            match self.turn(next_at).await? {
                Turn::Down => break,
                Turn::Printed(printed) => {
                    if self.printed(&printed).await? {
                        self.by_its_log(&mut told).await?;
                        // The rest of the picture is asked for at once.
                        next_at = Instant::now();
                    }
                    continue;
                }
                // What it said before it was paused is not what it says now.
                Turn::Resumed => told.status = None,
                Turn::Due => {}
            }
            let question = ask(self.dialler.clone(), self.origin.clone(), connection.take());
            let mut question = Box::pin(timeout(QUIET_AFTER, question));
            let mut is_old = false;
            let answer = loop {
                tokio::select! {
                    biased;
                    printed = next(&mut self.lines) => {
                        // It may have been answered before that.
                        if self.printed(&printed).await? {
                            is_old = true;
                            self.by_its_log(&mut told).await?;
                        }
                    }
                    answer = &mut question => break answer,
                    changed = self.expect.changed() => {
                        changed.map_err(|_| LabGone)?;
                        if *self.expect.borrow() == Expect::Nothing {
                            return self.lost(&mut told).await;
                        }
                        told.status = None;
                        is_old = true;
                    }
                }
            };
            next_at = Instant::now() + EVERY;
            match answer {
                Ok(Ok((open, answer))) => {
                    connection = Some(open);
                    retry = FIRST_RETRY;
                    match is_old {
                        true => next_at = Instant::now(),
                        false => self.answered(answer, &mut told).await?,
                    }
                }
                Ok(Err(())) => {
                    self.lost(&mut told).await?;
                    self.by_its_log(&mut told).await?;
                    next_at = Instant::now() + retry;
                    retry = (retry * 2).min(LAST_RETRY);
                }
                // Whoever is paused is silent because it was paused.
                Err(_) if *self.expect.borrow() == Expect::Speech && told.feed.is_some() => {
                    self.feed(Feed::Quiet, &mut told).await?;
                }
                Err(_) => self.by_its_log(&mut told).await?,
            }
        }
        self.lost(&mut told).await
    }

    /// Waits until it is time to ask.
    async fn turn(&mut self, next_at: Instant) -> Result<Turn, LabGone> {
        if *self.expect.borrow() == Expect::Nothing {
            return Ok(Turn::Down);
        }
        tokio::select! {
            biased;
            changed = self.expect.changed() => {
                changed.map_err(|_| LabGone)?;
                Ok(match *self.expect.borrow() {
                    Expect::Nothing => Turn::Down,
                    Expect::Speech | Expect::Silence => Turn::Resumed,
                })
            }
            printed = next(&mut self.lines) => Ok(Turn::Printed(printed)),
            () = sleep_until(next_at) => Ok(Turn::Due),
        }
    }

    /// A line of its log; whether it tells of something that an older answer does not know.
    async fn printed(&mut self, printed: &Printed) -> Result<bool, LabGone> {
        let member = self.member;
        if printed.lost_before > 0 {
            let count = printed.lost_before;
            self.ear.log.gap();
            self.tell(Event::TraceLost { member, count }).await?;
        }
        let Some(mut event) = self.ear.log.read(&printed.text) else { return Ok(false) };
        if let TraceEvent::Became { role, .. } = &mut event
            && self.ear.is_learner
            && *role == Role::Follower
        {
            *role = Role::Learner;
        }
        self.ear.traced += 1;
        let at_micros = self.clock.from_machine_micros(printed.at_micros);
        let traced = Traced { seq: self.ear.traced, at_micros, event };
        self.tell(Event::Trace { member, traced }).await?;
        Ok(true)
    }

    async fn answered(&mut self, answer: Answer, told: &mut Told) -> Result<(), LabGone> {
        let header = answer.status.header.unwrap_or_default();
        let identity = (MemberId(header.member_id), ClusterId(header.cluster_id));
        let own = answer.members.iter().find(|known| known.id == header.member_id);
        let name = own.map_or("", |own| own.name.as_str());
        let stranger = match self.whose {
            // It tells its name some time after it has begun.
            Whose::Named => !name.is_empty() && name != self.member.to_string(),
            Whose::Known(id) => id != identity.0,
        };
        if stranger {
            let who = if name.is_empty() { identity.0.to_string() } else { name.to_owned() };
            let text = format!("who answers at {} as {} is {who}", self.origin, self.member);
            return self.say_once(text).await;
        }
        let member = self.member;
        told.served = true;
        self.identified(identity, told).await?;
        self.feed(Feed::Live, told).await?;
        self.ear.is_learner = answer.status.is_learner;
        let errors = answer.status.errors.iter().filter(|error| !error.contains(NO_LEADER));
        let errors: Vec<_> = errors.map(String::as_str).collect();
        if !errors.is_empty() {
            self.say_once(format!("{member} says: {}", errors.join("; "))).await?;
        }
        let Ear { log, led, .. } = &mut self.ear;
        let status = status(&answer, log.own(), led, self.clock.now_micros());
        self.pictured(status, told).await
    }

    /// What its log says is so at once; before a process serves clients there is nothing else.
    async fn by_its_log(&mut self, told: &mut Told) -> Result<(), LabGone> {
        let own = self.ear.log.own().clone();
        let Own { identity, role, term, leader, configuration, commit, applied, last } = own;
        let (Some(identity), Some(role)) = (identity, role) else { return Ok(()) };
        // What it found on its disk is old by then.
        if told.served {
            let Some((status, _)) = &told.status else { return Ok(()) };
            let role = if self.ear.is_learner { status.role } else { role };
            let mut status = Status { role, term, leader, ..status.as_ref().clone() };
            status.at_micros = self.clock.now_micros();
            if let Some((voters, learners)) = configuration {
                (status.voters, status.learners) = (voters, learners);
            }
            return self.pictured(status, told).await;
        }
        self.identified(identity, told).await?;
        let status = Status {
            role,
            term,
            leader,
            first: Index(last.0 + 1),
            last,
            persisted: last,
            commit,
            applied,
            ..Status::default_at(self.clock.now_micros())
        };
        self.pictured(status, told).await
    }

    async fn identified(
        &self,
        identity: (MemberId, ClusterId),
        told: &mut Told,
    ) -> Result<(), LabGone> {
        if told.identity.replace(identity) == Some(identity) {
            return Ok(());
        }
        let (member, (id, cluster)) = (self.member, identity);
        self.tell(Event::Identified { member, id, cluster }).await
    }

    /// Tells a status if it is another, or none was told for some time.
    async fn pictured(&self, status: Status, told: &mut Told) -> Result<(), LabGone> {
        let (member, status) = (self.member, Box::new(status));
        let is_new = told
            .status
            .as_ref()
            .is_none_or(|(last, at)| !status.same_but_for_time(last) || at.elapsed() >= TELL);
        if is_new {
            told.status = Some((status.clone(), Instant::now()));
            self.tell(Event::Status { member, status }).await?;
        }
        Ok(())
    }

    async fn lost(&self, told: &mut Told) -> Result<(), LabGone> {
        if told.feed.is_none() {
            return Ok(());
        }
        self.feed(Feed::Lost, told).await?;
        *told = Told { served: told.served, ..Told::default() };
        Ok(())
    }

    async fn feed(&self, feed: Feed, told: &mut Told) -> Result<(), LabGone> {
        if told.feed.as_ref() == Some(&feed) {
            return Ok(());
        }
        told.feed = Some(feed.clone());
        self.tell(Event::Telemetry { member: self.member, feed }).await
    }

    async fn say_once(&mut self, text: String) -> Result<(), LabGone> {
        if self.ear.said == text {
            return Ok(());
        }
        self.ear.said.clone_from(&text);
        self.tell(Event::Note { text }).await
    }

    async fn tell(&self, event: Event) -> Result<(), LabGone> {
        self.events.send(event).await.map_err(|_| LabGone)
    }
}

/// The next line that was printed; never comes where nothing is read. Cancel safe.
async fn next(lines: &mut Option<Lines>) -> Printed {
    match lines {
        Some(lines) => match lines.recv().await {
            Some(printed) => printed,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// Asks for both, on this connection or a new one.
async fn ask(
    dialler: Dialler,
    origin: Uri,
    open: Option<Connection>,
) -> Result<(Connection, Answer), ()> {
    let connection = match open.filter(|open| !open.is_closed()) {
        Some(open) => open,
        None => dialler.dial(&origin).await.map_err(drop)?,
    };
    let mut maintenance = connection.maintenance();
    let status = maintenance.status(StatusRequest {}).await.map_err(drop)?.into_inner();
    // From its own memory: whoever is cut off answers as well.
    let request = MemberListRequest { linearizable: false };
    let members = match connection.cluster().member_list(request).await {
        Ok(list) => list.into_inner().members,
        Err(_) => Vec::new(),
    };
    Ok((connection, Answer { status, members }))
}

/// What an answer says, as far as it goes, beside what the log said. `led` is the last term in
/// which it named a leader.
///
/// A member answers with the term of the entry that it applied last, which is behind its own while
/// it campaigns and when it begins to lead, but with the leader of the moment. Where there is a
/// log, role, term and leader are therefore those of the log; a leader that is lost and found again
/// in one step stands nowhere in it, and is taken from an answer of the same term. Where there is
/// no log, another leader in the same term is one of a later term, and is not named before that is
/// told.
fn status(
    answer: &Answer,
    own: &Own,
    led: &mut Option<(Term, MemberId)>,
    at_micros: u64,
) -> Status {
    let Answer { status, members } = answer;
    let header = status.header.unwrap_or_default();
    let named = (status.leader != 0).then_some(MemberId(status.leader));
    let (role, term, leader) = match own.role {
        Some(role) => {
            let follows = |id: &MemberId| {
                let is_other = id.0 != header.member_id;
                role == Role::Follower && Term(status.raft_term) == own.term && is_other
            };
            (role, own.term, own.leader.or(named.filter(follows)))
        }
        None => {
            let term = Term(status.raft_term);
            let other = |id: &MemberId| led.is_some_and(|last| last.0 == term && last.1 != *id);
            let leader = named.filter(|id| !other(id));
            *led = leader.map(|id| (term, id)).or(*led);
            match leader {
                Some(MemberId(id)) if id == header.member_id => (Role::Leader, term, leader),
                Some(_) | None => (Role::Follower, term, leader),
            }
        }
    };
    let role = if status.is_learner && role == Role::Follower { Role::Learner } else { role };
    let ids = |learners: bool| {
        let mut ids: Vec<_> = members
            .iter()
            .filter(|known| known.is_learner == learners)
            .map(|known| MemberId(known.id))
            .collect();
        ids.sort_unstable();
        ids
    };
    let (voters, learners) = own.configuration.clone().unwrap_or_else(|| (ids(false), ids(true)));
    let commit = Index(status.raft_index);
    // Before 3.4 it was not told.
    let applied = match status.raft_applied_index {
        0 => commit,
        applied => Index(applied),
    };
    Status {
        role,
        term,
        leader,
        first: Index(commit.0 + 1),
        last: commit,
        persisted: applied,
        commit,
        applied,
        revision: Revision(header.revision),
        voters,
        learners,
        state_bytes: u64::try_from(status.db_size).unwrap_or(0),
        ..Status::default_at(at_micros)
    }
}

#[cfg(test)]
mod tests {
    use etcd_api::etcdserverpb::ResponseHeader;

    use super::*;

    #[test]
    fn a_status_has_what_was_told_and_nothing_else() {
        let header = ResponseHeader { cluster_id: 9, member_id: 1, revision: 7, raft_term: 3 };
        let known = |id, is_learner| Member { id, is_learner, ..Member::default() };
        let mut answer = Answer {
            status: StatusResponse {
                header: Some(header),
                leader: 1,
                raft_index: 12,
                raft_applied_index: 11,
                raft_term: 3,
                db_size: 4096,
                ..StatusResponse::default()
            },
            members: vec![known(2, false), known(1, false), known(3, true)],
        };
        let (silent, mut led) = (Own::default(), None);
        let leads = status(&answer, &silent, &mut led, 5);
        assert_eq!((leads.role, leads.term, leads.at_micros), (Role::Leader, Term(3), 5));
        assert_eq!((leads.last, leads.commit, leads.applied), (Index(12), Index(12), Index(11)));
        assert_eq!((leads.voters.len(), leads.learners), (2, vec![MemberId(3)]));
        assert_eq!((leads.vote, leads.terms.len(), leads.progress.len()), (None, 0, 0));
        assert!(!leads.promotable && leads.first > leads.last);

        answer.status.leader = 2;
        let follows = status(&answer, &silent, &mut led, 5);
        assert_eq!((follows.role, follows.leader), (Role::Follower, None), "of a later term");
        answer.status.raft_term = 4;
        assert_eq!(status(&answer, &silent, &mut led, 5).leader, Some(MemberId(2)));

        let campaigns = Own { role: Some(Role::Candidate), term: Term(5), ..Own::default() };
        let campaigns = status(&answer, &campaigns, &mut led, 5);
        assert_eq!((campaigns.role, campaigns.term), (Role::Candidate, Term(5)));
        assert_eq!(campaigns.leader, None);
        let follows = |term| Own { role: Some(Role::Follower), term: Term(term), ..Own::default() };
        assert_eq!(status(&answer, &follows(4), &mut led, 5).leader, Some(MemberId(2)));
        assert_eq!(status(&answer, &follows(5), &mut led, 5).leader, None, "of the term before");
        answer.status.is_learner = true;
        assert_eq!(status(&answer, &silent, &mut led, 5).role, Role::Learner);
    }
}
