//! The break matrix: every bug that can be planted in a member, and the checks that must see it.
//!
//! A check that was never red proves nothing. So each bug of `raft-node-training` is planted in
//! every member of a cluster, a drill is performed, and the row passes only if the verdict is red
//! *and* each check named here is: red for another reason does not count.
//!
//! Two drills run beside each other: a drill mostly waits, and labs never share ports.
//!
//! Some bugs need a moment that no drill is sure to meet; they have a test of the simulation instead
//! (`node/sim/tests/planted.rs`), which lives seeds until the check bites.
//!
//! Invariants: a bug with neither row nor test is a failure, and so is a row without a bug; nothing
//! is left out and nothing is tried twice. The names of bugs are in the training program only.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::command::{Plain, say};
use crate::tally::{Count, Tally};
use crate::verdict::{self, Verdict};
use crate::{lab, places, proofs};

/// Drills that run at the same time; more would starve each other on two cores.
const BESIDE: usize = 2;

/// What `raft-lab` ends with when a promise was broken.
const INVALID: i32 = 1;

/// The name that stands for `raft-lab crash-all` instead of a scenario file.
const CRASH_ALL: &str = "crash-all";

/// Begins what stands for the small form of a proof instead of a scenario file.
const PROVE: &str = "prove ";

/// Crashes of everything until a bug has to have shown.
const ROUNDS: &str = "5";

/// One bug, the drill that brings it out, and what has to notice.
struct Row {
    /// As `raft-node-training --break` takes it.
    bug: &'static str,
    /// A file in `scenarios` without its ending, or [`CRASH_ALL`], or [`PROVE`] and a proof.
    drill: &'static str,
    /// Checks, or steps of the scenario, that must all be red.
    red: &'static [&'static str],
}

const ROWS: &[Row] = &[
    // These three wait in vain for a cluster that cannot become whole: the longest come first.
    Row { bug: "apply-skips", drill: "minor-followers", red: &["acked_not_lost", "members_equal"] },
    Row { bug: "apply-skips", drill: "mixed-workload", red: &["set_complete"] },
    Row { bug: "apply-stalls", drill: "minor-followers", red: &["converged"] },
    // The cluster comes back in a term below those in its log, and gets nothing done.
    Row { bug: "vote-not-persisted", drill: CRASH_ALL, red: &["round 1"] },
    Row { bug: "nothing-persisted", drill: CRASH_ALL, red: &["acked_not_lost", "linearizable"] },
    Row {
        bug: "acknowledge-before-commit",
        drill: "network-partition",
        red: &["acked_not_lost", "linearizable"],
    },
    Row {
        bug: "check-quorum-off",
        drill: "network-partition",
        red: &["minority_leader_leaves_office"],
    },
    Row { bug: "reads-unchecked", drill: "network-partition", red: &["linearizable"] },
    Row { bug: "win-without-majority", drill: "network-partition", red: &["election_safety"] },
    Row { bug: "reads-need-all", drill: "minor-followers", red: &["reads_succeed"] },
    Row { bug: "nervous-leader", drill: "minor-followers", red: &["no_term_change"] },
    Row { bug: "no-queue", drill: "leader-failure", red: &["write_in_election_completes"] },
    Row { bug: "lease-not-extended", drill: "leader-failure", red: &["lease_extended"] },
    Row { bug: "lease-not-extended", drill: "prove kubernetes", red: &["leases_over_many_keys"] },
    Row { bug: "lease-not-extended", drill: "prove leases", red: &["none_ends_early"] },
    Row { bug: "lease-early", drill: "leader-failure", red: &["lease_not_early"] },
    Row { bug: "lease-early", drill: "prove leases", red: &["none_ends_early"] },
    Row {
        bug: "watch-skips-compacted",
        drill: "prove watchers",
        red: &["stalled_is_told_of_compaction"],
    },
    Row {
        bug: "acknowledge-at-once",
        drill: "majority-failure",
        red: &["writes_stop_without_quorum"],
    },
    Row {
        bug: "serializable-needs-leader",
        drill: "majority-failure",
        red: &["serializable_reads_answer"],
    },
    // The member with the wrong token becomes part of the cluster: it never loses its leader.
    Row { bug: "token-ignored", drill: "bootstrap-failure", red: &["step 2"] },
];

