//! Orders to a member at its control socket, or for its next start: its disk, its clocks, its
//! timers, and, of the training program, where it ends.

use std::fmt;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use lab_protocol::Fault;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

/// In the refusal of a member that is still reading its disk.
const NOT_BEGUN: &str = "has not begun yet";

/// A process listens so soon after its start, or it has ended.
const STARTING: Duration = Duration::from_secs(2);

/// Between two looks whether a process that has just started listens yet.
const LOOK: Duration = Duration::from_millis(10);

/// One order, as the member reads it.
#[expect(missing_docs, reason = "node/src/control.rs says what each does")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    SlowSyncs { millis: u32 },
    StickSyncs(bool),
    FailSyncs(bool),
    FillDisk(bool),
    LockDisk(bool),
    ClockRate { permille: u32 },
    ClockFreeze,
    ClockRun,
    ClockJump { millis: i64 },
    Tick { count: u32 },
    Timers { ticks: u32 },
    Campaign,
    CrashAt { point: String, hits: u64 },
    LosePowerAt { point: String, hits: u64, seed: u64 },
    LosePower { seed: u64 },
    Disarm,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let switch = |on: &bool| if *on { "on" } else { "off" };
        match self {
            Self::SlowSyncs { millis } => write!(f, "slow-syncs {millis}"),
            Self::StickSyncs(on) => write!(f, "stick-syncs {}", switch(on)),
            Self::FailSyncs(on) => write!(f, "fail-syncs {}", switch(on)),
            Self::FillDisk(on) => write!(f, "fill-disk {}", switch(on)),
            Self::LockDisk(on) => write!(f, "lock-disk {}", switch(on)),
            Self::ClockRate { permille } => write!(f, "clock-rate {permille}"),
            Self::ClockFreeze => f.write_str("clock-freeze"),
            Self::ClockRun => f.write_str("clock-run"),
            Self::ClockJump { millis } => write!(f, "clock-jump {millis}"),
            Self::Tick { count } => write!(f, "tick {count}"),
            Self::Timers { ticks } => write!(f, "timers {ticks}"),
            Self::Campaign => f.write_str("campaign"),
            Self::CrashAt { point, hits } => write!(f, "crash-at {point} {hits}"),
            Self::LosePowerAt { point, hits, seed } => {
                write!(f, "lose-power-at {point} {hits} {seed}")
            }
            Self::LosePower { seed } => write!(f, "lose-power {seed}"),
            Self::Disarm => f.write_str("disarm"),
        }
    }
}

/// What begins a fault of a member's disk or clock; none for other faults.
pub fn begins(fault: Fault) -> Option<Order> {
    match fault {
        Fault::SlowSync { millis, .. } => Some(Order::SlowSyncs { millis }),
        Fault::StuckSync { .. } => Some(Order::StickSyncs(true)),
        Fault::FailingSync { .. } => Some(Order::FailSyncs(true)),
        Fault::FullDisk { .. } => Some(Order::FillDisk(true)),
        Fault::ReadOnlyDisk { .. } => Some(Order::LockDisk(true)),
        Fault::DriftingClock { permille, .. } => Some(Order::ClockRate { permille }),
        Fault::FrozenClock { .. } => Some(Order::ClockFreeze),
        Fault::Starved { .. } | Fault::Restarting { .. } | Fault::Flapping { .. } => None,
    }
}

/// What ends it.
pub fn ends(fault: Fault) -> Option<Order> {
    match fault {
        Fault::SlowSync { .. } => Some(Order::SlowSyncs { millis: 0 }),
        Fault::StuckSync { .. } => Some(Order::StickSyncs(false)),
        Fault::FailingSync { .. } => Some(Order::FailSyncs(false)),
        Fault::FullDisk { .. } => Some(Order::FillDisk(false)),
        Fault::ReadOnlyDisk { .. } => Some(Order::LockDisk(false)),
        Fault::DriftingClock { .. } | Fault::FrozenClock { .. } => Some(Order::ClockRun),
        Fault::Starved { .. } | Fault::Restarting { .. } | Fault::Flapping { .. } => None,
    }
}

