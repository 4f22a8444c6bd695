//! Every statement of the guides has a check that covers it, no check covers too many, and the book
//! names them as they are.

mod files;

use std::collections::BTreeMap;

use files::{repository, scenarios};

/// Statements of the guides "Disaster recovery" and "Failure modes".
const STATEMENTS: [(char, u32); 2] = [('R', 27), ('F', 39)];

/// Statements that one check may cover.
const MOST_FOR_ONE: usize = 3;

/// What every scenario covers: statement and check.
fn covered() -> BTreeMap<String, BTreeMap<String, String>> {
    scenarios().into_iter().map(|(name, scenario)| (name, scenario.covers)).collect()
}

fn statements() -> impl Iterator<Item = String> {
    STATEMENTS.into_iter().flat_map(|(of, last)| (1..=last).map(move |at| format!("{of}{at}")))
}

#[test]
fn each_has_a_check_and_no_check_has_too_many() {
    let scenarios = covered();
    for statement in statements() {
        let covered = scenarios.values().any(|covers| covers.contains_key(&statement));
        assert!(covered, "no scenario covers {statement}");
    }
    for (name, covers) in &scenarios {
        let mut by_check: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (statement, check) in covers {
            by_check.entry(check).or_default().push(statement);
        }
        for (check, proves) in by_check {
            assert!(proves.len() <= MOST_FOR_ONE, "{name}: `{check}` covers {proves:?}");
        }
    }
}

#[test]
fn the_book_names_them_as_they_are() {
    let page = std::fs::read_to_string(repository().join("book/src/statements.md"));
    let page = page.expect("the book has the page");
    let cells = |line: &str| -> Option<[String; 3]> {
        let line = line.strip_prefix("| ")?.strip_suffix(" |")?;
        let cells: Vec<_> = line.split(" | ").map(|cell| cell.trim().to_owned()).collect();
        cells.try_into().ok()
    };
    let rows: Vec<_> = page.lines().filter_map(cells).filter(|[id, ..]| id != "id").collect();
    let ids: Vec<_> = rows.iter().map(|[id, ..]| id.clone()).collect();
    assert_eq!(ids, statements().collect::<Vec<_>>(), "one row each, in order");
    let scenarios = covered();
    for [id, statement, judged_by] in rows {
        assert!(!statement.is_empty(), "{id} says something");
        let mut named: Vec<_> = judged_by.split("; ").map(str::to_owned).collect();
        let covering = scenarios
            .iter()
            .filter_map(|(name, covers)| covers.get(&id).map(|check| format!("{name}: {check}")));
        let mut covering: Vec<_> = covering.collect();
        named.sort();
        covering.sort();
        assert_eq!(named, covering, "{id}");
    }
}
