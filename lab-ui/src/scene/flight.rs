//! Links and the messages on them.

use std::collections::BTreeSet;

use lab_protocol::{Fault, Link, LinkCondition};
use node_protocol::FrameKind;

use super::{
    Colour, Picture, Point,
    geometry::Curve,
    labels::Labels,
    picture::{Align, Dash, Face, FontSize, Look, Pen, Shape},
    ring::{self, RingView},
};
use crate::model::{Flight, flights::LOST_MICROS};

const COUNT: Face = Face::Facts(500, FontSize(22));
const REASON: Face = Face::Words(600, FontSize(24));

/// Draws every link.
pub(super) fn links(view: &RingView<'_>, labels: &mut Labels, picture: &mut Picture) {
    for &link in view.state.links.keys().filter(|link| !ring::is_gone(view.state, **link)) {
        let Some(curve) = view.layout.curve(link) else { continue };
        let hovered = view.hovered == Some(link);
        let flaps =
            |fault: Fault| matches!(fault, Fault::Flapping { link: own, .. } if own == link);
        if view.state.faults.iter().any(|active| flaps(active.fault)) {
            beside(&curve, 0.5, 15.0, "flaps".to_owned(), Colour::Fault, picture);
        }
        match ring::condition(view.state, link) {
            LinkCondition::Cut => cut(&curve, hovered, picture),
            LinkCondition::Delayed { millis, jitter_millis } => {
                let pen = Pen::dashed(Colour::Fault, 1.6, 8.0, 3.0);
                open(&curve, pen, hovered, picture);
                let text = match jitter_millis {
                    0 => format!("+{millis} ms"),
                    more => format!("+{millis}–{} ms", millis.saturating_add(more)),
                };
                beside(&curve, 0.5, 15.0, text, Colour::Fault, picture);
            }
            condition @ (LinkCondition::Held
            | LinkCondition::Refused
            | LinkCondition::Throttled { .. }
            | LinkCondition::HalfOpen
            | LinkCondition::Mangled { .. }) => {
                let pen = Pen::dashed(Colour::Fault, 1.6, 2.0, 4.0);
                open(&curve, pen, hovered, picture);
                let text = match condition {
                    LinkCondition::Held => {
                        let held = view.state.held.values();
                        format!("holds {}", held.filter(|message| message.link == link).count())
                    }
                    other => crate::model::wording::condition(other),
                };
                beside(&curve, 0.5, 15.0, text, Colour::Fault, picture);
            }
            LinkCondition::Open if ring::is_idle(view.state, link) => {
                let look = Look::lined(Pen::dashed(Colour::Line, 1.0, 2.0, 5.0));
                picture.shape(Shape::Curve(curve), look);
                if hovered {
                    picture.shape(Shape::Curve(curve), Look::lined(Pen::new(Colour::Ink, 1.5)));
                }
            }
            LinkCondition::Open => {
                if view.layout.dense && !hovered {
                    let look = Look::lined(Pen::new(Colour::Line, 0.8));
                    picture.shape(Shape::Curve(curve), look);
                } else {
                    open(&curve, Pen::new(Colour::Line, 1.4), hovered, picture);
                }
                stream(view, link, &curve, labels, picture);
            }
        }
    }
}

fn open(curve: &Curve, pen: Pen, hovered: bool, picture: &mut Picture) {
    let pen = if hovered { Pen { colour: Colour::Ink, width: 2.0, ..pen } } else { pen };
    picture.shape(Shape::Curve(*curve), Look::lined(pen));
    let tip = curve.at(1.0);
    let colour = if hovered { Colour::Ink } else { Colour::Faint };
    picture.shape(Shape::Arrow(tip, curve.direction(1.0), 7.0), Look::filled(colour));
}

fn cut(curve: &Curve, hovered: bool, picture: &mut Picture) {
    let width = if hovered { 2.6 } else { 1.8 };
    let pen = Pen::dashed(Colour::Fault, width, 5.0, 5.0);
    picture.shape(Shape::Curve(curve.piece(0.0, 0.46)), Look::lined(pen));
    picture.shape(Shape::Curve(curve.piece(0.54, 1.0)), Look::lined(pen));
    // Two strokes across the way: here it ends.
    let direction = curve.direction(0.5);
    let across = Point::new(-direction.y * 7.0, direction.x * 7.0);
    for part in [0.46, 0.54] {
        let at = curve.at(part);
        let from = Point::new(at.x - across.x, at.y - across.y);
        let to = Point::new(at.x + across.x, at.y + across.y);
        picture.shape(Shape::Line(from, to), Look::lined(Pen::new(Colour::Fault, 2.0)));
    }
}

