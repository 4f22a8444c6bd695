//! Bugs others had, and the tests that would find them here.
//!
//! A table of public threads and of our tests; this test holds that each of them exists. Threads
//! about what this version does not serve are in [`LATER`], with what they wait for.

use std::collections::BTreeSet;
use std::path::Path;

/// A thread, and the tests as `file::function` below this package.
type Known = (&'static str, &'static [&'static str]);

const POWER: &str =
    "tests/durable/power_loss.rs::whatever_was_acknowledged_survives_a_power_loss_at_any_write";
const AT_REST: &str =
    "tests/durable/bit_rot.rs::a_flipped_bit_at_rest_is_seen_at_the_next_start_or_changes_nothing";
const ONCE: &str = "src/kv/tests/rules.rs::commands_are_applied_once_whatever_is_replayed";
const WIPED: &str =
    "tests/one_thread/known_bugs.rs::a_wiped_member_under_its_old_id_ends_and_says_what_it_lost";
const LEASE_OUTLIVES: &str =
    "tests/one_thread/known_bugs.rs::a_lease_outlives_changes_of_the_leader_but_not_for_ever";
const TWO_SNAPSHOTS: &str =
    "tests/one_thread/known_bugs.rs::two_snapshots_at_one_moment_leave_the_newer_state";
const FINAL_WRITE: &str = "src/storage/tests.rs::a_failed_write_is_final";
const CUT_COMPACTION: &str =
    "src/kv/tests/rules.rs::a_compaction_that_a_crash_cut_short_is_ended_after_it";
const PROMOTED: &str = "sim/tests/members.rs::a_promotion_and_an_update_outlive_a_restart_of_all";
const REMOVED: &str = "tests/programs/removed.rs::a_removed_member_that_returns_ends_and_says_why";
const OLD_CONFIGURATION: &str =
    "sim/tests/members.rs::what_was_sent_under_an_old_configuration_does_no_harm";

const KNOWN: &[Known] = &[
    // The applied index is written with what was applied.
    ("etcd-io/etcd#13766", &[ONCE, POWER]),
    ("etcd-io/etcd#11643", &[ONCE, POWER]),
    ("etcd-io/etcd#13503", &[ONCE, POWER]),
    // Acknowledged before it was synced.
    (
        "etcd-io/etcd#14370",
        &[
            "tests/one_thread/known_bugs.rs::a_cluster_of_one_acknowledges_nothing_before_it_is_synced",
        ],
    ),
    // Crashes while the state is tidied up.
    ("etcd-io/etcd#14685", &[POWER]),
    ("etcd-io/etcd#17780", &["src/watch/tests.rs::a_restart_keeps_the_revision", CUT_COMPACTION]),
    ("etcd-io/etcd#19179", &["src/watch/tests.rs::a_deletion_at_the_compact_revision_is_told"]),
    (
        "etcd-io/etcd#18089",
        &["src/watch/tests.rs::a_deletion_at_the_compact_revision_is_told", CUT_COMPACTION],
    ),
    // Watches.
    ("etcd-io/etcd#15220", &["src/watch/tests.rs::progress_never_runs_ahead_of_events"]),
    ("etcd-io/etcd#15271", &["src/watch/tests.rs::a_start_in_the_future_is_silent_until_then"]),
    (
        "etcd-io/etcd#17529",
        &[
            "src/watch/tests.rs::history_then_live_without_gap_or_repetition",
            "src/watch/tests.rs::a_watch_that_falls_behind_a_compaction_ends",
        ],
    ),
    ("etcd-io/etcd#20221", &["src/watch/tests.rs::a_start_in_the_future_is_silent_until_then"]),
    ("etcd-io/etcd#17247", &["src/watch/tests.rs::history_then_live_without_gap_or_repetition"]),
    // Members decide alike.
    (
        "etcd-io/etcd#18667",
        &["src/kv/tests/rules.rs::how_far_a_compaction_has_come_decides_nothing"],
    ),
    ("etcd-io/etcd#11689", &["src/kv/tests/model.rs::the_store_is_the_model"]),
    // Snapshots.
    ("etcd-io/etcd#18055", &[TWO_SNAPSHOTS]),
    ("tikv/tikv#9349", &[TWO_SNAPSHOTS]),
    // A process that was paused.
    (
        "etcd-io/etcd#20418",
        &[
            "tests/one_thread/known_bugs.rs::a_paused_leader_answers_no_read_by_what_it_knew",
            "src/consensus/reads.rs::a_read_never_joins_a_round_under_way",
        ],
    ),
    (
        "etcd-io/etcd#16822",
        &["tests/one_thread/known_bugs.rs::a_paused_leader_revokes_nothing_its_successor_renewed"],
    ),
    // Leases over changes of the leader.
    ("etcd-io/etcd#17132", &[LEASE_OUTLIVES]),
    ("etcd-io/etcd#13491", &[LEASE_OUTLIVES]),
    ("etcd-io/etcd#13508", &[LEASE_OUTLIVES]),
    ("etcd-io/etcd#9888", &[LEASE_OUTLIVES]),
    ("etcd-io/etcd#9924", &[LEASE_OUTLIVES]),
    // Promises that a disk lost.
    ("etcd-io/etcd#16220", &[WIPED]),
    ("databendlabs/openraft#898", &[WIPED]),
    // raft-rs.
    ("tikv/tikv#10078", &["src/consensus/log.rs::a_commit_index_beyond_the_log_is_clamped", WIPED]),
    ("tikv/tikv#12230", &["src/consensus/reads.rs::what_brings_no_answer_begins_anew"]),
    ("tikv/tikv#20000", &["src/consensus/reads.rs::another_member_or_start_is_not_answered"]),
    // Members that join, learners and their promotion, members that are removed.
    ("etcd-io/etcd#19557", &[PROMOTED]),
    ("etcd-io/etcd#20793", &[PROMOTED]),
    ("etcd-io/etcd#21694", &[PROMOTED]),
    ("etcd-io/etcd#18347", &[PROMOTED]),
    ("etcd-io/etcd#13196", &[REMOVED]),
    ("etcd-io/website#1095", &[REMOVED]),
    ("tikv/tikv#7344", &[OLD_CONFIGURATION]),
    ("tikv/tikv#6609", &[OLD_CONFIGURATION]),
    ("tikv/tikv#12023", &[OLD_CONFIGURATION]),
    ("tikv/tikv#6344", &[OLD_CONFIGURATION]),
    (
        "tikv/raft-rs#269",
        &["sim/tests/members.rs::a_learner_begins_with_a_snapshot_and_becomes_a_voter"],
    ),
    // A failed sync is final.
    (
        "cockroachdb/cockroach#37102",
        &[
            FINAL_WRITE,
            "src/storage/wal/tests.rs::a_failed_sync_is_final_and_what_was_read_again_is_durable",
        ],
    ),
    ("cberner/redb#299", &[FINAL_WRITE, POWER]),
    ("cberner/redb#312", &[FINAL_WRITE, POWER]),
    ("cberner/redb#836", &[FINAL_WRITE, POWER]),
    // redb that panicked, was full, or was cut short while it recovered.
    (
        "cberner/redb#885",
        &[
            "tests/durable/bit_rot.rs::a_bit_that_flips_under_a_running_member_is_never_in_an_answer",
        ],
    ),
    ("cberner/redb#888", &[POWER]),
    ("cberner/redb#1333", &[AT_REST, POWER]),
    ("cberner/redb#620", &["src/storage/tests.rs::a_switchable_disk_fills_fails_and_heals", POWER]),
    ("cberner/redb#857", &[POWER]),
    ("cberner/redb#1372", &[FINAL_WRITE]),
];

/// Threads about what is not served yet, and what that is.
const LATER: &[(&str, &[&str])] = &[
    ("users and roles", &["etcd-io/etcd#11651", "etcd-io/etcd#14571", "etcd-io/etcd#13976"]),
    (
        "restoring a snapshot",
        &[
            "etcd-io/etcd#16028",
            "etcd-io/etcd#16029",
            "etcd-io/etcd#14303",
            "kubernetes/kubernetes#118501",
        ],
    ),
];

#[test]
fn every_known_bug_has_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (thread, tests) in KNOWN {
        assert!(!tests.is_empty(), "{thread} has no test");
        for test in *tests {
            let (file, function) = test.split_once("::").expect("a file and a function");
            let source = std::fs::read_to_string(root.join(file))
                .unwrap_or_else(|error| panic!("{thread}: {file}: {error}"));
            assert!(source.contains(&format!("fn {function}(")), "{thread}: no {test}");
        }
    }
}

#[test]
fn every_thread_is_named_once() {
    let later = LATER.iter().flat_map(|(_, threads)| threads.iter());
    let mut seen = BTreeSet::new();
    for thread in KNOWN.iter().map(|(thread, _)| thread).chain(later) {
        let (repository, number) = thread.split_once('#').expect("owner/name#number");
        assert!(repository.contains('/') && number.parse::<u32>().is_ok(), "{thread}");
        assert!(seen.insert(thread), "{thread} is there twice");
    }
}
