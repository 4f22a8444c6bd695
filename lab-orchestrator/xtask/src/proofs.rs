//! Proofs on real processes: the gates' long form, and the small form of the test run.

use anyhow::bail;

use crate::command::Plain;
use crate::tally::{Count, Tally};
use crate::{lab, places};

/// A proof, and by which arguments it takes some seconds instead of minutes.
struct Proof {
    name: &'static str,
    what: &'static str,
    small: &'static str,
}

const PROOFS: [Proof; 3] = [
    Proof {
        name: "kubernetes",
        what: "a Kubernetes storage workload under leader kills",
        small: "--seconds 8 --every 3 --compact-every 2 --ttl 3",
    },
    Proof {
        name: "leases",
        what: "leases over changes of leader",
        small: "--leases 20 --changes 2 --every 2 --ttl 3",
    },
    Proof {
        name: "watchers",
        what: "watchers beside stalled streams",
        small: "--watchers 1000 --seconds 8 --stalled 60",
    },
];

/// Builds the programs and does all of them in their small form.
pub(crate) fn measure(tally: &mut Tally) {
    let mut ready = false;
    tally.measure("proofs", "programs", || {
        lab::build_programs()?;
        ready = true;
        Ok(Count::ONE)
    });
    if !ready {
        return;
    }
    for Proof { name, what, small } in PROOFS {
        tally.measure("proofs", what, || {
            let status = plain(name).with(small.split(' ')).run_lines(|_| {})?;
            if !status.success() {
                bail!("see the proof valid: raft-lab ended with {status}, see the verdict above");
            }
            Ok(Count::ONE)
        });
    }
}

/// `raft-lab prove NAME`.
pub(crate) fn plain(name: &str) -> Plain {
    Plain::new(places::release("raft-lab").display().to_string(), ["prove", name])
}

/// The arguments of a proof's small form; `None` for what is no proof.
pub(crate) fn small(name: &str) -> Option<&'static str> {
    PROOFS.iter().find(|proof| proof.name == name).map(|proof| proof.small)
}
