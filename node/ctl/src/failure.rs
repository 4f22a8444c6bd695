//! What ends a command: a text for standard error, and etcdctl's exit code.

use std::io::{self, IsTerminal as _, Write as _};

use tonic::{Code, Status};

/// The exit codes of etcdctl that a command here can end with.
pub(crate) mod code {
    /// The cluster, or this machine, said no.
    pub(crate) const ERROR: u8 = 1;
    /// No client could be made, or a lease's question failed.
    pub(crate) const BAD_CONNECTION: u8 = 2;
    /// What was read from standard input makes no sense.
    pub(crate) const INVALID_INPUT: u8 = 3;
    /// A flag is known, its value is not.
    pub(crate) const BAD_FEATURE: u8 = 4;
    /// A stream ended before its time.
    pub(crate) const INTERRUPTED: u8 = 5;
    /// Standard output could not be written.
    pub(crate) const IO: u8 = 6;
    /// Arguments are missing, too many, or contradict each other.
    pub(crate) const BAD_ARGS: u8 = 128;
}

/// Why a command ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What the process exits with.
    pub(crate) code: u8,
    /// One line for standard error, without `Error: `; empty if all has been said.
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn new(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    pub(crate) fn error(text: impl Into<String>) -> Self {
        Self::new(code::ERROR, text)
    }

    pub(crate) fn bad_args(text: impl Into<String>) -> Self {
        Self::new(code::BAD_ARGS, text)
    }

    /// The code alone: what there is to say has been said.
    pub(crate) fn silent(code: u8) -> Self {
        Self::new(code, "")
    }

    /// Says it on standard error; `Error:` is red at a terminal unless `NO_COLOR` is set.
    pub(crate) fn say(&self) {
        if self.text.is_empty() {
            return;
        }
        let colour = io::stderr().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let word = if colour { "\u{1b}[1;31mError:\u{1b}[0m" } else { "Error:" };
        complain(&format!("{word} {}", self.text));
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::error(words(&status))
    }
}

/// A line for standard error.
pub(crate) fn complain(line: &str) {
    // There is nowhere left to say that standard error is gone.
    writeln!(io::stderr(), "{line}").ok();
}

/// Writes to standard output at once.
pub(crate) fn say(bytes: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes.as_ref()).and_then(|()| out.flush()).map_err(|error| {
        // Who read along has seen enough.
        let silent = error.kind() == io::ErrorKind::BrokenPipe;
        if silent { Failure::silent(code::IO) } else { Failure::new(code::IO, error.to_string()) }
    })
}

/// An answer's error in the words of Go's client: etcd's own messages bare, others with the code.
pub(crate) fn words(status: &Status) -> String {
    let message = status.message();
    match status.code() {
        _ if message.starts_with("etcdserver: ") => message.to_owned(),
        Code::DeadlineExceeded => "context deadline exceeded".to_owned(),
        Code::Cancelled => "context canceled".to_owned(),
        code => format!("rpc error: code = {} desc = {message}", name(code)),
    }
}

/// Go's name of a gRPC code.
fn name(code: Code) -> String {
    match code {
        Code::Cancelled => "Canceled".to_owned(),
        code => format!("{code:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_in_go() {
        let check = |status: Status, expected: &str| assert_eq!(words(&status), expected);
        check(Status::not_found("etcdserver: member not found"), "etcdserver: member not found");
        check(Status::deadline_exceeded("whatever"), "context deadline exceeded");
        check(Status::cancelled("whatever"), "context canceled");
        check(
            Status::resource_exhausted("too much"),
            "rpc error: code = ResourceExhausted desc = too much",
        );
    }
}
