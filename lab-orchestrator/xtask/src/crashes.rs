//! A crash of a real process at every failpoint, some losses of power, and some changes of the
//! members with a crash in the middle: the small forms of `cargo gate crash` and `cargo gate
//! membership`.

use anyhow::{Result, bail};

use crate::command::Plain;
use crate::tally::{Count, Tally};
use crate::{breaks, places};

/// Losses of power in the test run; the failpoints that these do not come to are crashed at.
const POWER_LOSSES: &str = "12";

/// Changes of the members in the test run.
const CHANGES: &str = "16";

/// Builds the programs and does it.
pub(crate) fn measure(tally: &mut Tally) {
    let mut ready = false;
    tally.measure("crashes", "programs", || {
        breaks::build()?;
        ready = true;
        Ok(Count::ONE)
    });
    if ready {
        tally.measure("crashes", "every failpoint", every_failpoint);
        tally.measure("crashes", "members change", || holds(&["--changes", CHANGES]));
    }
}

/// `raft-lab crash`; what fails stays among the other runs.
pub(crate) fn plain() -> Plain {
    Plain::new(places::release("raft-lab").display().to_string(), ["crash"])
        .with(["--runs".to_owned(), places::target().join("runs").display().to_string()])
}

fn every_failpoint() -> Result<Count> {
    holds(&["--crashes", "0", "--power-losses", POWER_LOSSES])
}

fn holds(some: &[&str]) -> Result<Count> {
    let status = plain().with(some.iter().copied()).run_lines(|_| {})?;
    if !status.success() {
        bail!("see every member come back with all it promised: raft-lab ended with {status}");
    }
    Ok(Count::ONE)
}
