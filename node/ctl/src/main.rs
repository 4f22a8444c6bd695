//! `raft-ctl`: a command line client of the etcd v3 API, for a machine without etcdctl.
//!
//! Commands, flags, variables, exit codes and output are those of etcdctl 3.5, so that whoever
//! knows one knows the other; `tests/same_as_etcdctl.rs` compares the two. A command is parsed
//! by `args`, performed by one module of `commands` through `client`, and its answer printed by
//! `show`. `backup` is our own: etcdctl has no such command.
//!
//! Left out: TLS, discovery by DNS, protobuf output, `check datascale`, and what etcdutl does on
//! files.

mod args;
mod client;
mod commands;
mod duration;
mod failure;
mod quote;
mod show;

use std::process::ExitCode;

use crate::failure::Failure;

fn main() -> ExitCode {
    let result = args::read(std::env::args_os().collect(), |name| std::env::var(name).ok())
        .and_then(|line| line.map_or(Ok(()), run));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.say();
            ExitCode::from(failure.code)
        }
    }
}

fn run(line: args::Line) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::error(format!("could not start: {error}")))?;
    let result = runtime.block_on(Box::pin(commands::run(line)));
    // A thread may be reading standard input; nobody waits for it.
    runtime.shutdown_background();
    result
}
