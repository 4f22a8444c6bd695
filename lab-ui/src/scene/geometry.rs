//! Points, curves, and where the members stand.

use lab_protocol::{Link, MemberNo};

/// A place on a canvas, in CSS pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// To the right.
    pub x: f32,
    /// Down.
    pub y: f32,
}

impl Point {
    /// A point.
    pub const fn new(x: f32, y: f32) -> Self {
        Self { x, y }
    }

    /// The distance to another point.
    pub fn distance(self, other: Self) -> f32 {
        (self.x - other.x).hypot(self.y - other.y)
    }

    /// The point `part` of the way to another.
    pub fn towards(self, other: Self, part: f32) -> Self {
        Self::new(self.x + (other.x - self.x) * part, self.y + (other.y - self.y) * part)
    }
}

/// A quadratic curve: the way of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Curve {
    /// Start.
    pub from: Point,
    /// Control point.
    pub control: Point,
    /// End.
    pub to: Point,
}

impl Curve {
    /// The point at `part` (0 to 1) of the curve.
    pub fn at(&self, part: f32) -> Point {
        let first = self.from.towards(self.control, part);
        let second = self.control.towards(self.to, part);
        first.towards(second, part)
    }

    /// The direction at `part`, as a unit vector.
    pub fn direction(&self, part: f32) -> Point {
        let first = self.from.towards(self.control, part);
        let second = self.control.towards(self.to, part);
        let length = first.distance(second).max(1e-3);
        Point::new((second.x - first.x) / length, (second.y - first.y) / length)
    }

    /// The smallest distance of a point from the curve, sampled.
    pub fn distance(&self, point: Point) -> f32 {
        (0..=24).map(|n| self.at(n as f32 / 24.0).distance(point)).fold(f32::MAX, f32::min)
    }

    /// The piece of the curve between two parts.
    pub fn piece(&self, from: f32, to: f32) -> Self {
        let start = self.at(from);
        let end = self.at(to);
        let control =
            self.from.towards(self.control, from).towards(self.control.towards(self.to, from), to);
        Self { from: start, control, to: end }
    }
}

/// On which side of a member its words stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// To its left, right-aligned.
    Left,
    /// To its right.
    Right,
    /// Over it, centred: on narrow screens.
    Above,
    /// Under it, centred: on narrow screens.
    Below,
}

/// Where the members of a ring stand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RingLayout {
    /// Member, centre, side of its words; ascending by number.
    pub seats: Vec<(MemberNo, Point, Side)>,
    /// Radius of a member.
    pub radius: f32,
    /// Many members: one word each, and no figures on the links.
    pub dense: bool,
    /// Width and height it was made for.
    pub size: (f32, f32),
}

/// Room at the left and right of the outermost members, for their words.
const WORDS: f32 = 118.0;

/// Room over and under the members of a narrow screen, for the same.
const LINES: f32 = 32.0;

/// From a member's circle to the outside of its countdown arc.
pub const ARC: f32 = 8.0;

impl RingLayout {
    /// Seats for these members on a canvas of this size, clockwise from the top.
    pub fn new(members: &[MemberNo], width: f32, height: f32) -> Self {
        let count = members.len();
        let narrow = width < 520.0;
        // Many members reach the upper left corner, where the quorum stands.
        let top = if count > 6 && !narrow { 62.0 } else { 12.0 };
        let dense = count > 6;
        let lines = match (dense, narrow) {
            (true, _) => LINES / 2.0,
            (false, true) => LINES,
            (false, false) => 0.0,
        };
        let (top, room) = (top + lines, height - top - 16.0 - 2.0 * lines);
        let crowd = if count > 5 { 0.78 } else { 1.0 };
        let radius =
            ((room + lines) / 8.6).min(width / if narrow { 11.5 } else { 9.0 }).clamp(17.0, 37.0)
                * crowd;
        let outside = radius + ARC + 6.0;
        let start = if count == 2 { 180.0_f32 } else { -90.0 };
        let angles: Vec<f32> = (0..count)
            .map(|place| (start + 360.0 * place as f32 / count.max(1) as f32).to_radians())
            .collect();
        let reach = |values: &dyn Fn(f32) -> f32| {
            let all = angles.iter().map(|&angle| values(angle));
            all.fold((0.0_f32, 0.0_f32), |(low, high), value| (low.min(value), high.max(value)))
        };
        let (up, down) = reach(&sin);
        let (left, right) = reach(&cos);
        let words = if narrow { 16.0 } else { WORDS };
        let vertical = ((room - 2.0 * outside) / (down - up).max(1.0)).max(10.0);
        let horizontal = ((width - 2.0 * (outside + words)) / (right - left).max(1.0)).max(10.0);
        let ry = vertical.min(horizontal * 1.1);
        // A low stage is filled by a flat ring.
        let flat = match (dense, room < 300.0) {
            (true, _) => 3.4,
            (false, true) => 1.75,
            (false, false) => 1.32,
        };
        let rx = horizontal.min(ry * flat);
        let spare = room - 2.0 * outside - ry * (down - up);
        let centre = Point::new(width / 2.0, top + outside + spare / 2.0 - ry * up);
        let angles = if dense { evenly(count, rx, ry) } else { angles };
        let seats = members
            .iter()
            .zip(&angles)
            .map(|(&no, angle)| {
                let high = if narrow { 0.0 } else { 0.4 };
                let side = match narrow || dense {
                    true if sin(*angle) < -high => Side::Above,
                    true if sin(*angle) >= high => Side::Below,
                    _ if cos(*angle) < -0.2 => Side::Left,
                    _ => Side::Right,
                };
                (no, Point::new(centre.x + rx * cos(*angle), centre.y + ry * sin(*angle)), side)
            })
            .collect();
        Self { seats, radius, dense, size: (width, height) }
    }

