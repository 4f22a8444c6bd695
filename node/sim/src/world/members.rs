//! The administrator: changes the members, starts those that were added, ends those removed,
//! raises and ends alarms.
//!
//! It looks at the members' own lists, as an operator does with `etcdctl member list`, and never
//! needs to know what became of a change that it asked for.

use bytes::Bytes;
use etcd_api::etcdserverpb::{AlarmRequest, AlarmType, alarm_request::AlarmAction};
use node::cluster::{MemberChange, Membership};
use node::consensus::waiters::{Answer, Outcome, Ticket};
use node::inbox::Input;
use node::kv::{Op, Response};
use node::recover::Beginning;
use node_protocol::Role;
use rand::Rng;
use tokio::sync::oneshot;

use super::{Broken, Due, World, caught, chain, no};
use crate::plan::Action;

/// How often the administrator looks.
const LOOK_MICROS: u64 = 100_000;

/// How a process says that its member was removed; see [`node::replica::Fatal::Removed`].
pub(super) const REMOVED: &str = "permanently removed";

/// A change that was asked for.
pub(super) struct Changing {
    kind: Option<&'static str>,
    answer: oneshot::Receiver<Outcome>,
    _ticket: Ticket,
}

impl World {
    /// Asks some member for a change.
    pub(super) fn change(&mut self, action: &Action) {
        let id = |place: usize| self.members[place].id;
        let change = match *action {
            Action::Add(place, learner) => {
                let mut member = self.members[place].listed.clone();
                member.learner = learner;
                MemberChange::Add(member)
            }
            Action::Promote(place) => MemberChange::Promote(id(place)),
            Action::Update(place) => {
                let port = self.random.random_range(2381..2400);
                let urls = vec![format!("http://m{}.test:{port}", place + 1)];
                MemberChange::UpdatePeerUrls { id: id(place), urls }
            }
            Action::Remove(place) => MemberChange::Remove(id(place)),
            _ => return,
        };
        let seat = self.seat();
        let Some(running) = &self.members[seat].running else { return };
        let op = Op::ChangeMembers(Bytes::from(change.encode()));
        let (ticket, answer) = running.waiters.open(op);
        running.tell(Input::Propose { seq: ticket.seq() });
        self.changing.push(Changing { kind: action.kind(), answer, _ticket: ticket });
        self.wake(seat);
    }

    /// Asks some member to raise or to end an alarm of this one.
    pub(super) fn alarm(&mut self, place: usize, raised: bool) {
        let action = if raised { AlarmAction::Activate } else { AlarmAction::Deactivate };
        let request = AlarmRequest {
            action: action.into(),
            member_id: self.members[place].id.0,
            alarm: AlarmType::Nospace.into(),
        };
        let seat = self.seat();
        let Some(running) = &self.members[seat].running else { return };
        let (ticket, answer) = running.waiters.open(Op::Alarm(request));
        running.tell(Input::Propose { seq: ticket.seq() });
        let kind = Action::Alarm(place, raised).kind();
        self.changing.push(Changing { kind, answer, _ticket: ticket });
        self.wake(seat);
    }

    /// Has a member write its state anew; whether it did. If the disk fails in it, that shows at
    /// the member's next write.
    pub(super) fn defragment(&mut self, place: usize) -> Result<bool, Broken> {
        let member = &self.members[place];
        let Some(running) =
            member.running.as_ref().filter(|_| !member.paused && !member.is_stuck())
        else {
            return Ok(false);
        };
        match caught(|| running.state.defragment().map_err(|e| chain(&e))) {
            Ok(()) => Ok(true),
            Err(why) => self.ended(place, &why).map(|()| false),
        }
    }

    /// Asks whoever leads to hand its office over; whether anybody was asked.
    pub(super) fn move_leader(&mut self, to: usize) -> bool {
        let leads = |member: &super::Member| member.last_status.role == Role::Leader;
        let Some(from) = self.members.iter().position(leads) else { return false };
        let to = self.members[to].id;
        let Some(running) = &self.members[from].running else { return false };
        running.tell(Input::MoveLeader { to });
        self.wake(from);
        true
    }

    /// A member to turn to: one that has data and was not removed, whether it runs or not.
    pub(super) fn seat(&mut self) -> usize {
        let there = |place: &usize| self.members[*place].begun && !self.members[*place].gone;
        let seats: Vec<_> = (0..self.members.len()).filter(there).collect();
        seats[self.random.random_range(0..seats.len())]
    }

    /// One look of the administrator; the next is due in a moment.
    pub(super) fn administer(&mut self) -> Result<(), Broken> {
        let next = self.now() + LOOK_MICROS;
        self.due(next, Due::Administer);
        for mut changing in std::mem::take(&mut self.changing) {
            match (changing.answer.try_recv(), changing.kind) {
                (Err(oneshot::error::TryRecvError::Empty), _) => self.changing.push(changing),
                (Ok(Outcome::Answered(answer)), Some(kind)) => {
                    if let Answer::Members(Ok(_)) | Answer::Kv(Ok(Response::Alarm(_))) = *answer {
                        self.tally.acted(kind);
                    }
                }
                (Ok(_) | Err(oneshot::error::TryRecvError::Closed), _) => {}
            }
        }
        // Of those that stay: one that goes may know of it before anybody else does.
        let lists: Vec<Membership> = self
            .members
            .iter()
            .filter_map(|member| {
                let list = member.running.as_ref()?.membership.read().clone();
                list.get(member.id).is_some().then_some(list)
            })
            .collect();
        for place in 0..self.members.len() {
            let id = self.members[place].id;
            if !self.members[place].begun {
                if let Some(members) = lists.iter().find(|list| list.get(id).is_some()) {
                    self.set_up(place, &Beginning::Join { members: members.clone() })?;
                }
            } else if !self.members[place].gone && lists.iter().any(|list| list.removed(id)) {
                // It may run on for a while without knowing.
                if self.random.random_range(0..10) == 0 {
                    self.members[place].gone = true;
                    self.stop(place, false)?;
                }
            }
        }
        Ok(())
    }

    /// Ends whoever was removed and has not heard of it.
    pub(super) fn turn_off_removed(&mut self) -> Result<(), Broken> {
        let Some((_, list)) = self.newest_leader() else { return Ok(()) };
        for place in 0..self.members.len() {
            if list.removed(self.members[place].id) {
                self.members[place].gone = true;
                self.stop(place, false)?;
            }
        }
        Ok(())
    }

    /// Fills a member's empty disk and starts it.
    pub(super) fn set_up(&mut self, place: usize, beginning: &Beginning) -> Result<(), Broken> {
        let Self { common, members, .. } = self;
        let member = &mut members[place];
        common
            .begin(&member.disk, member.id, beginning)
            .map_err(|error| format!("{} cannot begin: {}", no(place), chain(&error)))?;
        member.begun = true;
        self.start(place)
    }
}
