//! Two hues that stand for an identity: they change visibly when the identity does.

/// The two hues of an id, each 0 to 4 and never equal: twenty badges in all. The number beside the
/// badge says the rest.
pub fn hues(id: u64) -> (u8, u8) {
    // Ids are hashes already; folding keeps every byte in the game.
    let folded = (id ^ (id >> 32)) as u32;
    let folded = (folded ^ (folded >> 16)) & 0xffff;
    let first = (folded % 5) as u8;
    let second = (folded / 5 % 4) as u8;
    (first, if second >= first { second + 1 } else { second })
}

/// The id in groups of four hexadecimal digits, as the page prints it.
pub fn grouped(id: u64) -> String {
    let text = format!("{id:016x}");
    let groups: Vec<_> =
        text.as_bytes().chunks(4).map(|four| String::from_utf8_lossy(four)).collect();
    groups.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hues_differ_and_follow_the_id() {
        let mut seen = std::collections::BTreeSet::new();
        for id in 0..1_000u64 {
            let (a, b) = hues(id.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            assert!(a < 5 && b < 5 && a != b);
            seen.insert((a, b));
        }
        assert_eq!(seen.len(), 20);
        assert_eq!(grouped(0xcdf8_1819_4e3a_0001), "cdf8 1819 4e3a 0001");
    }
}
