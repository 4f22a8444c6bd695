//! The repository's own commands: build the page, run the lab, run the tests.
//!
//! Everything here is a thin layer over plain commands, and each of them is printed before it is
//! run, so that whoever wants to can run it alone. The aliases in `.cargo/config.toml` lead here.
//!
//! ```text
//!  cargo lab       page ─► release binaries ─► becomes `raft-lab up`
//!  cargo lab-test  host ─► public clients ─► book ─► simulation ─► scenarios ─► crashes ─► proofs ─►
//!                 breaks ─► page in Chromium ─► namespaces ─► one table
//!  cargo verify    fmt, clippy, floors, wasm, licences: checks and never edits
//!  cargo tidy      the edits that `verify` would ask for
//!  cargo gate NAME one acceptance gate
//!  cargo book      the book, into the page that the lab serves
//! ```
//!
//! Left out on purpose: nothing here knows Raft, and nothing here links the node, the lab or the
//! page; they are built and run as a person would.

mod book;
mod breaks;
mod catalogue;
mod chromium;
mod clients;
mod command;
mod crashes;
mod deny;
mod drills;
mod gate;
mod lab;
mod licence;
mod namespaces;
mod page;
mod places;
mod proofs;
mod running;
mod selection;
mod slim;
mod tally;
mod test;
mod verdict;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The commands of this repository.
#[derive(Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", about, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the page and both programs, then run the lab (what follows goes to `raft-lab up`).
    Lab {
        /// Arguments for `raft-lab up`, such as `--members 5 --port 7071`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Build the page only.
    Page,
    /// Run all tests, or only the named steps.
    Test {
        /// Steps to run; all of them when none is named.
        #[arg(value_enum)]
        steps: Vec<test::Step>,
    },
    /// Check formats, lints, floors, the wasm builds and licences; edit nothing.
    Verify,
    /// Format, and apply the lints' own corrections.
    Tidy,
    /// Run one acceptance gate; without a name, list them.
    Gate {
        /// The gate.
        name: Option<String>,
        /// Arguments for the program behind the gate.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Build the book into the page that the lab serves.
    Book,
}

fn main() -> ExitCode {
    command::start_watch();
    let outcome = match Arguments::parse().task {
        Task::Lab { arguments } => lab::run(&arguments),
        Task::Page => page::build().map(|sizes| sizes.print()),
        Task::Test { steps } => test::run(&steps),
        Task::Verify => verify::run(),
        Task::Tidy => verify::tidy(),
        Task::Gate { name, arguments } => gate::run(name.as_deref(), &arguments),
        Task::Book => book::build(false),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            command::say(&format!("failed to {error:#}"));
            ExitCode::FAILURE
        }
    }
}
