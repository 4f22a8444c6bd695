//! Orders to a member of the training program: over its socket, or for its next start.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// A member that does not answer for so long is stuck.
const PATIENCE: Duration = Duration::from_secs(5);

/// One order, as the member reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    CrashAt { point: String, hits: u64 },
    LosePowerAt { point: String, hits: u64, seed: u64 },
    LosePower { seed: u64 },
    Disarm,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CrashAt { point, hits } => write!(f, "crash-at {point} {hits}"),
            Self::LosePowerAt { point, hits, seed } => {
                write!(f, "lose-power-at {point} {hits} {seed}")
            }
            Self::LosePower { seed } => write!(f, "lose-power {seed}"),
            Self::Disarm => f.write_str("disarm"),
        }
    }
}

/// Gives an order to a running member. A member that ends before it answers has taken it.
///
/// Errors: nobody listens, or the member refuses.
pub(super) async fn give(socket: &Path, order: &Order) -> io::Result<()> {
    let given = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(format!("{order}\n").as_bytes()).await?;
        let mut answer = String::new();
        match BufReader::new(stream).read_line(&mut answer).await {
            Ok(_) if answer.is_empty() || answer.starts_with("ok") => Ok(()),
            Ok(_) => Err(io::Error::other(format!("`{order}` was refused: {}", answer.trim()))),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
            Err(error) => Err(error),
        }
    };
    timeout(PATIENCE, given).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Leaves an order for the next start of a member that does not run.
///
/// Errors: it cannot be written.
pub(super) fn leave(socket: &Path, order: &Order) -> io::Result<()> {
    let mut path = socket.as_os_str().to_owned();
    path.push(".start");
    // One that never began has no place yet.
    std::fs::create_dir_all(socket.parent().unwrap_or(socket))?;
    std::fs::write(path, format!("{order}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_written_as_the_member_reads_them() {
        let point = "log-written".to_owned();
        let at = Order::LosePowerAt { point: point.clone(), hits: 2, seed: 3 };
        assert_eq!(at.to_string(), "lose-power-at log-written 2 3");
        assert_eq!(Order::CrashAt { point, hits: 1 }.to_string(), "crash-at log-written 1");
        assert_eq!(Order::LosePower { seed: 9 }.to_string(), "lose-power 9");
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
        give(&socket, &Order::Disarm).await.expect("taken");
        let error = give(&socket, &Order::Disarm).await.expect_err("refused");
        assert!(error.to_string().contains("error: no"), "{error}");
        give(&socket, &Order::Disarm).await.expect("an end is an answer");
        serving.join_next().await.expect("served").expect("no panic");
        give(&socket, &Order::Disarm).await.expect_err("nobody listens");
    }
}
