//! Situations in which others' members went wrong. Each test names the thread it was read in.

use node::handle::LeaseAnswer;

use super::cluster::Cluster;

/// etcd-io/etcd#14370: a cluster of one answered before its log was synced.
#[test]
fn a_cluster_of_one_acknowledges_nothing_before_it_is_synced() {
    let mut cluster = Cluster::new(21, 1);
    cluster.await_leader();
    cluster.put(0, "kept", "1");
    cluster.fail_next_sync(0);
    let mut waiting = cluster.begin_put(0, "unsynced", "1");
    let why = cluster.await_end(0);
    assert!(why.contains("failed to write the log"), "{why}");
    assert!(!cluster.answered(&mut waiting), "what is not on the disk is not acknowledged");
    cluster.give_up(waiting);
    cluster.power_loss(0);
    cluster.restart(0);
    cluster.put(0, "after", "1");
    assert_eq!(cluster.get(0, "kept").0, "1");
}

/// etcd-io/etcd#18055, tikv/tikv#9349: a second snapshot comes before the first is installed.
#[test]
fn two_snapshots_at_one_moment_leave_the_newer_state() {
    for reversed in [false, true] {
        let mut cluster = Cluster::with_snapshot_count(22, 3, 50);
        let leader = cluster.await_leader();
        let away = (leader + 1) % 3;
        cluster.crash(away);
        for n in 0..200 {
            cluster.put(leader, &format!("k{}", n % 7), &n.to_string());
        }
        cluster.settle_flushes();
        cluster.hold_snapshots();
        cluster.restart(away);
        cluster.await_held(1);
        for n in 200..400 {
            cluster.put(leader, &format!("k{}", n % 7), &n.to_string());
        }
        cluster.settle_flushes();
        cluster.await_held(2);
        cluster.release_snapshots(reversed);
        cluster.converge();
        assert_eq!(cluster.hashes(), 1, "reversed: {reversed}");
        cluster.crash(away);
        cluster.restart(away);
        cluster.converge();
        assert_eq!(cluster.hashes(), 1, "reversed: {reversed}, after a restart");
        assert_eq!(cluster.get(away, "k0").0, "399");
    }
}

/// etcd-io/etcd#20418: a leader that was paused answered reads by what it had confirmed before.
#[test]
fn a_paused_leader_answers_no_read_by_what_it_knew() {
    let mut cluster = Cluster::new(23, 3);
    let old = cluster.await_leader();
    cluster.put(old, "k", "1");
    let early = cluster.begin_read(old);
    cluster.run_millis(1);
    cluster.pause(old);
    let new = cluster.await_leader_but(old);
    cluster.put(new, "k", "2");
    let late = cluster.begin_read(old);
    cluster.resume(old);
    cluster.await_read(late);
    assert_eq!(cluster.get(old, "k").0, "2", "the read began after the write was acknowledged");
    cluster.await_read(early);
}

/// etcd-io/etcd#16822: a leader that was paused came back and revoked leases that were renewed
/// with its successor.
#[test]
fn a_paused_leader_revokes_nothing_its_successor_renewed() {
    let mut cluster = Cluster::new(24, 3);
    let old = cluster.await_leader();
    cluster.grant(old, 5, 2);
    cluster.pause(old);
    let new = cluster.await_leader_but(old);
    for _ in 0..8 {
        assert!(matches!(cluster.keep_alive(new, 5), LeaseAnswer::Known { .. }));
        cluster.run_millis(500);
    }
    cluster.resume(old);
    for _ in 0..4 {
        assert!(matches!(cluster.keep_alive(new, 5), LeaseAnswer::Known { .. }));
        cluster.run_millis(500);
    }
    assert!(!cluster.leads(old));
}

/// etcd-io/etcd#9888, #13491, #13508, #17132: over changes of the leader a lease lived for ever,
/// or lost the time it had left.
#[test]
fn a_lease_outlives_changes_of_the_leader_but_not_for_ever() {
    let mut cluster = Cluster::new(25, 3);
    let mut leader = cluster.await_leader();
    cluster.grant(leader, 7, 3);
    for _ in 0..4 {
        cluster.crash(leader);
        let next = cluster.await_leader();
        cluster.restart(leader);
        leader = next;
        let left = cluster.time_to_live(leader, 7);
        assert!(matches!(left, LeaseAnswer::Known { .. }), "nobody counted it out: {left:?}");
    }
    // A new leader gives the full time again, so it ends that long after the last change.
    cluster.run_millis(2_000);
    let left = cluster.time_to_live(leader, 7);
    assert!(matches!(left, LeaseAnswer::Known { .. }), "it has a second left: {left:?}");
    cluster.run_millis(4_000);
    assert_eq!(cluster.time_to_live(leader, 7), LeaseAnswer::Unknown);
}

/// etcd-io/etcd#16220, databendlabs/openraft#898: a member whose disk was wiped came back under its
/// old id, and panicked with "tocommit is out of range".
#[test]
fn a_wiped_member_under_its_old_id_ends_and_says_what_it_lost() {
    let mut cluster = Cluster::new(26, 3);
    let leader = cluster.await_leader();
    let wiped = (leader + 1) % 3;
    for n in 0..10 {
        cluster.put(wiped, "k", &n.to_string());
    }
    cluster.converge();
    cluster.crash(wiped);
    cluster.wipe(wiped);
    cluster.restart(wiped);
    let why = cluster.await_end(wiped);
    assert!(why.contains("its disk lost what it had promised"), "{why}");
    assert!(why.contains("remove it from the cluster"), "{why}");
    cluster.put(leader, "k", "still");
    cluster.converge();
    assert_eq!(cluster.hashes(), 1);
}
