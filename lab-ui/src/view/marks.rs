//! Small drawings inside text: the mark of the page, badges, and text with names and terms.

use yew::prelude::*;

use crate::{model::identity, scene::palette};

/// The name of the page with its mark.
#[component]
pub fn Mark() -> Html {
    html! {
        <span class="mark">
            <svg width="24" height="20" viewBox="0 0 24 20" aria-hidden="true">
                <circle class="dot" cx="12" cy="4" r="3" />
                <circle class="line" cx="4" cy="16" r="3" />
                <circle class="line" cx="20" cy="16" r="3" />
                <path class="line" d="M10.4 6.6 5.6 13.4M13.6 6.6l4.8 6.8M7 16h10" />
            </svg>
            {"Raftlab"}
        </span>
    }
}

/// An identity: two hues and the first digits.
#[derive(Clone, PartialEq, Properties)]
pub struct BadgeProps {
    /// The id.
    pub id: u64,
    /// What stands before the digits.
    #[prop_or_default]
    pub name: AttrValue,
    /// Groups of four digits that are printed.
    #[prop_or(3)]
    pub groups: usize,
}

/// An identity: two hues and the first digits.
#[component]
pub fn Badge(props: &BadgeProps) -> Html {
    let (first, second) = identity::hues(props.id);
    let digits: Vec<_> =
        identity::grouped(props.id).split(' ').take(props.groups).map(str::to_owned).collect();
    html! {
        <span class="badge" title={format!("{:016x}", props.id)}>
            <svg width="9" height="9" viewBox="0 0 9 9" aria-hidden="true">
                <path class={format!("hue{first}")} d="M0 0H9L0 9Z" />
                <path class={format!("hue{second}")} d="M9 0V9H0Z" />
            </svg>
            {format!("{} {}", props.name, digits.join(" ")).trim_start().to_owned()}
        </span>
    }
}

/// A piece of a line of the story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Plain words.
    Words(String),
    /// A member's name.
    Member(String),
    /// A term, with its number.
    Term(u64),
}

/// Finds the names and terms in a line.
pub fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut words = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let begins = words.chars().next_back().is_none_or(|letter| !letter.is_alphanumeric());
        let found = if begins { name_at(rest).or_else(|| term_at(rest)) } else { None };
        let Some((piece, length)) = found else {
            let letter = rest.chars().next().map_or(1, char::len_utf8);
            words.push_str(&rest[..letter]);
            rest = &rest[letter..];
            continue;
        };
        if !words.is_empty() {
            pieces.push(Piece::Words(std::mem::take(&mut words)));
        }
        pieces.push(piece);
        rest = &rest[length..];
    }
    if !words.is_empty() {
        pieces.push(Piece::Words(words));
    }
    pieces
}

fn name_at(text: &str) -> Option<(Piece, usize)> {
    let bytes = text.as_bytes();
    let digit = bytes.get(1).filter(|digit| digit.is_ascii_digit())?;
    let ends = bytes.get(2).is_none_or(|next| !next.is_ascii_alphanumeric());
    (bytes[0] == b'm' && *digit != b'0' && ends).then(|| (Piece::Member(text[..2].to_owned()), 2))
}

fn term_at(text: &str) -> Option<(Piece, usize)> {
    let digits = text.strip_prefix("term ")?;
    let length = digits.bytes().take_while(u8::is_ascii_digit).count();
    let term = digits[..length].parse().ok()?;
    Some((Piece::Term(term), "term ".len() + length))
}

/// A line with its names in bold and its terms in their colours.
pub fn told(text: &str) -> Html {
    pieces(text)
        .into_iter()
        .map(|piece| match piece {
            Piece::Words(words) => html! { {words} },
            Piece::Member(name) => html! { <b>{name}</b> },
            Piece::Term(term) => {
                let hue = palette::term_hue(term);
                html! { <span class={format!("tag term{hue}")}>{format!("term {term}")}</span> }
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_terms_are_found_and_nothing_else() {
        let words = |text: &str| Piece::Words(text.into());
        assert_eq!(
            pieces("m1 has 2 of 3: term 12. Am1, m10, m2."),
            [
                Piece::Member("m1".into()),
                words(" has 2 of 3: "),
                Piece::Term(12),
                words(". Am1, m10, "),
                Piece::Member("m2".into()),
                words("."),
            ]
        );
        assert_eq!(pieces("term for term"), [words("term for term")]);
    }
}
