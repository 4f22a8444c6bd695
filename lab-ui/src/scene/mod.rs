//! What the canvases show, as plain marks: geometry without a browser.
//!
//! ```text
//!  model at a time ──► ring, log lanes, tape ──► Picture (a list of marks) ──► paint
//!                            └──► hit tests: what is under this point?
//! ```
//!
//! Coordinates are CSS pixels of the canvas, from its top left corner. Marks are painted in the
//! order of the list; neighbours of the same look become one path.

pub mod flight;
pub mod geometry;
pub mod hit;
pub mod labels;
pub mod log_lanes;
pub mod palette;
pub mod picture;
pub mod ring;
pub mod tape;

pub use geometry::Point;
pub use palette::{Colour, Theme};
pub use picture::{Mark, Picture};
