//! The ring: members as they see themselves, outlined by what their processes do.

use std::rc::Rc;

use lab_protocol::{
    Fault, Feed, LabState, Link, LinkCondition, MemberNo, MemberState, Process, Standing,
};
use node_protocol::{Role, Status};

use super::{
    Colour, Picture, Point, flight,
    geometry::{ARC, RingLayout, Side},
    labels::Labels,
    picture::{Align, Face, FontSize, Look, Pen, Shape},
};
use crate::model::{Flights, wording};

/// A member's name in its circle.
const NAME: Face = Face::Facts(700, FontSize(40));
const NAME_SMALL: Face = Face::Facts(700, FontSize(30));
/// Its role beside it.
const ROLE: Face = Face::Words(600, FontSize(27));
const ROLE_SMALL: Face = Face::Words(600, FontSize(23));
/// Its term, in a large ring inside its circle.
const TERM_SMALL: Face = Face::Facts(600, FontSize(20));
/// Its term.
const TERM: Face = Face::Facts(600, FontSize(25));
/// What it believes.
const BELIEF: Face = Face::Words(400, FontSize(25));

/// What the ring is drawn from.
#[derive(Debug)]
pub struct RingView<'a> {
    /// What the lab knows.
    pub state: &'a LabState,
    /// The messages.
    pub flights: &'a Flights,
    /// Where the members stand.
    pub layout: &'a RingLayout,
    /// The lab's time.
    pub now_micros: u64,
    /// The time up to which messages are drawn.
    pub shown_micros: u64,
    /// The member that is selected.
    pub selected: Option<MemberNo>,
    /// The link under the pointer or the focus.
    pub hovered: Option<Link>,
}

/// Draws the ring.
pub fn draw(view: &RingView<'_>, labels: &mut Labels, picture: &mut Picture) {
    picture.clear();
    flight::links(view, labels, picture);
    flight::messages(view, picture);
    for &(no, centre, side) in &view.layout.seats {
        let Some(member) = view.state.members.get(&no) else { continue };
        let seat = Seat { no, centre, side, radius: view.layout.radius };
        body(view, &seat, member, labels, picture);
        words(view, &seat, member, labels, picture);
    }
    flight::reasons(view, picture);
}

struct Seat {
    no: MemberNo,
    centre: Point,
    side: Side,
    radius: f32,
}

/// Circle, role and arc.
fn body(
    view: &RingView<'_>,
    seat: &Seat,
    member: &MemberState,
    labels: &mut Labels,
    picture: &mut Picture,
) {
    let Seat { no, centre, radius, .. } = *seat;
    picture.shape(Shape::Circle(centre, radius + ARC + 3.0), Look::filled(Colour::Paper));
    if view.selected == Some(no) {
        brackets(centre, radius + ARC + 5.0, picture);
    }
    let name = labels.member(no);
    // What does not speak keeps its shape: a learner is square.
    let role = match member.standing {
        Standing::Learner => Role::Learner,
        Standing::Unknown | Standing::Voter | Standing::Removed | Standing::Elsewhere => {
            Role::Follower
        }
    };
    match (&member.process, &member.status) {
        _ if member.standing == Standing::Removed => {
            let pen = Pen::dashed(Colour::Line, 1.5, 1.5, 5.0);
            picture.shape(Shape::Circle(centre, radius), Look::lined(pen));
            named(picture, seat, name, Colour::Muted, false);
            let half = radius * 0.62;
            let from = Point::new(centre.x - half, centre.y);
            let to = Point::new(centre.x + half, centre.y);
            picture.shape(Shape::Line(from, to), Look::lined(Pen::new(Colour::Muted, 2.0)));
        }
        (Process::Down { .. }, _) => {
            let pen = Pen::dashed(Colour::Faint, 2.0, 5.0, 5.0);
            outline(picture, seat, role, Look::both(Colour::Sunk, pen));
            let pen = Pen::new(Colour::Fault, 3.0);
            picture.shape(Shape::Cross(centre, radius * 0.28), Look::lined(pen));
        }
        (Process::Planned, _) | (_, None) => {
            let pen = Pen::dashed(Colour::Faint, 1.5, 2.0, 4.0);
            outline(picture, seat, role, Look::both(Colour::Surface, pen));
            named(picture, seat, name, Colour::Muted, false);
        }
        (Process::Paused { .. }, Some(status)) => {
            let pen = Pen::dashed(Colour::Faint, 2.0, 9.0, 5.0);
            outline(picture, seat, status.role, Look::both(Colour::Sunk, pen));
            named(picture, seat, name, Colour::Muted, true);
            let bar = |x: f32| {
                let corner = Point::new(centre.x + x, centre.y + radius * 0.28);
                Shape::Rect(corner, 4.0, radius * 0.36, 1.0)
            };
            picture.shape(bar(-6.0), Look::filled(Colour::Fault));
            picture.shape(bar(2.0), Look::filled(Colour::Fault));
        }
        (Process::Up { .. }, Some(status)) => living(view, seat, member, status, labels, picture),
    }
}

