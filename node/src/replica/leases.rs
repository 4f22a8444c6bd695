//! Leases by the leader's time: taking office, answering questions, revoking what has expired.

use node_protocol::TraceEvent;
use tokio::sync::oneshot;

use super::{LEASE_PERIOD_MICROS, REVOKES_AT_ONCE, Replica};
use crate::inbox::Refusal;
use crate::kv::Op;
use crate::lease::{LeaseAnswer, LeaseAsk};
use crate::training::{Break, LEASE_EARLY_MICROS};
use crate::transport::Packet;

impl Replica {
    /// A new leader gives every lease its full time again, and an election timeout on top.
    pub(super) fn take_office(&mut self) {
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

    pub(super) fn ask(
        &mut self,
        ask: LeaseAsk,
        answer: oneshot::Sender<Result<LeaseAnswer, Refusal>>,
    ) {
        if self.parts.driver.is_leader() {
            answer.send(Ok(self.answer_ask(ask))).ok();
            return;
        }
        self.asks.next += 1;
        let number = self.asks.next;
        if let Some(leader) = self.leader() {
            self.out.push((leader, Packet::Ask { number, ask }));
        }
        self.asks.open.insert(number, (ask, answer));
    }

    pub(super) fn answer_ask(&self, ask: LeaseAsk) -> LeaseAnswer {
        let now = self.parts.clock.now_micros();
        let mut lessor = self.parts.lessor.lock();
        match ask {
            LeaseAsk::KeepAlive { lease } => lessor.renew(lease, now),
            LeaseAsk::TimeToLive { lease } => lessor.time_to_live(lease, now),
        }
    }

    /// Asks the present leader whatever is still open; forgets what nobody waits for.
    pub(super) fn ask_again(&mut self) {
        let open = std::mem::take(&mut self.asks.open);
        for (number, (ask, answer)) in open {
            if answer.is_closed() {
                continue;
            }
            if self.parts.driver.is_leader() {
                answer.send(Ok(self.answer_ask(ask))).ok();
                continue;
            }
            if let Some(leader) = self.leader() {
                self.out.push((leader, Packet::Ask { number, ask }));
            }
            self.asks.open.insert(number, (ask, answer));
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
        if self.parts.lessor.lock().any_expired(now) {
            let (answer, confirmed) = oneshot::channel();
            self.reads.add(answer);
            self.expired = Some((term, confirmed));
        }
    }

    pub(super) fn revoke(&mut self, now: u64) {
        let expired = self.parts.lessor.lock().expired(now, REVOKES_AT_ONCE);
        self.propose_revokes(expired);
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
