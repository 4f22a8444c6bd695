//! etcd's guide "Disaster recovery", by its own commands: on real etcd, on members of ours with
//! stock tools, and with our own tool, to the same end.

use std::path::Path;
use std::process::{Command, Stdio};

use node_oracle::{Programs, own};

/// Runs the guide's commands in a network of their own, because the guide's ports are fixed;
/// returns what the restored members say.
fn run(tool: &Path, server: &Path, ask: &Path) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/text.sh");
    let alone = ["--net", "sh", "-c", "ip link set lo up && exec \"$0\"", script];
    let may = Command::new("unshare").args(["--net", "true"]).output();
    let mut command = if may.is_ok_and(|output| output.status.success()) {
        let mut command = Command::new("unshare");
        command.args(alone);
        command
    } else {
        // Without the right to a network of its own: the ports 2379 and 2380 must be free.
        Command::new(script)
    };
    let output = command
        .envs([("CTL", tool), ("SERVER", server), ("ASK", ask)])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .expect("the script starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} and {}: {errors}", tool.display(), server.display());
    String::from_utf8(output.stdout).expect("etcdctl writes text")
}

#[test]
fn the_text_leads_to_the_same_end_three_times() {
    let Some(Programs { etcd, etcdctl, .. }) = Programs::find() else { return };
    let (node, ctl) = (own("raft-node"), own("raft-ctl"));
    let theirs = run(&etcdctl, &etcd, &etcdctl);
    assert!(theirs.contains("attached keys([leased])"), "the script has asked: {theirs}");
    for tool in [&etcdctl, &ctl] {
        assert_eq!(run(tool, &node, &etcdctl), theirs, "{} on raft-node", tool.display());
    }
    // And the other way round: what our tool makes is etcd's.
    assert_eq!(run(&ctl, &etcd, &etcdctl), theirs, "raft-ctl on etcd");
}
