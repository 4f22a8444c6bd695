//! A run as files that anybody can open: one page with what happened, and the clients' history.
//!
//! ```text
//!  events ─► Figures (spans, buckets, marks) ─► charts (SVG) ─┐
//!  verdict, score, versions ──────────────────────────────────┴─► report.html
//!  events ─► history.jsonl
//! ```
//!
//! The page holds everything itself: no script, no file beside it, and it is as well light as dark.
//! It is drawn from the journal alone, so a recording that is judged again gives the same page.
//!
//! Invariants: the page's size does not grow with the length of the run beyond a bound: what is drawn
//! is put into so many buckets, and of lists the first are shown and the rest counted.

mod charts;
mod figures;
mod history;
mod html;
mod svg;

pub use figures::Figures;
pub use history::{HISTORY_FILE, line, write_history};
pub use html::{Page, Section, page};
pub use svg::{Chart, Series, Style};

/// Name of the page in a run's folder.
pub const REPORT_FILE: &str = "report.html";
