//! The clients' history as JSON lines: each operation's invocation, and how it ended.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use lab_protocol::{Call, Event, Numbered, Outcome};
use serde::Serialize;
use serde_json::Value;

/// Name of the file in a run's folder.
pub const HISTORY_FILE: &str = "history.jsonl";

/// One line, in Jepsen's words.
#[derive(Serialize)]
struct Line {
    /// `invoke`, `ok`, `fail` or `info`.
    r#type: &'static str,
    /// The client; its operations may overlap, so `op` tells which one this is of.
    process: u32,
    op: u64,
    time_micros: u64,
    /// The member that the client was connected to when it asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<String>,
    /// What was asked.
    f: &'static str,
    /// What it was asked with, or what came back.
    value: Value,
}

/// The line that an event is in the history, if it is in it. `asked` tells of an operation's number
/// its client and its call; of one that was not seen to be asked nothing is told.
pub fn line<'a>(
    numbered: &Numbered,
    asked: impl FnOnce(u64) -> Option<(u32, &'a Call)>,
) -> Option<String> {
    let time_micros = numbered.at_micros;
    let line = match &numbered.event {
        Event::Invoked { op, client, member, call } => Line {
            r#type: "invoke",
            process: client.0,
            op: op.0,
            time_micros,
            member: Some(member.to_string()),
            f: word(call),
            value: fields(call),
        },
        Event::Returned { op, outcome } => {
            let (process, call) = asked(op.0)?;
            let r#type = match outcome {
                Outcome::Ok(_) | Outcome::Txn(_) => "ok",
                Outcome::Fail { .. } => "fail",
                Outcome::Info { .. } => "info",
            };
            let value = fields(outcome);
            Line { r#type, process, op: op.0, time_micros, member: None, f: word(call), value }
        }
        _ => return None,
    };
    Some(serde_json::to_string(&line).expect("a line has an encoding"))
}

fn word(call: &Call) -> &'static str {
    match call {
        Call::Put { .. } => "put",
        Call::Get { .. } => "get",
        Call::Delete { .. } => "delete",
        Call::LeaseGrant { .. } => "lease-grant",
        Call::LeaseTimeToLive { .. } => "lease-time-to-live",
        Call::LeaseKeepAlive { .. } => "lease-keep-alive",
        Call::LeaseRevoke { .. } => "lease-revoke",
        Call::Txn { .. } => "txn",
        Call::Compact { .. } => "compact",
    }
}

/// What is inside a variant, without its name.
fn fields(value: &impl Serialize) -> Value {
    match serde_json::to_value(value).expect("it has an encoding") {
        Value::Object(variant) if variant.len() == 1 => {
            variant.into_iter().next().map(|(_, inside)| inside).unwrap_or_default()
        }
        other => other,
    }
}

/// Writes the history of these events into a run's folder.
///
/// Errors: it cannot be written.
pub fn write_history<'a>(
    events: impl IntoIterator<Item = &'a Numbered>,
    path: &Path,
) -> io::Result<()> {
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    let mut open = std::collections::BTreeMap::new();
    for numbered in events {
        if let Event::Invoked { op, client, call, .. } = &numbered.event {
            open.insert(op.0, (client.0, call));
        }
        if let Some(line) = line(numbered, |op| open.get(&op).copied()) {
            writeln!(file, "{line}")?;
        }
        if let Event::Returned { op, .. } = &numbered.event {
            open.remove(&op.0);
        }
    }
    file.flush()
}

#[cfg(test)]
mod tests {
    use lab_protocol::{Answer, ClientNo, MemberNo, OpId};

    use super::*;

    #[test]
    fn an_operation_is_two_lines() {
        let call = Call::Put { key: "k".into(), value: "v".into() };
        let (op, client, member) = (OpId(7), ClientNo(3), MemberNo(1));
        let answer = Answer { revision: 4, term: 2, value: None, number: 0 };
        let events = [
            Event::Invoked { op, client, member, call },
            Event::Note { text: "n".into() },
            Event::Returned { op, outcome: Outcome::Ok(answer) },
            Event::Returned { op, outcome: Outcome::Info { error: "twice".into() } },
        ];
        let events: Vec<_> = (1..)
            .zip(events)
            .map(|(seq, event)| Numbered { seq, at_micros: seq * 10, event })
            .collect();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(HISTORY_FILE);
        write_history(&events, &path).expect("written");
        let text = std::fs::read_to_string(&path).expect("there");
        let expected = r#"{"type":"invoke","process":3,"op":7,"time_micros":10,"member":"m1","f":"put","value":{"key":"k","value":"v"}}
{"type":"ok","process":3,"op":7,"time_micros":30,"f":"put","value":{"number":0,"revision":4,"term":2,"value":null}}
"#;
        assert_eq!(text, expected);
    }
}
