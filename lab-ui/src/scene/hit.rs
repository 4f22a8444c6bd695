//! What is under a pointer.

use lab_protocol::{LabState, Link, MemberNo};

use super::{
    Point,
    geometry::{ARC, RingLayout},
    ring,
};

/// A link is hit from this distance: wide enough for a finger on a calm link, narrower than half
/// of the way between the two directions of a pair.
const LINK_REACH: f32 = 13.0;

/// Something on the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRing {
    /// A member.
    Member(MemberNo),
    /// A link.
    Link(Link),
}

/// What is under this point of the ring: a member before a link, the nearest link of several.
pub fn on_ring(state: &LabState, layout: &RingLayout, pointer: Point) -> Option<OnRing> {
    let member =
        layout.seats.iter().find(|(_, centre, _)| centre.distance(pointer) <= layout.radius + ARC);
    if let Some(&(no, ..)) = member {
        return Some(OnRing::Member(no));
    }
    state
        .links
        .keys()
        .filter(|link| !ring::is_gone(state, **link))
        .filter_map(|&link| Some((link, layout.curve(link)?.distance(pointer))))
        .filter(|(_, distance)| *distance <= LINK_REACH)
        .min_by(|(_, a), (_, b)| a.total_cmp(b))
        .map(|(link, _)| OnRing::Link(link))
}

#[cfg(test)]
mod tests {
    use lab_protocol::{LinkCondition, LinkState, LinkTraffic};

    use super::*;

    #[test]
    fn members_come_before_links_and_the_nearer_direction_wins() {
        let (a, b) = (MemberNo(1), MemberNo(2));
        let mut state = LabState::default();
        for link in [Link { from: a, to: b }, Link { from: b, to: a }] {
            let traffic = LinkTraffic { link, sent: 0, landed: 0, lost: 0, bytes: 0 };
            state.links.insert(link, LinkState { condition: LinkCondition::Open, traffic });
        }
        let layout = RingLayout::new(&[a, b, MemberNo(3)], 808.0, 420.0);
        let seat = layout.seat(a).expect("seated");
        assert_eq!(on_ring(&state, &layout, seat), Some(OnRing::Member(a)));
        for link in [Link { from: a, to: b }, Link { from: b, to: a }] {
            let middle = layout.curve(link).expect("both seated").at(0.5);
            assert_eq!(on_ring(&state, &layout, middle), Some(OnRing::Link(link)));
        }
        assert_eq!(on_ring(&state, &layout, Point::new(2.0, 2.0)), None);
    }
}
