//! Passwords: from a flag, or asked for without showing them.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::args::Global;
use crate::failure::Failure;

/// Who asks, and the password; nobody if `--user` is not given. What is still to be said is asked
/// for with `prompt`.
pub(crate) fn of(global: &Global, prompt: &str) -> Result<Option<(String, String)>, Failure> {
    let Global { user, password, .. } = global;
    if user.is_empty() {
        return Ok(None);
    }
    if !password.is_empty() {
        return Ok(Some((user.clone(), password.clone())));
    }
    if let Some((user, password)) = user.split_once(':') {
        return Ok(Some((user.to_owned(), password.to_owned())));
    }
    let password = ask(prompt).map_err(|error| Failure::error(error.to_string()))?;
    Ok(Some((user.clone(), password)))
}

/// A new password: typed twice at a terminal, or the first word of standard input.
pub(crate) fn new(user: &str, interactive: bool) -> Result<String, Failure> {
    if !interactive {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map_err(|error| asked_in_vain(&error))?;
        return Ok(line.split_whitespace().next().unwrap_or_default().to_owned());
    }
    let first = ask(&format!("Password of {user}: ")).map_err(|error| asked_in_vain(&error))?;
    if first.is_empty() {
        return Err(Failure::bad_args("empty password"));
    }
    let again = ask(&format!("Type password of {user} again for confirmation: "))
        .map_err(|error| asked_in_vain(&error))?;
    if first != again {
        return Err(Failure::bad_args("given passwords are different"));
    }
    Ok(first)
}

fn asked_in_vain(error: &io::Error) -> Failure {
    Failure::bad_args(format!("failed to ask password: {error}"))
}

/// Asks for a line; at a terminal it is not shown while it is typed.
fn ask(prompt: &str) -> io::Result<String> {
    let stdin = io::stdin();
    let before = if stdin.is_terminal() { Some(tcgetattr(&stdin)?) } else { None };
    io::stdout().write_all(prompt.as_bytes())?;
    io::stdout().flush()?;
    if let Some(before) = &before {
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Flush, &silent)?;
    }
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    if let Some(before) = &before {
        tcsetattr(&stdin, OptionalActions::Flush, before)?;
    }
    io::stdout().write_all(b"\n")?;
    read?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