/// Builds everything, then performs all rows and adds them to the tally.
pub(crate) fn measure(tally: &mut Tally) {
    let mut bugs = None;
    let mut failpoints = BTreeSet::new();
    tally.measure("breaks", "programs", || {
        build()?;
        bugs = Some(known_bugs()?);
        failpoints = known_failpoints()?;
        Ok(Count::ONE)
    });
    let Some(bugs) = bugs else { return };
    tally.measure("breaks", "every bug has a row", || every_bug_has_a_row(&bugs));
    let names = &bugs | &failpoints;
    tally.measure("breaks", "raft-node knows none of them", || only_in_training(&names));
    tally.measure("breaks", "bad flags are refused", bad_flags_are_refused);
    for (row, result, taken) in perform_all() {
        let what = format!("{} in {}", row.bug, row.drill);
        tally.add("breaks", &what, result.map(|()| Count::ONE), taken);
    }
}

/// Builds the programs as they ship, and beside them the member with bugs.
///
/// Cargo keeps the library with and without the feature apart, so neither build undoes the other.
pub(crate) fn build() -> Result<()> {
    lab::build_programs()?;
    // Together with the lab, though none of it is built: dependencies then have the features that
    // they have in the other release builds, and are not built again.
    const TOGETHER: &str =
        "build --release -p node -p node-ctl -p lab-orchestrator --features node/training";
    Plain::cargo(TOGETHER).with(["--bin", "raft-node-training"]).run()
}

/// Performs one drill on members with this bug; its verdict has to be red.
pub(crate) fn turns_red(bug: &str, drill: &str) -> Result<()> {
    let red = perform(bug, drill)?.0.red;
    ensure!(!red.is_empty(), "see a red check for `{bug}` in {drill}: all are valid");
    say(&format!("breaks: {bug} in {drill}: {} red", red.join(", ")));
    Ok(())
}

/// The bugs that the training program offers; it lists them when it is asked for another.
fn known_bugs() -> Result<BTreeSet<String>> {
    let program = training().display().to_string();
    let output = Plain::new(program, ["--break", ""]).quietly().keep_output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let (_, list) = text
        .trim_end()
        .split_once("there are: ")
        .with_context(|| format!("read which bugs there are: it said `{}`", text.trim()))?;
    Ok(list.split(", ").map(str::to_owned).collect())
}

/// The failpoints that the training program has, and the flag by which they are armed.
fn known_failpoints() -> Result<BTreeSet<String>> {
    let program = training().display().to_string();
    let output = Plain::new(program, ["--failpoints"]).quietly().keep_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut names: BTreeSet<String> =
        text.lines().filter_map(|line| Some(line.split_once('\t')?.0.to_owned())).collect();
    ensure!(!names.is_empty(), "list the failpoints: raft-node-training names none");
    names.insert("--power-loss".to_owned());
    Ok(names)
}

/// The bugs that a test of the simulation catches within so many seeds; the step `simulation` runs
/// it. Some need a moment that no drill can be sure to meet.
fn caught_by_seeds() -> Result<Vec<String>> {
    let path = places::root().join("node/sim/tests/planted.rs");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let calls =
        ["caught(Break::", "caught_among(Break::"].iter().flat_map(|call| text.split(call).skip(1));
    Ok(calls.filter_map(|call| Some(kebab(call.split_once(',')?.0))).collect())
}

