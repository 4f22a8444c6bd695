//! Clients' commands on their way into the log, sent again whenever one may have been lost.

use std::collections::BTreeSet;

use bytes::Bytes;
use node_protocol::MemberId;
use raft::eraftpb::EntryType;

use super::{PROPOSAL_BYTES, Replica};
use crate::causes::with_causes;
use crate::cluster::{ChangeError, MemberChange};
use crate::consensus::waiters::Answer;
use crate::kv::{Command, CommandId, KvError, Op, check_op};
use crate::training::Break;
use crate::transport::{Forwarded, Packet};

/// Whether a command of a peer can be applied: one that cannot be read would end every member that
/// comes to it in its log, and again after each restart. How many operations a transaction may have
/// is for the member that was asked to say.
pub(super) fn sound(command: &Bytes) -> Result<(), String> {
    let command = Command::decode(command).map_err(|error| with_causes(&error))?;
    check_op(&command.op, usize::MAX).map_err(|error| error.to_string())
}

impl Replica {
    /// Sends every open command again: the leader may never have got it.
    pub(super) fn resend(&mut self) {
        let all = self.parts.waiters.all();
        self.resend_mark = all.last().map_or(self.resend_mark, |(seq, _)| *seq);
        self.send_again(all);
    }

    /// Sends again what has waited since the last time.
    pub(super) fn resend_old(&mut self) {
        let mut all = self.parts.waiters.all();
        let newest = all.last().map(|(seq, _)| *seq);
        let mark = self.resend_mark;
        all.retain(|(seq, _)| *seq <= mark);
        self.resend_mark = newest.unwrap_or(mark);
        self.send_again(all);
    }

    pub(super) fn send_again(&mut self, commands: Vec<(u64, Bytes)>) {
        // What is in `own` has not been sent at all yet.
        let fresh: BTreeSet<u64> = self.own.iter().copied().collect();
        for (seq, command) in commands {
            if !fresh.contains(&seq) {
                self.hand_over(Forwarded { again: true, command });
            }
        }
    }

    /// Gives a command to whoever leads; without a leader it waits in the table.
    pub(super) fn hand_over(&mut self, forwarded: Forwarded) {
        match self.leader() {
            Some(leader) if leader == self.parts.member => self.forwarded.push(forwarded),
            Some(leader) => self.out.push((leader, Packet::Forward(forwarded))),
            None => self.refuse_unhealthy(&forwarded),
        }
    }

    /// Answers who asks for a new member where nobody leads and too few can be reached for a leader:
    /// it would wait in vain. What was sent before may be in some log, so that is left alone.
    fn refuse_unhealthy(&self, forwarded: &Forwarded) {
        let Forwarded { again: false, command } = forwarded else { return };
        let change = Command::member_change(command).and_then(|c| MemberChange::decode(&c).ok());
        if !self.parts.strict_reconfig_check || !matches!(change, Some(MemberChange::Add(_))) {
            return;
        }
        let voters = self.parts.membership.read().voters();
        let reached = voters.iter().filter(|id| self.is_reached(**id)).count();
        if let Some(id) = Command::id_of(command)
            && reached <= voters.len() / 2
        {
            self.parts.waiters.answer(id, Answer::Members(Err(ChangeError::Unhealthy)));
        }
    }

    fn is_reached(&self, member: MemberId) -> bool {
        member == self.parts.member || self.connected.contains(&member)
    }

    pub(super) fn propose(&mut self) {
        for seq in std::mem::take(&mut self.own) {
            if let Some(command) = self.parts.waiters.command(seq) {
                if self.parts.planted.has(Break::AcknowledgeAtOnce) {
                    self.answer_too_early(std::slice::from_ref(&command));
                }
                if self.parts.planted.has(Break::NoQueue) && self.leader().is_none() {
                    self.refuse(&command);
                    continue;
                }
                self.hand_over(Forwarded { again: false, command });
            }
        }
        if self.forwarded.is_empty() {
            return;
        }
        let forwarded = std::mem::take(&mut self.forwarded);
        if !self.parts.driver.is_leader() {
            // Whoever sent it has not heard yet; it sends again when it has.
            return;
        }
        let repeated = self.already_logged(&forwarded);
        let mut batch = Vec::new();
        let mut batch_bytes = 0;
        for Forwarded { again, command } in forwarded {
            let Some(id) = Command::id_of(&command) else { continue };
            if again && repeated.contains(&id) {
                continue;
            }
            if let Some(change) = Command::member_change(&command) {
                self.append(&mut batch, &mut batch_bytes);
                self.propose_change(&change, &command);
                continue;
            }
            batch_bytes += command.len();
            batch.push(command);
            if batch_bytes > PROPOSAL_BYTES {
                self.append(&mut batch, &mut batch_bytes);
            }
        }
        self.append(&mut batch, &mut batch_bytes);
    }

    pub(super) fn append(&mut self, batch: &mut Vec<Bytes>, bytes: &mut usize) {
        *bytes = 0;
        if batch.is_empty() {
            return;
        }
        if self.parts.planted.has(Break::AcknowledgeBeforeCommit) {
            self.answer_too_early(batch);
        }
        if !self.parts.driver.propose(std::mem::take(batch)) {
            // Too much is uncommitted, or leadership is being handed over: sent again later.
            tracing::debug!("proposals not taken in");
        }
    }

