//! The control socket: how a gate makes a running member end at a failpoint, or lose its power.
//!
//! ```text
//!   crash-at NAME HITS             end as by SIGKILL the HITS-th time the process comes by NAME
//!   lose-power-at NAME HITS SEED   the same, and lose the power with it
//!   lose-power SEED                lose the power now
//!   disarm                         forget what was asked and has not happened
//!   hits                           how often the process came by each failpoint
//! ```
//!
//! One order a line, one line back: `ok`, with `NAME=COUNT` for each failpoint after `hits`, or
//! `error: ` and why. What cannot be read changes nothing. SEED and HITS are at least 1.
//!
//! A start comes by failpoints before anybody could connect, so orders may also lie in a file
//! beside the socket, named as it with `.start` at its end: they are read, the file removed, and
//! carried out before anything else, once.
//!
//! The socket is of mode 0600: only its owner gives orders.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::num::NonZeroU64;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::failpoint::armed::{self, End, UnknownFailpoint};
use crate::failpoint::{Failpoint, TABLE};

/// The longest order that is read, in bytes.
const LINE_BYTES: u64 = 256;

/// Whoever says nothing for so long is hung up on: orders are taken from one at a time.
const PATIENCE: Duration = Duration::from_secs(10);

/// One thing that can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// End there, the so-manieth time.
    EndAt(Failpoint, NonZeroU64, End),
    /// Lose the power now.
    LosePower(NonZeroU64),
    /// Forget all ends.
    Disarm,
    /// Tell the counts.
    Hits,
}

/// Why a line is no order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// It does not begin with an order's word, or has too many or too few words.
    #[error(
        "`{0}` is not an order; orders are: crash-at NAME HITS, lose-power-at NAME HITS SEED, \
         lose-power SEED, disarm, hits"
    )]
    Unknown(String),
    /// No such failpoint.
    #[error(transparent)]
    Failpoint(#[from] UnknownFailpoint),
    /// A count or a seed is not one.
    #[error("`{0}` is not a whole number from 1 on")]
    Number(String),
}

impl FromStr for Order {
    type Err = OrderError;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let number = |word: &str| word.parse().map_err(|_| OrderError::Number(word.to_owned()));
        let words: Vec<&str> = line.split_whitespace().collect();
        Ok(match words.as_slice() {
            ["crash-at", name, hits] => Self::EndAt(name.parse()?, number(hits)?, End::Crash),
            ["lose-power-at", name, hits, seed] => {
                Self::EndAt(name.parse()?, number(hits)?, End::PowerLoss(number(seed)?))
            }
            ["lose-power", seed] => Self::LosePower(number(seed)?),
            ["disarm"] => Self::Disarm,
            ["hits"] => Self::Hits,
            _ => return Err(OrderError::Unknown(line.trim().to_owned())),
        })
    }
}

impl Order {
    /// Carries it out; what is answered.
    fn carry_out(self) -> String {
        let mut answer = "ok".to_owned();
        match self {
            Self::EndAt(point, hits, end) => armed::arm(point, hits, end),
            Self::LosePower(seed) => armed::end("none", End::PowerLoss(seed)),
            Self::Disarm => armed::disarm(),
            Self::Hits => {
                for row in TABLE {
                    // Writing to a text cannot fail.
                    write!(answer, " {}={}", row.name, row.point.hits()).ok();
                }
            }
        }
        answer
    }
}

/// Why there are no orders to be had.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// What lies there is not a socket that a former life left.
    #[error("{} is there and is not a socket; give another --lab-control", .0.display())]
    NotASocket(PathBuf),
    /// The file of orders for the start cannot be read.
    #[error("failed to read the orders in {}: {source}", path.display())]
    Start {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// One of them is none.
    #[error("failed to read the orders in {}: {source}", path.display())]
    Order {
        /// In which file.
        path: PathBuf,
        /// Why.
        source: OrderError,
    },
    /// The system refused the socket.
    #[error("failed to listen at {}: {source}", path.display())]
    Listen {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Carries out what was asked for this start, then takes orders at `path` for as long as the
/// process lives, in a thread of its own.
///
/// Call it before any other thread runs: the mode of the socket is set by the process's umask.
///
/// # Errors
///
/// If the socket cannot be had or an order for the start is none; nothing is armed then.
pub fn start(path: &Path) -> Result<(), ControlError> {
    carry_out_start_orders(&beside(path, ".start"))?;
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ControlError::NotASocket(path.to_path_buf()));
        }
        // A former life left it; if it cannot be removed, binding says so.
        Ok(_) => drop(fs::remove_file(path)),
        Err(_) => {}
    }
    let failed = |source| ControlError::Listen { path: path.to_path_buf(), source };
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(path);
    rustix::process::umask(before);
    let listener = bound.map_err(failed)?;
    let serve = move || {
        for stream in listener.incoming().flatten() {
            // Whoever hung up gets no answer, and owes none.
            obey(&stream).ok();
        }
    };
    std::thread::Builder::new().name("control".into()).spawn(serve).map_err(failed)?;
    Ok(())
}

