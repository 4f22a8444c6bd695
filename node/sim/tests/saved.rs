//! Lifetimes that are kept: recorded for the page, saved as plans, lived again.

use std::fs;
use std::path::Path;

use lab_protocol::Event;
use lab_protocol::recording::{JOURNAL_FILE, Recording, VERDICT_FILE};
use node::training::Planted;
use node_sim::{PLAN_FILE, Plan, SavedPlan, Settings, record_plan, run, save};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const SHIPPED: Settings = Settings { members: 3, planted: Planted::new(None) };

#[test]
fn a_recorded_lifetime_is_the_same_lifetime() {
    for seed in 1..9 {
        let lived = run(seed, SHIPPED);
        let recorded = record_plan(seed, lived.plan.clone(), SHIPPED);
        assert_eq!(recorded.trace, lived.trace, "seed {seed}");
        assert_eq!(recorded.tally, lived.tally, "seed {seed}");
        assert!(recorded.journal.len() > lived.journal.len(), "seed {seed}");
    }
}

#[test]
fn a_saved_lifetime_reads_back_as_a_plan_and_as_a_recording() {
    let dir = tempfile::tempdir().expect("a directory");
    let lived = run(1, SHIPPED);
    let recorded = record_plan(lived.seed, lived.plan.clone(), SHIPPED);
    save(&recorded, dir.path()).expect("saved");

    let saved = SavedPlan::read(&dir.path().join(PLAN_FILE)).expect("a plan");
    assert_eq!(saved, SavedPlan::of(&lived));
    assert_eq!(saved.run(SHIPPED).trace, lived.trace);

    let bytes = fs::read(dir.path().join(JOURNAL_FILE)).expect("a journal");
    let recording = Recording::decode(&bytes).expect("a recording");
    assert!(!recording.torn);
    assert_eq!(recording.events, recorded.journal);
    assert!(matches!(recording.events[0].event, Event::RunStarted { .. }));
    let [.., judged, end] = &recording.events[..] else { panic!("a journal has an end") };
    assert_eq!(judged.event, Event::Judged(Box::new(recorded.verdict.clone())));
    assert_eq!(end.event, Event::RunEnded);
    let verdict = fs::read(dir.path().join(VERDICT_FILE)).expect("a verdict");
    let verdict: lab_protocol::Verdict = serde_json::from_slice(&verdict).expect("a verdict");
    assert_eq!(verdict, recorded.verdict);
}

#[test]
fn what_is_not_a_plan_is_refused_by_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join(PLAN_FILE);
    let said = |path: &Path| SavedPlan::read(path).expect_err("no plan").to_string();
    assert_eq!(said(&path), format!("cannot use {}", path.display()));
    fs::write(&path, r#"{"seed": 1, "broke": "", "plan": {"members": 3}}"#).expect("written");
    assert_eq!(said(&path), format!("{} is not a saved plan", path.display()));
    for (members, action, why) in [
        (3, r#"[1, {"Crash": 3}]"#, "Crash(3) at 1: there is no place 3 of 3"),
        (3, r#"[1, {"Lossy": 1001}]"#, "Lossy(1001) at 1: that is too much, or a link to itself"),
        (1, "[1, \"HealNetwork\"]", "a plan has 2 to 9 members and at most 6 joiners"),
    ] {
        let plan = format!(
            r#"{{"seed": 1, "broke": "", "plan": {{"members": {members}, "joiners": 0,
            "election_ticks": 30, "message_bytes": 0, "actions": [{action}]}}}}"#
        );
        fs::write(&path, plan).expect("written");
        assert_eq!(said(&path), format!("{} cannot be lived: {why}", path.display()));
    }
}

#[test]
fn every_plan_that_is_drawn_could_be_saved() {
    for seed in 0..2000 {
        let plan = Plan::draw(&mut ChaCha8Rng::seed_from_u64(seed), 2 + seed as usize % 8);
        assert_eq!(plan.check(), Ok(()), "seed {seed}");
    }
}

/// The plans of `tests/plans`: each broke a rule once, on a version with a bug.
#[test]
fn every_plan_that_was_kept_holds_every_rule() {
    let plans = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans");
    let mut count = 0;
    for entry in fs::read_dir(plans).expect("the plans") {
        let path = entry.expect("a plan").path();
        let outcome = SavedPlan::read(&path).expect("a plan").run(SHIPPED);
        assert_eq!(outcome.violation(), None, "{}", path.display());
        count += 1;
    }
    assert!(count >= 5, "only {count} plans");
}

/// What a search of many lifetimes does with what it finds.
#[cfg(feature = "training")]
#[test]
fn a_broken_lifetime_is_shrunk_saved_and_broken_again() {
    use node::training::Break;

    let settings = Settings { members: 3, planted: Planted::new(Some(Break::WinWithoutMajority)) };
    let broken = run(1, settings);
    let actions = broken.plan.actions.len();
    let short = node_sim::shrink(broken, settings);
    assert!(short.plan.actions.len() < actions, "{:?}", short.plan);
    let dir = tempfile::tempdir().expect("a directory");
    save(&record_plan(short.seed, short.plan.clone(), settings), dir.path()).expect("saved");

    let saved = SavedPlan::read(&dir.path().join(PLAN_FILE)).expect("a plan");
    assert!(saved.broke.starts_with("election_safety: "), "{}", saved.broke);
    let again = saved.run(settings);
    assert_eq!(again.trace, short.trace);
    assert_eq!(again.violations, short.violations);
}