fn living(
    view: &RingView<'_>,
    seat: &Seat,
    member: &MemberState,
    status: &Status,
    labels: &mut Labels,
    picture: &mut Picture,
) {
    let Seat { no, centre, radius, .. } = *seat;
    let name = labels.member(no);
    let term = Colour::of_term(status.term.0);
    let unheard = member.feed != Feed::Live;
    let asks = matches!(status.role, Role::Candidate | Role::PreCandidate);
    let pen = match (asks, unheard) {
        (true, _) => Pen::dashed(term, 3.0, 7.0, 5.0),
        (false, true) => Pen::dashed(term, 1.5, 1.5, 3.5),
        (false, false) => Pen::new(term, 3.0),
    };
    let ground = match status.role {
        Role::Leader => Colour::ground_of_term(status.term.0),
        Role::Follower | Role::Learner | Role::Candidate | Role::PreCandidate => Colour::Surface,
    };
    outline(picture, seat, status.role, Look::both(ground, pen));
    match status.role {
        Role::Leader => {
            let outer = Shape::Circle(centre, radius + 6.0);
            picture.shape(outer, Look::lined(Pen::new(term, 3.0)));
        }
        Role::Follower if status.promotable => {
            let track = Pen::new(Colour::Line, 3.5);
            picture.shape(Shape::Circle(centre, radius + ARC), Look::lined(track));
            let pace = pace(view.state, no);
            let left = 1.0 - elapsed_part(member, status, view.now_micros, pace);
            let arc = Shape::Arc(centre, radius + ARC, 0.0, left);
            picture.shape(arc, Look::lined(Pen::new(term, 3.5)));
        }
        Role::Follower | Role::Learner | Role::Candidate | Role::PreCandidate => {}
    }
    let colour = if unheard { Colour::Muted } else { Colour::Ink };
    let numbered = view.layout.dense && !asks;
    named(picture, seat, name, colour, asks || numbered);
    if numbered {
        let at = Point::new(centre.x, centre.y + radius * 0.62);
        picture.text(at, labels.number(status.term.0), TERM_SMALL, term, Align::Middle);
    }
    if asks {
        votes(view.state, seat, no, status, picture);
    }
}

/// The corners of a square around the selected member.
fn brackets(centre: Point, half: f32, picture: &mut Picture) {
    let look = Look::lined(Pen::new(Colour::Ink, 1.5));
    let arm = half * 0.26;
    for (x, y) in [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)] {
        let corner = Point::new(centre.x + half * x, centre.y + half * y);
        let beside = Point::new(corner.x - arm * x, corner.y);
        let below = Point::new(corner.x, corner.y - arm * y);
        picture.shape(Shape::Line(corner, beside), look);
        picture.shape(Shape::Line(corner, below), look);
    }
}

/// How fast a member's clocks run, in thousandths.
fn pace(state: &LabState, no: MemberNo) -> u32 {
    let own = state.faults.iter().map(|active| active.fault);
    own.fold(1_000, |pace, fault| match fault {
        Fault::FrozenClock { member } if member == no => 0,
        Fault::DriftingClock { member, permille } if member == no => pace.min(1) * permille,
        _ => pace,
    })
}

/// How much of the election timeout has passed, from the member's own ticks and the time since it
/// told them.
fn elapsed_part(member: &MemberState, status: &Status, now_micros: u64, permille: u32) -> f32 {
    let tick = u64::from(status.tick_micros);
    let timeout = u64::from(status.election_timeout_ticks) * tick;
    if timeout == 0 {
        return 0.0;
    }
    let told = u64::from(status.election_elapsed_ticks) * tick;
    let since = match member.feed {
        Feed::Live => {
            now_micros.saturating_sub(member.status_at_micros) * u64::from(permille) / 1_000
        }
        Feed::Quiet | Feed::Lost => 0,
    };
    ((told + since) as f32 / timeout as f32).min(1.0)
}

