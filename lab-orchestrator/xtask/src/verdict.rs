//! The verdicts that `raft-lab` prints as JSON.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::command::Plain;
use crate::places;

/// What the judges said of one run.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// The checks and steps that are red.
    pub(crate) red: Vec<String>,
    /// What every check says, a line each.
    pub(crate) because: String,
}

/// Reads what was printed: a list of reports with a verdict in each (a drill), or one verdict.
pub(crate) fn read(printed: &[u8]) -> Result<Vec<Verdict>> {
    let json: Value = serde_json::from_slice(printed).context("read the verdict as JSON")?;
    match json.as_array() {
        Some(reports) => reports.iter().map(|report| verdict(&report["verdict"])).collect(),
        None => Ok(vec![verdict(&json)?]),
    }
}

fn verdict(json: &Value) -> Result<Verdict> {
    let checks = json["checks"].as_array().context("find the checks in the verdict")?;
    let text = |check: &Value, key: &str| check[key].as_str().unwrap_or_default().to_owned();
    let red = checks
        .iter()
        .filter(|check| check["judgement"] == "invalid")
        .map(|check| text(check, "check"))
        .collect();
    let because = checks
        .iter()
        .map(|check| {
            let [judgement, name, because] =
                ["judgement", "check", "because"].map(|key| text(check, key));
            format!("  {judgement:<9}{name}: {because}")
        })
        .collect::<Vec<_>>()
        .join("\n");
    Ok(Verdict { red, because })
}

/// Performs scenario files, each in the ways that `ways` asks for if it is a drill; every run is
/// kept among the other runs. What the checks say is printed, and is in the error too: it stands
/// under the table then.
pub(crate) fn perform(ways: &[&str], files: &[&Path]) -> Result<()> {
    let root = places::root();
    let inside = files.iter().map(|file| file.strip_prefix(&root).unwrap_or(file));
    let (status, printed) =
        Plain::new(places::release("raft-lab").display().to_string(), ["drill", "--runs"])
            .with([places::target().join("runs").display().to_string()])
            .with(ways.iter().copied())
            .with(inside.map(|file| file.display().to_string()))
            .run_and_read()?;
    let said: Vec<_> =
        read(&printed).unwrap_or_default().into_iter().map(|verdict| verdict.because).collect();
    let said = said.join("\n\n");
    println!("{said}");
    match status.code() {
        Some(0) => Ok(()),
        Some(1) => anyhow::bail!("find the run as it should be:\n{said}"),
        Some(2) => anyhow::bail!("judge the run: its verdict is unknown:\n{said}"),
        _ => anyhow::bail!("perform it: raft-lab ended with {status}, see its last words above"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reports_and_a_lone_verdict_are_read() {
        let check =
            |name: &str, is: &str| json!({ "check": name, "judgement": is, "because": "so" });
        let verdict = json!({
            "checks": [check("a", "invalid"), check("b", "valid"), check("c", "unknown")],
        });
        for printed in [json!([{ "title": "t", "verdict": verdict }]), verdict.clone()] {
            let verdicts = read(printed.to_string().as_bytes()).expect("JSON");
            let [Verdict { red, because }] = &verdicts[..] else { panic!("{verdicts:?}") };
            assert_eq!(red, &["a"]);
            assert!(because.contains("unknown  c: so"), "{because}");
        }
        read(b"no JSON").expect_err("not JSON");
        read(b"{}").expect_err("no checks");
    }
}
