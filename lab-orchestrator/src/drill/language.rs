//! `raft-lab language` and `raft-lab schema`: what a scenario file may say, from the code that reads
//! it.

use anyhow::{Context as _, Result};
use clap::Args;
use lab_protocol::scenario::{CHECK_NAMES, GRAMMARS, Scenario};

/// Print the words of scenario files.
#[derive(Clone, Debug, Args)]
pub struct LanguageArgs {
    /// Only these: actions, faults, conditions, quantities, expectations or checks; without it all.
    #[arg(value_name = "WORDS", value_parser = words())]
    pub words: Option<String>,
}

const CHECKS: &str = "checks";

fn words() -> Vec<&'static str> {
    GRAMMARS.iter().map(|(name, _)| *name).chain([CHECKS]).collect()
}

/// The grammars that are asked for.
pub fn language(args: &LanguageArgs) -> String {
    let checks = format!("{}\n", CHECK_NAMES.join("\n"));
    let all = GRAMMARS.iter().map(|(name, grammar)| (*name, *grammar)).chain([(CHECKS, &*checks)]);
    match &args.words {
        Some(words) => all.filter(|(name, _)| name == words).map(|(_, text)| text).collect(),
        None => all.map(|(name, text)| format!("{name}\n\n{text}\n")).collect(),
    }
}

/// The JSON Schema of scenario files, for editors.
///
/// Errors: it cannot be written as JSON.
pub fn schema() -> Result<String> {
    let schema = schemars::schema_for!(Scenario);
    serde_json::to_string_pretty(&schema).context("write the schema")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_schema_in_the_repository_is_that_of_the_code() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/scenario.schema.json");
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        // Neither is printed: they are long.
        assert!(
            kept.trim_end() == schema().expect("a schema"),
            "`raft-lab schema > scenarios/scenario.schema.json` makes it anew"
        );
    }

    #[test]
    fn a_part_of_the_language_can_be_asked_for() {
        let of = |words: Option<&str>| language(&LanguageArgs { words: words.map(str::to_owned) });
        assert!(of(None).contains("crash|stop") && of(None).contains("elections"));
        assert!(
            of(Some("conditions")).starts_with("leader") && !of(Some("checks")).contains("crash|")
        );
    }
}
