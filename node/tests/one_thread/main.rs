//! Three whole members in one thread, with made-up time, disks and network: the shipped replica,
//! log, state machine and flush, stepped by hand.
//!
//! The same seed gives the same trace, bit for bit.

mod cluster;
mod hostile;
mod known_bugs;

use cluster::Cluster;
use node::cluster::{ChangeError, Member, MemberChange};
use node::handle::{LeaseAnswer, Refusal};
use node_protocol::MemberId;

#[test]
fn a_leader_is_elected_and_every_member_takes_writes() {
    let mut cluster = Cluster::new(1, 3);
    let leader = cluster.await_leader();
    for member in 0..3 {
        let key = format!("through-{member}");
        let revision = cluster.put(member, &key, "x");
        assert!(revision > 1, "m{member} answered with revision {revision}");
    }
    cluster.converge();
    assert_eq!(cluster.hashes(), 1, "all members hold the same state");
    assert_eq!(cluster.term(leader), 2, "the first leader has term 2, as in etcd");
}

#[test]
fn a_write_in_an_election_waits_for_the_new_leader_and_is_applied_once() {
    let mut cluster = Cluster::new(2, 3);
    let old = cluster.await_leader();
    let asked = (old + 1) % 3;
    cluster.put(asked, "before", "1");
    cluster.crash(old);
    let mut waiting = cluster.begin_put(asked, "during", "2");
    cluster.run_millis(100);
    assert!(!cluster.answered(&mut waiting), "nobody leads");
    let new = cluster.await_leader();
    assert_ne!(old, new);
    let revision = cluster.finish(waiting);
    cluster.restart(old);
    cluster.converge();
    assert_eq!(cluster.hashes(), 1);
    for member in 0..3 {
        let (value, version, modified) = cluster.get(member, "during");
        assert_eq!((value.as_str(), version, modified), ("2", 1, revision), "m{member}");
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_all_lose_power() {
    let mut cluster = Cluster::new(3, 3);
    for round in 0..5 {
        let leader = cluster.await_leader();
        for n in 0..60 {
            cluster.put((leader + n) % 3, &format!("k{round}-{n}"), &n.to_string());
        }
        for member in 0..3 {
            cluster.power_loss(member);
        }
        for member in 0..3 {
            cluster.restart(member);
        }
    }
    cluster.await_leader();
    cluster.converge();
    assert_eq!(cluster.hashes(), 1);
    for (round, n) in (0..5).flat_map(|round| (0..20).map(move |n| (round, n))) {
        assert_eq!(cluster.get(0, &format!("k{round}-{n}")).0, n.to_string());
    }
}

#[test]
fn a_follower_that_fell_behind_catches_up_by_snapshot() {
    let mut cluster = Cluster::with_snapshot_count(4, 3, 50);
    let leader = cluster.await_leader();
    let away = (leader + 1) % 3;
    cluster.crash(away);
    for n in 0..400 {
        cluster.put(leader, &format!("k{}", n % 7), &n.to_string());
    }
    cluster.settle_flushes();
    assert!(cluster.first_index(leader) > cluster.last_index(away), "the log was compacted");
    cluster.restart(away);
    cluster.converge();
    assert_eq!(cluster.hashes(), 1);
    assert!(cluster.snapshots_installed() > 0);
    let revision = cluster.put(away, "after", "x");
    assert!(revision > 400);
}

#[test]
fn a_minority_leader_leaves_office_and_its_tail_is_overwritten() {
    let mut cluster = Cluster::new(5, 3);
    let old = cluster.await_leader();
    cluster.put(old, "kept", "1");
    cluster.isolate(old);
    let lost = cluster.begin_put(old, "lost", "1");
    cluster.run_millis(2_200);
    assert!(!cluster.leads(old), "a leader without a quorum leaves office");
    let new = cluster.await_leader_but(old);
    cluster.put(new, "kept", "2");
    cluster.give_up(lost);
    cluster.heal();
    cluster.converge();
    assert_eq!(cluster.hashes(), 1);
    assert_eq!(cluster.get(old, "kept").0, "2");
    assert!(cluster.truncations(old) > 0, "what only the old leader had is gone");
}

#[test]
fn members_change_and_the_answer_comes_to_who_asked() {
    let mut cluster = Cluster::new(10, 3);
    let leader = cluster.await_leader();
    let (asked, removed) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.crash(removed);
    assert_eq!(cluster.remove(asked, removed), 2, "two members are left");
    let revision = cluster.put(asked, "after", "x");
    assert!(revision > 1);
    cluster.converge();
    assert_eq!(cluster.voters(leader), 2);
    assert_eq!(cluster.hashes(), 1);
}

#[test]
fn who_is_removed_while_it_leads_survives_what_it_began_behind_that() {
    let mut led = 0;
    for seed in 0..20 {
        let mut cluster = Cluster::new(seed, 3);
        let old = cluster.await_leader();
        let removed = (old + 1) % 3;
        // The removal is in the others' logs, and they do not know that it is committed.
        let removal = cluster.begin_remove(old, removed);
        cluster.run_millis(4);
        cluster.isolate(old);
        cluster.run_until(2_500, |cluster| cluster.believes_it_leads(removed));
        if !cluster.believes_it_leads(removed) || cluster.voters(removed) != 3 {
            continue;
        }
        cluster.heal();
        let behind: Vec<_> = (0..30)
            .map(|n| {
                cluster.run_millis(1);
                cluster.begin_put(removed, "behind", &n.to_string())
            })
            .collect();
        cluster.run_millis(100);
        led += usize::from(cluster.voters(removed) == 2);
        behind.into_iter().for_each(|waiting| cluster.give_up(waiting));
        cluster.give_up(removal);
        cluster.isolate(removed);
        let new = cluster.await_leader_but(removed);
        cluster.put(new, "after", "x");
    }
    assert!(led > 0, "one that knew that it was removed led in some seed");
}

#[test]
fn a_change_that_would_cost_the_quorum_is_refused() {
    let mut cluster = Cluster::new(11, 3);
    let leader = cluster.await_leader();
    let (other, crashed) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.crash(crashed);
    let removal = MemberChange::Remove(cluster.id(other));
    assert_eq!(cluster.try_change(leader, &removal), Err(ChangeError::Unhealthy));
    cluster.converge();
    assert_eq!(cluster.voters(leader), 3, "nothing has changed");
}

#[test]
fn a_read_never_sees_less_than_was_acknowledged() {
    let mut cluster = Cluster::new(6, 3);
    let old = cluster.await_leader();
    cluster.put(old, "k", "1");
    cluster.isolate(old);
    let mut stale = cluster.begin_read(old);
    let new = cluster.await_leader_but(old);
    cluster.put(new, "k", "2");
    assert!(!cluster.answered(&mut stale), "the old leader must not serve a read");
    cluster.heal();
    cluster.await_read(stale);
    assert_eq!(cluster.get(old, "k").0, "2");
}

#[test]
fn a_cut_off_leader_does_not_deny_a_lease_it_never_heard_of() {
    let mut cluster = Cluster::new(12, 3);
    let old = cluster.await_leader();
    cluster.isolate(old);
    let new = cluster.await_leader_but(old);
    cluster.grant(new, 77, 60);
    assert!(cluster.believes_it_leads(old), "the old leader has not noticed yet");
    let mut asked = cluster.begin_time_to_live(old, 77);
    cluster.run_millis(50);
    assert!(!cluster.answered(&mut asked), "it cannot know");
    cluster.heal();
    let left = cluster.await_lease(asked);
    assert!(matches!(left, LeaseAnswer::Known { ttl_seconds: 50.., .. }), "{left:?}");
}

/// Its vote would count towards quorums that it has nothing of.
#[test]
fn a_learner_gets_no_vote_before_it_has_the_log() {
    let mut cluster = Cluster::new(11, 3);
    let leader = cluster.await_leader();
    cluster.put(leader, "before", "it came");
    let id = MemberId(99);
    let learner = Member {
        id,
        name: String::new(),
        peer_urls: vec!["http://m4.test:2380".into()],
        client_urls: Vec::new(),
        learner: true,
    };
    let asked = (leader + 1) % 3;
    assert_eq!(cluster.try_change(asked, &MemberChange::Add(learner)), Ok(4));
    let promoted = cluster.try_change(asked, &MemberChange::Promote(id));
    assert_eq!(promoted, Err(ChangeError::LearnerNotReady));
    assert_eq!(cluster.voters(leader), 3);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let trace = |seed| {
        let mut cluster = Cluster::new(seed, 3);
        let leader = cluster.await_leader();
        for n in 0..10 {
            cluster.put((leader + n) % 3, "k", &n.to_string());
        }
        cluster.crash(leader);
        cluster.await_leader();
        cluster.restart(leader);
        cluster.converge();
        cluster.trace()
    };
    assert_eq!(trace(7), trace(7));
    assert_ne!(trace(7), trace(8), "another seed is another run");
}

#[test]
fn a_member_that_stops_says_so() {
    let mut cluster = Cluster::new(9, 3);
    let leader = cluster.await_leader();
    let waiting = cluster.begin_read((leader + 1) % 3);
    let refusal = cluster.stop((leader + 1) % 3, waiting);
    assert_eq!(refusal, Some(Refusal::Stopped));
}
