//! Clients' commands on their way into the log, sent again whenever one may have been lost.

use std::collections::BTreeSet;

use bytes::Bytes;
use node_protocol::MemberId;
use raft::eraftpb::EntryType;

use super::{PROPOSAL_BYTES, Replica};
use crate::cluster::MemberChange;
use crate::consensus::waiters::Answer;
use crate::kv::{Command, CommandId, KvError};
use crate::training::Break;
use crate::transport::{Forwarded, Packet};

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
            None => {}
        }
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

    /// Whether enough voters can be reached to make a quorum after the change.
    fn keeps_quorum(&self, change: &MemberChange) -> bool {
        let mut voters: BTreeSet<_> =
            self.parts.driver.conf_state().voters.into_iter().map(MemberId).collect();
        match change {
            MemberChange::Add(member) if member.learner => return true,
            MemberChange::Add(member) => drop(voters.insert(member.id)),
            MemberChange::Promote(id) => drop(voters.insert(*id)),
            MemberChange::Remove(id) => drop(voters.remove(id)),
            MemberChange::UpdatePeerUrls { .. } => return true,
        }
        let reached = voters
            .iter()
            .filter(|id| **id == self.parts.member || self.connected.contains(id))
            .count();
        reached > voters.len() / 2
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
        let change = MemberChange::decode(change).ok();
        if self.parts.planted.has(Break::NaiveConfigurationSwap) {
            self.parts.driver.forget_pending_change();
        }
        let accepted = change
            .filter(|change| self.parts.membership.read().check(change).is_ok())
            .filter(|change| !self.parts.strict_reconfig_check || self.keeps_quorum(change));
        match accepted {
            // Another change is under way: sent again once it is through.
            Some(_) if self.parts.driver.has_pending_change() => {}
            // Who goes commits nothing any more: its successor removes it, and the cluster is
            // never without a leader. Sent again when there is one.
            Some(MemberChange::Remove(id)) if id == self.parts.member => {
                if let Some(to) = self.successor() {
                    self.parts.driver.transfer_leader(to);
                }
            }
            Some(change) => {
                let change = crate::apply::as_raft(&change);
                self.parts.driver.propose_change(command.clone(), change);
            }
            None => {
                self.parts.driver.propose(vec![command.clone()]);
            }
        }
    }
}
