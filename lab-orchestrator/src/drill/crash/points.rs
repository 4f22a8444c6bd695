//! The failpoints, as the training program lists them.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

/// When a process comes by a failpoint; the names are the program's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Run,
    Upkeep,
    WarmUp,
    Election,
    Overwrite,
    Change,
    Send,
    Behind,
    Start,
    FirstStart,
}

impl Stage {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "run" => Self::Run,
            "upkeep" => Self::Upkeep,
            "warm-up" => Self::WarmUp,
            "election" => Self::Election,
            "overwrite" => Self::Overwrite,
            "change" => Self::Change,
            "send" => Self::Send,
            "behind" => Self::Behind,
            "start" => Self::Start,
            "first-start" => Self::FirstStart,
            _ => return None,
        })
    }
}

/// One failpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) name: String,
    pub(super) stage: Stage,
}

/// Asks the program which failpoints it has.
///
/// Errors: it is not the training program, or lists what this program cannot bring about.
pub(super) async fn points_of(program: &Path) -> Result<Vec<Point>> {
    let output = Command::new(program)
        .arg("--failpoints")
        .output()
        .await
        .with_context(|| format!("ask {} for its failpoints", program.display()))?;
    ensure!(
        output.status.success(),
        "read the failpoints of {}: it is not raft-node-training (cargo build --release -p node \
         --features training)",
        program.display()
    );
    parse(&String::from_utf8_lossy(&output.stdout))
}

fn parse(text: &str) -> Result<Vec<Point>> {
    let point = |line: &str| {
        let mut fields = line.split('\t');
        let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
        Some(Point { name, stage: Stage::of(fields.next()?)? })
    };
    let points = text.lines().map(|line| {
        point(line).with_context(|| format!("understand the failpoint `{line}`; is it newer?"))
    });
    let points: Vec<Point> = points.collect::<Result<_>>()?;
    ensure!(!points.is_empty(), "find any failpoint: the program lists none");
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_and_what_is_unknown_is_said() {
        let points = parse("a-point\trun\tIt holds.\nb\tfirst-start\tIt holds.\n").expect("read");
        assert_eq!(points[0], Point { name: "a-point".into(), stage: Stage::Run });
        assert_eq!(points[1].stage, Stage::FirstStart);
        for (text, needle) in [("", "none"), ("a\tsome day\tx", "`a\tsome day"), ("a", "`a`")] {
            let error = parse(text).expect_err("refused").to_string();
            assert!(error.contains(needle), "{error}");
        }
    }
}
