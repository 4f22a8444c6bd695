//! The log lanes: one row a member, the newest entries, aligned by index.
//!
//! ```text
//!  Log      118  119  120  121 │ 122
//!  m1 L     [7]  [7]  [8]  [8] │ ┆8┆      filled: committed; dashed: may still be lost
//!  m2 F     [7]  [7]  [8]  [8] │          a thin border: not on the disk yet
//!           ▔▔▔  ▔▔▔  ▔▔▔                 underlined: applied
//! ```
//!
//! Above a few entries a second a cell stands for several; it is filled as far as they are
//! committed.

use lab_protocol::{Account, EngineKind, LabState, MemberNo, MemberState, Process, Standing};
use node_protocol::{Index, Role, Status};

use super::{
    Colour, Picture, Point,
    labels::Labels,
    picture::{Align, Face, FontSize, Look, Pen, Shape},
};
use crate::model::lens::Lens;

const HEAD: Face = Face::Words(600, FontSize(24));
const INDEX: Face = Face::Facts(400, FontSize(22));
const NAME: Face = Face::Facts(700, FontSize(27));
const ROLE: Face = Face::Facts(400, FontSize(22));
const DIGIT: Face = Face::Facts(700, FontSize(25));
const DIGIT_SMALL: Face = Face::Facts(700, FontSize(21));
const FOOT: Face = Face::Words(400, FontSize(24));
const FOOT_STRONG: Face = Face::Words(600, FontSize(24));
const FACT: Face = Face::Facts(500, FontSize(23));

/// Height above the first row.
const TOP: f32 = 34.0;
/// Height below the last row.
const BOTTOM: f32 = 30.0;
/// Empty places to the right of the newest entry.
const AHEAD: f64 = 1.6;

/// Height of the lanes for so many members, on a stage of this height.
pub fn height(members: usize, stage_height: f32) -> f32 {
    let rows = members.max(1) as f32;
    let row = ((stage_height * 0.46 - TOP - BOTTOM) / rows).clamp(19.0, 40.0);
    (TOP + BOTTOM + rows * row).round()
}

/// What the lanes are drawn from.
#[derive(Debug)]
pub struct LanesView<'a> {
    /// What the lab knows.
    pub state: &'a LabState,
    /// The window.
    pub lens: &'a Lens,
    /// Size of the canvas.
    pub size: (f32, f32),
    /// The entry under the pointer.
    pub hovered: Option<(MemberNo, u64)>,
    /// The newest entry in words.
    pub newest: &'a str,
}

/// Where the cells are.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Grid {
    left: f32,
    right: f32,
    pitch: f32,
    row: f32,
    /// Cell number at the left edge, with its fraction.
    first: f64,
    scale: u64,
}

impl Grid {
    fn new(view: &LanesView<'_>) -> Self {
        let (width, height) = view.size;
        let narrow = width < 520.0;
        let left = if narrow { 66.0 } else { 92.0 };
        let right = width - if narrow { 12.0 } else { 24.0 };
        let room = right - left;
        let pitch = (room / 18.0).clamp(27.0, 37.0).min(room / 8.0);
        let rows = view.state.members.len().max(1) as f32;
        let row = (height - TOP - BOTTOM) / rows;
        let cells = f64::from(room / pitch);
        let first = (view.lens.end_cells + AHEAD - cells).max(0.0);
        Self { left, right, pitch, row, first, scale: view.lens.scale.max(1) }
    }

    /// The left edge of a cell; cells count from 0.
    fn x(&self, cell: u64) -> f32 {
        self.left + ((cell as f64 - self.first) * f64::from(self.pitch)) as f32
    }

    /// The place of an index on the axis: its right edge.
    fn x_after(&self, index: u64) -> f32 {
        let cells = index as f64 / self.scale as f64;
        self.left + ((cells - self.first) * f64::from(self.pitch)) as f32
    }

    fn cells(&self) -> std::ops::RangeInclusive<u64> {
        let first = self.first.floor().max(0.0) as u64;
        let count = ((self.right - self.left) / self.pitch).ceil() as u64;
        first..=first + count
    }

