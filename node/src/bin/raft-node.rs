//! `raft-node`: one member of a cluster.

use std::process::ExitCode;

fn main() -> ExitCode {
    node::program::run(std::env::args().skip(1), node::training::Planted::default())
}
