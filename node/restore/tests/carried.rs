//! What a restore carries along, and revisions that are raised.

#[expect(dead_code, reason = "other tests ask for more")]
mod member;

use std::path::Path;
use std::process::Command;

use etcd_api::etcdserverpb::RangeRequest;
use member::Member;
use node_oracle::{Programs, own};
use tonic::Code;

fn ctl(program: &Path, member: &Member, words: &[&str]) -> String {
    let output = Command::new(program)
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", member.endpoint()])
        .args(words)
        .output()
        .expect("it starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {errors}");
    String::from_utf8(output.stdout).expect("text")
}

/// Some builds of etcdctl draw tables with lines instead of signs.
fn boxes(text: &str) -> String {
    let plain = |letter| match letter {
        '─' => '-',
        '│' => '|',
        '┌' | '┬' | '┐' | '├' | '┼' | '┤' | '└' | '┴' | '┘' => '+',
        letter => letter,
    };
    text.chars().map(plain).collect()
}

#[tokio::test]
async fn users_and_roles_come_through_a_member_that_does_not_know_them() {
    let Some(Programs { etcd, etcdctl, .. }) = Programs::find() else { return };
    let (node, own_ctl) = (own("raft-node"), own("raft-ctl"));
    let folder = tempfile::tempdir().expect("a folder");
    let first = Member::start(&etcd, folder.path(), "first", None).await;
    for words in [
        &["user", "add", "alice:secret"][..],
        &["role", "add", "reader"],
        &["role", "grant-permission", "reader", "read", "a", "--prefix"],
        &["user", "grant-role", "alice", "reader"],
    ] {
        ctl(&etcdctl, &first, words);
    }
    let asked = [&["user", "get", "alice", "--detail"][..], &["role", "get", "reader"]];
    let said = |member: &Member| asked.map(|words| ctl(&etcdctl, member, words));
    let expected = said(&first);
    assert!(expected[0].contains("reader"), "{expected:?}");
    let saved = first.save(&etcdctl, &folder.path().join("first.db"));
    drop(first);

    let ours = Member::start(&node, folder.path(), "ours", Some((&own_ctl, &saved))).await;
    ctl(&etcdctl, &ours, &["put", "a", "1"]);
    let saved = ours.save(&etcdctl, &folder.path().join("ours.db"));
    drop(ours);

    let again = Member::start(&etcd, folder.path(), "again", Some((&etcdctl, &saved))).await;
    assert_eq!(said(&again), expected);
    assert_eq!(ctl(&etcdctl, &again, &["get", "a"]), "a\n1\n");
}

#[tokio::test]
async fn raised_revisions_go_on_and_old_ones_are_compacted() {
    let Some(Programs { etcd, etcdctl, .. }) = Programs::find() else { return };
    let (node, own_ctl) = (own("raft-node"), own("raft-ctl"));
    let folder = tempfile::tempdir().expect("a folder");
    let first = Member::start(&node, folder.path(), "first", None).await;
    for value in ["1", "2", "3"] {
        ctl(&etcdctl, &first, &["put", "a", value]);
    }
    let saved = first.save(&etcdctl, &folder.path().join("first.db"));
    for format in ["simple", "table", "json", "fields"] {
        let file = saved.display().to_string();
        let words = ["snapshot", "status", &file, "-w", format];
        let [theirs, ours] = [&etcdctl, &own_ctl].map(|tool| ctl(tool, &first, &words));
        assert_eq!(boxes(&ours), boxes(&theirs), "as {format}");
    }
    drop(first);

    let raised = ["--bump-revision", "1000", "--mark-compacted"];
    for (server, name) in [(&node, "ours"), (&etcd, "theirs")] {
        let restored = Some((&*own_ctl, &*saved));
        let member = Member::start_with(server, folder.path(), name, restored, &raised).await;
        let get = |revision| {
            let request =
                RangeRequest { key: b"a".to_vec().into(), revision, ..RangeRequest::default() };
            let mut kv = member.kv();
            async move { kv.range(request).await }
        };
        let now = get(0).await.expect("an answer").into_inner();
        assert_eq!(now.header.expect("a header").revision, 1_004, "{name}");
        let kv = &now.kvs[0];
        assert_eq!((&*kv.value, kv.mod_revision, kv.version), (&b"3"[..], 4, 3), "{name}");
        let old = get(4).await.expect_err("it is compacted");
        assert_eq!(old.code(), Code::OutOfRange, "{name}: {old}");
        assert!(old.message().contains("has been compacted"), "{name}: {old}");
        ctl(&etcdctl, &member, &["put", "a", "4"]);
        let now = get(0).await.expect("an answer").into_inner();
        assert_eq!(now.kvs[0].mod_revision, 1_005, "{name}");
    }
}
