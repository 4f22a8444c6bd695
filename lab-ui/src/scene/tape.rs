//! The tape of time: faults above, leaders and terms below them, then what the clients saw.

use lab_protocol::{
    FaultPlace, LabState, MemberNo,
    story::sides,
    tape::{BUCKET_MICROS, Bucket, Fault, FaultSpan, LeaderSpan},
};

use super::{
    Colour, Picture, Point,
    labels::Labels,
    picture::{Align, Face, FontSize, Look, Pen, Shape},
};
use crate::model::wording;

const HEAD: Face = Face::Words(600, FontSize(25));
const BAR: Face = Face::Words(600, FontSize(24));
const BAR_SMALL: Face = Face::Words(600, FontSize(20));
const TICK: Face = Face::Facts(400, FontSize(23));
const WORDS: Face = Face::Words(600, FontSize(25));

/// Baselines and edges of the rows, from the top of the canvas.
const FAULTS: (f32, f32) = (14.0, 20.0);
const LEADERS: (f32, f32) = (42.0, 22.0);
/// Where the bars of the writes stand and those of the reads hang.
const CLIENTS: f32 = 94.0;
const WRITES_HIGH: f32 = 20.0;
const READS_HIGH: f32 = 10.0;
const AXIS: f32 = 126.0;

/// What the tape is drawn from.
#[derive(Clone, Copy, Debug)]
pub struct TapeView<'a> {
    /// What the lab knows.
    pub state: &'a LabState,
    /// The lab's time.
    pub now_micros: u64,
    /// The newest time that is shown: `now_micros`, or earlier when looking back.
    pub until_micros: u64,
    /// How much time is shown.
    pub span_micros: u64,
    /// Size of the canvas.
    pub size: (f32, f32),
}

/// Time to pixels.
#[derive(Clone, Copy, Debug)]
struct Axis {
    left: f32,
    right: f32,
    from_micros: u64,
    span_micros: u64,
}

impl Axis {
    fn new(view: &TapeView<'_>) -> Self {
        let narrow = view.size.0 < 700.0;
        let left = if narrow { 84.0 } else { 150.0 };
        let right = view.size.0 - if narrow { 56.0 } else { 40.0 };
        // Room to the right of now for the words that stand there.
        let ahead = view.span_micros / if narrow { 6 } else { 8 };
        let from_micros = (view.until_micros + ahead).saturating_sub(view.span_micros);
        Self { left, right, from_micros, span_micros: view.span_micros }
    }

    fn x(&self, micros: u64) -> f32 {
        let since = micros as f64 - self.from_micros as f64;
        let part = since / self.span_micros as f64;
        self.left + (f64::from(self.right - self.left) * part) as f32
    }

    /// The part of a span that is on the tape.
    fn clip(&self, from_micros: u64, until_micros: u64) -> Option<(f32, f32)> {
        let (from, to) = (self.x(from_micros).max(self.left), self.x(until_micros).min(self.right));
        (to > self.left && from < self.right).then_some((from, (to - from).max(2.0)))
    }
}

/// Draws the tape.
pub fn draw(view: &TapeView<'_>, labels: &mut Labels, picture: &mut Picture) {
    picture.clear();
    let axis = Axis::new(view);
    heads(view, picture);
    scale(&axis, labels, picture);
    faults(view, &axis, picture);
    leaders(view, &axis, picture);
    clients(view, &axis, picture);
    snapshots(view, &axis, picture);
    now(view, &axis, picture);
}

