//! `raft-node-training`: a member that can be broken on purpose, for drills and gates that must
//! show a check biting. Nobody should keep data in it.
//!
//! Before all flags of `raft-node` it takes its own:
//!
//! ```text
//!   --break NAME              plants a bug
//!   --power-loss DIR          keeps there what its disk has not synced, so that it can be lost
//!   --wal-segment-bytes N     makes the log's segments so small that they are used up quickly
//!   --failpoints              lists where it can crash, and ends: name, stage, what holds there
//! ```
//!
//! And at the socket of `--lab-control` it takes more orders than `raft-node`: to crash at a
//! failpoint, or to lose its power.

use std::iter::Peekable;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use node::failpoint::TABLE;
use node::failpoint::armed::{self, End};
use node::recover::{Ground, Options};
use node::storage::WalOptions;
use node::storage::power::PowerDisk;
use node::training::control;
use node::training::{Break, Planted};

/// The smallest segment that still holds a frame or two, in bytes.
const MIN_SEGMENT_BYTES: u64 = 4096;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    match prepare(&mut arguments) {
        Ok(Prepared::Run(planted, ground)) => node::program::run(arguments, planted, ground),
        Ok(Prepared::Listed) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

enum Prepared {
    Run(Planted, Ground),
    Listed,
}

fn prepare(arguments: &mut Peekable<impl Iterator<Item = String>>) -> Result<Prepared, String> {
    let mut planted = Planted::default();
    let mut ground = Ground::default();
    ground.controls = ground.controls.extend(control::extra);
    loop {
        let Some(flag) = arguments.next_if(|argument| {
            let own = ["--break", "--power-loss", "--wal-segment-bytes", "--failpoints"];
            own.contains(&argument.as_str())
        }) else {
            return Ok(Prepared::Run(planted, ground));
        };
        if flag == "--failpoints" {
            for row in TABLE {
                println!("{}\t{}\t{}", row.name, row.stage.name(), row.shows.trim());
            }
            return Ok(Prepared::Listed);
        }
        let value = arguments.next().unwrap_or_default();
        match flag.as_str() {
            "--break" => planted = Planted::new(Some(bug(&value)?)),
            "--power-loss" => ground.disk = powered(&PathBuf::from(value))?.shared(),
            _ => ground.options = small_segments(&value)?,
        }
    }
}

fn bug(name: &str) -> Result<Break, String> {
    let bug = Break::from_str(name, false).map_err(|_| {
        let names: Vec<_> = Break::value_variants()
            .iter()
            .filter_map(|bug| Some(bug.to_possible_value()?.get_name().to_owned()))
            .collect();
        format!("--break {name}: no such bug; there are: {}", names.join(", "))
    })?;
    eprintln!("raft-node-training: `{name}` is broken on purpose; keep no data here");
    Ok(bug)
}

/// A disk that can lose its power.
fn powered(place: &Path) -> Result<PowerDisk, String> {
    let disk = PowerDisk::open(place)
        .map_err(|error| format!("--power-loss: failed to use {}: {error}", place.display()))?;
    let ending = disk.clone();
    armed::before_end(move |end| match end {
        End::Crash => ending.crash(),
        End::PowerLoss(seed) => ending.power_loss(seed),
    });
    Ok(disk)
}

fn small_segments(bytes: &str) -> Result<Options, String> {
    let segment_bytes = bytes.parse().ok().filter(|bytes| *bytes >= MIN_SEGMENT_BYTES);
    let segment_bytes = segment_bytes.ok_or_else(|| {
        format!("--wal-segment-bytes {bytes}: give a number of bytes, at least {MIN_SEGMENT_BYTES}")
    })?;
    let wal =
        WalOptions { first_segment_bytes: segment_bytes, segment_bytes, ..WalOptions::default() };
    Ok(Options { wal, ..Options::default() })
}
