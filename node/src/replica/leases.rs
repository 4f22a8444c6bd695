//! Leases by the leader's time: taking office, answering questions, revoking what has expired.

use std::collections::BTreeMap;

use node_protocol::{MemberId, TraceEvent};
use tokio::sync::oneshot;

use super::{LEASE_PERIOD_MICROS, REVOKES_AT_ONCE, Replica};
use crate::inbox::Refusal;
use crate::kv::Op;
use crate::lease::{AskId, LeaseAnswer, LeaseAsk};
use crate::training::{Break, LEASE_EARLY_MICROS};
use crate::transport::Packet;

/// Questions that wait for the leader's answer.
#[derive(Default)]
pub(super) struct Asks {
    next: u64,
    /// This member's own, which the leader was asked.
    pub(super) open: BTreeMap<AskId, (LeaseAsk, oneshot::Sender<Result<LeaseAnswer, Refusal>>)>,
    /// Those which this member is to answer as the leader.
    confirming: Vec<Confirming>,
}

/// A question that waits until this member is known to lead.
struct Confirming {
    ask: LeaseAsk,
    asker: Asker,
    confirmed: oneshot::Receiver<Result<(), Refusal>>,
}

/// Who wants to know.
enum Asker {
    Own(oneshot::Sender<Result<LeaseAnswer, Refusal>>),
    Peer { member: MemberId, id: AskId },
}

impl Replica {
    /// A new leader gives every lease its full time again, and an election timeout on top.
    pub(super) fn take_office(&mut self) {
        if self.parts.planted.has(Break::LeaderForgetsTail) {
            self.parts.driver.forget_tail();
        }
        if self.parts.planted.has(Break::LeaseNotExtended) {
            let leases: Vec<_> = self.parts.store.read().lease_terms().map(|(id, _)| id).collect();
            self.propose_revokes(leases);
        }
        let now = self.parts.clock.now_micros();
        let extend = u64::from(self.parts.election_ticks) * u64::from(self.parts.tick_micros);
        let count = self.parts.lessor.lock().promote(now, extend);
        self.leases_at_micros = now;
        if count > 0 {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            self.trace(TraceEvent::LeasesExtended { count });
        }
    }

    /// Takes a question of this member's own clients.
    pub(super) fn ask(
        &mut self,
        ask: LeaseAsk,
        answer: oneshot::Sender<Result<LeaseAnswer, Refusal>>,
    ) {
        if self.parts.driver.is_leader() {
            return self.confirm(ask, Asker::Own(answer));
        }
        self.asks.next += 1;
        let id = AskId { boot: self.parts.waiters.boot(), number: self.asks.next };
        if let Some(leader) = self.leader() {
            self.out.push((leader, Packet::Ask { id, ask }));
        }
        self.asks.open.insert(id, (ask, answer));
    }

    /// Takes a question that a peer believes this member can answer.
    pub(super) fn asked_by(&mut self, member: MemberId, id: AskId, ask: LeaseAsk) {
        if self.parts.driver.is_leader() {
            self.confirm(ask, Asker::Peer { member, id });
        } else {
            self.out.push((member, Packet::Answer { id, answer: None }));
        }
    }

    /// Has a question wait until a quorum has confirmed that this member leads and everything
    /// before has been applied: who was deposed without knowing it, or has only just taken office,
    /// knows nothing of the newest leases.
    fn confirm(&mut self, ask: LeaseAsk, asker: Asker) {
        let (answer, confirmed) = oneshot::channel();
        self.reads.add(answer);
        self.asks.confirming.push(Confirming { ask, asker, confirmed });
    }

    /// Answers the questions for which that has been confirmed.
    pub(super) fn answer_asked(&mut self) {
        if self.asks.confirming.is_empty() {
            return;
        }
        let leads = self.parts.driver.is_leader();
        for mut waiting in std::mem::take(&mut self.asks.confirming) {
            let confirmed = match waiting.confirmed.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) if leads => {
                    self.asks.confirming.push(waiting);
                    continue;
                }
                result => matches!(result, Ok(Ok(()))),
            };
            let Confirming { ask, asker, .. } = waiting;
            let told = (leads && confirmed).then(|| self.answer_ask(ask));
            match (asker, told) {
                // Whoever asked may have gone.
                (Asker::Own(answer), Some(told)) => drop(answer.send(Ok(told))),
                // Somebody else has to be asked.
                (Asker::Own(answer), None) => self.ask(ask, answer),
                (Asker::Peer { member, id }, answer) => {
                    self.out.push((member, Packet::Answer { id, answer }));
                }
            }
        }
    }

    fn answer_ask(&self, ask: LeaseAsk) -> LeaseAnswer {
        let now = self.parts.clock.now_micros();
        let mut lessor = self.parts.lessor.lock();
        match ask {
            LeaseAsk::KeepAlive { lease } => lessor.renew(lease, now),
            LeaseAsk::TimeToLive { lease } => lessor.time_to_live(lease, now),
        }
    }

    /// Asks the present leader whatever is still open; forgets what nobody waits for.
    pub(super) fn ask_again(&mut self) {
        for (_, (ask, answer)) in std::mem::take(&mut self.asks.open) {
            if !answer.is_closed() {
                self.ask(ask, answer);
            }
        }
    }

    /// Revokes expired leases, but only after a quorum has confirmed that this member still
    /// leads: one that slept through its own deposition must not end what its successor extended.
    pub(super) fn expire_leases(&mut self) {
        let mut now = self.parts.clock.now_micros();
        if self.parts.planted.has(Break::LeaseEarly) {
            now += LEASE_EARLY_MICROS;
        }
        let term = self.parts.driver.standing().term;
        if let Some((since, confirmed)) = &mut self.expired {
            match confirmed.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => return,
                Ok(Ok(())) if *since == term => self.revoke(now),
                Ok(_) | Err(oneshot::error::TryRecvError::Closed) => {}
            }
            self.expired = None;
            return;
        }
        if now < self.leases_at_micros + LEASE_PERIOD_MICROS {
            return;
        }
        self.leases_at_micros = now;
        if !self.parts.lessor.lock().any_expired(now) {
            return;
        }
        if self.parts.planted.has(Break::OldLeaderRevokes) {
            self.revoke(now);
        } else {
            let (answer, confirmed) = oneshot::channel();
            self.reads.add(answer);
            self.expired = Some((term, confirmed));
        }
    }

    pub(super) fn revoke(&mut self, now: u64) {
        let expired = self.parts.lessor.lock().expired(now, REVOKES_AT_ONCE);
        if self.parts.planted.has(Break::OldLeaderRevokes) {
            return self.revoke_for_ever(expired);
        }
        self.propose_revokes(expired);
    }

    /// The planted bug: revokes are commands like those of clients, sent again until applied.
    fn revoke_for_ever(&mut self, leases: Vec<i64>) {
        for id in leases {
            let (ticket, _) = self.parts.waiters.open(Op::LeaseRevoke { id });
            self.own.push(ticket.seq());
            std::mem::forget(ticket);
        }
    }

    fn propose_revokes(&mut self, leases: Vec<i64>) {
        let revokes: Vec<_> = leases
            .into_iter()
            .map(|lease| self.parts.waiters.name_only(Op::LeaseRevoke { id: lease }))
            .collect();
        if !revokes.is_empty() {
            self.parts.metrics.leases_expired.inc_by(revokes.len() as u64);
            self.parts.driver.propose(revokes);
        }
    }
}