fn heads(view: &TapeView<'_>, picture: &mut Picture) {
    let narrow = view.size.0 < 700.0;
    let x = if narrow { 16.0 } else { 24.0 };
    let heads: [(&'static str, f32); 3] = match narrow {
        true => [("Faults", 28.0), ("Leader", 57.0), ("Clients", 97.0)],
        false => [("Faults", 28.0), ("Leader, term", 57.0), ("Writes, reads", 97.0)],
    };
    for (head, y) in heads {
        picture.text(Point::new(x, y), head, HEAD, Colour::Muted, Align::Start);
    }
}

fn scale(axis: &Axis, labels: &mut Labels, picture: &mut Picture) {
    let rule = Look::lined(Pen::new(Colour::Line, 1.0));
    let line =
        Shape::Line(Point::new(axis.left, CLIENTS + 0.5), Point::new(axis.right, CLIENTS + 0.5));
    picture.shape(line, rule);
    let seconds = axis.span_micros / 1_000_000;
    let step = match seconds {
        0..=20 => 2,
        21..=45 => 5,
        46..=150 => 20,
        _ => 60,
    };
    let first = axis.from_micros.div_ceil(1_000_000).div_ceil(step) * step;
    let last = (axis.from_micros + axis.span_micros) / 1_000_000;
    let room = (axis.right - axis.left) / (seconds as f32 / step as f32);
    let each = if room < 56.0 { 2 } else { 1 };
    let mut second = first;
    while second <= last {
        let x = axis.x(second * 1_000_000);
        let tick = Shape::Line(Point::new(x, CLIENTS + 12.0), Point::new(x, CLIENTS + 16.0));
        picture.shape(tick, rule);
        if (second / step).is_multiple_of(each) {
            let at = Point::new(x, AXIS);
            picture.text(at, labels.seconds(second), TICK, Colour::Muted, Align::Middle);
        }
        second += step;
    }
}

/// How a fault is called on its bar.
pub fn fault_name(fault: &Fault, members: &[MemberNo]) -> String {
    match fault {
        Fault::Down { member } => format!("{member} down"),
        Fault::Paused { member } => format!("{member} paused"),
        Fault::Delayed { links } => match links.as_slice() {
            [link] => format!("{} to {} slow", link.from, link.to),
            more => format!("{} links slow", more.len()),
        },
        Fault::Disturbed { links } => match links.as_slice() {
            [link] => format!("{} to {} disturbed", link.from, link.to),
            more => format!("{} links disturbed", more.len()),
        },
        Fault::Injected { fault } => match fault.place() {
            FaultPlace::Link(link) => format!("{} to {} {}", link.from, link.to, fault.kind()),
            FaultPlace::Process(member) | FaultPlace::Disk(member) | FaultPlace::Clock(member) => {
                format!("{member} {}", fault.kind())
            }
        },
        Fault::Cut { links } => match (links.as_slice(), sides(members, links)) {
            ([link], _) => format!("{} to {} cut", link.from, link.to),
            (_, Some(sides)) if sides.len() > 1 => {
                let alone: Vec<_> = sides.iter().filter(|side| side.len() == 1).flatten().collect();
                match (sides.len(), alone.as_slice()) {
                    (2, [one]) if members.len() > 2 => format!("{one} cut off"),
                    _ => {
                        let name = |side: &std::collections::BTreeSet<MemberNo>| {
                            let names: Vec<_> = side.iter().map(ToString::to_string).collect();
                            names.join(" ")
                        };
                        sides.iter().map(name).collect::<Vec<_>>().join(" | ")
                    }
                }
            }
            (links, _) => format!("{} links cut", links.len()),
        },
    }
}

fn faults(view: &TapeView<'_>, axis: &Axis, picture: &mut Picture) {
    let members: Vec<_> = view.state.members.keys().copied().collect();
    let shown = |span: &&FaultSpan| {
        let until = span.until_micros.unwrap_or(view.now_micros).min(view.until_micros);
        span.from_micros < view.until_micros && axis.clip(span.from_micros, until).is_some()
    };
    let spans: Vec<_> = view.state.tape.faults.iter().filter(shown).collect();
    // Faults at the same time share the row's height.
    let mut lanes: Vec<u64> = Vec::new();
    let mut placed = Vec::new();
    for span in spans {
        let free = lanes.iter().position(|&until| until <= span.from_micros);
        let lane = free.unwrap_or(lanes.len());
        let until = span.until_micros.unwrap_or(u64::MAX);
        match lanes.get_mut(lane) {
            Some(end) => *end = until,
            None => lanes.push(until),
        }
        placed.push((lane, span));
    }
    let count = lanes.len().max(1) as f32;
    let (top, high) = FAULTS;
    let (top, high) = if count > 1.0 { (top - 5.0, high + 6.0) } else { (top, high) };
    let each = high / count;
    for (lane, span) in placed {
        let until = span.until_micros.unwrap_or(view.now_micros).min(view.until_micros);
        let Some((x, width)) = axis.clip(span.from_micros, until) else { continue };
        let y = top + each * lane as f32;
        let open = span.until_micros.is_none();
        let look = match &span.fault {
            Fault::Down { .. } => Look::filled(Colour::Fault),
            Fault::Paused { .. }
            | Fault::Cut { .. }
            | Fault::Delayed { .. }
            | Fault::Disturbed { .. }
            | Fault::Injected { .. } => {
                Look::both(Colour::FaultGround, Pen::new(Colour::Fault, 1.3))
            }
        };
        let height = if count > 1.0 { each - 1.5 } else { each };
        let radius = (height / 4.0).min(4.0);
        picture.shape(Shape::Rect(Point::new(x, y), width, height, radius), look);
        if height < 10.0 {
            continue;
        }
        let name = fault_name(&span.fault, &members);
        let wide = name.len() as f32 * 6.6 + 20.0;
        let (face, drop) = if count > 1.0 { (BAR_SMALL, 3.5) } else { (BAR, 4.2) };
        let baseline = y + height / 2.0 + drop;
        let filled = matches!(span.fault, Fault::Down { .. });
        let (at, colour, align) = match (width > wide, open) {
            (true, _) if filled => (x + 8.0, Colour::Surface, Align::Start),
            (true, _) => (x + 8.0, Colour::Fault, Align::Start),
            (false, true) if x - axis.left > wide => (x - 7.0, Colour::Fault, Align::End),
            (false, _) if x + width + wide < axis.right => {
                (x + width + 6.0, Colour::Fault, Align::Start)
            }
            (false, _) => continue,
        };
        // A name beside a bar must not run into the next bar of its lane.
        if align != Align::Start || at <= x + width || !crowded(view, axis, span, at, wide) {
            picture.text(Point::new(at, baseline), name, face, colour, align);
        }
    }
}

/// When snapshots were saved, and what was acknowledged after the newest one of a cluster that is
/// no more.
fn snapshots(view: &TapeView<'_>, axis: &Axis, picture: &mut Picture) {
    let recovery = &view.state.recovery;
    let mut free = axis.left;
    for saved in recovery.saved() {
        let x = axis.x(saved.at_micros);
        if saved.at_micros > view.until_micros || x < axis.left || x > axis.right {
            continue;
        }
        let line = Shape::Line(Point::new(x, 12.0), Point::new(x, 36.0));
        picture.shape(line, Look::lined(Pen::new(Colour::Ink, 1.8)));
        let beside = axis.x(saved.at_micros + axis.span_micros / 60);
        let busy = view.state.tape.faults.iter().any(|span| {
            let until = span.until_micros.unwrap_or(view.now_micros);
            axis.x(span.from_micros) < x + 70.0 && axis.x(until) > x
        });
        if !busy && x >= free && beside < axis.right {
            picture.text(Point::new(x + 6.0, 28.0), "snapshot", BAR, Colour::Ink, Align::Start);
            free = x + 78.0;
        }
    }
    let Some((_, origin)) = recovery.restored() else { return };
    let lost = recovery.above(origin.earlier, origin.revision);
    let Some((from, until)) = lost.span_micros.filter(|_| lost.count > 0) else { return };
    let Some((x, width)) = axis.clip(from, until.min(view.until_micros)) else { return };
    let under = Shape::Rect(Point::new(x, CLIENTS + 13.0), width, 3.0, 0.0);
    picture.shape(under, Look::filled(Colour::Fault));
    let words = "acknowledged, not in the snapshot";
    let wide = words.len() as f32 * 5.8;
    let middle = (x + width / 2.0).max(axis.left + wide / 2.0).min(axis.right - wide / 2.0);
    // The numbers of the seconds stand there else.
    let ground = Shape::Rect(Point::new(middle - wide / 2.0, AXIS - 10.0), wide, 14.0, 0.0);
    picture.shape(ground, Look::filled(Colour::Surface));
    picture.text(Point::new(middle, AXIS), words, BAR_SMALL, Colour::Fault, Align::Middle);
}

/// Whether another fault stands where a name beside this one would.
fn crowded(view: &TapeView<'_>, axis: &Axis, of: &FaultSpan, x: f32, wide: f32) -> bool {
    view.state.tape.faults.iter().any(|span| {
        let start = axis.x(span.from_micros);
        span.from_micros > of.from_micros && start < x + wide && start >= x - 8.0
    })
}

fn leaders(view: &TapeView<'_>, axis: &Axis, picture: &mut Picture) {
    let (top, high) = LEADERS;
    let spans = &view.state.tape.leaders;
    let end =
        |span: &LeaderSpan| span.until_micros.unwrap_or(view.now_micros).min(view.until_micros);
    let mut covered = view.state.tape.began_micros;
    let mut old = Vec::new();
    for (place, span) in spans.iter().enumerate() {
        if span.from_micros >= view.until_micros {
            break;
        }
        vacant(axis, covered, span.from_micros, picture);
        covered = covered.max(end(span));
        let colour = Colour::of_term(span.term.0);
        let look = Look::both(Colour::ground_of_term(span.term.0), Pen::new(colour, 1.5));
        // An old leader that does not know of the new one yet keeps the upper half beside it.
        let later = spans.iter().skip(place + 1).find(|next| next.from_micros < end(span));
        let alone_until = later.map_or(end(span), |next| next.from_micros);
        if let Some((x, width)) = axis.clip(alone_until, end(span)).filter(|_| later.is_some()) {
            let half = Shape::Rect(Point::new(x, top - 4.0), width, 6.0, 2.0);
            old.push((half, look));
        }
        let Some((x, width)) = axis.clip(span.from_micros, alone_until) else { continue };
        picture.shape(Shape::Rect(Point::new(x, top), width, high, 4.0), look);
        let (long, short) = (
            format!("{} leads in term {}", span.member, span.term),
            format!("{}, term {}", span.member, span.term),
        );
        let fits = |text: &String| width > text.len() as f32 * 6.6 + 16.0;
        let baseline = top + high / 2.0 + 4.2;
        let name = if fits(&long) { Some(long) } else { fits(&short).then_some(short) };
        if let Some(name) = name {
            picture.text(Point::new(x + 9.0, baseline), name, BAR, colour, Align::Start);
        }
    }
    for (half, look) in old {
        picture.shape(half, look);
    }
    vacant(axis, covered, view.until_micros, picture);
}

/// A time without a leader.
fn vacant(axis: &Axis, from_micros: u64, until_micros: u64, picture: &mut Picture) {
    if until_micros <= from_micros + 20_000 {
        return;
    }
    let Some((x, width)) = axis.clip(from_micros, until_micros) else { return };
    let (top, high) = LEADERS;
    let look = Look::lined(Pen::dashed(Colour::Faint, 1.0, 3.0, 3.0));
    picture.shape(Shape::Rect(Point::new(x, top), width, high, 0.0), look);
    if width > 86.0 {
        let at = Point::new(x + 9.0, top + high / 2.0 + 4.2);
        picture.text(at, "no leader", Face::Words(400, FontSize(24)), Colour::Muted, Align::Start);
    }
}

/// One tick of the client rows, with what the buckets behind it add up to.
fn clients(view: &TapeView<'_>, axis: &Axis, picture: &mut Picture) {
    let buckets = (axis.span_micros / BUCKET_MICROS).max(1);
    let pixels = (axis.right - axis.left) / buckets as f32;
    // At least four pixels a tick.
    let each = (4.0 / pixels).ceil().max(1.0) as u64;
    let slot_micros = each * BUCKET_MICROS;
    let first = axis.from_micros / slot_micros;
    let last = view.until_micros / slot_micros;
    let slots: Vec<(u64, Slot)> = (first..=last)
        .map(|number| (number, Slot::of(view.state, number * each, each, view)))
        .filter(|(_, slot)| !slot.is_empty())
        .collect();
    // The usual rate stands at half height; what waited and then came at once is cut off.
    let usual = |count: fn(&Slot) -> u64| {
        let counts = || slots.iter().map(|(_, slot)| count(slot)).filter(|count| *count > 0);
        (2.0 * counts().sum::<u64>() as f32 / counts().count().max(1) as f32).max(4.0)
    };
    let (most, most_reads) = (usual(|slot| slot.writes_ok), usual(|slot| slot.reads_ok));
    let x = |number: u64| axis.x(number * slot_micros + slot_micros / 2);
    let bar = |number: u64, from: f32, to: f32| {
        let x = x(number);
        (x >= axis.left).then(|| Shape::Line(Point::new(x, from), Point::new(x, to)))
    };
    let mut layer = |colour: Colour, seen: f32, tick: &dyn Fn(u64, &Slot) -> Option<Shape>| {
        let look = Look::lined(Pen::new(colour, 1.8)).seen(seen);
        for (number, slot) in &slots {
            if let Some(shape) = tick(*number, slot) {
                picture.shape(shape, look);
            }
        }
    };
    layer(Colour::Unknown, 0.75, &|number, slot| {
        let waits = slot.writes_ok == 0 && slot.waits;
        waits.then(|| bar(number, CLIENTS, CLIENTS - WRITES_HIGH)).flatten()
    });
    layer(Colour::Unknown, 0.75, &|number, slot| {
        let waits = slot.reads_ok == 0 && slot.reads_wait;
        waits.then(|| bar(number, CLIENTS + 1.0, CLIENTS + 1.0 + READS_HIGH)).flatten()
    });
    let gone = gone(view);
    layer(Colour::Fault, 1.0, &|number, slot| {
        let high = 3.0 + (WRITES_HIGH - 7.0) * (slot.writes_ok as f32 / most).min(1.0);
        let lost = slot.writes_ok > 0 && gone(number * slot_micros);
        lost.then(|| bar(number, CLIENTS, CLIENTS - high)).flatten()
    });
    layer(Colour::Holds, 1.0, &|number, slot| {
        if gone(number * slot_micros) {
            return None;
        }
        let high = 3.0 + (WRITES_HIGH - 7.0) * (slot.writes_ok as f32 / most).min(1.0);
        (slot.writes_ok > 0).then(|| bar(number, CLIENTS, CLIENTS - high)).flatten()
    });
    layer(Colour::Holds, 0.5, &|number, slot| {
        let high = 2.0 + (READS_HIGH - 3.0) * (slot.reads_ok as f32 / most_reads).min(1.0);
        let hangs = || bar(number, CLIENTS + 1.0, CLIENTS + 1.0 + high);
        (slot.reads_ok > 0).then(hangs).flatten()
    });
    layer(Colour::Fault, 1.0, &|number, slot| {
        let failed = slot.failed > 0 || slot.unknown > 0;
        failed
            .then(|| bar(number, CLIENTS - WRITES_HIGH - 6.0, CLIENTS - WRITES_HIGH - 1.0))
            .flatten()
    });
    latencies(&slots, &x, axis.left, picture);
}

/// Whether what was acknowledged at a time is in no cluster any more: it was not in the snapshot
/// that the newest one was restored from.
fn gone(view: &TapeView<'_>) -> impl Fn(u64) -> bool + use<> {
    let recovery = &view.state.recovery;
    let span = recovery.restored().and_then(|(_, origin)| {
        let lost = recovery.above(origin.earlier, origin.revision);
        lost.span_micros.filter(|_| lost.count > 0)
    });
    move |at_micros| span.is_some_and(|(from, until)| (from..until).contains(&at_micros))
}

/// A line through the mean latency of the acknowledged writes, from half a millisecond at the
/// foot to ten seconds at the top, each decade the same height.
fn latencies(slots: &[(u64, Slot)], x: &dyn Fn(u64) -> f32, left: f32, picture: &mut Picture) {
    let look = Look::lined(Pen::new(Colour::Muted, 1.2));
    let mut last: Option<(u64, Point)> = None;
    for (number, slot) in slots.iter().filter(|(_, slot)| slot.writes_ok > 0) {
        let micros = (slot.write_micros / slot.writes_ok).max(500) as f32;
        let part = ((micros / 500.0).log10() / 4.3).min(1.0);
        let point = Point::new(x(*number), CLIENTS - 2.0 - (WRITES_HIGH - 2.0) * part);
        if let Some((before, from)) = last
            && before + 1 == *number
            && from.x >= left
        {
            picture.shape(Shape::Line(from, point), look);
        }
        last = Some((*number, point));
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    writes_ok: u64,
    write_micros: u64,
    reads_ok: u64,
    failed: u64,
    unknown: u64,
    waits: bool,
    reads_wait: bool,
}

impl Slot {
    fn of(state: &LabState, first: u64, count: u64, view: &TapeView<'_>) -> Self {
        let mut slot = Self::default();
        for number in first..first + count {
            let at = number * BUCKET_MICROS;
            if at > view.until_micros {
                break;
            }
            let newest = state.tape.buckets.back();
            let bucket = match state.tape.bucket_at(at) {
                Some(bucket) => *bucket,
                // Time went on and nothing happened: who waited still waits.
                None if at > state.at_micros => {
                    newest.map_or_else(Bucket::default, |newest| Bucket {
                        waiting_writes: newest.waiting_writes,
                        waiting_reads: newest.waiting_reads,
                        ..Bucket::default()
                    })
                }
                None => Bucket::default(),
            };
            slot.writes_ok += bucket.writes.ok;
            slot.write_micros += bucket.write_micros_sum;
            slot.reads_ok += bucket.reads.ok;
            slot.failed += bucket.writes.fail + bucket.reads.fail;
            slot.unknown += bucket.writes.info + bucket.reads.info;
            slot.waits |= bucket.waiting_writes > 0;
            slot.reads_wait |= bucket.waiting_reads > 0;
        }
        slot
    }

    fn is_empty(&self) -> bool {
        self.writes_ok + self.reads_ok + self.failed + self.unknown == 0
            && !self.waits
            && !self.reads_wait
    }
}

fn now(view: &TapeView<'_>, axis: &Axis, picture: &mut Picture) {
    let x = axis.x(view.until_micros);
    let line = Shape::Line(Point::new(x, 6.0), Point::new(x, CLIENTS + 15.0));
    picture.shape(line, Look::lined(Pen::new(Colour::Ink, 2.0)));
    picture.shape(Shape::Circle(Point::new(x, 8.0), 5.5), Look::filled(Colour::Ink));
    let tape = &view.state.tape;
    let looking_back = view.until_micros < view.now_micros;
    let words = match tape.open_gap(view.now_micros).filter(|_| !looking_back) {
        Some(gap) => {
            let noun = if gap.waited == 1 { "write waits" } else { "writes waiting" };
            Some((format!("{} {noun}", gap.waited), Colour::Ink))
        }
        None => rate(view).map(|words| (words, Colour::Muted)),
    };
    if let Some((words, colour)) = words {
        picture.text(Point::new(x + 12.0, 88.0), words, WORDS, colour, Align::Start);
    }
    let lost = tape.open_gap(view.now_micros).filter(|_| !looking_back);
    let second = match lost {
        Some(gap) => Some(format!("for {}", wording::latency(gap.micros()))),
        None => latency(view),
    };
    if let Some(second) = second {
        let face = Face::Facts(500, FontSize(23));
        picture.text(Point::new(x + 12.0, 105.0), second, face, Colour::Muted, Align::Start);
    }
}

/// Buckets of the second before the shown time.
fn last_second<'a>(view: &TapeView<'a>) -> impl Iterator<Item = &'a Bucket> + use<'a> {
    let end = view.until_micros / BUCKET_MICROS;
    let state = view.state;
    (end.saturating_sub(10)..end)
        .filter_map(move |number| state.tape.bucket_at(number * BUCKET_MICROS))
}

fn rate(view: &TapeView<'_>) -> Option<String> {
    let writes: u64 = last_second(view).map(|bucket| bucket.writes.ok).sum();
    let reads: u64 = last_second(view).map(|bucket| bucket.reads.ok).sum();
    match (writes, reads) {
        (0, 0) => None,
        (writes, 0) => Some(format!("{writes} writes/s")),
        (0, reads) => Some(format!("{reads} reads/s")),
        (writes, reads) => Some(format!("{writes} + {reads} a second")),
    }
}

fn latency(view: &TapeView<'_>) -> Option<String> {
    let count: u64 = last_second(view).map(|bucket| bucket.writes.ok).sum();
    let sum: u64 = last_second(view).map(|bucket| bucket.write_micros_sum).sum();
    (count > 0).then(|| wording::latency(sum / count))
}

#[cfg(test)]
mod tests {
    use lab_protocol::Link;

    use super::*;

    fn links(pairs: &[(u8, u8)]) -> Vec<Link> {
        pairs.iter().map(|&(from, to)| Link { from: MemberNo(from), to: MemberNo(to) }).collect()
    }

    #[test]
    fn faults_are_called_what_a_person_calls_them() {
        let members: Vec<_> = (1..=3).map(MemberNo).collect();
        for (pairs, name) in [
            (&[(1, 2)][..], "m1 to m2 cut"),
            (&[(1, 2), (2, 1), (1, 3), (3, 1)][..], "m1 cut off"),
            (&[(1, 2), (2, 1)][..], "2 links cut"),
            (&[(1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2)][..], "m1 | m2 | m3"),
        ] {
            assert_eq!(fault_name(&Fault::Cut { links: links(pairs) }, &members), name);
        }
        let four: Vec<_> = (1..=4).map(MemberNo).collect();
        let halves = links(&[(1, 3), (3, 1), (1, 4), (4, 1), (2, 3), (3, 2), (2, 4), (4, 2)]);
        assert_eq!(fault_name(&Fault::Cut { links: halves }, &four), "m1 m2 | m3 m4");
    }

    #[test]
    fn an_empty_tape_has_its_heads_and_its_axis() {
        let state = LabState::default();
        let view = TapeView {
            state: &state,
            now_micros: 12_000_000,
            until_micros: 12_000_000,
            span_micros: 30_000_000,
            size: (1280.0, 132.0),
        };
        let mut picture = Picture::default();
        draw(&view, &mut Labels::default(), &mut picture);
        let words = picture.words();
        for expected in ["Faults", "Leader, term", "Writes, reads", "0 s", "5 s", "no leader"] {
            assert!(words.contains(&expected), "{expected} in {words:?}");
        }
    }
}
