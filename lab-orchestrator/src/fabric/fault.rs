//! What a link does to a message: pure, from the run's seed.

use lab_protocol::{Link, LinkCondition, Mangling};
use node_protocol::FrameKind;

/// Microseconds by which a link in this condition delays its message number `number`; zero for
/// links that do not delay.
///
/// The jitter is even over `0..=jitter_millis` and depends on nothing but the arguments.
pub fn delay_micros(condition: LinkCondition, seed: u64, link: Link, number: u64) -> u64 {
    match condition {
        LinkCondition::Open
        | LinkCondition::Cut
        | LinkCondition::Held
        | LinkCondition::Refused
        | LinkCondition::Throttled { .. }
        | LinkCondition::HalfOpen
        | LinkCondition::Mangled { .. } => 0,
        LinkCondition::Delayed { millis, jitter_millis } => {
            let range = u64::from(jitter_millis) * 1_000 + 1;
            u64::from(millis) * 1_000 + chance(seed, link, number) % range
        }
    }
}

/// What happens to a message of this kind on a link that mangles some.
pub(super) fn mangled(
    condition: LinkCondition,
    seed: u64,
    (link, number, kind): (Link, u64, FrameKind),
) -> Option<Mangling> {
    match condition {
        LinkCondition::Mangled { how, percent, only } if only.has(kind) => {
            (chance(seed, link, number) % 100 < u64::from(percent)).then_some(how)
        }
        _ => None,
    }
}

/// By how much a message that is to come late does: 5 to 55 ms, past some that follow it.
pub(super) fn lateness_micros(seed: u64, link: Link, number: u64) -> u64 {
    5_000 + chance(seed.rotate_left(9), link, number) % 50_001
}

/// A number that depends on nothing but the arguments.
fn chance(seed: u64, link: Link, number: u64) -> u64 {
    let place = u64::from(link.from.0) << 8 | u64::from(link.to.0);
    mix(seed ^ mix(place) ^ mix(number.rotate_left(17)))
}

/// One step of splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use lab_protocol::MemberNo;

    use super::*;

    const LINK: Link = Link { from: MemberNo(1), to: MemberNo(2) };

    #[test]
    fn delays_are_repeatable_and_within_their_range() {
        let condition = LinkCondition::Delayed { millis: 100, jitter_millis: 50 };
        let delays: Vec<_> = (0..1000).map(|n| delay_micros(condition, 7, LINK, n)).collect();
        let again: Vec<_> = (0..1000).map(|n| delay_micros(condition, 7, LINK, n)).collect();
        assert_eq!(delays, again);
        assert!(delays.iter().all(|delay| (100_000..=150_000).contains(delay)));
        let mean = delays.iter().sum::<u64>() / 1000;
        assert!((123_000..=127_000).contains(&mean), "{mean}");
        let other: Vec<_> = (0..1000).map(|n| delay_micros(condition, 8, LINK, n)).collect();
        assert_ne!(delays, other, "another seed, other delays");
    }

    #[test]
    fn so_many_percent_of_the_messages_that_are_meant_are_mangled() {
        use lab_protocol::Kinds;
        let only = Kinds::Heartbeats;
        let condition = LinkCondition::Mangled { how: Mangling::Drop, percent: 30, only };
        let mangles = |kind| {
            let all = (0..1_000).filter_map(|n| mangled(condition, 7, (LINK, n, kind)));
            all.count()
        };
        assert!((260..=340).contains(&mangles(FrameKind::Heartbeat)));
        assert_eq!(mangles(FrameKind::Append), 0);
        assert!((0..1_000).all(|n| (5_000..=55_000).contains(&lateness_micros(7, LINK, n))));
    }

    #[test]
    fn only_a_delayed_link_delays() {
        for (condition, expected) in [
            (LinkCondition::Open, 0),
            (LinkCondition::Cut, 0),
            (LinkCondition::Delayed { millis: 0, jitter_millis: 0 }, 0),
            (LinkCondition::Delayed { millis: 3, jitter_millis: 0 }, 3_000),
        ] {
            assert_eq!(delay_micros(condition, 1, LINK, 9), expected, "{condition:?}");
        }
    }
}