fn outline(picture: &mut Picture, seat: &Seat, role: Role, look: Look) {
    let Seat { centre, radius, .. } = *seat;
    let shape = match role {
        Role::Learner => {
            let half = radius * 0.9;
            let corner = Point::new(centre.x - half, centre.y - half);
            Shape::Rect(corner, 2.0 * half, 2.0 * half, 8.0)
        }
        Role::Follower | Role::Leader | Role::Candidate | Role::PreCandidate => {
            Shape::Circle(centre, radius)
        }
    };
    picture.shape(shape, look);
}

fn named(picture: &mut Picture, seat: &Seat, name: Rc<str>, colour: Colour, raised: bool) {
    let face = if seat.radius < 28.0 { NAME_SMALL } else { NAME };
    let drop = if raised { 0.0 } else { seat.radius * 0.19 };
    let at = Point::new(seat.centre.x, seat.centre.y + drop);
    picture.text(at, name, face, colour, Align::Middle);
}

/// The dots inside a candidate: votes it has, was refused, waits for.
fn votes(state: &LabState, seat: &Seat, no: MemberNo, status: &Status, picture: &mut Picture) {
    let ballot = state.story.ballots.get(&no);
    let colour = Colour::of_term(status.term.0);
    let pitch = (seat.radius * 0.27).min(1.5 * seat.radius / status.voters.len().max(1) as f32);
    let dot = pitch * 0.37;
    let first = seat.centre.x - pitch * (status.voters.len() as f32 - 1.0) / 2.0;
    let y = seat.centre.y + seat.radius * 0.38;
    let rank = |voter: &Option<MemberNo>| match (voter, ballot) {
        (Some(voter), Some(ballot)) if ballot.granted.contains(voter) => 0,
        (Some(voter), Some(ballot)) if ballot.refused.contains(voter) => 1,
        _ => 2,
    };
    let voters = || status.voters.iter().map(|&id| state.member_of(id));
    let ranked = (0..3).flat_map(|wanted| voters().filter(move |voter| rank(voter) == wanted));
    for (place, voter) in ranked.enumerate() {
        let at = Point::new(first + pitch * place as f32, y);
        match rank(&voter) {
            0 => picture.shape(Shape::Circle(at, dot), Look::filled(colour)),
            1 => {
                let look = Look::lined(Pen::new(Colour::Muted, 1.8));
                picture.shape(Shape::Cross(at, dot * 0.8), look);
            }
            _ => {
                let look = Look::lined(Pen::new(colour, 1.5));
                picture.shape(Shape::Circle(at, dot - 0.4), look);
            }
        }
    }
}