/// Gives an order to a running member. A member that ends before it answers has taken it.
///
/// Errors: nobody listens, the member refuses, or it does not answer in time (`TimedOut`): then the
/// order stands in its socket, and is done when it runs again.
pub async fn give(socket: &Path, order: &Order, patience: Duration) -> io::Result<()> {
    let member = UnixStream::connect(socket).await?;
    let told = timeout(patience, tell(member, order)).await;
    told.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// The same, to a member that may have been started just now: it is waited for.
///
/// Errors: as of [`give`].
pub async fn give_early(socket: &Path, order: &Order, patience: Duration) -> io::Result<()> {
    use io::ErrorKind::{ConnectionRefused, NotFound, ResourceBusy};
    let deadline = Instant::now() + STARTING;
    loop {
        match give(socket, order, patience).await {
            // Its socket is not there yet, or is that of the process before; or it is reading its
            // disk.
            Err(error)
                if matches!(error.kind(), NotFound | ConnectionRefused | ResourceBusy)
                    && Instant::now() < deadline =>
            {
                sleep(LOOK).await;
            }
            given => return given,
        }
    }
}

async fn tell(mut member: UnixStream, order: &Order) -> io::Result<()> {
    member.write_all(format!("{order}\n").as_bytes()).await?;
    let mut answer = String::new();
    match BufReader::new(member).read_line(&mut answer).await {
        Ok(_) if answer.is_empty() || answer.starts_with("ok") => Ok(()),
        Ok(_) => {
            let kind = match answer.contains(NOT_BEGUN) {
                true => io::ErrorKind::ResourceBusy,
                false => io::ErrorKind::Other,
            };
            Err(io::Error::new(kind, format!("`{order}` was refused: {}", answer.trim())))
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
        Err(error) => Err(error),
    }
}

/// Leaves an order for the next start of a member that does not run, behind those that are left
/// already.
///
/// Errors: it cannot be written.
pub fn leave(socket: &Path, order: &Order) -> io::Result<()> {
    let mut path = socket.as_os_str().to_owned();
    path.push(".start");
    // One that never began has no place yet.
    std::fs::create_dir_all(socket.parent().unwrap_or(socket))?;
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
    writeln!(file, "{order}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    #[test]
    fn orders_are_written_as_the_member_reads_them() {
        let point = "log-written".to_owned();
        let at = Order::LosePowerAt { point: point.clone(), hits: 2, seed: 3 };
        assert_eq!(at.to_string(), "lose-power-at log-written 2 3");
        assert_eq!(Order::CrashAt { point, hits: 1 }.to_string(), "crash-at log-written 1");
        assert_eq!(Order::StickSyncs(true).to_string(), "stick-syncs on");
        assert_eq!(Order::ClockJump { millis: -5 }.to_string(), "clock-jump -5");
    }

    #[test]
    fn orders_for_a_start_gather() {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("m1").join("control");
        leave(&socket, &Order::SlowSyncs { millis: 5 }).expect("written");
        leave(&socket, &Order::Disarm).expect("written");
        let left = std::fs::read_to_string(dir.path().join("m1/control.start")).expect("there");
        assert_eq!(left, "slow-syncs 5\ndisarm\n");
    }

    #[tokio::test]
    async fn a_refusal_is_told_and_an_end_without_an_answer_is_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("control");
        let listener = tokio::net::UnixListener::bind(&socket).expect("bound");
        let mut serving = tokio::task::JoinSet::new();
        serving.spawn(async move {
            for answer in ["ok\n", "error: no\n", ""] {
                let (mut stream, _) = listener.accept().await.expect("a caller");
                let mut line = String::new();
                BufReader::new(&mut stream).read_line(&mut line).await.expect("an order");
                assert_eq!(line, "disarm\n");
                stream.write_all(answer.as_bytes()).await.expect("answered");
            }
        });
        give(&socket, &Order::Disarm, PATIENCE).await.expect("taken");
        let error = give(&socket, &Order::Disarm, PATIENCE).await.expect_err("refused");
        assert!(error.to_string().contains("error: no"), "{error}");
        give(&socket, &Order::Disarm, PATIENCE).await.expect("an end is an answer");
        serving.join_next().await.expect("served").expect("no panic");
        give(&socket, &Order::Disarm, PATIENCE).await.expect_err("nobody listens");
    }
}
