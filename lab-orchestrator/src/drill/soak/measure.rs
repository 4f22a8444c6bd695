//! What grows: memory, open files and disk of each member, memory and open files of the lab.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use lab_protocol::{CheckResult, Judgement, MemberNo};
use serde::Serialize;

/// One kind of thing that may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// Resident memory.
    Memory,
    /// Open files and sockets.
    Files,
    /// Bytes in the data directory.
    Disk,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Memory, Self::Files, Self::Disk];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Files => "open files",
            Self::Disk => "disk",
        }
    }

    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Memory | Self::Disk => "MiB",
            Self::Files => "",
        }
    }

    /// No member may have more at any time: far above what each needs, far below what a leak takes.
    fn most(self) -> f64 {
        match self {
            Self::Memory => 512.0,
            Self::Files => 1_024.0,
            Self::Disk => 2_048.0,
        }
    }

    /// Growth that is noise: allocators and caches fill up once.
    fn noise(self) -> f64 {
        match self {
            Self::Memory => 48.0,
            Self::Files => 48.0,
            Self::Disk => 160.0,
        }
    }
}

/// Whose it is: a member by number, or the lab.
pub(super) const LAB: MemberNo = MemberNo(0);

/// A run shorter than so says nothing of growth, seconds.
const TELLING_SECONDS: f64 = 600.0;

/// All figures of a run: by kind and whose, seconds and value.
#[derive(Clone, Debug, Default)]
pub(super) struct Measures {
    pub(super) figures: BTreeMap<(Kind, MemberNo), Vec<(f64, f64)>>,
}

/// How something grew.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Growth {
    pub(super) kind: Kind,
    /// `lab`, or a member.
    pub(super) of: String,
    pub(super) first: f64,
    pub(super) most: f64,
    pub(super) last: f64,
    /// By a straight line through all figures.
    pub(super) per_hour: f64,
    /// The most in the last third of the run, over the most before.
    pub(super) later_most: f64,
    pub(super) earlier_most: f64,
    seconds: f64,
}

impl Measures {
    /// Notes one process's memory and files, and its directory's bytes.
    pub(super) fn note(&mut self, second: f64, whose: MemberNo, pid: u32, data: Option<&Path>) {
        let memory = resident_bytes(pid).map(mebibytes);
        let files = open_files(pid).map(|files| files as f64);
        let disk = data.map(|data| mebibytes(disk_bytes(data)));
        for (kind, figure) in [(Kind::Memory, memory), (Kind::Files, files), (Kind::Disk, disk)] {
            if let Some(figure) = figure {
                self.figures.entry((kind, whose)).or_default().push((second, figure));
            }
        }
    }

    pub(super) fn growths(&self) -> Vec<Growth> {
        let growth = |(key, points): (&(Kind, MemberNo), &Vec<(f64, f64)>)| growth(*key, points);
        self.figures.iter().filter_map(growth).collect()
    }

    /// One check for each kind.
    pub(super) fn checks(&self) -> Vec<CheckResult> {
        let growths = self.growths();
        Kind::ALL.map(|kind| check(kind, &growths)).into()
    }
}

fn check(kind: Kind, growths: &[Growth]) -> CheckResult {
    let of_kind: Vec<_> = growths.iter().filter(|growth| growth.kind == kind).collect();
    let unit = kind.unit();
    let highest = of_kind.iter().max_by(|one, two| one.most.total_cmp(&two.most));
    let grown = of_kind.iter().find(|growth| {
        growth.seconds >= TELLING_SECONDS
            && growth.later_most > growth.earlier_most * 1.2 + kind.noise()
    });
    let over = of_kind.iter().find(|growth| growth.of != "lab" && growth.most > kind.most());
    let (judgement, because) = match (highest, over, grown) {
        (None, ..) => {
            (Judgement::Unknown, "nothing could be measured: it is read from /proc".to_owned())
        }
        (_, Some(over), _) => (
            Judgement::Invalid,
            format!("{} had {:.1} {unit}, more than {:.0}", over.of, over.most, kind.most()),
        ),
        (_, _, Some(grown)) => (
            Judgement::Invalid,
            format!(
                "{} grew: at most {:.1} {unit} in the first two thirds, {:.1} in the last",
                grown.of, grown.earlier_most, grown.later_most
            ),
        ),
        (Some(highest), None, None) => {
            let steepest = of_kind.iter().max_by(|one, two| one.per_hour.total_cmp(&two.per_hour));
            let steepest = steepest.expect("there is one");
            (
                Judgement::Valid,
                format!(
                    "at most {:.1} {unit} ({}); the steepest {:+.1} {unit} an hour ({})",
                    highest.most, highest.of, steepest.per_hour, steepest.of
                ),
            )
        }
    };
    CheckResult {
        check: format!("{}_bounded", kind.word().replace(' ', "_")),
        guards: format!("{} does not grow with the length of a run", kind.word()),
        judgement,
        because,
        evidence: vec![],
    }
}

