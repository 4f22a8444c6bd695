//! Drills: a scenario performed on a real cluster, and judged.
//!
//! ```text
//!  file.toml ─ file ─► Scenario ─ runner ─► Command ─► lab
//!                                   ▲                   │
//!                    wait, target ──┴──── journal ◄─────┘
//!                                            └─► lab-check ─► Verdict ─► report, record
//! ```
//!
//! A drill is nothing but a reader of the journal that also submits commands, as a page is: it can
//! do no more than a person with a mouse. [`wait`] and [`target`] are pure: what a phrase such as
//! `old_leader resigned` means is decided from the fold of the journal alone.
//!
//! Invariants: whatever happens in a scenario, its end is the same: all faults are undone, the
//! cluster converges or fails to, everything is read back, every check is judged. A scenario that
//! cannot be performed is no verdict: the lab has failed, and says so.

mod crash;
mod crash_all;
mod faults;
mod file;
mod junit;
mod perform;
mod report;
mod runner;
mod target;
mod teller;
mod verbs;
mod wait;

pub use crash::{CrashArgs, crash};
pub use crash_all::{CrashAllArgs, crash_all};
pub use file::{FileError, read_scenario};
pub use perform::{
    CheckFileArgs, DrillArgs, NodeChoice, check_files, drill, judge_recording, plan,
};
pub(crate) use perform::{Signalled, draw_seed, signalled};
pub use report::{Outcome, Report, judgement_word, table};
pub(crate) use report::{print_score, print_verdict, wants_json};
pub use runner::{DrillError, Play, Progress, Runner};
pub(crate) use teller::Teller;
