//! From figures to sizes. Pure.
//!
//! | size | clients | requests a second | data |
//! |---|---|---|---|
//! | small | < 100 | < 200 | < 100 MB |
//! | medium | < 500 | < 1,000 | < 500 MB |
//! | large | < 1,500 | < 10,000 | < 1 GB |
//! | xlarge | more | more | more |
//!
//! Source: etcd's guide "Hardware recommendations" (sizes, cores, bandwidth and operations of disks)
//! and its FAQ (99 of 100 fsyncs below 10 ms). Of memory half of the guide's is asked for: values are
//! not kept in it here.

use std::fmt;

use serde::Serialize;

use super::disk::Disk;
use super::machine::Machine;

/// How large a cluster is, ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Size {
    Small,
    Medium,
    Large,
    XLarge,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
            Self::XLarge => "xlarge",
        })
    }
}

impl Size {
    const ALL: [Self; 4] = [Self::Small, Self::Medium, Self::Large, Self::XLarge];

    /// What etcd's guide means by it.
    pub(super) fn meaning(self) -> &'static str {
        match self {
            Self::Small => "fewer than 100 clients, 200 requests a second, 100 MB of data",
            Self::Medium => "fewer than 500 clients, 1,000 requests a second, 500 MB of data",
            Self::Large => "fewer than 1,500 clients, 10,000 requests a second, 1 GB of data",
            Self::XLarge => "more than 1,500 clients, 10,000 requests a second, 1 GB of data",
        }
    }
}

/// One figure, judged.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    pub(super) what: &'static str,
    pub(super) found: String,
    /// The largest size it is enough for.
    pub(super) suits: Option<Size>,
    /// What helps if this is what limits.
    pub(super) advice: &'static str,
}

const GIB: f64 = (1u64 << 30) as f64;

/// A part of what the guide's machines are called may be taken by the system itself.
const NEARLY: f64 = 0.9;

/// Judges each figure by itself.
pub(super) fn judge(disk: &Disk, machine: &Machine) -> Vec<Finding> {
    let memory = machine.memory_bytes as f64 / GIB;
    let free = machine.free_bytes as f64 / GIB;
    vec![
        Finding {
            what: "99 of 100 fsyncs",
            found: format!("{:.2} ms (half {:.2})", disk.sync_p99_millis, disk.sync_p50_millis),
            // Beyond, heartbeats come late and leaders fall.
            suits: at_most(disk.sync_p99_millis, [10.0, 8.0, 4.0, 2.0]),
            advice: "a disk of its own for the log, an SSD: each put waits for one fsync on a \
                     majority of members",
        },
        Finding {
            what: "fsyncs a second",
            found: format!("{:.0} in a row", disk.syncs_per_second),
            suits: at_least(disk.syncs_per_second, [50.0, 500.0, 1_000.0, 2_000.0]),
            advice: "a disk with more operations a second",
        },
        Finding {
            what: "large writes",
            found: format!("{:.0} MB/s", disk.megabytes_per_second),
            suits: at_least(disk.megabytes_per_second, [10.0, 50.0, 100.0, 200.0]),
            advice: "more bandwidth: a member that comes back empty is sent everything",
        },
        Finding {
            what: "cores",
            found: machine.cores.to_string(),
            suits: at_least(machine.cores as f64, [2.0, 4.0, 8.0, 16.0]),
            advice: "more cores",
        },
        Finding {
            what: "memory",
            found: format!("{memory:.1} GiB"),
            suits: at_least(memory / NEARLY, [4.0, 8.0, 16.0, 32.0]),
            advice: "more memory: all keys, not their values, are kept in it",
        },
        Finding {
            what: "room on the disk",
            found: format!("{free:.1} GiB free"),
            // The quota, the log, a snapshot that arrives, and a backup.
            suits: at_least(free, [2.0, 8.0, 16.0, 32.0]),
            advice: "more room: a member's data, a snapshot that arrives beside it, and backups",
        },
    ]
}

/// The largest size that every finding allows.
pub(super) fn suits(findings: &[Finding]) -> Option<Size> {
    findings.iter().map(|finding| finding.suits).min().flatten()
}

fn at_least(found: f64, needed: [f64; 4]) -> Option<Size> {
    let sizes = Size::ALL.into_iter().zip(needed);
    sizes.filter(|(_, needed)| found >= *needed).map(|(size, _)| size).next_back()
}

fn at_most(found: f64, allowed: [f64; 4]) -> Option<Size> {
    let sizes = Size::ALL.into_iter().zip(allowed);
    sizes.filter(|(_, allowed)| found <= *allowed).map(|(size, _)| size).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_figure_decides() {
        let good = Disk {
            syncs: 1,
            sync_p50_millis: 0.2,
            sync_p99_millis: 1.0,
            sync_max_millis: 5.0,
            syncs_per_second: 5_000.0,
            megabytes_per_second: 500.0,
        };
        let large = Machine {
            cores: 16,
            memory_bytes: 64 << 30,
            available_bytes: 60 << 30,
            free_bytes: 100 << 30,
        };
        let size = |disk: &Disk, machine: &Machine| suits(&judge(disk, machine));
        assert_eq!(size(&good, &large), Some(Size::XLarge));
        assert_eq!(size(&good, &Machine { cores: 4, ..large.clone() }), Some(Size::Medium));
        assert_eq!(size(&good, &Machine { cores: 1, ..large.clone() }), None);
        assert_eq!(size(&Disk { sync_p99_millis: 9.0, ..good.clone() }, &large), Some(Size::Small));
        assert_eq!(size(&Disk { sync_p99_millis: 11.0, ..good }, &large), None);
    }
}
