//! The one order: all rules, and what they found out of who made which revision.

use super::gaps::{self, Gaps};
use super::keys::Keys;
use super::run::{Broken, Run, Who};
use super::{replay, times};

/// An order of all operations that agrees with real time and with every answer.
pub(crate) struct Order<'a> {
    pub(crate) run: Run<'a>,
    pub(crate) keys: Keys<'a>,
    /// Who made the revisions that are known to be made, ascending.
    pub(crate) makers: Vec<(i64, Who)>,
    pub(crate) gaps: Gaps<'a>,
}

impl<'a> Order<'a> {
    /// Finds it, or what speaks against it.
    pub(super) fn of(run: Run<'a>) -> Result<Self, Broken> {
        let makers = times::makers(run)?;
        times::real_time(run)?;
        times::compactions(run)?;
        let keys = Keys::of(run);
        let gaps = gaps::resolve(run, &keys, &makers)?;
        replay::replay(run, &keys, &gaps)?;
        match gaps.unmade {
            None => Ok(Self { run, keys, makers, gaps }),
            Some(revision) => {
                let why = format!(
                    "was told revision {}, but revision {revision} can have been made by nobody",
                    run.last.revision
                );
                let above = makers.partition_point(|(made, _)| *made < revision);
                let next = makers.get(above).map_or(run.last.who, |(_, who)| *who);
                Err(run.broken(run.last.who, next, why))
            }
        }
    }
}
