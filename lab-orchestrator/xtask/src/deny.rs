//! Holds the dependency tree against `deny.toml`, from `cargo metadata` alone.
//!
//! `cargo deny` reads the same file and does more (advisories need its database); this reader
//! exists so that licences, duplicates and the arrows between our own packages are checked on
//! every machine, with nothing installed and no network.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::command::{Plain, is_installed, say};
use crate::licence;
use crate::places;

/// Our own packages that must stay small, and all that each may depend on.
///
/// They are what two parties share: whatever they bring, both carry.
const CONTRACTS: [(&str, &[&str]); 3] = [
    ("node-protocol", &["postcard", "serde", "thiserror"]),
    // schemars is optional: only `raft-lab` asks for the schema of scenario files.
    ("lab-protocol", &["node-protocol", "postcard", "schemars", "serde", "thiserror"]),
    ("lab-check", &["lab-protocol", "node-protocol"]),
];

/// Arrows that must not exist, whatever else changes.
const FORBIDDEN: [(&str, &str); 6] = [
    ("lab-orchestrator", "node"),
    ("lab-protocol", "lab-orchestrator"),
    ("lab-ui", "lab-orchestrator"),
    ("lab-ui", "etcd-api"),
    ("node", "lab-protocol"),
    ("node", "lab-orchestrator"),
];

/// What `deny.toml` says, as far as it is read here.
#[derive(Debug, Default)]
struct Rules {
    targets: Vec<String>,
    licences: BTreeSet<String>,
    /// Packages that may be there in more than one version.
    skipped: BTreeSet<String>,
}

/// Checks licences, duplicates and arrows; runs `cargo deny` as well where it is installed.
pub(crate) fn check() -> Result<()> {
    let rules = rules()?;
    let mut packages = BTreeMap::new();
    let mut ours = BTreeMap::new();
    for target in &rules.targets {
        let metadata = metadata(target)?;
        resolved(&metadata, &mut packages)?;
        arrows_of_ours(&metadata, &mut ours);
    }
    let mut complaints = licences(&packages, &rules);
    complaints.extend(duplicates(&packages, &rules));
    complaints.extend(arrows(&ours));
    if is_installed("cargo-deny") {
        if let Err(error) = Plain::cargo("deny check").run() {
            complaints.push(format!("{error:#}"));
        }
    } else {
        say("deny: cargo-deny is not installed, so advisories are not looked up here");
    }
    if complaints.is_empty() {
        say(&format!("deny: {} packages are as deny.toml allows", packages.len()));
        return Ok(());
    }
    bail!("hold the packages against deny.toml:\n  {}", complaints.join("\n  "))
}

fn rules() -> Result<Rules> {
    let path = places::root().join("deny.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let file: toml::Table =
        text.parse().with_context(|| format!("read {} as TOML", path.display()))?;
    let list = |table: &str, key: &str| -> Vec<toml::Value> {
        file.get(table).and_then(|table| table.get(key)?.as_array().cloned()).unwrap_or_default()
    };
    let mut rules = Rules::default();
    for target in list("graph", "targets") {
        rules.targets.push(target.as_str().context("read graph.targets as names")?.to_owned());
    }
    for licence in list("licenses", "allow") {
        rules.licences.insert(licence.as_str().context("read licenses.allow as names")?.to_owned());
    }
    for (table, key, name) in [("bans", "skip", "crate"), ("advisories", "ignore", "id")] {
        for entry in list(table, key) {
            let text = |key: &str| Some(entry.get(key)?.as_str()?.to_owned());
            let (Some(name), Some(_reason)) = (text(name), text("reason")) else {
                bail!("read {table}.{key}: every entry needs `{name}` and `reason`, not {entry}");
            };
            if table == "bans" {
                rules.skipped.insert(name);
            }
        }
    }
    anyhow::ensure!(!rules.targets.is_empty(), "find graph.targets in deny.toml");
    Ok(rules)
}

fn metadata(target: &str) -> Result<Value> {
    let text = Plain::cargo("metadata --format-version 1 --locked --filter-platform")
        .with([target])
        .quietly()
        .read()
        .context("read the dependency tree (is Cargo.lock up to date?)")?;
    serde_json::from_str(&text).context("read what cargo metadata said as JSON")
}

/// A package as it counts here.
#[derive(Debug)]
struct Package {
    name: String,
    version: String,
    licence: String,
    ours: bool,
}

/// Adds all packages that are resolved for a target, by their id.
fn resolved(metadata: &Value, into: &mut BTreeMap<String, Package>) -> Result<()> {
    let used: BTreeSet<&str> = metadata["resolve"]["nodes"]
        .as_array()
        .context("find the resolved packages")?
        .iter()
        .filter_map(|node| node["id"].as_str())
        .collect();
    for package in metadata["packages"].as_array().context("find the packages")? {
        let text = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
        if used.contains(text("id").as_str()) {
            into.insert(
                text("id"),
                Package {
                    name: text("name"),
                    version: text("version"),
                    licence: text("license"),
                    ours: package["source"].is_null(),
                },
            );
        }
    }
    Ok(())
}

/// Adds which packages each of ours depends on, development dependencies left out.
fn arrows_of_ours(metadata: &Value, into: &mut BTreeMap<String, BTreeSet<String>>) {
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let Some(name) = package["name"].as_str() else { continue };
        if !package["source"].is_null() {
            continue;
        }
        let arrows = into.entry(name.to_owned()).or_default();
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            if dependency["kind"].as_str() != Some("dev")
                && let Some(name) = dependency["name"].as_str()
            {
                arrows.insert(name.to_owned());
            }
        }
    }
}