/// Too many messages to see one by one: a width that moves, and a count.
fn stream(
    view: &RingView<'_>,
    link: Link,
    curve: &Curve,
    labels: &mut Labels,
    picture: &mut Picture,
) {
    let Some(density) = view.flights.density.get(&link) else { return };
    let still = view.flights.still && density.per_second > 0;
    if !density.dense && !still {
        return;
    }
    let width = (1.5 + (density.per_second as f32 / 100.0).sqrt() * 1.3).min(6.0);
    let colour = view
        .state
        .members
        .get(&link.from)
        .and_then(|member| member.status.as_ref())
        .map_or(Colour::Muted, |status| Colour::of_term(status.term.0));
    let dash = match view.flights.still {
        true => Dash::Solid,
        false => {
            let moved = (view.shown_micros % 1_000_000) as f32 / 1_000_000.0 * 96.0;
            Dash::Moving(5.0, 7.0, -moved)
        }
    };
    let pen = Pen { colour, width, dash };
    picture.shape(Shape::Curve(*curve), Look::lined(pen).seen(0.55));
    // Figures only where there is room for them.
    let crowded = view.layout.dense || view.layout.radius < 30.0;
    if crowded && view.hovered != Some(link) {
        return;
    }
    // Steps of five, so that the figure can be read.
    let rate = density.per_second.div_ceil(5) * 5;
    let words = labels.rate(rate);
    beside(curve, 0.34, 13.0, words, Colour::Muted, picture);
}

/// A text on the outer side of a curve.
fn beside(
    curve: &Curve,
    part: f32,
    distance: f32,
    letters: impl Into<super::picture::Letters>,
    colour: Colour,
    picture: &mut Picture,
) {
    let at = curve.at(part);
    let direction = curve.direction(part);
    let (x, y) = (at.x + direction.y * distance, at.y - direction.x * distance + 4.0);
    let align = match direction.y {
        down if down > 0.35 => Align::Start,
        up if up < -0.35 => Align::End,
        _ => Align::Middle,
    };
    picture.text(Point::new(x, y), letters, COUNT, colour, align);
}

/// Draws every message in the air, those of one look together.
pub(super) fn messages(view: &RingView<'_>, picture: &mut Picture) {
    let flying = || {
        view.flights.air.iter().filter_map(|flight| {
            let part = flight.progress(view.shown_micros)?;
            let lost = flight.lost_at(view.shown_micros).is_some();
            (!lost).then_some((flight, part))
        })
    };
    let mut last: Option<(Link, Curve)> = None;
    let mut place = |flight: &Flight, part: f32| match last {
        Some((link, curve)) if link == flight.link => Some(curve.at(part)),
        _ => {
            let curve = view.layout.curve(flight.link)?;
            last = Some((flight.link, curve));
            Some(curve.at(part))
        }
    };
    // The quiet ones first and below, votes last and on top.
    for layer in [Layer::Quiet, Layer::Entries, Layer::Votes] {
        for (flight, part) in flying().filter(|(flight, _)| layer_of(flight.kind) == layer) {
            if let Some(at) = place(flight, part) {
                message(view, flight, at, picture);
            }
        }
    }
    for flight in &view.flights.air {
        if flight.lost_at(view.shown_micros).is_none() {
            continue;
        }
        let Some(part) = flight.progress(view.shown_micros) else { continue };
        let left = flight.gone_micros().saturating_sub(view.shown_micros);
        let seen = (left as f32 / LOST_MICROS as f32).clamp(0.0, 1.0);
        if let Some(at) = place(flight, part) {
            let look = Look::lined(Pen::new(Colour::Fault, 2.4)).seen(seen);
            picture.shape(Shape::Cross(at, 5.5), look);
        }
    }
}

