//! The colours, one meaning each: the same tokens as `style.css`, for the canvas.

/// Light or dark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// Ink on warm paper.
    #[default]
    Light,
    /// The same at night.
    Dark,
}

/// A colour by its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// The ground of the page.
    Paper,
    /// The ground of cards and members.
    Surface,
    /// The ground of what is not there.
    Sunk,
    /// Thin lines.
    Line,
    /// Words.
    Ink,
    /// Words of less weight.
    Muted,
    /// Lines of what is not there; never text.
    Faint,
    /// A term: cycle of five.
    Term(u8),
    /// The ground of a term's span.
    TermGround(u8),
    /// An injected fault or its harm.
    Fault,
    /// Its ground.
    FaultGround,
    /// A promise that holds.
    Holds,
    /// An outcome not known yet.
    Unknown,
}

/// The tokens: name in the style sheet, colour, light, dark.
pub const TOKENS: [(&str, Colour, &str, &str); 21] = [
    ("paper", Colour::Paper, "#FAF8F4", "#10151B"),
    ("surface", Colour::Surface, "#FFFFFF", "#171E26"),
    ("sunk", Colour::Sunk, "#F3F0EA", "#0C1116"),
    ("line", Colour::Line, "#E2DDD3", "#2A343F"),
    ("ink", Colour::Ink, "#1D232B", "#E8ECF1"),
    ("muted", Colour::Muted, "#5C626A", "#93A0AE"),
    ("faint", Colour::Faint, "#A9ABA8", "#55626F"),
    ("term0", Colour::Term(0), "#0069A6", "#58B0E8"),
    ("term1", Colour::Term(1), "#9A5B00", "#F0A03C"),
    ("term2", Colour::Term(2), "#007550", "#3CC79A"),
    ("term3", Colour::Term(3), "#96407A", "#DB93C3"),
    ("term4", Colour::Term(4), "#5F54A0", "#B3A8EC"),
    ("term0-ground", Colour::TermGround(0), "#DDECF6", "#14324A"),
    ("term1-ground", Colour::TermGround(1), "#FBEBD0", "#43320F"),
    ("term2-ground", Colour::TermGround(2), "#D9EFE7", "#123B30"),
    ("term3-ground", Colour::TermGround(3), "#F6E3EF", "#40263A"),
    ("term4-ground", Colour::TermGround(4), "#E8E5F5", "#2C2850"),
    ("fault", Colour::Fault, "#B8371A", "#FF7A57"),
    ("fault-ground", Colour::FaultGround, "#FBE9E3", "#3A211B"),
    ("holds", Colour::Holds, "#2A7248", "#63C58B"),
    ("unknown", Colour::Unknown, "#7A5C00", "#E6D96A"),
];

/// The place of a term in the cycle of five hues.
pub fn term_hue(term: u64) -> u8 {
    // Term 7 is the first hue in the design; any fixed offset would do.
    (term.wrapping_add(3) % 5) as u8
}

impl Colour {
    /// The colour of a term.
    pub fn of_term(term: u64) -> Self {
        Self::Term(term_hue(term))
    }

    /// The ground of a term's span.
    pub fn ground_of_term(term: u64) -> Self {
        Self::TermGround(term_hue(term))
    }

    /// As CSS writes it.
    pub fn css(self, theme: Theme) -> &'static str {
        let place = match self {
            Self::Paper => 0,
            Self::Surface => 1,
            Self::Sunk => 2,
            Self::Line => 3,
            Self::Ink => 4,
            Self::Muted => 5,
            Self::Faint => 6,
            Self::Term(hue) => 7 + usize::from(hue % 5),
            Self::TermGround(hue) => 12 + usize::from(hue % 5),
            Self::Fault => 17,
            Self::FaultGround => 18,
            Self::Holds => 19,
            Self::Unknown => 20,
        };
        let (_, _, light, dark) = TOKENS[place];
        match theme {
            Theme::Light => light,
            Theme::Dark => dark,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn luminance(hex: &str) -> f64 {
        let channel = |place: usize| {
            let value = u8::from_str_radix(&hex[place..place + 2], 16).expect("two hex digits");
            let value = f64::from(value) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    }

    fn contrast(a: &str, b: &str) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn text_reaches_four_and_a_half_on_every_ground() {
        let text = [Colour::Ink, Colour::Muted, Colour::Fault, Colour::Holds, Colour::Unknown];
        let terms = (0..5).map(Colour::Term);
        for theme in [Theme::Light, Theme::Dark] {
            for colour in text.into_iter().chain(terms.clone()) {
                for ground in [Colour::Paper, Colour::Surface, Colour::Sunk] {
                    let found = contrast(colour.css(theme), ground.css(theme));
                    assert!(found >= 4.5, "{colour:?} on {ground:?}, {theme:?}: {found:.2}");
                }
            }
            for hue in 0..5 {
                let ground = Colour::TermGround(hue).css(theme);
                let found = contrast(Colour::Term(hue).css(theme), ground);
                assert!(found >= 4.5, "term {hue} on its ground, {theme:?}: {found:.2}");
                let found = contrast(Colour::Surface.css(theme), Colour::Term(hue).css(theme));
                assert!(found >= 4.5, "a cell's number, hue {hue}, {theme:?}: {found:.2}");
            }
            let found = contrast(Colour::Fault.css(theme), Colour::FaultGround.css(theme));
            assert!(found >= 4.5, "fault on its ground, {theme:?}: {found:.2}");
        }
    }

    #[test]
    fn the_style_sheet_has_the_same_colours_and_no_others() {
        let sheet = include_str!("../../style.css");
        for (name, colour, light, dark) in TOKENS {
            assert_eq!((colour.css(Theme::Light), colour.css(Theme::Dark)), (light, dark));
            let count = |hex: &str| sheet.matches(&format!("--{name}: {hex};")).count();
            assert_eq!((count(light), count(dark)), (1, 2), "--{name}");
        }
        assert_eq!(sheet.matches('#').count(), 3 * TOKENS.len(), "a colour beside the tokens");
    }

    #[test]
    fn neighbouring_terms_differ() {
        for term in 0..40 {
            assert_ne!(term_hue(term), term_hue(term + 1));
        }
        assert_eq!(term_hue(7), 0);
    }
}
