//! Drills: a scenario performed on a real cluster, and judged.
//!
//! ```text
//!  file.toml ─ file ─► Scenario ─ runner ─► Command ─► lab
//!                                   ▲                   │
//!                    flow, target ──┴──── journal ◄─────┘
//!                                            └─► lab-check ─► Verdict ─► report, record
//! ```
//!
//! A drill is nothing but a reader of the journal that also submits commands, as a page is: it can
//! do no more than a person with a mouse. [`target`] is pure, and so is what a phrase such as
//! `old_leader resigned` means: it is decided from the fold of the journal alone, by `lab-check`.
//!
//! Invariants: whatever happens in a scenario, its end is the same: all faults are undone, the
//! cluster converges or fails to, everything is read back, every check is judged. A scenario that
//! cannot be performed is no verdict: the lab has failed, and says so.

mod crash;
mod crash_all;
mod draws;
mod faults;
mod file;
mod flow;
mod junit;
mod language;
mod matrix;
mod perform;
mod report;
mod runner;
mod soak;
mod target;
mod teller;
mod verbs;

pub use crash::{CrashArgs, crash};
pub use crash_all::{CrashAllArgs, crash_all};
pub use file::{FileError, read_scenario};
pub use language::{LanguageArgs, language, schema};
pub use matrix::{MatrixArgs, matrix};
pub use perform::{
    CheckFileArgs, DrillArgs, NodeChoice, check_files, drill, judge_recording, plan,
};
pub(crate) use perform::{Signalled, draw_seed, signalled};
pub use report::{Outcome, Report, judgement_word, table};
pub(crate) use report::{print_score, print_verdict, wants_json};
pub use runner::{DrillError, Play, Progress, Runner};
pub use soak::{SoakArgs, soak};
pub(crate) use teller::Teller;
