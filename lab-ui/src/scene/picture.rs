//! The marks a canvas is made of.

use std::rc::Rc;

use super::{Colour, Point, geometry::Curve};

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pen {
    /// Its colour.
    pub colour: Colour,
    /// Its width in pixels.
    pub width: f32,
    /// Its pattern.
    pub dash: Dash,
}

/// A line's pattern: lengths of stroke and gap, and where it begins.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Dash {
    /// Without gaps.
    #[default]
    Solid,
    /// Stroke and gap in pixels.
    Dashed(f32, f32),
    /// The same, moved along by so many pixels.
    Moving(f32, f32, f32),
}

impl Pen {
    /// A solid pen.
    pub const fn new(colour: Colour, width: f32) -> Self {
        Self { colour, width, dash: Dash::Solid }
    }

    /// A dashed pen.
    pub const fn dashed(colour: Colour, width: f32, on: f32, off: f32) -> Self {
        Self { colour, width, dash: Dash::Dashed(on, off) }
    }
}

/// How a mark looks. Marks in a row with the same look become one path.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Look {
    /// What it is filled with.
    pub fill: Option<Colour>,
    /// What its line is drawn with.
    pub line: Option<Pen>,
    /// How much of it is seen, 0 to 1; 0 stands for 1 so that the default look is a full one.
    pub thin: f32,
}

impl Look {
    /// Filled, without a line.
    pub const fn filled(colour: Colour) -> Self {
        Self { fill: Some(colour), line: None, thin: 0.0 }
    }

    /// A line, without a filling.
    pub const fn lined(pen: Pen) -> Self {
        Self { fill: None, line: Some(pen), thin: 0.0 }
    }

    /// Both.
    pub const fn both(fill: Colour, pen: Pen) -> Self {
        Self { fill: Some(fill), line: Some(pen), thin: 0.0 }
    }

    /// The same with only this much of it seen.
    pub const fn seen(self, part: f32) -> Self {
        Self { thin: 1.0 - part, ..self }
    }

    /// How much of it is seen, 0 to 1.
    pub fn alpha(&self) -> f32 {
        1.0 - self.thin
    }
}

/// A shape without its look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// From one point to another.
    Line(Point, Point),
    /// A message's way.
    Curve(Curve),
    /// A circle.
    Circle(Point, f32),
    /// Part of a circle, clockwise from the top; turns of 0 to 1.
    Arc(Point, f32, f32, f32),
    /// A rectangle: corner, width, height, radius of the corners.
    Rect(Point, f32, f32, f32),
    /// A square on its tip.
    Diamond(Point, f32),
    /// A triangle that points the way: tip, direction, length.
    Arrow(Point, Point, f32),
    /// ×.
    Cross(Point, f32),
    /// +.
    Plus(Point, f32),
    /// −.
    Minus(Point, f32),
    /// Slanted lines inside a rectangle, aligned to the canvas.
    Hatch(Point, f32, f32),
}

/// Which typeface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// Inter at this weight and size.
    Words(u16, FontSize),
    /// JetBrains Mono at this weight and size.
    Facts(u16, FontSize),
}

/// A size in half pixels, so that it can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FontSize(pub u16);

/// Where a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Begins at the point.
    Start,
    /// Is centred on it.
    Middle,
    /// Ends at it.
    End,
}

/// Letters, shared where they are the same in each frame.
#[derive(Clone, Debug, PartialEq)]
pub enum Letters {
    /// Known beforehand.
    Fixed(&'static str),
    /// Made once and kept.
    Kept(Rc<str>),
}

impl Letters {
    /// As a slice.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Fixed(text) => text,
            Self::Kept(text) => text,
        }
    }
}

impl From<&'static str> for Letters {
    fn from(text: &'static str) -> Self {
        Self::Fixed(text)
    }
}

impl From<Rc<str>> for Letters {
    fn from(text: Rc<str>) -> Self {
        Self::Kept(text)
    }
}

impl From<String> for Letters {
    fn from(text: String) -> Self {
        Self::Kept(text.into())
    }
}

/// One thing to paint.
#[derive(Clone, Debug, PartialEq)]
pub enum Mark {
    /// A shape.
    Shape(Shape, Look),
    /// A text; the point is on its baseline.
    Text {
        /// Where.
        at: Point,
        /// What.
        letters: Letters,
        /// In which face.
        face: Face,
        /// In which colour.
        colour: Colour,
        /// How it stands at the point.
        align: Align,
        /// How much of it is seen.
        alpha: f32,
    },
}

/// A list of marks that is filled anew for each frame and keeps its memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picture {
    /// The marks, back to front.
    pub marks: Vec<Mark>,
}

impl Picture {
    /// Empties it.
    pub fn clear(&mut self) {
        self.marks.clear();
    }

    /// Adds a shape.
    pub fn shape(&mut self, shape: Shape, look: Look) {
        self.marks.push(Mark::Shape(shape, look));
    }

    /// Adds a text.
    pub fn text(
        &mut self,
        at: Point,
        letters: impl Into<Letters>,
        face: Face,
        colour: Colour,
        align: Align,
    ) {
        let letters = letters.into();
        self.marks.push(Mark::Text { at, letters, face, colour, align, alpha: 1.0 });
    }

    /// Adds a text of which only this much is seen.
    pub fn faint_text(
        &mut self,
        at: Point,
        letters: impl Into<Letters>,
        (face, colour, align): (Face, Colour, Align),
        alpha: f32,
    ) {
        let letters = letters.into();
        self.marks.push(Mark::Text { at, letters, face, colour, align, alpha });
    }

    /// Its texts, for tests.
    pub fn words(&self) -> Vec<&str> {
        self.marks
            .iter()
            .filter_map(|mark| match mark {
                Mark::Text { letters, .. } => Some(letters.as_str()),
                Mark::Shape(..) => None,
            })
            .collect()
    }
}
