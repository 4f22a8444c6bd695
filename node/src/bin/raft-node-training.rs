//! `raft-node-training`: a member with one bug planted, for drills that must show a check biting.
//!
//! It takes `--break NAME` before all other flags. Nobody should keep data in it.

use std::process::ExitCode;

use clap::ValueEnum;
use node::training::{Break, Planted};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    let mut planted = Planted::default();
    if arguments.next_if(|argument| argument == "--break").is_some() {
        let name = arguments.next().unwrap_or_default();
        match Break::from_str(&name, false) {
            Ok(bug) => planted = Planted::new(Some(bug)),
            Err(_) => {
                let names: Vec<_> = Break::value_variants()
                    .iter()
                    .filter_map(|bug| Some(bug.to_possible_value()?.get_name().to_owned()))
                    .collect();
                eprintln!("--break {name}: no such bug; there are: {}", names.join(", "));
                return ExitCode::from(2);
            }
        }
        eprintln!("raft-node-training: `{name}` is broken on purpose; keep no data here");
    }
    node::program::run(arguments, planted)
}
