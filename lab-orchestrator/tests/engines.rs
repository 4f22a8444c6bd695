//! The book's table of both engines has every scenario, and explains what its file explains.

mod files;

use files::{repository, scenarios};
use lab_protocol::scenario::Scenario;

/// Why it is not performed on real etcd as it stands, if it is not.
fn not_performed(scenario: &Scenario) -> Option<String> {
    let bug = scenario.cluster.bug.as_ref();
    scenario.not_on_etcd.clone().or_else(|| bug.map(|bug| format!("`{bug}` is planted")))
}

/// Whether any of it is performed on real etcd, and why something is not, or is not valid there.
fn explained(scenario: &Scenario) -> (bool, String) {
    let mut reasons = Vec::new();
    let mut is_performed = scenario.variants.is_empty();
    match not_performed(scenario) {
        Some(why) => {
            reasons.push(why);
            is_performed = false;
        }
        None => {
            for variant in &scenario.variants {
                match not_performed(&scenario.with(variant)) {
                    Some(why) => reasons.push(format!("not as \"{}\": {why}", variant.name)),
                    None => is_performed = true,
                }
            }
        }
    }
    reasons.extend(scenario.on_etcd.iter().map(|(check, why)| format!("`{check}`: {why}")));
    (is_performed, reasons.join("; "))
}

#[test]
fn the_book_has_both_verdicts_on_every_scenario() {
    let page = std::fs::read_to_string(repository().join("book/src/both-engines.md"));
    let page = page.expect("the book has the page");
    let cells = |line: &str| -> Option<[String; 4]> {
        let line = line.strip_prefix("| `")?.strip_suffix(" |")?;
        let cells: Vec<_> = line.splitn(4, " | ").map(|cell| cell.trim().to_owned()).collect();
        cells.try_into().ok()
    };
    let rows: Vec<_> = page.lines().filter_map(cells).collect();
    let scenarios = scenarios();
    let names = |rows: &[[String; 4]]| -> Vec<_> {
        rows.iter().map(|[name, ..]| name.trim_end_matches('`').to_owned()).collect()
    };
    let all: Vec<_> = scenarios.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names(&rows), all, "one row each, in order");
    for ([_, ours, etcds, why], (name, scenario)) in rows.iter().zip(&scenarios) {
        let (is_performed, explained) = explained(scenario);
        assert_eq!(ours, "valid", "{name} on raft-node");
        assert_eq!(why.trim(), explained, "{name}: its file says why");
        let expected: &[&str] = match (is_performed, scenario.on_etcd.is_empty()) {
            (false, _) => &["not performed"],
            (true, true) => &["valid"],
            (true, false) => &["invalid", "unknown"],
        };
        assert!(expected.contains(&etcds.as_str()), "{name} on etcd: {etcds}, not {expected:?}");
    }
}