/// `LeaseEarly` as the training program takes it: `lease-early`.
fn kebab(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push('-');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

fn every_bug_has_a_row(bugs: &BTreeSet<String>) -> Result<Count> {
    let mut rows: BTreeSet<String> = ROWS.iter().map(|row| row.bug.to_owned()).collect();
    rows.extend(caught_by_seeds()?);
    let without: Vec<_> = bugs.difference(&rows).map(String::as_str).collect();
    ensure!(
        without.is_empty(),
        "find a row in breaks.rs, or a test in planted.rs, for {}: which check notices it?",
        without.join(", ")
    );
    let unknown: Vec<_> = rows.difference(bugs).map(String::as_str).collect();
    ensure!(
        unknown.is_empty(),
        "find {} in raft-node-training: it does not know it",
        unknown.join(", ")
    );
    Ok(Count::ONE)
}

/// Looks for the names of bugs and failpoints in both programs: in one they have to be, in the
/// other they must not.
fn only_in_training(names: &BTreeSet<String>) -> Result<Count> {
    let names_in = |path: PathBuf| -> Result<BTreeSet<&str>> {
        let program =
            fs::read(&path).with_context(|| format!("read {} to search it", path.display()))?;
        Ok(found_in(&program, names))
    };
    let plain = names_in(places::release("raft-node"))?;
    ensure!(plain.is_empty(), "keep these out of raft-node: it contains {plain:?}");
    let training = names_in(training())?;
    let missing: Vec<_> = names.iter().filter(|name| !training.contains(name.as_str())).collect();
    ensure!(missing.is_empty(), "find {missing:?} in raft-node-training");
    Ok(Count::ONE)
}

/// What the training program cannot read it refuses, by the flag's name and with exit code 2.
fn bad_flags_are_refused() -> Result<Count> {
    const BAD: [[&str; 2]; 3] =
        [["--break", "everything"], ["--power-loss", "/proc/disk"], ["--wal-segment-bytes", "1"]];
    for [flag, value] in BAD {
        let program = training().display().to_string();
        let output = Plain::new(program, [flag, value]).quietly().keep_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.code() == Some(2) && said.starts_with(flag),
            "see `{flag} {value}` refused: it ended with {} and said `{}`",
            output.status,
            said.trim()
        );
    }
    Ok(Count { passed: BAD.len() as u64, failed: 0 })
}

/// The names that are somewhere in a program, in one pass over its bytes.
fn found_in<'a>(program: &[u8], names: &'a BTreeSet<String>) -> BTreeSet<&'a str> {
    let mut by_first_byte = [const { Vec::new() }; 256];
    for name in names {
        let first = name.bytes().next().expect("a name has a letter");
        by_first_byte[usize::from(first)].push(name.as_str());
    }
    let mut found = BTreeSet::new();
    for (at, first) in program.iter().enumerate() {
        let here = by_first_byte[usize::from(*first)].iter();
        found.extend(here.filter(|name| program[at..].starts_with(name.as_bytes())));
    }
    found
}

/// Performs all rows, some beside each other; the results are in the rows' order.
fn perform_all() -> Vec<(&'static Row, Result<()>, Duration)> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..BESIDE.min(ROWS.len()) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(row) = ROWS.get(number) else { return };
                    let began = Instant::now();
                    let result = notices(row);
                    if let Err(error) = &result {
                        say(&format!("breaks: {} in {}: failed to {error:#}", row.bug, row.drill));
                    }
                    let taken = began.elapsed();
                    done.lock().expect("no worker panics").push((number, result, taken));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no worker panicked");
    done.sort_by_key(|(number, ..)| *number);
    done.into_iter().map(|(number, result, taken)| (&ROWS[number], result, taken)).collect()
}

/// Performs one row: every check it names has to be red.
fn notices(row: &Row) -> Result<()> {
    let Row { bug, drill, red } = row;
    let (Verdict { red: seen, because }, folder) = perform(bug, drill)?;
    let missing: Vec<_> =
        red.iter().copied().filter(|check| !seen.iter().any(|seen| seen == check)).collect();
    if missing.is_empty() {
        say(&format!("breaks: {bug} in {drill}: {} red, as they must be", seen.join(", ")));
        return Ok(());
    }
    bail!(
        "see {} red for `{bug}` in {drill}; red were [{}]; see {}\n{because}",
        missing.join(", "),
        seen.join(", "),
        folder.display()
    )
}