/// What stands beside a member: its role, its term, what it believes; or what befell its process.
fn words(
    view: &RingView<'_>,
    seat: &Seat,
    member: &MemberState,
    labels: &mut Labels,
    picture: &mut Picture,
) {
    let gap = seat.radius + ARC + 13.0;
    let (x, align) = match seat.side {
        Side::Right => (seat.centre.x + gap, Align::Start),
        Side::Left => (seat.centre.x - gap, Align::End),
        Side::Above | Side::Below => (seat.centre.x, Align::Middle),
    };
    let small = matches!(seat.side, Side::Above | Side::Below);
    if view.layout.dense {
        let y = match seat.side {
            Side::Above => -(seat.radius + ARC + 8.0),
            Side::Below => seat.radius + ARC + 16.0,
            Side::Left | Side::Right => 4.0,
        };
        let fault = wording::faults_of(view.state, seat.no).last();
        let runs = matches!(member.process, Process::Up { .. });
        let (text, colour) = match fault.filter(|_| runs) {
            Some(kind) => (kind, Colour::Fault),
            None => dense_word(member),
        };
        picture.text(Point::new(x, seat.centre.y + y), text, ROLE_SMALL, colour, align);
        return;
    }
    // Away from the links, which run towards the middle.
    let middle = view.layout.size.1 / 2.0;
    let lift = match (seat.side, (seat.centre.y - middle) / middle) {
        (Side::Above, _) => -(seat.radius + ARC + 25.0),
        (Side::Below, _) => seat.radius + ARC + 19.0,
        (Side::Left | Side::Right, high) if high < -0.4 => -26.0,
        (Side::Left | Side::Right, low) if low > 0.4 => 6.0,
        (Side::Left | Side::Right, _) => -4.0,
    };
    let line = |number: f32| Point::new(x, seat.centre.y + lift + 17.0 * number);
    let since = view.now_micros.saturating_sub(member.process_since_micros);
    if let Some(kinds) = wording::kinds_of(view.state, seat.no) {
        // Behind everything else that is said of it.
        let place = match seat.side {
            Side::Above => -1.0,
            Side::Below => 2.0,
            Side::Left | Side::Right => 3.0,
        };
        picture.text(line(place), kinds, TERM, Colour::Fault, align);
    }
    match (&member.process, &member.status) {
        _ if member.standing == Standing::Removed => {
            picture.text(line(0.0), "removed", ROLE, Colour::Muted, align);
            let text = match member.process {
                Process::Up { .. } | Process::Paused { .. } => "still runs".to_owned(),
                Process::Planned | Process::Down { .. } => format!("{} ago", wording::ago(since)),
            };
            picture.text(line(1.0), text, TERM, Colour::Muted, align);
        }
        (Process::Down { ended, wiped, .. }, _) => {
            let text = format!("{} {}", seat.no, wording::fallen(ended, *wiped));
            picture.text(line(0.0), text, ROLE, Colour::Ink, align);
            let text = format!("{} ago", wording::ago(since));
            picture.text(line(1.0), text, TERM, Colour::Fault, align);
        }
        (Process::Paused { .. }, status) => {
            let text = format!("{} paused", seat.no);
            picture.text(line(0.0), text, ROLE, Colour::Ink, align);
            let text = format!("for {}", wording::ago(since));
            picture.text(line(1.0), text, TERM, Colour::Fault, align);
            if let Some(status) = status.as_ref().filter(|_| !small) {
                let text = format!("last said {}", wording::role(status.role));
                picture.text(line(2.0), text, BELIEF, Colour::Muted, align);
            }
        }
        (Process::Planned, _) => {
            picture.text(line(0.0), "not started", ROLE, Colour::Muted, align);
            picture.text(line(1.0), "n/a", TERM, Colour::Muted, align);
        }
        (Process::Up { .. }, None) => {
            picture.text(line(0.0), "starts", ROLE, Colour::Muted, align);
            picture.text(line(1.0), "n/a", TERM, Colour::Muted, align);
        }
        (Process::Up { .. }, Some(status)) => {
            picture.text(line(0.0), wording::role(status.role), ROLE, Colour::Ink, align);
            let colour = Colour::of_term(status.term.0);
            picture.text(line(1.0), labels.term(status.term.0), TERM, colour, align);
            if small {
                // What it believes is in its table.
            } else if member.feed != Feed::Live {
                let text = match member.feed {
                    Feed::Quiet => "silent just now",
                    Feed::Live | Feed::Lost => "not heard",
                };
                picture.text(line(2.0), text, BELIEF, Colour::Muted, align);
            } else if status.role == Role::Learner {
                picture.text(line(2.0), "has no vote", BELIEF, Colour::Muted, align);
            } else if status.role == Role::Follower {
                let belief = wording::believed_leader(view.state, seat.no);
                let text = belief.map_or("knows no leader", follows);
                picture.text(line(2.0), text, BELIEF, Colour::Muted, align);
            }
        }
    }
}

/// The one word beside a member of a large ring.
fn dense_word(member: &MemberState) -> (&'static str, Colour) {
    match (&member.process, &member.status) {
        _ if member.standing == Standing::Removed => ("removed", Colour::Muted),
        (Process::Down { ended, wiped, .. }, _) => (wording::fallen(ended, *wiped), Colour::Fault),
        (Process::Paused { .. }, _) => ("paused", Colour::Fault),
        (Process::Planned, _) => ("not started", Colour::Muted),
        (Process::Up { .. }, None) => ("n/a", Colour::Muted),
        (Process::Up { .. }, Some(status)) => (wording::role(status.role), Colour::Ink),
    }
}

fn follows(leader: MemberNo) -> &'static str {
    match leader.0 {
        1 => "follows m1",
        2 => "follows m2",
        3 => "follows m3",
        4 => "follows m4",
        5 => "follows m5",
        6 => "follows m6",
        7 => "follows m7",
        8 => "follows m8",
        _ => "follows m9",
    }
}

/// Whether a link delivers to nobody because its ends do not run.
pub(super) fn is_idle(state: &LabState, link: Link) -> bool {
    let down = |no| {
        state
            .members
            .get(&no)
            .is_none_or(|member| matches!(member.process, Process::Down { .. } | Process::Planned))
    };
    down(link.from) || down(link.to)
}

/// Whether a link leads to nobody any more: one of its ends was removed from the cluster.
pub(super) fn is_gone(state: &LabState, link: Link) -> bool {
    [link.from, link.to].iter().any(|end| {
        state.members.get(end).is_some_and(|member| member.standing == Standing::Removed)
    })
}

/// What a link does.
pub(super) fn condition(state: &LabState, link: Link) -> LinkCondition {
    state.links.get(&link).map_or(LinkCondition::Open, |link| link.condition)
}
