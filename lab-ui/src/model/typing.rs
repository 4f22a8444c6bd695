//! The lines that buttons type: those of etcd's text, with the lab's own names in them.

use lab_protocol::{LabState, MemberNo, Process, SnapshotFile, Standing};

/// Saves a snapshot of one member, under a name that is free.
pub fn save(state: &LabState, member: MemberNo) -> String {
    let name = free_name(state);
    let number = member.0;
    format!("raft-ctl --endpoints $M{number} snapshot save {name}")
}

/// Reads a snapshot.
pub fn inspect(name: &str) -> String {
    format!("raft-ctl snapshot status {name} -w table")
}

/// Restores every member from a file, then starts each; or why that cannot be done now.
pub fn restore(state: &LabState, file: &SnapshotFile) -> Result<Vec<String>, String> {
    let members: Vec<MemberNo> = state
        .taking_part()
        .filter(|(_, member)| member.standing != Standing::Learner)
        .map(|(no, _)| no)
        .collect();
    let up = |no: &&MemberNo| {
        let process = state.members.get(no).map(|member| &member.process);
        matches!(process, Some(Process::Up { .. } | Process::Paused { .. }))
    };
    let up: Vec<_> = members.iter().filter(up).map(ToString::to_string).collect();
    match up.as_slice() {
        [] if members.is_empty() => return Err("no member is known yet".to_owned()),
        [] => {}
        [one] => return Err(format!("{one} still runs: stop or crash it first")),
        more => return Err(format!("{} still run: stop or crash them first", more.join(", "))),
    }
    let (name, again) = (&file.name, attempt(state));
    let folder = |no: MemberNo| match again {
        1 => format!("{no}-restored.etcd"),
        again => format!("{no}-restored-{again}.etcd"),
    };
    let each = |no: &MemberNo| format!("{no}=$M{}_PEER", no.0);
    let list = members.iter().map(each).collect::<Vec<_>>().join(",");
    // A copied database has no hash: whoever restores it does so knowingly.
    let skip = match file.integrity {
        lab_protocol::Integrity::NoHash => " --skip-hash-check",
        lab_protocol::Integrity::Verified | lab_protocol::Integrity::Damaged(_) => "",
    };
    let restores = members.iter().map(|&no| {
        format!(
            "raft-ctl snapshot restore {name} --name {no} --data-dir {} --initial-cluster {list} \
             --initial-cluster-token restored-{again} --initial-advertise-peer-urls \
             $M{}_PEER{skip}",
            folder(no),
            no.0
        )
    });
    let starts = members.iter().map(|&no| {
        let name = format!("$M{}", no.0);
        format!(
            "raft-node --name {no} --data-dir {} --listen-client-urls {name}_CLIENT \
             --advertise-client-urls {name}_CLIENT --listen-peer-urls {name}_LISTEN &",
            folder(no)
        )
    });
    Ok(restores.chain(starts).collect())
}

/// The names that stand for something in a line, and for what in this lab.
pub fn names(state: &LabState) -> Vec<(String, String)> {
    let address = |url: &str| url.trim_start_matches("http://").to_owned();
    let mut names = Vec::new();
    for (no, member) in &state.members {
        let (plan, name) = (&member.plan, format!("$M{}", no.0));
        names.push((name.clone(), address(&plan.client_url)));
        names.push((format!("{name}_CLIENT"), plan.client_url.clone()));
        names.push((format!("{name}_PEER"), plan.peer_url.clone()));
        names.push((format!("{name}_LISTEN"), format!("where {no} listens to its peers")));
    }
    let all: Vec<_> =
        state.members.values().map(|member| address(&member.plan.client_url)).collect();
    names.push(("$ENDPOINTS".to_owned(), all.join(",")));
    names
}

/// A name for a snapshot that no file has, and that was not typed before.
fn free_name(state: &LabState) -> String {
    let taken = |name: &String| {
        state.recovery.origin(name).is_some()
            || state.snapshots.iter().any(|file| file.name == *name)
    };
    let name = |number: u32| match number {
        1 => "snapshot.db".to_owned(),
        number => format!("snapshot-{number}.db"),
    };
    (1..).map(name).find(|name| !taken(name)).expect("there are more names than files")
}