/// What a drill on members with a bug came to, and the folder with its output.
fn perform(bug: &str, drill: &str) -> Result<(Verdict, PathBuf)> {
    let name = format!("{bug}-{drill}").replace(' ', "-");
    let folder = places::target().join("runs").join("breaks").join(name);
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let lab = Plain::new(places::release("raft-lab").display().to_string(), Vec::<String>::new());
    let lab = if drill == CRASH_ALL {
        lab.with([CRASH_ALL, "--rounds", ROUNDS])
    } else if let Some(proof) = drill.strip_prefix(PROVE) {
        let small = proofs::small(proof).with_context(|| format!("find the proof `{proof}`"))?;
        lab.with(["prove", proof]).with(small.split(' '))
    } else {
        let file = places::root().join("scenarios").join(drill).with_extension("toml");
        lab.with(["drill", "--runs"]).with([folder.display().to_string()]).with([inside(&file)])
    };
    let output = lab
        .with(["--node".to_owned(), inside(&training())])
        .with(["--node-arg", "--break", "--node-arg", bug, "--json"])
        .keep_output()?;
    for (name, text) in [("stdout.json", &output.stdout), ("stderr.txt", &output.stderr)] {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok((judged(&output, &folder)?, folder))
}

/// Reads what `raft-lab` said; anything but a red verdict is an error.
fn judged(output: &Output, folder: &Path) -> Result<Verdict> {
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or_default();
    match output.status.code() {
        Some(INVALID) => {}
        Some(0) => bail!("see a red verdict: all is valid; see {}", folder.display()),
        Some(_) | None => bail!(
            "see a red verdict: raft-lab ended with {}, its last word: {last}; see {}",
            output.status,
            folder.display()
        ),
    }
    verdict::read(&output.stdout)?.pop().context("find a verdict")
}

fn training() -> PathBuf {
    places::release("raft-node-training")
}

/// A path as a person in the repository's root would type it.
fn inside(path: &Path) -> String {
    path.strip_prefix(places::root()).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_bug_is_named_as_the_training_program_names_it() {
        assert_eq!(kebab("LeaseBasedReads"), "lease-based-reads");
        let caught = caught_by_seeds().expect("planted.rs can be read");
        assert!(caught.iter().any(|bug| bug == "old-term-committed"), "{caught:?}");
    }

    #[test]
    fn rows_name_drills_that_are_there_and_checks_that_they_judge() {
        let mut seen = BTreeSet::new();
        for Row { bug, drill, red } in ROWS {
            assert!(seen.insert((bug, drill)), "{bug} in {drill} has two rows");
            assert!(!red.is_empty(), "{bug} needs a check");
            if let Some(proof) = drill.strip_prefix(PROVE) {
                assert!(proofs::small(proof).is_some(), "there is no proof {proof}");
                continue;
            }
            if *drill == CRASH_ALL {
                continue;
            }
            let path = places::root().join("scenarios").join(drill).with_extension("toml");
            let text = fs::read_to_string(&path).expect("the scenario is there");
            let file: toml::Table = text.parse().expect("a scenario is TOML");
            for check in *red {
                let known = file["checks"].get(check).is_some() || check.starts_with("step ");
                assert!(known, "{drill} does not judge {check}");
            }
        }
    }

    #[test]
    fn names_are_found_wherever_they_are() {
        let names = ["no-queue", "nervous", "lost"].map(str::to_owned).into();
        let found: Vec<_> = found_in(b"\x00nono-queuenervou lost", &names).into_iter().collect();
        assert_eq!(found, ["lost", "no-queue"]);
    }

    #[test]
    fn only_a_red_verdict_counts() {
        let verdict = json!({
            "checks": [{ "check": "a", "judgement": "invalid", "because": "so" }],
        });
        let output = |code: i32| Output {
            status: ExitStatus::from_raw(code << 8),
            stdout: verdict.to_string().into_bytes(),
            stderr: b"raft-lab: the last word\n".to_vec(),
        };
        let read = judged(&output(1), Path::new("")).expect("red");
        assert_eq!(read.red, ["a"]);
        for code in [0, 2, 3] {
            let error = judged(&output(code), Path::new("")).expect_err("not red");
            assert!(error.to_string().contains("red verdict"), "{error}");
        }
    }
}
