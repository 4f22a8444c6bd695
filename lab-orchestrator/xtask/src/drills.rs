//! Drills in the test run: a few of them, won by their solution and lost without one. `cargo gate
//! drills` plays all of them in every way.

use anyhow::Context as _;

use crate::tally::{Count, Tally};
use crate::{lab, places, verdict};

/// What is played in the test run; one of each kind.
const PLAYED: [&str; 8] = ["B-02", "DR-02", "DR-05", "DR-08", "DR-09", "DR-13", "M-03", "M-06"];

/// Builds the programs and plays.
pub(crate) fn measure(tally: &mut Tally) {
    let mut files = Vec::new();
    tally.measure("drills", "programs and files", || {
        lab::build_programs()?;
        files = places::drills()?;
        Ok(Count::ONE)
    });
    if files.is_empty() {
        return;
    }
    for id in PLAYED {
        tally.measure("drills", id, || {
            let name = |file: &std::path::PathBuf| {
                file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(id))
            };
            let file = files.iter().find(|file| name(file));
            let file = file.with_context(|| format!("find the drill {id}"))?;
            verdict::perform(&["--both-ways"], &[file])?;
            Ok(Count { passed: 2, failed: 0 })
        });
    }
}