    /// First and last index of a cell.
    fn span(&self, cell: u64) -> (u64, u64) {
        (cell * self.scale + 1, (cell + 1) * self.scale)
    }

    /// How much of a cell is seen: all of it inside the lanes, none outside; at the left edge it
    /// fades, so that nothing pops out while the lanes move.
    fn seen(&self, cell: u64) -> f32 {
        const FADE: f32 = 18.0;
        let x = self.x(cell);
        if x + self.pitch > self.right + 2.0 {
            return 0.0;
        }
        ((x - self.left) / FADE + 1.0).clamp(0.0, 1.0)
    }
}

/// The member and index under a pointer.
pub fn entry_at(view: &LanesView<'_>, pointer: Point) -> Option<(MemberNo, u64)> {
    let grid = Grid::new(view);
    if pointer.x < grid.left || pointer.x > grid.right || pointer.y < TOP {
        return None;
    }
    let row = ((pointer.y - TOP) / grid.row) as usize;
    let (&no, member) = view.state.members.iter().nth(row)?;
    let cells = f64::from((pointer.x - grid.left) / grid.pitch) + grid.first;
    let index = (cells * grid.scale as f64).floor() as u64 + 1;
    let status = member.status.as_ref()?;
    (status.first.0..=status.last.0).contains(&index).then_some((no, index))
}

/// Draws the lanes.
pub fn draw(view: &LanesView<'_>, labels: &mut Labels, picture: &mut Picture) {
    picture.clear();
    let grid = Grid::new(view);
    let edge = if view.size.0 < 520.0 { 12.0 } else { 24.0 };
    let rule = Shape::Line(Point::new(edge, 0.5), Point::new(view.size.0 - edge, 0.5));
    picture.shape(rule, Look::lined(Pen::new(Colour::Line, 1.0)));
    picture.text(Point::new(edge, 23.0), "Log", HEAD, Colour::Muted, Align::Start);
    axis(&grid, labels, picture);
    for (place, (&no, member)) in view.state.members.iter().enumerate() {
        let y = TOP + grid.row * place as f32;
        name(no, member, Point::new(edge, y + grid.row / 2.0 + 4.5), labels, picture);
        match &member.status {
            Some(status) => lane(&grid, y, member, status, labels, picture),
            None => {
                let at = Point::new(grid.left, y + grid.row / 2.0 + 4.5);
                picture.text(at, "n/a", FACT, Colour::Muted, Align::Start);
            }
        }
    }
    foot(view, &grid, picture);
}

fn axis(grid: &Grid, labels: &mut Labels, picture: &mut Picture) {
    // Wide numbers need room: then each second or fifth is printed.
    let digits = (grid.span(*grid.cells().end()).1.max(1).ilog10() + 1) as f32;
    let each = ((digits * 7.0 + 10.0) / grid.pitch).ceil().max(1.0) as u64;
    for cell in grid.cells().filter(|cell| (cell + 1) % each == 0 && grid.seen(*cell) > 0.9) {
        let (_, last) = grid.span(cell);
        let at = Point::new(grid.x(cell) + grid.pitch / 2.0, 23.0);
        picture.text(at, labels.number(last), INDEX, Colour::Muted, Align::Middle);
    }
}

fn name(no: MemberNo, member: &MemberState, at: Point, labels: &mut Labels, picture: &mut Picture) {
    let gone = matches!(member.process, Process::Down { .. } | Process::Planned);
    let colour = if gone { Colour::Muted } else { Colour::Ink };
    picture.text(at, labels.member(no), NAME, colour, Align::Start);
    let role = match (&member.process, &member.status) {
        _ if member.standing == Standing::Removed => "−",
        (Process::Down { .. }, _) => "×",
        (Process::Paused { .. }, _) => "‖",
        (Process::Planned | Process::Up { .. }, None) => "",
        (Process::Planned | Process::Up { .. }, Some(status)) => match status.role {
            Role::Follower => "F",
            Role::PreCandidate => "P",
            Role::Candidate => "C",
            Role::Leader => "L",
            Role::Learner => "A",
        },
    };
    picture.text(Point::new(at.x + 28.0, at.y), role, ROLE, Colour::Muted, Align::Start);
}

