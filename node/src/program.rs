//! The program around a node: arguments, what is said on standard error, signals, exit codes.

use std::future::Future;
use std::io::IsTerminal;
use std::num::NonZero;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::causes::with_causes;
use crate::config::{Asked, Config};
use crate::offline::{self, Defragmented};
use crate::recover::Ground;
use crate::server::Server;
use crate::storage::FaultDisk;
use crate::training::Planted;

/// Threads of the runtime that serves clients: half of the cores, for consensus, state and disk
/// have threads of their own. More only pass work around: two instead of one on two cores cost a
/// quarter of the throughput of three members (`raft-lab bench --clients 100`).
fn runtime_threads() -> usize {
    (std::thread::available_parallelism().map_or(1, NonZero::get) / 2).max(1)
}

/// Runs a node until it is told to stop; returns the exit code.
pub fn run(
    arguments: impl IntoIterator<Item = String>,
    planted: Planted,
    mut ground: Ground,
) -> ExitCode {
    let config = match Config::read(arguments, std::env::vars()) {
        Ok(Asked::Run(config)) => *config,
        Ok(Asked::Print(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Ok(Asked::Defragment(data_dir)) => return defragment(&ground, &data_dir),
        Err(error) => {
            eprintln!("raft-node: {error}");
            return ExitCode::from(error.exit_code);
        }
    };
    if let Some(socket) = &config.lab_control {
        // Before any thread runs, and before the disk is touched.
        if let Err(error) = ground.controls.start(socket) {
            eprintln!("raft-node: --lab-control: {}", with_causes(&error));
            return ExitCode::FAILURE;
        }
        ground.disk = FaultDisk::shared(ground.disk, ground.controls.disk.clone());
    }
    start_tracing(&config.log_level);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(runtime_threads())
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("raft-node: cannot start its threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        let asked = asked_to_stop(config.exit_on_stdin_eof);
        let server = Server::start(config, planted, ground).await?;
        server.run(asked).await
    });
    // A thread that waits for standard input cannot be woken.
    runtime.shutdown_timeout(Duration::from_millis(100));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("raft-node: {}", with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

/// Defragments a data directory on which no member runs; returns the exit code.
fn defragment(ground: &Ground, data_dir: &Path) -> ExitCode {
    match offline::defragment(ground, data_dir) {
        Ok(Defragmented { before, after }) => {
            let dir = data_dir.display();
            println!("Finished defragmenting {dir}: {before} bytes before, {after} bytes now");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let (dir, why) = (data_dir.display(), with_causes(&error));
            eprintln!("raft-node: failed to defragment {dir}: {why}");
            ExitCode::FAILURE
        }
    }
}

fn start_tracing(level: &str) {
    let filter = EnvFilter::try_from_env("RAFT_NODE_LOG")
        .unwrap_or_else(|_| EnvFilter::new(format!("{level},h2=warn,hyper=warn")));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

/// Ready when somebody asks the process to end: SIGTERM, Ctrl-C, or the end of standard input.
fn asked_to_stop(stdin: bool) -> impl Future<Output = ()> {
    let terminate = signal(SignalKind::terminate());
    let interrupt = signal(SignalKind::interrupt());
    async move {
        let (Ok(mut terminate), Ok(mut interrupt)) = (terminate, interrupt) else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = end_of_input(), if stdin => {}
        }
    }
}

async fn end_of_input() {
    let mut input = tokio::io::stdin();
    let mut ignored = [0; 256];
    while input.read(&mut ignored).await.is_ok_and(|read| read > 0) {}
}
