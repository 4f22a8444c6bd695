//! Reads SPDX licence expressions, such as `(MIT OR Apache-2.0) AND Unicode-3.0`.

use std::collections::BTreeSet;

/// Whether `expression` can be satisfied with licences of `allowed` alone.
///
/// `OR` needs one side, `AND` both; `/` is the old way to write `OR`. `X WITH Y` counts as one
/// licence and has to be allowed by that whole name. An expression that cannot be read is not
/// allowed.
pub(crate) fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader { words: &words, at: 0, allowed };
    let answer = reader.either();
    answer.is_some_and(|answer| answer && reader.at == words.len())
}

struct Reader<'a> {
    words: &'a [&'a str],
    at: usize,
    allowed: &'a BTreeSet<String>,
}

impl Reader<'_> {
    fn takes(&mut self, word: &str) -> bool {
        let next = self.words.get(self.at).is_some_and(|next| *next == word);
        self.at += usize::from(next);
        next
    }

    fn either(&mut self) -> Option<bool> {
        let mut answer = self.both()?;
        while self.takes("OR") {
            answer |= self.both()?;
        }
        Some(answer)
    }

    fn both(&mut self) -> Option<bool> {
        let mut answer = self.one()?;
        while self.takes("AND") {
            answer &= self.one()?;
        }
        Some(answer)
    }

    fn one(&mut self) -> Option<bool> {
        if self.takes("(") {
            let answer = self.either()?;
            return self.takes(")").then_some(answer);
        }
        let name = *self.words.get(self.at)?;
        if ["AND", "OR", "WITH", ")"].contains(&name) {
            return None;
        }
        self.at += 1;
        if self.takes("WITH") {
            let exception = self.words.get(self.at)?;
            self.at += 1;
            return Some(self.allowed.contains(&format!("{name} WITH {exception}")));
        }
        Some(self.allowed.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        let allowed: BTreeSet<String> =
            ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).into();
        let table = [
            ("MIT", true),
            ("GPL-3.0", false),
            ("MIT OR GPL-3.0", true),
            ("GPL-3.0/MIT", true),
            ("MIT AND GPL-3.0", false),
            ("(MIT OR GPL-3.0) AND Apache-2.0", true),
            ("GPL-3.0 OR (MIT AND BSD-3-Clause)", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("MIT WITH Classpath-exception-2.0", false),
            ("(MIT", false),
            ("MIT OR", false),
            ("", false),
        ];
        for (expression, expected) in table {
            assert_eq!(is_allowed(expression, &allowed), expected, "`{expression}`");
        }
    }
}
