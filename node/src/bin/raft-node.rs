//! `raft-node`: one member of a cluster.

use std::process::ExitCode;

use node::recover::Ground;
use node::training::Planted;

fn main() -> ExitCode {
    node::program::run(std::env::args().skip(1), Planted::default(), Ground::default())
}
