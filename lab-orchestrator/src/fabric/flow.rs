//! What flows over one link in one connection: frames in, a link's condition applied, bytes out.
//!
//! [`Flow`] is the part without sockets; [`pump`] is the loop around it. In the fast path a chunk is
//! read, decided and written in one turn, many frames with one system call.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use lab_protocol::{Fate, HeldOrder, LinkCondition, LostWhy, Mangling, Message};
use node_protocol::FrameHeader;
use node_protocol::frame::{FRAME_VERSION, HEADER_BYTES, MAX_FRAME_BYTES};
use node_protocol::{FrameKind, Index, Term};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, sleep_until};

use super::fault::{delay_micros, lateness_micros, mangled};
use super::wire::{LinkWire, WireEvent, Wires};

/// Bytes under way in one flow; when there are more, the sender feels back-pressure.
const MAX_QUEUED_BYTES: usize = 32 * 1024 * 1024;

/// Room that is made for each read.
const READ_BYTES: usize = 64 * 1024;

/// Frames written with one system call.
const WRITE_FRAMES: usize = 64;

/// Bytes that tell a frame from something else: length, checksum, version, kind.
const TELLING_BYTES: usize = 10;

/// One direction of one connection.
#[derive(Debug)]
pub(super) struct Flow {
    wires: Arc<Wires>,
    wire: Arc<LinkWire>,
    speech: Speech,
    /// Read, not yet decided.
    input: BytesMut,
    /// Decided, not yet written; in order.
    queue: VecDeque<Parcel>,
    queued_bytes: usize,
    /// Bytes of the first parcel that are written already.
    written: usize,
    /// When the last parcel lands; the next one never lands before.
    last_lands: u64,
    /// The input begins with something that must wait until the link is healed.
    held: bool,
    /// The condition that was last applied.
    condition: LinkCondition,
    /// Messages that wait for the link to be healed, or for an order of their own; in order.
    kept: VecDeque<(u64, Bytes)>,
    /// How often the link's connections had been reset when this one began.
    resets: u64,
    /// Who receives is gone, and nobody told who sends.
    unheard: bool,
}

/// What a stream is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speech {
    NotKnownYet,
    Frames,
    Opaque,
}

#[derive(Debug)]
struct Parcel {
    bytes: Bytes,
    lands_at: u64,
    /// The number of a message; `None` for what may not be lost.
    message: Option<u64>,
}