/// A path with this at the end of its name.
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn carry_out_start_orders(path: &Path) -> Result<(), ControlError> {
    let failed = |source| ControlError::Start { path: path.to_path_buf(), source };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    // Removed first: the next start is not to end where this one did.
    fs::remove_file(path).map_err(failed)?;
    let orders: Result<Vec<Order>, _> = text.lines().map(str::parse).collect();
    let orders =
        orders.map_err(|source| ControlError::Order { path: path.to_path_buf(), source })?;
    for order in orders {
        order.carry_out();
    }
    Ok(())
}

fn obey(stream: &UnixStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        reader.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(());
        }
        let mut writer = stream;
        if line.last() != Some(&b'\n') {
            return writeln!(
                writer,
                "error: an order ends with a line feed and is no longer than {LINE_BYTES} bytes"
            );
        }
        let line = String::from_utf8_lossy(&line);
        match line.parse::<Order>() {
            Ok(order) => writeln!(writer, "{}", order.carry_out())?,
            Err(error) => writeln!(writer, "error: {error}")?,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn orders_are_read_and_everything_else_is_refused() {
        let two = NonZeroU64::new(2).expect("two");
        let point = Failpoint::LogWritten;
        for (line, expected) in [
            ("crash-at log-written 2", Ok(Order::EndAt(point, two, End::Crash))),
            (" lose-power-at log-written 2 2\n", Ok(Order::EndAt(point, two, End::PowerLoss(two)))),
            ("lose-power 2", Ok(Order::LosePower(two))),
            ("disarm", Ok(Order::Disarm)),
            ("hits", Ok(Order::Hits)),
            ("crash-at log-written 0", Err("`0` is not a whole number")),
            ("crash-at log-written -1", Err("`-1` is not a whole number")),
            ("crash-at nowhere 1", Err("no failpoint `nowhere`")),
            ("crash-at log-written", Err("`crash-at log-written` is not an order")),
            ("lose-power", Err("is not an order")),
            ("hits please", Err("is not an order")),
            ("", Err("`` is not an order")),
        ] {
            match (line.parse::<Order>(), expected) {
                (Ok(order), Ok(expected)) => assert_eq!(order, expected, "{line}"),
                (Err(error), Err(needle)) => {
                    assert!(error.to_string().contains(needle), "{line}: {error}");
                }
                (got, expected) => panic!("{line}: {got:?} instead of {expected:?}"),
            }
        }
    }

    #[test]
    fn the_socket_is_its_owners_and_answers_each_line() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("control");
        start(&path).expect("it listens");
        // A former life's socket is no hindrance; another file is.
        start(&path).expect("it listens again");
        let other = dir.path().join("file");
        fs::write(&other, "").expect("written");
        assert!(start(&other).expect_err("not a socket").to_string().contains("not a socket"));
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let stream = UnixStream::connect(&path).expect("connected");
        let mut lines = BufReader::new(&stream).lines();
        let mut ask = |order: &str| {
            (&stream).write_all(order.as_bytes()).expect("sent");
            lines.next().expect("an answer").expect("a text")
        };
        assert_eq!(ask("disarm\n"), "ok");
        assert!(ask("hits\n").contains(" first-start-undone="));
        assert!(ask("\u{1}\u{2}\n").starts_with("error: "));
        assert!(ask(&"x".repeat(300)).starts_with("error: an order ends"));
    }

    #[test]
    fn orders_for_a_start_are_carried_out_once_or_not_at_all() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("control.start");
        carry_out_start_orders(&path).expect("none is fine");
        fs::write(&path, "disarm\ncrash-at nowhere 1\n").expect("written");
        let error = carry_out_start_orders(&path).expect_err("refused");
        assert!(error.to_string().contains("nowhere"), "{error}");
        assert!(!path.exists());
    }
}
