//! That nobody notices: what stock clients hear from three of our members and from three of etcd.
//!
//! Real etcd is the oracle. Every file in `transcripts/` is played by `etcdctl` on a fresh cluster
//! of each, on the same ports and with the same token, so that even the ids are equal; what then
//! may differ (times, terms, sizes, who answered) is taken out of the texts before they are
//! compared, and nothing else. `node-oracle` says where etcd is taken from.

mod plain;
mod play;
mod raw;
mod script;

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;

use node_oracle::{Cluster, Kind, PLACES, Programs};
use script::Script;

/// What is compared with etcd.
const OURS: Kind<'_> = Kind::RaftNode(env!("CARGO_BIN_EXE_raft-node"));

/// Transcripts played beside one another; more would make members miss their elections.
const BESIDE: usize = 3;

/// Calls of `etcdctl` that are compared in all, at least.
const CALLS: usize = 200;

/// Plays a transcript on both kinds of cluster; returns the calls compared and what differs.
fn compare(programs: &Programs, path: &Path) -> (usize, String) {
    let name = path.file_stem().expect("a file").to_string_lossy().into_owned();
    let text = std::fs::read_to_string(path).expect("a transcript is text");
    let script = Script::parse(&text).unwrap_or_else(|error| panic!("{name}.txt, {error}"));
    let ports = node_oracle::ports(2 * PLACES);
    let said = [Kind::Etcd, OURS].map(|kind| {
        let cluster = Cluster::start(programs, kind, &ports, &script.flags);
        play::play(&script, cluster)
    });
    let [theirs, ours] = &said;
    assert_eq!(ours.len(), theirs.len(), "both heard the same calls");
    let mut differing = String::new();
    for (ours, theirs) in ours.iter().zip(theirs).filter(|(ours, theirs)| ours != theirs) {
        let (line, command) = (ours.line, &ours.command);
        let (theirs, ours) = (&theirs.text, &ours.text);
        writeln!(
            differing,
            "{name}.txt, line {line}: {command}\n--- etcd\n{theirs}\n--- ours\n{ours}\n"
        )
        .expect("a string takes all that is written to it");
    }
    (ours.len(), differing)
}

#[test]
fn stock_etcdctl_hears_what_it_hears_from_etcd() {
    let Some(programs) = Programs::find() else { return };
    // One transcript alone: RAFTLAB_TRANSCRIPT=txn.
    let only = std::env::var("RAFTLAB_TRANSCRIPT").ok();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/etcd/transcripts");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("the transcripts are there")
        .map(|entry| entry.expect("a folder can be read").path())
        .filter(|path| only.as_ref().is_none_or(|only| path.file_stem() == Some(only.as_ref())))
        .collect();
    paths.sort();
    // Most of the time is spent waiting for members, so some are played beside one another.
    let paths = Mutex::new(paths);
    let next = || paths.lock().expect("nobody panics with it").pop();
    let (calls, differing) = std::thread::scope(|scope| {
        let play_some = || {
            let (mut calls, mut differing) = (0, String::new());
            while let Some(path) = next() {
                let (more, text) = compare(&programs, &path);
                calls += more;
                differing.push_str(&text);
            }
            (calls, differing)
        };
        let playing: Vec<_> = (0..BESIDE).map(|_| scope.spawn(play_some)).collect();
        let played = playing.into_iter().map(|some| some.join().expect("played to the end"));
        played.fold((0, String::new()), |(calls, differing), (more, text)| {
            (calls + more, differing + &text)
        })
    });
    assert!(differing.is_empty(), "of {calls} answers some differ:\n{differing}");
    assert!(only.is_some() || calls >= CALLS, "only {calls} answers were compared");
    println!("{calls} answers are equal to those of etcd {}", programs.version);
}

#[test]
fn raw_grpc_hears_what_it_hears_from_etcd() {
    let Some(programs) = Programs::find() else { return };
    let ports = node_oracle::ports(2 * PLACES);
    // Else etcd refuses every change of members in its first five seconds.
    let flags = ["--strict-reconfig-check=false".to_owned()];
    let [theirs, ours] =
        [Kind::Etcd, OURS].map(|kind| raw::ask(&Cluster::start(&programs, kind, &ports, &flags)));
    let mut differing = String::new();
    for (ours, theirs) in ours.iter().zip(&theirs).filter(|(ours, theirs)| ours != theirs) {
        let (asked, theirs, ours) = (ours.asked, &theirs.answer, &ours.answer);
        writeln!(differing, "{asked}\n--- etcd\n{theirs}\n--- ours\n{ours}\n")
            .expect("a string takes all that is written to it");
    }
    assert_eq!(ours.len(), theirs.len(), "both were asked the same");
    assert!(differing.is_empty(), "of {} answers some differ:\n{differing}", ours.len());
    println!("{} answers are equal to those of etcd {}", ours.len(), programs.version);
}