impl Flow {
    pub(super) fn new(wires: Arc<Wires>, wire: Arc<LinkWire>) -> Self {
        wire.connections.fetch_add(1, Ordering::AcqRel);
        Self {
            wires,
            speech: Speech::NotKnownYet,
            input: BytesMut::new(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            written: 0,
            last_lands: 0,
            held: false,
            condition: LinkCondition::Open,
            kept: VecDeque::new(),
            resets: wire.resets.load(Ordering::Acquire),
            unheard: false,
            wire,
        }
    }

    /// A flow of something that is not our members' own.
    pub(super) fn opaque(wires: Arc<Wires>, wire: Arc<LinkWire>) -> Self {
        let mut flow = Self::new(wires, wire);
        flow.speech = Speech::Opaque;
        flow
    }

    /// Decides what becomes of everything read so far, under the link's present condition.
    fn decide(&mut self, now: u64) {
        let wire = self.wire.clone();
        // Borrowed until all is reported: a change of the condition is reported before or after
        // what is decided here, never in between.
        let condition = wire.condition.borrow();
        if *condition == LinkCondition::Cut && self.condition != LinkCondition::Cut {
            self.lose_messages(LostWhy::Cut);
        }
        self.condition = *condition;
        if self.condition != LinkCondition::Held {
            self.release_all(now);
        }
        self.obey(now);
        self.held = false;
        while !self.held && self.decide_one(now) {}
    }

    /// Decides about the first thing in the input; false when it is not complete.
    fn decide_one(&mut self, now: u64) -> bool {
        if self.input.is_empty() {
            return false;
        }
        if self.speech == Speech::NotKnownYet {
            self.speech = speech_of(&self.input);
        }
        match self.speech {
            Speech::NotKnownYet => false,
            Speech::Opaque => {
                if self.hold() {
                    return false;
                }
                let length = match self.condition {
                    // In pieces, so that they pass one after the other.
                    LinkCondition::Throttled { bytes_per_second } => {
                        (bytes_per_second as usize / 20).clamp(1, self.input.len())
                    }
                    _ => self.input.len(),
                };
                let bytes = self.input.split_to(length).freeze();
                if !self.unheard {
                    self.put(bytes, None, now);
                }
                true
            }
            Speech::Frames => match FrameHeader::frame_bytes(&self.input) {
                Ok(Some(length)) if self.input.len() >= length => self.frame(length, now),
                Ok(_) => false,
                Err(_) => {
                    self.speech = Speech::Opaque;
                    true
                }
            },
        }
    }

    /// Decides about one whole frame; false when it must wait.
    fn frame(&mut self, length: usize, now: u64) -> bool {
        let start = self.input.first_chunk::<HEADER_BYTES>().expect("a frame has a header");
        let header = FrameHeader::decode(start).ok().map(|(header, _)| header);
        let Some(header) = header.filter(|header| header.kind.is_message()) else {
            if self.hold() {
                return false;
            }
            let bytes = self.input.split_to(length).freeze();
            if !self.unheard {
                self.put(bytes, None, now);
            }
            return true;
        };
        let bytes = self.input.split_to(length).freeze();
        let number = self.wires.number();
        let (seed, link) = (self.wires.seed, self.wire.link);
        let lost = |why| Fate::Lost(why);
        let how = mangled(self.condition, seed, (link, number, header.kind));
        let fate = match (self.condition, how) {
            _ if self.unheard => lost(LostWhy::ReceiverDown),
            (LinkCondition::Cut, _) => lost(LostWhy::Cut),
            (LinkCondition::Refused, _) => lost(LostWhy::Refused),
            (LinkCondition::Held, _) => {
                self.queued_bytes += bytes.len();
                self.kept.push_back((number, bytes.clone()));
                Fate::Held
            }
            (_, Some(Mangling::Drop)) => lost(LostWhy::Chance),
            (_, Some(Mangling::Reorder)) => {
                let lands_at = now.max(self.last_lands) + lateness_micros(seed, link, number);
                self.enqueue(Parcel { bytes: bytes.clone(), lands_at, message: Some(number) });
                Fate::Lands { at_micros: lands_at }
            }
            (_, Some(Mangling::Duplicate) | None) => {
                Fate::Lands { at_micros: self.put(bytes.clone(), Some(number), now) }
            }
        };
        if matches!(fate, Fate::Lost(_)) {
            self.wire.bytes.fetch_add(length as u64, Ordering::AcqRel);
        }
        self.report(&header, number, length, fate);
        if how == Some(Mangling::Duplicate) && matches!(fate, Fate::Lands { .. }) {
            self.again(&header, bytes, now);
        }
        true
    }

    /// Reports a message that was put on the link, and counts it if it is lost.
    fn report(&self, header: &FrameHeader, number: u64, length: usize, fate: Fate) {
        let FrameHeader { kind, reject, entries, term, index, .. } = *header;
        let numbers = Numbers { kind, reject, entries, term, index };
        let sent = WireEvent::Sent(numbers.message(number, self.wire.link, length, fate));
        if !self.wires.report(sent) {
            self.wire.unreported.fetch_add(1, Ordering::AcqRel);
        }
        // Only what was put on the link is lost: it is counted behind its report.
        if matches!(fate, Fate::Lost(_)) {
            self.wire.lost.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Puts a message on the link once more: the network delivers it twice.
    fn again(&mut self, header: &FrameHeader, bytes: Bytes, now: u64) {
        let (number, length) = (self.wires.number(), bytes.len());
        let at_micros = self.put(bytes, Some(number), now);
        self.report(header, number, length, Fate::Lands { at_micros });
    }

    /// Delivers every message that was kept.
    fn release_all(&mut self, now: u64) {
        while let Some((number, bytes)) = self.kept.pop_front() {
            // Whoever hears that the link is healed knows that it holds nothing any more.
            let released = self.release(number, bytes, now);
            self.wires.report(released);
        }
    }

    fn release(&mut self, number: u64, bytes: Bytes, now: u64) -> WireEvent {
        self.queued_bytes -= bytes.len();
        let at_micros = self.put(bytes, Some(number), now);
        WireEvent::Released { number, at_micros }
    }

    /// Does what was ordered of messages that are kept.
    fn obey(&mut self, now: u64) {
        let wire = self.wire.clone();
        let mut orders = wire.orders.lock();
        if orders.is_empty() {
            return;
        }
        let mut place = 0;
        while place < self.kept.len() {
            let Some(order) = orders.remove(&self.kept[place].0) else {
                place += 1;
                continue;
            };
            let (number, bytes) = self.kept.remove(place).expect("it was just looked at");
            match order {
                HeldOrder::Release => {
                    let released = self.release(number, bytes, now);
                    self.wires.report_always(released);
                }
                HeldOrder::Drop => {
                    self.queued_bytes -= bytes.len();
                    wire.lost.fetch_add(1, Ordering::AcqRel);
                    self.wires.report_always(WireEvent::Lost { number, why: LostWhy::Dropped });
                }
                HeldOrder::Duplicate => {
                    let start = bytes.first_chunk::<HEADER_BYTES>().expect("a frame has a header");
                    let header = FrameHeader::decode(start).map(|(header, _)| header);
                    let released = self.release(number, bytes.clone(), now);
                    self.wires.report_always(released);
                    if let Ok(header) = header {
                        self.again(&header, bytes, now);
                    }
                }
            }
        }
    }

    /// Who receives is gone and nobody is told: from now on what is sent is lost.
    pub(super) fn nobody_hears(&mut self) {
        self.written = 0;
        self.lose_messages(LostWhy::ReceiverDown);
        self.queue.clear();
        self.queued_bytes = 0;
        self.unheard = true;
    }

    /// Whether the link is half open now.
    pub(super) fn is_half_open(&self) -> bool {
        *self.wire.condition.borrow() == LinkCondition::HalfOpen
    }

    /// Why its connection has to end, if it has to.
    fn broken_off(&self) -> Option<FlowEnd> {
        let reset = self.wire.resets.load(Ordering::Acquire) != self.resets;
        (reset || self.condition == LinkCondition::Refused).then_some(FlowEnd::BrokenOff)
    }

    /// Whether what may not be lost must wait.
    fn hold(&mut self) -> bool {
        self.held = self.condition.blocks();
        self.held
    }

    /// Queues bytes; the time at which they land.
    fn put(&mut self, bytes: Bytes, message: Option<u64>, now: u64) -> u64 {
        let number = message.unwrap_or(0);
        let delay = delay_micros(self.condition, self.wires.seed, self.wire.link, number);
        let passed = match self.condition {
            LinkCondition::Throttled { bytes_per_second } => {
                self.wire.passed_at(now, bytes.len(), bytes_per_second)
            }
            _ => now,
        };
        let lands_at = (passed + delay).max(self.last_lands);
        self.last_lands = lands_at;
        self.enqueue(Parcel { bytes, lands_at, message });
        lands_at
    }

    /// Puts a parcel where its time is; behind those of the same.
    fn enqueue(&mut self, parcel: Parcel) {
        self.wire.bytes.fetch_add(parcel.bytes.len() as u64, Ordering::AcqRel);
        self.queued_bytes += parcel.bytes.len();
        let first = usize::from(self.written > 0);
        let earlier = |at: &usize| self.queue[*at - 1].lands_at <= parcel.lands_at;
        let place = (first + 1..=self.queue.len()).rev().find(earlier);
        let place = place.unwrap_or_else(|| first.min(self.queue.len()));
        self.queue.insert(place, parcel);
    }

    /// Loses every message under way, except one of which a part is written: half a frame would
    /// end the connection.
    fn lose_messages(&mut self, why: LostWhy) {
        let keep_first = self.written > 0;
        let mut place = 0;
        let kept = self.kept.drain(..);
        let mut lost: Vec<_> = kept.map(|(number, bytes)| (Some(number), bytes.len())).collect();
        self.queue.retain(|parcel| {
            place += 1;
            let keep = parcel.message.is_none() || (keep_first && place == 1);
            if !keep {
                lost.push((parcel.message, parcel.bytes.len()));
            }
            keep
        });
        for (message, bytes) in lost {
            self.queued_bytes -= bytes;
            self.wire.lost.fetch_add(1, Ordering::AcqRel);
            if let Some(number) = message {
                self.wires.report(WireEvent::Lost { number, why });
            }
        }
    }

    /// Whether there is something to write now.
    fn is_due(&self, now: u64) -> bool {
        self.queue.front().is_some_and(|first| {
            (self.condition != LinkCondition::Cut || self.written > 0) && first.lands_at <= now
        })
    }

    /// When there will be something to write, if only time is missing.
    fn due_at(&self) -> Option<u64> {
        let first = self.queue.front()?;
        (self.condition != LinkCondition::Cut || self.written > 0).then_some(first.lands_at)
    }

    /// What to write now, in order.
    fn due<'a>(&'a self, now: u64, slices: &mut Vec<IoSlice<'a>>) {
        if !self.is_due(now) {
            return;
        }
        let cut = self.condition == LinkCondition::Cut;
        let count = if cut { 1 } else { WRITE_FRAMES };
        let due = self.queue.iter().take(count).take_while(|parcel| parcel.lands_at <= now);
        for (place, parcel) in due.enumerate() {
            let from = if place == 0 { self.written } else { 0 };
            slices.push(IoSlice::new(&parcel.bytes[from..]));
        }
    }

    /// So many bytes of what was due are written.
    fn wrote(&mut self, mut bytes: usize) {
        while bytes > 0 {
            let Some(first) = self.queue.front() else { return };
            let left = first.bytes.len() - self.written;
            if bytes < left {
                self.written += bytes;
                return;
            }
            bytes -= left;
            self.written = 0;
            self.queued_bytes -= first.bytes.len();
            if first.message.is_some() {
                self.wire.landed.fetch_add(1, Ordering::AcqRel);
            }
            self.queue.pop_front();
        }
    }

    fn wants_input(&self) -> bool {
        !self.held && self.queued_bytes < MAX_QUEUED_BYTES && self.input.len() <= MAX_FRAME_BYTES
    }

    /// The connection is over: what was under way is lost.
    pub(super) fn end(&mut self, why: LostWhy) {
        self.written = 0;
        self.lose_messages(why);
        self.queue.clear();
        self.queued_bytes = 0;
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.wire.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The fields of a header that a person is shown.
struct Numbers {
    kind: FrameKind,
    reject: bool,
    entries: u32,
    term: Term,
    index: Index,
}

impl Numbers {
    fn message(self, number: u64, link: lab_protocol::Link, length: usize, fate: Fate) -> Message {
        let Self { kind, reject, entries, term, index } = self;
        let bytes = u32::try_from(length).unwrap_or(u32::MAX);
        Message { number, link, kind, reject, term, index, entries, bytes, fate }
    }
}

/// Tells from its first bytes what a stream is made of.
fn speech_of(start: &[u8]) -> Speech {
    match FrameHeader::frame_bytes(start) {
        Err(_) => Speech::Opaque,
        Ok(Some(_)) if start.len() >= TELLING_BYTES => {
            let known = start[8] == FRAME_VERSION && FrameKind::from_number(start[9]).is_some();
            if known { Speech::Frames } else { Speech::Opaque }
        }
        Ok(_) => Speech::NotKnownYet,
    }
}

/// How a flow came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlowEnd {
    /// Who sends closed the connection.
    Source,
    /// Who receives closed the connection.
    Target,
    /// The link broke it off.
    BrokenOff,
}

/// Carries one flow until one of its ends closes.
pub(super) async fn pump(
    flow: &mut Flow,
    source: &mut OwnedReadHalf,
    target: &mut OwnedWriteHalf,
) -> FlowEnd {
    let mut condition = flow.wire.condition.subscribe();
    let mut source_ended = false;
    loop {
        condition.mark_unchanged();
        let now = flow.wires.clock.now_micros();
        flow.decide(now);
        if let Some(end) = flow.broken_off() {
            return end;
        }
        let blocked = match write_due(flow, target, now) {
            Ok(blocked) => blocked,
            Err(_) => return FlowEnd::Target,
        };
        let empty = flow.queue.is_empty() && flow.kept.is_empty();
        let drained = empty || flow.condition == LinkCondition::Cut;
        if source_ended && drained {
            return FlowEnd::Source;
        }
        let due_at = flow.due_at().filter(|_| !blocked);
        let due_at = due_at.map(|at| Instant::from_std(flow.wires.clock.instant(at)));
        tokio::select! {
            ready = source.readable(), if !source_ended && flow.wants_input() => {
                flow.input.reserve(READ_BYTES);
                match ready.and_then(|()| source.try_read_buf(&mut flow.input)) {
                    Ok(0) => source_ended = true,
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return FlowEnd::Source,
                }
            }
            ready = target.writable(), if blocked => {
                if ready.is_err() {
                    return FlowEnd::Target;
                }
            }
            () = sleep_until(due_at.unwrap_or_else(Instant::now)), if due_at.is_some() => {}
            changed = condition.changed() => {
                if changed.is_err() {
                    return FlowEnd::Source;
                }
            }
        }
    }
}

/// Reads what is sent to somebody who is gone, for as long as the link is half open and who sends
/// believes in it.
pub(super) async fn swallow(flow: &mut Flow, source: &mut OwnedReadHalf) {
    flow.nobody_hears();
    let mut condition = flow.wire.condition.subscribe();
    loop {
        if *condition.borrow_and_update() != LinkCondition::HalfOpen {
            return;
        }
        flow.decide(flow.wires.clock.now_micros());
        tokio::select! {
            ready = source.readable() => {
                flow.input.reserve(READ_BYTES);
                match ready.and_then(|()| source.try_read_buf(&mut flow.input)) {
                    Ok(0) => return,
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
            changed = condition.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

/// Writes what is due; true when the target takes no more for now.
fn write_due(flow: &mut Flow, target: &OwnedWriteHalf, now: u64) -> io::Result<bool> {
    while flow.is_due(now) {
        let mut slices = Vec::with_capacity(WRITE_FRAMES.min(flow.queue.len()));
        flow.due(now, &mut slices);
        match target.try_write_vectored(&slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(bytes) => flow.wrote(bytes),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}
