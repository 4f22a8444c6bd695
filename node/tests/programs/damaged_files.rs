//! A damaged file: the program ends with code 1, names the file and says what to do.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::member::{Member, PATIENCE, Urls};

/// What is flipped is found by this.
const NEEDLE: &str = "a value that is easily found again";

/// Flips one bit of each copy of [`NEEDLE`] in a file; how many there were.
fn damage(path: &Path) -> usize {
    let bytes = fs::read(path).expect("the file is there");
    let file = fs::OpenOptions::new().write(true).open(path).expect("the file can be written");
    let needle = NEEDLE.as_bytes();
    let places: Vec<usize> = (0..bytes.len().saturating_sub(needle.len()))
        .filter(|at| bytes[*at] == needle[0] && bytes[*at..].starts_with(needle))
        .collect();
    for at in &places {
        file.write_at(&[bytes[*at] ^ 0x10], *at as u64).expect("it is written");
    }
    places.len()
}

/// Has a member keep no copy of its keys: reading the state for one would bring what rots on the
/// disk into RAM again.
fn without_copies(folder: &Path) {
    let member = folder.join("member");
    fs::create_dir_all(&member).expect("a directory");
    fs::write(member.join("snap"), "not a directory").expect("a file");
}

fn state_file(folder: &Path) -> PathBuf {
    folder.join("member/state.redb")
}

fn check_words(said: &str, path: &Path) {
    let last = said.lines().rev().find(|line| line.starts_with("raft-node: ")).unwrap_or_default();
    for words in [&path.display().to_string(), "is damaged", "etcdctl member remove", "member add"]
    {
        assert!(last.contains(words), "no {words:?} in: {said}");
    }
}

/// A member with one key, stopped in order.
async fn stopped_member(folder: &Path) {
    let mut member = Member::start(folder);
    member.put("key", NEEDLE.into()).await;
    member.put("later", "x".into()).await;
    let (code, said) = member.ended();
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test]
async fn a_damaged_log_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a directory");
    stopped_member(folder.path()).await;
    let wal = folder.path().join("member/wal");
    let files = fs::read_dir(&wal).expect("it is there").map(|entry| entry.expect("it is there"));
    let damaged: Vec<PathBuf> =
        files.map(|file| file.path()).filter(|path| damage(path) > 0).collect();
    let [damaged] = &damaged[..] else { panic!("{damaged:?} had the value") };
    let (code, said) = Member::start(folder.path()).fallen();
    assert_eq!(code, Some(1), "{said}");
    check_words(&said, damaged);
}

#[tokio::test]
async fn a_damaged_state_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a directory");
    stopped_member(folder.path()).await;
    assert!(damage(&state_file(folder.path())) > 0);
    let (code, said) = Member::start(folder.path()).fallen();
    assert_eq!(code, Some(1), "{said}");
    check_words(&said, &state_file(folder.path()));
}

#[tokio::test]
async fn a_state_that_rots_under_a_running_member_ends_it() {
    let folder = tempfile::tempdir().expect("a directory");
    without_copies(folder.path());
    let mut member = Member::start(folder.path());
    member.put("key", NEEDLE.into()).await;
    // More than the member keeps in RAM of what it wrote and of what it read.
    for n in 0..130 {
        member.put(&format!("large-{n}"), vec![n; 1 << 20]).await;
    }
    assert!(damage(&state_file(folder.path())) > 0, "it was flushed long ago");
    let error = member.get("key").await.expect_err("no answer has the damaged value in it");
    let (code, said) = member.fallen();
    assert_eq!(code, Some(1), "{error}: {said}");
    check_words(&said, &state_file(folder.path()));
}

#[tokio::test]
async fn a_rotten_snapshot_ends_who_would_send_it_and_the_others_go_on() {
    let urls = Urls::of(3);
    let folders = [(); 3].map(|()| tempfile::tempdir().expect("a directory"));
    folders.iter().for_each(|folder| without_copies(folder.path()));
    let mut members: Vec<Member> = (0..3).map(|n| urls.start(n, folders[n].path())).collect();
    members[0].put("key", NEEDLE.into()).await;
    let mut leader = 0;
    while !members[leader].leads().await {
        leader = (leader + 1) % 3;
    }
    let (away, other) = ((leader + 1) % 3, (leader + 2) % 3);
    members[away].process.kill().expect("it runs");
    // More than the leader keeps in RAM of what it read or wrote.
    for n in 0..90 {
        members[leader].put(&format!("large-{n}"), vec![n; 1 << 20]).await;
    }
    assert!(members[leader].leads().await, "nothing has happened to it");
    assert!(damage(&state_file(folders[leader].path())) > 0, "it was flushed long ago");
    members[away].process.wait().expect("it was killed");
    members[away] = urls.start(away, folders[away].path());
    let (code, said) = members[leader].fallen();
    assert_eq!(code, Some(1), "{said}");
    check_words(&said, &state_file(folders[leader].path()));

    // Of the two that are left each has all that was written, the damaged value among it.
    members[other].put("after", "x".into()).await;
    let since = Instant::now();
    loop {
        match members[away].get("key").await {
            Ok(value) => return assert_eq!(value, NEEDLE.as_bytes()),
            Err(error) => assert!(since.elapsed() < PATIENCE, "it has not caught up: {error}"),
        }
    }
}