/// Which attempt this restore is: each has directories and a token of its own.
fn attempt(state: &LabState) -> u32 {
    let typed = |number: &u32| {
        let token = format!("--initial-cluster-token restored-{number} ");
        state.terminal.lines().any(|line| line.line.contains(&token))
    };
    (1..).find(|number| !typed(number)).expect("few lines are kept")
}

#[cfg(test)]
mod tests {
    use lab_protocol::{By, Command, CommandId, Ended, Event, Integrity, MemberPlan, Numbered};

    use super::*;

    fn tell(state: &mut LabState, event: Event) {
        let numbered = Numbered { seq: state.seq + 1, at_micros: 1, event };
        state.apply(&numbered, true);
    }

    fn lab() -> LabState {
        let plan = |no: u8| MemberPlan {
            member: MemberNo(no),
            client_url: format!("http://127.0.0.1:{no}2379"),
            peer_url: format!("http://m{no}.test:2380"),
        };
        let mut state = LabState::default();
        let start = Event::RunStarted {
            run: String::new(),
            seed: 0,
            version: String::new(),
            engine: String::new(),
            token: String::new(),
            wall_millis: 0,
            members: vec![plan(1), plan(2)],
        };
        tell(&mut state, start);
        state
    }

    fn file(integrity: Integrity) -> SnapshotFile {
        SnapshotFile { name: "a.db".into(), bytes: 1, integrity, hash: 1, revision: 5, keys: 3 }
    }

    #[test]
    fn a_restore_types_what_a_person_would_and_only_when_nobody_runs() {
        let mut state = lab();
        let member = MemberNo(2);
        tell(&mut state, Event::Process { member, process: Process::Up { pid: 1 } });
        let why = restore(&state, &file(Integrity::Verified)).expect_err("m2 runs");
        assert_eq!(why, "m2 still runs: stop or crash it first");
        let ended = Ended::Signal { number: 9 };
        let down = Process::Down { ended, asked: true, wiped: true };
        tell(&mut state, Event::Process { member, process: down });
        let lines = restore(&state, &file(Integrity::Verified)).expect("nobody runs");
        assert_eq!(
            lines[0],
            "raft-ctl snapshot restore a.db --name m1 --data-dir m1-restored.etcd \
             --initial-cluster m1=$M1_PEER,m2=$M2_PEER --initial-cluster-token restored-1 \
             --initial-advertise-peer-urls $M1_PEER"
        );
        assert_eq!(
            lines[3],
            "raft-node --name m2 --data-dir m2-restored.etcd --listen-client-urls $M2_CLIENT \
             --advertise-client-urls $M2_CLIENT --listen-peer-urls $M2_LISTEN &"
        );
        let command = Command::Type { line: lines[0].clone() };
        tell(&mut state, Event::Asked { id: CommandId(1), by: By::Page, command });
        let again = restore(&state, &file(Integrity::NoHash)).expect("nobody runs");
        assert!(again[0].contains("m1-restored-2.etcd"), "{}", again[0]);
        assert!(again[0].contains("restored-2 "), "a new token: {}", again[0]);
        assert!(again[0].ends_with("--skip-hash-check"), "{}", again[0]);
    }

    #[test]
    fn names_are_free_and_have_values() {
        let mut state = lab();
        assert_eq!(save(&state, MemberNo(2)), "raft-ctl --endpoints $M2 snapshot save snapshot.db");
        let taken = SnapshotFile { name: "snapshot.db".into(), ..file(Integrity::Verified) };
        tell(&mut state, Event::Snapshots(vec![taken]));
        assert!(save(&state, MemberNo(2)).ends_with("snapshot-2.db"));
        let names = names(&state);
        assert_eq!(names[0], ("$M1".to_owned(), "127.0.0.1:12379".to_owned()));
        assert_eq!(names[6], ("$M2_PEER".to_owned(), "http://m2.test:2380".to_owned()));
        assert_eq!(names[8].1, "127.0.0.1:12379,127.0.0.1:22379");
    }
}