/// Says why a message was lost, once a link.
pub(super) fn reasons(view: &RingView<'_>, picture: &mut Picture) {
    if view.layout.size.0 < 520.0 {
        // No room for words between the members.
        return;
    }
    let mut said = BTreeSet::new();
    for flight in view.flights.air.iter().rev() {
        let Some(why) = flight.lost_at(view.shown_micros) else { continue };
        // Where a link is cut it says so itself.
        if why == lab_protocol::LostWhy::Cut || !said.insert(flight.link) {
            continue;
        }
        let (Some(part), Some(curve)) =
            (flight.progress(view.shown_micros), view.layout.curve(flight.link))
        else {
            continue;
        };
        if said.len() > 2 {
            return;
        }
        let at = curve.at(part);
        let text = match why {
            lab_protocol::LostWhy::Cut => "the link is cut",
            lab_protocol::LostWhy::ReceiverDown => "nobody there",
            lab_protocol::LostWhy::SenderDown => "the sender fell",
            lab_protocol::LostWhy::Chance => "lost on the way",
            lab_protocol::LostWhy::Refused => "refused",
            lab_protocol::LostWhy::Dropped => "dropped",
        };
        let (x, align) = match at.x > view.layout.size.0 / 2.0 {
            true => (at.x + 12.0, Align::Start),
            false => (at.x - 12.0, Align::End),
        };
        let left = flight.gone_micros().saturating_sub(view.shown_micros);
        let seen = (left as f32 / LOST_MICROS as f32).clamp(0.0, 1.0);
        let style = (REASON, Colour::Fault, align);
        picture.faint_text(Point::new(x, at.y + 4.0), text, style, seen);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Layer {
    Quiet,
    Entries,
    Votes,
}

fn layer_of(kind: FrameKind) -> Layer {
    match kind {
        FrameKind::Append
        | FrameKind::AppendResponse
        | FrameKind::SnapshotHead
        | FrameKind::SnapshotChunk
        | FrameKind::SnapshotEnd
        | FrameKind::Forward => Layer::Entries,
        FrameKind::Vote
        | FrameKind::VoteResponse
        | FrameKind::PreVote
        | FrameKind::PreVoteResponse
        | FrameKind::TimeoutNow
        | FrameKind::TransferLeader => Layer::Votes,
        FrameKind::Hello
        | FrameKind::Welcome
        | FrameKind::Reject
        | FrameKind::Heartbeat
        | FrameKind::HeartbeatResponse
        | FrameKind::ReadIndex
        | FrameKind::ReadIndexResponse
        | FrameKind::Ask
        | FrameKind::Answer => Layer::Quiet,
    }
}

/// The colour of a message: its sender's term, or the term the sender believes in.
fn colour_of(view: &RingView<'_>, flight: &Flight) -> Colour {
    let own = || {
        let member = view.state.members.get(&flight.link.from)?;
        Some(member.status.as_ref()?.term.0)
    };
    match flight.term {
        0 => own().map_or(Colour::Muted, Colour::of_term),
        term => Colour::of_term(term),
    }
}

fn message(view: &RingView<'_>, flight: &Flight, at: Point, picture: &mut Picture) {
    let colour = colour_of(view, flight);
    let edge = Pen::new(Colour::Paper, 1.5);
    // The more there are, the smaller each: a train of them must still be a train of shapes.
    let density = view.flights.density.get(&flight.link).map_or(0, |density| density.per_second);
    let grown = match density {
        0..=14 => 1.0,
        15..=35 => 0.8,
        _ => 0.62,
    };
    match flight.kind {
        FrameKind::Heartbeat | FrameKind::HeartbeatResponse => {
            picture.shape(Shape::Circle(at, 2.6), Look::filled(colour).seen(0.8));
        }
        FrameKind::Append if flight.entries == 0 => {
            let look = Look::both(Colour::Surface, Pen::new(colour, 1.5));
            picture.shape(Shape::Diamond(at, 5.0 * grown), look);
        }
        FrameKind::Append => {
            picture.shape(Shape::Diamond(at, 8.0 * grown), Look::both(colour, edge));
        }
        FrameKind::AppendResponse => {
            let look = Look::both(Colour::Surface, Pen::new(colour, 1.5));
            picture.shape(Shape::Diamond(at, 5.5 * grown), look);
            if flight.reject {
                picture.shape(Shape::Minus(at, 3.0), Look::lined(Pen::new(colour, 1.6)));
            }
        }
        FrameKind::Vote | FrameKind::PreVote => {
            let dashed = flight.kind == FrameKind::PreVote;
            ballot(at, colour, dashed, picture);
            picture.shape(Shape::Circle(at, 2.6), Look::filled(colour));
        }
        FrameKind::VoteResponse | FrameKind::PreVoteResponse => {
            let dashed = flight.kind == FrameKind::PreVoteResponse;
            ballot(at, colour, dashed, picture);
            let mark = match flight.reject {
                true => Shape::Minus(at, 4.2),
                false => Shape::Plus(at, 4.2),
            };
            picture.shape(mark, Look::lined(Pen::new(colour, 2.2)));
        }
        FrameKind::SnapshotHead | FrameKind::SnapshotChunk | FrameKind::SnapshotEnd => {
            let corner = Point::new(at.x - 6.0, at.y - 6.0);
            picture.shape(Shape::Rect(corner, 12.0, 12.0, 2.0), Look::both(colour, edge));
        }
        FrameKind::Forward => {
            let corner = Point::new(at.x - 4.5, at.y - 2.5);
            picture.shape(Shape::Rect(corner, 9.0, 5.0, 2.0), Look::both(Colour::Ink, edge));
        }
        FrameKind::TimeoutNow | FrameKind::TransferLeader => {
            ballot(at, colour, false, picture);
            picture.shape(Shape::Cross(at, 3.4), Look::lined(Pen::new(colour, 2.0)));
        }
        FrameKind::ReadIndex
        | FrameKind::ReadIndexResponse
        | FrameKind::Ask
        | FrameKind::Answer
        | FrameKind::Hello
        | FrameKind::Welcome
        | FrameKind::Reject => {
            picture.shape(Shape::Circle(at, 2.4), Look::filled(Colour::Muted));
        }
    }
}

fn ballot(at: Point, colour: Colour, dashed: bool, picture: &mut Picture) {
    let pen = match dashed {
        true => Pen::dashed(colour, 2.0, 3.5, 2.5),
        false => Pen::new(colour, 2.4),
    };
    picture.shape(Shape::Circle(at, 9.0), Look::both(Colour::Surface, pen));
}
