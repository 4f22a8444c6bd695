//! A crash of a real process at every failpoint, and some losses of power: the small form of
//! `cargo gate crash`.

use anyhow::{Result, bail};

use crate::command::Plain;
use crate::tally::{Count, Tally};
use crate::{breaks, places};

/// Losses of power in the test run; the failpoints that these do not come to are crashed at.
const POWER_LOSSES: &str = "12";

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
    }
}

/// `raft-lab crash`; what fails stays among the other runs.
pub(crate) fn plain() -> Plain {
    Plain::new(places::release("raft-lab").display().to_string(), ["crash"])
        .with(["--runs".to_owned(), places::target().join("runs").display().to_string()])
}

fn every_failpoint() -> Result<Count> {
    let few = ["--crashes", "0", "--power-losses", POWER_LOSSES];
    let status = plain().with(few).run_lines(|_| {})?;
    if !status.success() {
        bail!("see every member come back with all it promised: raft-lab ended with {status}");
    }
    Ok(Count::ONE)
}