fn lane(
    grid: &Grid,
    y: f32,
    member: &MemberState,
    status: &Status,
    labels: &mut Labels,
    picture: &mut Picture,
) {
    let alpha = match member.process {
        Process::Up { .. } => 1.0,
        Process::Paused { .. } => 0.7,
        Process::Planned | Process::Down { .. } => 0.45,
    };
    let height = (grid.row - 9.0).clamp(13.0, 30.0);
    let top = y + (grid.row - height) / 2.0 - 1.0;
    let width = grid.pitch - 5.0;
    let first_seen = (grid.first.ceil() as u64) * grid.scale + 1;
    if status.last.0 < first_seen {
        let text = format!("ends at {}", status.last);
        let at = Point::new(grid.left, y + grid.row / 2.0 + 4.5);
        picture.text(at, text, FACT, Colour::Muted, Align::Start);
        return;
    }
    let lane_alpha = alpha;
    for cell in grid.cells() {
        let seen = grid.seen(cell);
        if seen <= 0.0 {
            continue;
        }
        let alpha = lane_alpha * seen;
        let x = grid.x(cell);
        let (from, to) = grid.span(cell);
        let corner = Point::new(x, top);
        if to < status.first.0 {
            let look = Look::lined(Pen::new(Colour::Line, 2.5)).seen(alpha);
            picture.shape(Shape::Hatch(Point::new(x - 2.5, top), grid.pitch, height), look);
        } else if from > status.last.0 {
            let look = Look::lined(Pen::dashed(Colour::Line, 1.0, 2.0, 3.0)).seen(alpha);
            picture.shape(Shape::Rect(corner, width, height, 5.0), look);
        } else {
            let held = Held { from, to: to.min(status.last.0), whole: grid.scale };
            entries(corner, (width, height), held, status, alpha, labels, picture);
        }
    }
    applied(grid, top + height + 3.0, status, alpha, picture);
}

/// The entries a cell stands for.
#[derive(Clone, Copy)]
struct Held {
    from: u64,
    to: u64,
    whole: u64,
}

fn entries(
    corner: Point,
    (width, height): (f32, f32),
    held: Held,
    status: &Status,
    alpha: f32,
    labels: &mut Labels,
    picture: &mut Picture,
) {
    let term = term_at(status, held.to);
    let colour = Colour::of_term(term);
    let committed = (status.commit.0 + 1).saturating_sub(held.from).min(held.whole) as f32;
    let part = committed / held.whole as f32;
    let durable = status.persisted.0 >= held.to;
    if part < 1.0 {
        let pen = match durable {
            true => Pen::dashed(colour, 2.0, 4.0, 3.0),
            false => Pen::dashed(colour, 1.0, 2.0, 2.0),
        };
        let inner = Point::new(corner.x + 1.0, corner.y + 1.0);
        let look = Look::both(Colour::Surface, pen).seen(alpha);
        picture.shape(Shape::Rect(inner, width - 2.0, height - 2.0, 5.0), look);
    }
    if part > 0.0 {
        let look = Look::filled(colour).seen(alpha);
        picture.shape(Shape::Rect(corner, width * part, height, 5.0), look);
    }
    let first_term = term_at(status, held.from);
    if first_term != term && part > 0.0 {
        // The cell holds the seam between two terms: its left part is the older one's.
        let seam = (seam_of(status, held) - held.from) as f32 / held.whole as f32;
        let look = Look::filled(Colour::of_term(first_term)).seen(alpha);
        picture.shape(Shape::Rect(corner, width * seam.min(part), height, 5.0), look);
    }
    let face = if height < 22.0 || term > 99 { DIGIT_SMALL } else { DIGIT };
    let at = Point::new(corner.x + width / 2.0, corner.y + height / 2.0 + 4.5);
    let ink = if part > 0.0 { Colour::Surface } else { colour };
    if first_term == term && (part >= 1.0 || part <= 0.0) {
        picture.faint_text(at, labels.number(term), (face, ink, Align::Middle), alpha);
    }
}

