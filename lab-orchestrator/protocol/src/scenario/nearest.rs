//! The word that somebody may have meant.

/// The nearest of some words, if one is near: at most a third of its letters, and two at least, are
/// others.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let near = known.iter().map(|known| (distance(word, known), *known));
    let (steps, known) = near.min_by_key(|(steps, _)| *steps)?;
    let bearable = (known.chars().count() / 3).max(2).min(word.chars().count().saturating_sub(1));
    (steps <= bearable).then_some(known)
}

/// Letters to insert, remove or replace (Levenshtein), where two swapped letters are one step.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for at in 1..=from.len() {
        let mut row = vec![at];
        for place in 1..=to.len() {
            let replaced = usize::from(from[at - 1] != to[place - 1]);
            let mut steps = (rows[at - 1][place] + 1)
                .min(row[place - 1] + 1)
                .min(rows[at - 1][place - 1] + replaced);
            if at > 1 && place > 1 && from[at - 1] == to[place - 2] && from[at - 2] == to[place - 1]
            {
                steps = steps.min(rows[at - 2][place - 2] + 1);
            }
            row.push(steps);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_seen_through() {
        let known = ["election_safety", "linearizable", "crash", "cut"];
        for (word, meant) in [
            ("election_safty", Some("election_safety")),
            ("lineraizable", Some("linearizable")),
            ("crahs", Some("crash")),
            ("kill", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, &known), meant, "{word}");
        }
    }
}