    /// The centre of a member.
    pub fn seat(&self, no: MemberNo) -> Option<Point> {
        self.seats.iter().find(|(seat, ..)| *seat == no).map(|&(_, centre, _)| centre)
    }

    /// The way of a link: from rim to rim, bowed to the sender's left so that both directions are
    /// apart.
    pub fn curve(&self, link: Link) -> Option<Curve> {
        let (from, to) = (self.seat(link.from)?, self.seat(link.to)?);
        let length = from.distance(to).max(1.0);
        let bow = (length * 0.085).clamp(13.0, 26.0);
        let normal = Point::new((to.y - from.y) / length, -(to.x - from.x) / length);
        let middle = from.towards(to, 0.5);
        let control = Point::new(middle.x + normal.x * bow * 2.0, middle.y + normal.y * bow * 2.0);
        let whole = Curve { from, control, to };
        let rim = ((self.radius + ARC + 7.0) / length).min(0.4);
        Some(whole.piece(rim, 1.0 - rim))
    }
}

/// The sine of an angle in radians, to a millionth; any angle of a few turns.
///
/// That of the standard library brings its care for angles of a billion turns along: two thousand
/// bytes of the page.
pub fn sin(angle: f32) -> f32 {
    let turns = angle / std::f32::consts::TAU;
    // The nearest of the angles that have the same sine: within a quarter turn of zero.
    let turns = turns - turns.round_ties_even();
    let turns = if turns.abs() > 0.25 { 0.5_f32.copysign(turns) - turns } else { turns };
    let angle = turns * std::f32::consts::TAU;
    // Taylor's series up to the eleventh power.
    let square = angle * angle;
    let series = [110.0, 72.0, 42.0, 20.0, 6.0];
    angle * series.iter().fold(1.0, |inner, part| 1.0 - square / part * inner)
}

/// The cosine of an angle in radians, as [`sin`].
pub fn cos(angle: f32) -> f32 {
    sin(angle + std::f32::consts::FRAC_PI_2)
}

/// Angles at which `count` points stand at equal distances along a flat ellipse, clockwise from the
/// top. At equal angles they would crowd at its narrow ends.
fn evenly(count: usize, rx: f32, ry: f32) -> Vec<f32> {
    const STEPS: usize = 720;
    let angle = |step: usize| (step as f32 / STEPS as f32 - 0.25) * std::f32::consts::TAU;
    let point = |step: usize| Point::new(rx * cos(angle(step)), ry * sin(angle(step)));
    let lengths: Vec<f32> = (0..STEPS).map(|step| point(step).distance(point(step + 1))).collect();
    let pitch = lengths.iter().sum::<f32>() / count.max(1) as f32;
    let mut angles = Vec::with_capacity(count);
    let mut passed = 0.0;
    for (step, length) in lengths.iter().enumerate() {
        if angles.len() < count && passed >= pitch * angles.len() as f32 - length / 2.0 {
            angles.push(angle(step));
        }
        passed += length;
    }
    angles
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(count: u8) -> Vec<MemberNo> {
        (1..=count).map(MemberNo).collect()
    }

    #[test]
    fn sines_and_cosines_are_those_of_the_standard_library() {
        for step in -900..=900_i16 {
            let angle = f32::from(step) / 50.0;
            assert!((sin(angle) - angle.sin()).abs() < 3e-6, "sine of {angle}: {}", sin(angle));
            assert!((cos(angle) - angle.cos()).abs() < 3e-6, "cosine of {angle}: {}", cos(angle));
        }
    }

    #[test]
    fn members_stand_inside_and_apart_at_every_size() {
        for count in 1..=9 {
            for (width, height) in [(808.0, 405.0), (648.0, 266.0), (390.0, 330.0), (1200.0, 600.0)]
            {
                let ring = RingLayout::new(&members(count), width, height);
                let outside = ring.radius + ARC;
                assert_eq!(ring.seats.len(), usize::from(count));
                for (place, &(no, centre, _)) in ring.seats.iter().enumerate() {
                    let inside = centre.x - outside >= 0.0
                        && centre.x + outside <= width
                        && centre.y - outside >= 0.0
                        && centre.y + outside <= height;
                    assert!(inside, "{no} of {count} at {centre:?} on {width}×{height}");
                    for &(other, there, _) in &ring.seats[place + 1..] {
                        let apart = centre.distance(there) - 2.0 * outside;
                        assert!(apart > -1.0, "{no} and {other} of {count}: {apart}, {width}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_two_directions_of_a_pair_are_apart() {
        let ring = RingLayout::new(&members(3), 808.0, 420.0);
        let there = ring.curve(Link { from: MemberNo(1), to: MemberNo(2) }).expect("both seated");
        let back = ring.curve(Link { from: MemberNo(2), to: MemberNo(1) }).expect("both seated");
        assert!(there.at(0.5).distance(back.at(0.5)) > 20.0);
        assert!(there.from.distance(back.to) < ring.radius);
    }

    #[test]
    fn a_piece_of_a_curve_is_on_the_curve() {
        let curve = Curve {
            from: Point::new(0.0, 0.0),
            control: Point::new(50.0, 80.0),
            to: Point::new(100.0, 0.0),
        };
        let piece = curve.piece(0.25, 0.75);
        assert!(piece.at(0.5).distance(curve.at(0.5)) < 0.01);
        assert!(curve.distance(piece.at(0.3)) < 3.0);
    }
}