    /// The planted bug: answers what is only in the leader's memory.
    pub(super) fn answer_too_early(&self, batch: &[Bytes]) {
        let revision = self.parts.store.read().revision();
        for command in batch.iter().filter_map(|command| Command::decode(command).ok()) {
            if let Some(early) = crate::training::guess(&command.op, revision) {
                self.parts.waiters.answer(command.id, Answer::Kv(Ok(early)));
            }
        }
    }

    /// The planted bug: refuses what should wait, in the words of any refusal.
    fn refuse(&self, command: &Bytes) {
        if let Some(id) = Command::id_of(command) {
            self.parts.waiters.answer(id, Answer::Kv(Err(KvError::LeaseExists)));
        }
    }

    /// The planted bug: refuses everything that waits.
    pub(super) fn refuse_all(&self) {
        for (_, command) in self.parts.waiters.all() {
            self.refuse(&command);
        }
    }

    /// Names of commands sent again that stand in the log already, applied or not.
    pub(super) fn already_logged(&self, forwarded: &[Forwarded]) -> BTreeSet<CommandId> {
        if !forwarded.iter().any(|forwarded| forwarded.again) {
            return BTreeSet::new();
        }
        self.parts
            .driver
            .unapplied()
            .filter(|entry| entry.get_entry_type() == EntryType::EntryNormal)
            .filter_map(|entry| Command::id_of(&entry.data))
            .collect()
    }

    /// Why a change that the membership allows is refused nevertheless.
    fn refusal(&self, change: &MemberChange) -> Option<ChangeError> {
        if let MemberChange::Promote(id) = change
            && !self.is_in_sync(*id)
        {
            return Some(ChangeError::LearnerNotReady);
        }
        if self.parts.strict_reconfig_check { self.costs_quorum(change) } else { None }
    }

    /// Whether a learner has nine tenths of what the leader has (etcd's rule).
    fn is_in_sync(&self, learner: MemberId) -> bool {
        let matched = |id| self.parts.driver.matched(id).map_or(0, |index| index.0);
        matched(learner) * 10 >= matched(self.parts.member) * 9
    }

    /// Why the change could cost the quorum: too few of the voters there would be have ever
    /// started, or too few of them can be reached now.
    fn costs_quorum(&self, change: &MemberChange) -> Option<ChangeError> {
        let mut voters: BTreeSet<_> =
            self.parts.driver.conf_state().voters.into_iter().map(MemberId).collect();
        let alone = voters.len() == 1;
        match change {
            MemberChange::Add(member) if member.learner => return None,
            MemberChange::Add(member) => drop(voters.insert(member.id)),
            MemberChange::Promote(id) => drop(voters.insert(*id)),
            MemberChange::Remove(id) => drop(voters.remove(id)),
            MemberChange::UpdatePeerUrls { .. } | MemberChange::Refused(..) => return None,
        }
        let quorum = voters.len() / 2 + 1;
        let membership = self.parts.membership.read();
        let has_started = |id: &MemberId| {
            *id == self.parts.member
                || membership.get(*id).is_some_and(|member| !member.name.is_empty())
        };
        // A member alone may always be joined by a second.
        if alone {
            None
        } else if voters.iter().filter(|id| has_started(id)).count() < quorum {
            Some(ChangeError::NotEnoughStarted)
        } else if voters.iter().filter(|id| self.is_reached(**id)).count() < quorum {
            Some(ChangeError::Unhealthy)
        } else {
            None
        }
    }

    /// Of the other voters that can be reached, the one that has most of the log.
    fn successor(&self) -> Option<MemberId> {
        let voters = self.parts.driver.conf_state().voters.into_iter().map(MemberId);
        voters
            .filter(|id| *id != self.parts.member && self.connected.contains(id))
            .max_by_key(|id| self.parts.driver.matched(*id))
    }

    /// A change that would be refused goes into the log as a plain command, so that the asking
    /// member is told through it like everybody else.
    pub(super) fn propose_change(&mut self, change: &Bytes, command: &Bytes) {
        let Ok(change) = MemberChange::decode(change) else {
            self.parts.driver.propose(vec![command.clone()]);
            return;
        };
        if self.parts.planted.has(Break::NaiveConfigurationSwap) {
            self.parts.driver.forget_pending_change();
        }
        let checked = self.parts.membership.read().check(&change);
        if let Some(error) = checked.err().or_else(|| self.refusal(&change)) {
            let refused = MemberChange::Refused(change.member(), error);
            self.parts.driver.propose(vec![in_place_of(command, &refused)]);
            return;
        }
        match change {
            // Another change is under way: sent again once it is through.
            _ if self.parts.driver.has_pending_change() => {}
            // Who goes commits nothing any more: its successor removes it, and the cluster is
            // never without a leader. Sent again when there is one.
            MemberChange::Remove(id) if id == self.parts.member => {
                if let Some(to) = self.successor() {
                    self.parts.driver.transfer_leader(to);
                }
            }
            change => {
                let change = crate::apply::as_raft(&change);
                self.parts.driver.propose_change(command.clone(), change);
            }
        }
    }
}

/// The command with another change in it, under the same name.
fn in_place_of(command: &Bytes, change: &MemberChange) -> Bytes {
    match Command::decode(command) {
        Ok(asked) => Command { op: Op::ChangeMembers(change.encode().into()), ..asked }.encode(),
        // Whoever applies it says what is wrong.
        Err(_) => command.clone(),
    }
}