/// One thin line under the entries that the state machine holds.
fn applied(grid: &Grid, y: f32, status: &Status, alpha: f32, picture: &mut Picture) {
    let first = status.first.0.saturating_sub(1);
    let from = grid.x_after(first).max(grid.left);
    let to = (grid.x_after(status.applied.0) - 5.0).min(grid.right);
    if to > from {
        let line = Shape::Line(Point::new(from, y), Point::new(to, y));
        picture.shape(line, Look::lined(Pen::new(Colour::Faint, 1.5)).seen(alpha));
    }
}

/// The term of an entry, by the member's own account.
fn term_at(status: &Status, index: u64) -> u64 {
    let run = status.terms.iter().rev().find(|run| run.first <= Index(index));
    run.map_or(status.term.0, |run| run.term.0)
}

/// The first index of the newest term inside a cell.
fn seam_of(status: &Status, held: Held) -> u64 {
    let inside = |first: u64| (held.from..=held.to).contains(&first);
    let seam = status.terms.iter().rev().map(|run| run.first.0).find(|&first| inside(first));
    seam.unwrap_or(held.from)
}

fn foot(view: &LanesView<'_>, grid: &Grid, picture: &mut Picture) {
    let (width, height) = view.size;
    let y = height - 10.0;
    let edge = if width < 520.0 { 12.0 } else { 24.0 };
    let leader = view.state.leader().and_then(|no| view.state.members[&no].status.as_ref());
    let commit = leader.map(|status| status.commit.0);
    let mut marker = None;
    if let Some(x) = commit.map(|commit| grid.x_after(commit) - 2.5)
        && (grid.left..=grid.right + 3.0).contains(&x)
    {
        let line = Shape::Line(Point::new(x, TOP - 3.0), Point::new(x, height - BOTTOM + 1.0));
        picture.shape(line, Look::lined(Pen::new(Colour::Ink, 1.5)));
        marker = Some(x);
    }
    if let Some(x) = marker.filter(|x| *x - grid.left > 90.0) {
        let at = Point::new(x - 6.0, y);
        picture.text(at, "committed", FOOT_STRONG, Colour::Ink, Align::End);
    }
    let words = caption(view, grid);
    let (x, align, room) = match marker {
        // The caption stands at the left, under the names, away from the marker.
        Some(x) => (edge, Align::Start, x - 90.0 - edge),
        None => (edge, Align::Start, width - 2.0 * edge),
    };
    let fits = (room / 7.0).max(0.0) as usize;
    let words: String = match words.chars().count() > fits {
        true if fits > 8 => words.chars().take(fits - 1).chain(['…']).collect(),
        true => String::new(),
        false => words,
    };
    picture.text(Point::new(x, y), words, FACT, Colour::Muted, align);
    if let Some(x) = marker.filter(|x| width - edge - x > 104.0) {
        let at = Point::new(x + 10.0, y);
        picture.text(at, "may still be lost", FOOT, Colour::Muted, Align::Start);
    }
    // While cells stand for several entries the newest one is named between the rate and the mark.
    let room = marker.unwrap_or(width - edge) - 96.0 - (grid.left + 200.0);
    if grid.scale > 1 && view.hovered.is_none() && view.newest.len() as f32 * 7.0 < room {
        let at = Point::new(grid.left + 200.0, y);
        picture.text(at, view.newest.to_owned(), FACT, Colour::Muted, Align::Start);
    }
}

/// What stands under the lanes: why they are empty, or the entry under the pointer, else the newest
/// one and the rate.
fn caption(view: &LanesView<'_>, grid: &Grid) -> String {
    if let Some(why) = EngineKind::of(&view.state.engine).silence(Account::Log) {
        return why;
    }
    if let Some((no, index)) = view.hovered
        && let Some(member) = view.state.members.get(&no)
        && let Some(status) = &member.status
    {
        let brief = member.briefs.iter().find(|brief| brief.index == Index(index));
        let text = match brief.map(|brief| brief.text.as_str()) {
            Some("") => ", empty, of a new leader",
            Some(text) => &format!(", {text}"),
            None => "",
        };
        let fate = match index {
            index if index <= status.applied.0 => "applied",
            index if index <= status.commit.0 => "committed",
            index if index <= status.persisted.0 => "on disk, not committed",
            _ => "not on disk yet",
        };
        return format!("{no}, {index}, term {}{text}: {fate}", term_at(status, index));
    }
    match grid.scale {
        1 if view.newest.is_empty() => String::new(),
        1 => format!("newest: {}", view.newest),
        scale => format!("{} entries/s, a cell is {scale}", view.lens.rate as u64),
    }
}

