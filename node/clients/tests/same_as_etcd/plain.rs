//! A recording without what is chance.

use std::collections::BTreeMap;

use serde_json::Value;

/// Fields that are chance, unless they are 0 or less: in the answers to all calls that are called
/// so, in small letters.
const CHANCE: [(&str, &[&str]); 5] = [
    ("", &["raft_term"]),
    ("status(", STATUS),
    // Of the whole file, which is laid out in another way.
    ("hash(", &["hash", "returned"]),
    // What is left of a lease.
    ("time_to_live(", &["ttl"]),
    ("get_lease_info(", &["TTL"]),
];

/// What each program says of itself, its log and its file.
const STATUS: &[&str] = &[
    "version",
    "raft_index",
    "raftIndex",
    "raftTerm",
    "raft_applied_index",
    "raftAppliedIndex",
    "db_size",
    "dbSize",
    "raft_used_db_size",
    "dbSizeInUse",
];

/// Lists that have no order.
const UNORDERED: [&str; 3] = ["leases", "keys", "alarms"];

/// Lists in the order of ids, which is chance once one of the ids is.
const BY_ID: [&str; 3] = ["members", "member_list", "returned"];

/// etcd 3.4 does not head its answers of alarms; 3.5 does, and ours.
const HEADED_SINCE_3_5: &str = "alarm";

/// A learner of etcd 3.4 refuses this; one of 3.5 does it, and ours.
const SERVED_SINCE_3_5: &str = "m4.snapshot()";

/// A call, and its answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    /// What it is about, where it does not say so itself.
    pub(crate) about: String,
    pub(crate) call: String,
    pub(crate) answer: String,
}

/// Takes out what is chance, line by line.
#[derive(Debug)]
pub(crate) struct Plain {
    since_3_5: bool,
    about: String,
    /// Ids that are chance, as they are written: some clients show them as they are signed.
    names: BTreeMap<String, String>,
}

impl Plain {
    /// For recordings that are compared with an etcd of at least 3.5, or with an earlier one.
    pub(crate) fn new(since_3_5: bool) -> Self {
        Self { since_3_5, about: String::new(), names: BTreeMap::new() }
    }

    /// The id is chance; what stands for it.
    pub(crate) fn name(&mut self, id: &str, name: &str) {
        let id: u64 = id.parse().expect("an id is a number");
        for written in [id.to_string(), id.cast_signed().to_string()] {
            self.names.insert(written, format!("<{name}>"));
        }
    }

    /// A line of a recording: a call, or a remark of what the next ones are about.
    pub(crate) fn line(&mut self, line: &str) -> Option<Heard> {
        if let Some(about) = line.strip_prefix("# ") {
            about.clone_into(&mut self.about);
            return None;
        }
        let (call, answer) = line.split_once(" => ").expect("a call and its answer");
        let mut answer: Value = serde_json::from_str(answer).expect("an answer is JSON");
        let small = call.to_lowercase();
        let chance = CHANCE.iter().filter(|(called, _)| small.contains(called));
        let chance: Vec<_> = chance.flat_map(|(_, fields)| *fields).copied().collect();
        self.plain(&mut answer, &chance);
        if !self.since_3_5 && small.contains(HEADED_SINCE_3_5) {
            bare(&mut answer);
        }
        if !self.since_3_5 && call == SERVED_SINCE_3_5 {
            answer = Value::Null;
        }
        let mut call = call.to_owned();
        for (id, name) in &self.names {
            call = call.replace(id, name);
        }
        Some(Heard { about: self.about.clone(), call, answer: answer.to_string() })
    }

    fn plain(&self, value: &mut Value, chance: &[&str]) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    self.plain(value, chance);
                    let nothing = value.as_i64().is_some_and(|number| number <= 0);
                    if chance.contains(&name.as_str()) && !nothing {
                        *value = format!("<{name}>").into();
                    }
                    let is_chance = UNORDERED.contains(&name.as_str())
                        || (BY_ID.contains(&name.as_str()) && value.to_string().contains("\"<m"));
                    if let (true, Value::Array(list)) = (is_chance, value) {
                        list.sort_by_key(Value::to_string);
                    }
                }
            }
            Value::Array(list) => list.iter_mut().for_each(|value| self.plain(value, chance)),
            Value::Number(number) => {
                if let Some(name) = self.names.get(&number.to_string()) {
                    *value = name.as_str().into();
                }
            }
            Value::String(_) | Value::Bool(_) | Value::Null => {}
        }
    }
}

/// The answer without its header.
fn bare(answer: &mut Value) {
    if let Value::Object(fields) = answer {
        fields.remove("header");
        if let Some(Value::Array(heard)) = fields.get_mut("heard") {
            heard.iter_mut().for_each(bare);
        }
    }
}