fn growth((kind, whose): (Kind, MemberNo), points: &[(f64, f64)]) -> Option<Growth> {
    let (first, last) = (points.first()?, points.last()?);
    let seconds = last.0 - first.0;
    let late = first.0 + seconds * 2.0 / 3.0;
    let most = |late_ones: bool| {
        let these = points.iter().filter(|(at, _)| (*at >= late) == late_ones);
        these.map(|(_, figure)| *figure).fold(0.0, f64::max)
    };
    let (earlier_most, later_most) = (most(false), most(true));
    Some(Growth {
        kind,
        of: if whose == LAB { "lab".into() } else { whose.to_string() },
        first: first.1,
        most: earlier_most.max(later_most),
        last: last.1,
        per_hour: slope(points) * 3_600.0,
        later_most,
        earlier_most,
        seconds,
    })
}

/// The slope of the straight line that fits best, a second; 0 for a point alone.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |part: fn(&(f64, f64)) -> f64| points.iter().map(part).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let (mut over, mut under) = (0.0, 0.0);
    for (at, figure) in points {
        over += (at - x) * (figure - y);
        under += (at - x) * (at - x);
    }
    if under > 0.0 { over / under } else { 0.0 }
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The resident memory of a process, if the system tells it.
fn resident_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// The open files and sockets of a process, if the system tells it.
fn open_files(pid: u32) -> Option<u64> {
    Some(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64)
}

/// All bytes of the files below a directory; those that go meanwhile do not count.
fn disk_bytes(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => disk_bytes(&entry.path()),
            Ok(_) => entry.metadata().map_or(0, |meta| meta.len()),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(minutes: u32, figure: impl Fn(f64) -> f64) -> Vec<CheckResult> {
        let mut measures = Measures::default();
        let points = (0..minutes * 6).map(|tenth| {
            let second = f64::from(tenth) * 10.0;
            (second, figure(second))
        });
        measures.figures.insert((Kind::Memory, MemberNo(1)), points.collect());
        measures.checks()
    }

    #[test]
    fn a_leak_is_told_from_a_start() {
        let judged = |checks: &[CheckResult]| checks[0].judgement;
        // It fills up, and stays.
        let filled = measured(30, |second| 20.0 + (second / 5.0).min(60.0));
        assert_eq!(judged(&filled), Judgement::Valid, "{}", filled[0].because);
        let leaks = measured(30, |second| 20.0 + second / 3.8);
        assert_eq!(judged(&leaks), Judgement::Invalid);
        assert!(leaks[0].because.contains("m1 grew"), "{}", leaks[0].because);
        // Too short to tell growth, long enough to be too much.
        assert_eq!(judged(&measured(4, |second| 20.0 + second)), Judgement::Valid);
        assert_eq!(judged(&measured(4, |_| 900.0)), Judgement::Invalid);
        assert_eq!(leaks[1].judgement, Judgement::Unknown, "no files were measured");
    }

    #[test]
    fn this_process_can_be_measured() {
        let own = std::process::id();
        assert!(resident_bytes(own).is_none_or(|bytes| bytes > 1 << 20));
        assert!(open_files(own).is_none_or(|files| files > 0));
        let points = [(0.0, 1.0), (10.0, 3.0), (20.0, 5.0)];
        assert!((slope(&points) - 0.2).abs() < 1e-9);
    }
}