#[cfg(test)]
mod tests {
    use lab_protocol::{Event, MemberPlan, Numbered};
    use node_protocol::{Revision, Term, telemetry::TermRun};

    use super::*;

    fn state() -> LabState {
        let mut state = LabState::default();
        let plan =
            MemberPlan { member: MemberNo(1), client_url: String::new(), peer_url: String::new() };
        let started = Event::RunStarted {
            run: String::new(),
            seed: 0,
            version: String::new(),
            engine: String::new(),
            token: String::new(),
            wall_millis: 0,
            members: vec![plan],
        };
        let status = Status {
            at_micros: 0,
            role: Role::Leader,
            term: Term(8),
            vote: None,
            leader: None,
            first: Index(4),
            last: Index(12),
            persisted: Index(11),
            commit: Index(10),
            applied: Index(9),
            terms: vec![
                TermRun { first: Index(4), term: Term(7) },
                TermRun { first: Index(8), term: Term(8) },
            ],
            revision: Revision(1),
            tick_micros: 100_000,
            election_elapsed_ticks: 0,
            election_timeout_ticks: 10,
            promotable: true,
            voters: Vec::new(),
            learners: Vec::new(),
            progress: Vec::new(),
            waiting_proposals: 0,
            waiting_reads: 0,
            leases: 0,
            fsync_last_micros: 0,
            state_bytes: 0,
        };
        let member = MemberNo(1);
        let up = Event::Process { member, process: Process::Up { pid: 1 } };
        let told = Event::Status { member, status: Box::new(status) };
        for (seq, event) in (1..).zip([started, up, told]) {
            state.apply(&Numbered { seq, at_micros: 0, event }, true);
        }
        state
    }

    fn view<'a>(state: &'a LabState, lens: &'a Lens) -> LanesView<'a> {
        LanesView { state, lens, size: (808.0, 120.0), hovered: None, newest: "12 put k" }
    }

    #[test]
    fn terms_stand_in_the_cells_and_numbers_above() {
        let state = state();
        let mut lens = Lens::default();
        lens.follow(12, 0.0, false);
        let mut picture = Picture::default();
        draw(&view(&state, &lens), &mut Labels::default(), &mut picture);
        let words = picture.words();
        assert_eq!(words.iter().filter(|word| **word == "7").count(), 4 + 1, "entries and axis");
        assert_eq!(words.iter().filter(|word| **word == "8").count(), 5 + 1);
        assert!(words.contains(&"committed") && words.contains(&"newest: 12 put k"), "{words:?}");
        let hatched = picture
            .marks
            .iter()
            .filter(|mark| matches!(mark, super::super::Mark::Shape(Shape::Hatch(..), _)));
        assert_eq!(hatched.count(), 3, "entries 1 to 3 are compacted");
    }

    #[test]
    fn lanes_say_why_they_are_empty() {
        let etcd = LabState { engine: EngineKind::etcd("3.5.1"), ..state() };
        let mut picture = Picture::default();
        draw(&view(&etcd, &Lens::default()), &mut Labels::default(), &mut picture);
        let words = picture.words();
        assert!(words.contains(&"etcd does not tell what is in its log"), "{words:?}");
    }

    #[test]
    fn the_entry_under_a_pointer_is_named() {
        let state = state();
        let mut lens = Lens::default();
        lens.follow(12, 0.0, false);
        let mut view = view(&state, &lens);
        let grid = Grid::new(&view);
        let pointer = Point::new(grid.x(9) + 4.0, TOP + 6.0);
        assert_eq!(entry_at(&view, pointer), Some((MemberNo(1), 10)));
        view.hovered = Some((MemberNo(1), 11));
        assert_eq!(caption(&view, &grid), "m1, 11, term 8: on disk, not committed");
        assert_eq!(entry_at(&view, Point::new(grid.x(1) + 4.0, TOP + 6.0)), None, "compacted");
    }
}