fn licences(packages: &BTreeMap<String, Package>, rules: &Rules) -> Vec<String> {
    packages
        .values()
        .filter(|package| !licence::is_allowed(&package.licence, &rules.licences))
        .map(|Package { name, version, licence, .. }| {
            format!("{name} {version}: licence `{licence}` is not in licenses.allow")
        })
        .collect()
}

/// The part of a version within which cargo unifies: `1`, `0.9`, `0.0.3`.
fn major(version: &str) -> String {
    let mut kept = Vec::new();
    for part in version.split(['.', '-', '+']).take(3) {
        kept.push(part);
        if part != "0" {
            break;
        }
    }
    kept.join(".")
}

fn duplicates(packages: &BTreeMap<String, Package>, rules: &Rules) -> Vec<String> {
    let mut majors: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for package in packages.values().filter(|package| !package.ours) {
        majors.entry(&package.name).or_default().insert(major(&package.version));
    }
    let several = |name: &str| majors.get(name).is_some_and(|majors| majors.len() > 1);
    let mut complaints: Vec<_> = majors
        .iter()
        .filter(|(name, majors)| majors.len() > 1 && !rules.skipped.contains(**name))
        .map(|(name, majors)| {
            let majors: Vec<_> = majors.iter().map(String::as_str).collect();
            format!(
                "{name} is there as {}: make it one, or add it to bans.skip with a reason",
                majors.join(" and ")
            )
        })
        .collect();
    complaints.extend(
        rules
            .skipped
            .iter()
            .filter(|name| !several(name))
            .map(|name| format!("{name} is in bans.skip but is there only once: take it out")),
    );
    complaints
}

fn arrows(ours: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut complaints = Vec::new();
    for (package, allowed) in CONTRACTS {
        for dependency in ours.get(package).into_iter().flatten() {
            if !allowed.contains(&dependency.as_str()) {
                complaints.push(format!(
                    "{package} is a contract and may not depend on {dependency}, only on {}",
                    allowed.join(", ")
                ));
            }
        }
    }
    for (from, to) in FORBIDDEN {
        if ours.get(from).is_some_and(|arrows| arrows.contains(to)) {
            complaints.push(format!("{from} must never depend on {to}"));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn majors_are_what_cargo_unifies_within() {
        for (version, expected) in
            [("1.2.3", "1"), ("0.9.1", "0.9"), ("0.0.3", "0.0.3"), ("2.0.0-rc.1", "2")]
        {
            assert_eq!(major(version), expected, "{version}");
        }
    }

    fn package(name: &str, version: &str, licence: &str) -> (String, Package) {
        let package = Package {
            name: name.into(),
            version: version.into(),
            licence: licence.into(),
            ours: false,
        };
        (format!("{name}@{version}"), package)
    }

    #[test]
    fn a_duplicate_needs_a_line_and_a_line_needs_a_duplicate() {
        let packages = [package("rand", "0.8.5", "MIT"), package("rand", "0.9.2", "MIT")].into();
        let mut rules = Rules { licences: ["MIT".to_owned()].into(), ..Rules::default() };
        assert_eq!(duplicates(&packages, &rules).len(), 1);
        rules.skipped = ["rand".to_owned()].into();
        assert_eq!(duplicates(&packages, &rules), Vec::<String>::new());
        rules.skipped.insert("syn".to_owned());
        assert_eq!(duplicates(&packages, &rules).len(), 1);
        assert_eq!(licences(&packages, &rules), Vec::<String>::new());
    }

    #[test]
    fn contracts_stay_small_and_the_lab_never_links_the_node() {
        let ours = BTreeMap::from([
            ("node-protocol".to_owned(), ["tokio".to_owned()].into()),
            ("lab-orchestrator".to_owned(), ["node".to_owned()].into()),
        ]);
        assert_eq!(arrows(&ours).len(), 2);
    }
}
