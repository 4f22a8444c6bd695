//! Every statement of the guide has a row in the book, a scenario that covers it, and checks in it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lab_orchestrator::drill::read_scenario;

/// Statements of the guide "Disaster recovery" that can be seen happen.
const STATEMENTS: u32 = 27;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The cells of the table's rows: id, statement, scenarios, checks.
fn rows(page: &str) -> Vec<[String; 4]> {
    let cells = |line: &str| -> Option<[String; 4]> {
        let line = line.strip_prefix("| R")?.strip_suffix('|')?;
        let cells: Vec<_> = line.split('|').map(|cell| cell.trim().to_owned()).collect();
        cells.try_into().ok()
    };
    page.lines().filter_map(cells).collect()
}

fn words(cell: &str) -> impl Iterator<Item = &str> {
    cell.split(',').map(str::trim)
}

#[test]
fn each_has_a_scenario_and_checks_that_judge_it() {
    let page = std::fs::read_to_string(repository().join("book/src/statements.md"));
    let rows = rows(&page.expect("the book has the page"));
    let ids: Vec<_> = rows.iter().map(|[id, ..]| id.clone()).collect();
    let expected: Vec<_> = (1..=STATEMENTS).map(|number| number.to_string()).collect();
    assert_eq!(ids, expected, "one row each, in order");
    for [id, statement, scenarios, checks] in rows {
        assert!(!statement.is_empty(), "R{id} says something");
        let mut asked = BTreeSet::new();
        for name in words(&scenarios) {
            let file = repository().join("scenarios").join(format!("{name}.toml"));
            let (_, scenario) = read_scenario(&file).unwrap_or_else(|error| panic!("{error}"));
            let covered = scenario.covers.contains(&format!("R{id}"));
            assert!(covered, "{name} covers R{id}: add it to its `covers`");
            asked.extend(scenario.checks.names());
        }
        for check in words(&checks).filter(|check| *check != "steps") {
            assert!(asked.contains(check), "{scenarios} for R{id}: none checks `{check}`");
        }
    }
}
