//! Runs plain commands: each is printed as a person would type it, with the seconds gone by.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

static STARTED: OnceLock<Instant> = OnceLock::new();

/// Starts the watch that every printed line shows.
pub(crate) fn start_watch() {
    STARTED.get_or_init(Instant::now);
}

/// Seconds since the program began.
pub(crate) fn elapsed_seconds() -> f64 {
    STARTED.get_or_init(Instant::now).elapsed().as_secs_f64()
}

/// Tells a person something, with the seconds gone by.
pub(crate) fn say(text: &str) {
    eprintln!("[{:>6.1} s] {text}", elapsed_seconds());
}

/// One command, as it would be typed in the repository's root.
pub(crate) struct Plain {
    program: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    folder: PathBuf,
    quiet: bool,
}

impl Plain {
    /// A program and its arguments.
    pub(crate) fn new<A: Into<String>>(
        program: impl Into<String>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        Self {
            program: program.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
            folder: crate::places::root(),
            quiet: false,
        }
    }

    /// Cargo, by arguments separated with spaces.
    pub(crate) fn cargo(arguments: &str) -> Self {
        Self::new("cargo", arguments.split_whitespace())
    }

    /// More arguments.
    pub(crate) fn with<A: Into<String>>(mut self, more: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(more.into_iter().map(Into::into));
        self
    }

    /// One variable of the environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Another working folder than the repository's root.
    pub(crate) fn within(mut self, folder: &Path) -> Self {
        folder.clone_into(&mut self.folder);
        self
    }

    /// Not printed before it is run: for questions that change nothing.
    pub(crate) fn quietly(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// The line a person would type.
    pub(crate) fn shown(&self) -> String {
        let plain = |word: &str| {
            let safe =
                |letter: char| letter.is_ascii_alphanumeric() || "-_./=:,@%+".contains(letter);
            if !word.is_empty() && word.chars().all(safe) {
                word.to_owned()
            } else {
                format!("'{}'", word.replace('\'', r"'\''"))
            }
        };
        let root = crate::places::root();
        let program = match Path::new(&self.program).strip_prefix(&root) {
            Ok(inside) => inside.display().to_string(),
            Err(_) => self.program.clone(),
        };
        self.environment
            .iter()
            .map(|(name, value)| format!("{name}={}", plain(value)))
            .chain([plain(&program)])
            .chain(self.arguments.iter().map(|argument| plain(argument)))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Runs it with this terminal; fails when it does.
    pub(crate) fn run(&self) -> Result<()> {
        self.announce();
        let status = self.command().status().with_context(|| self.not_started())?;
        self.must_succeed(status)
    }

    /// Runs it and gives back what it wrote to its standard output; fails when it does.
    pub(crate) fn read(&self) -> Result<String> {
        self.announce();
        let output =
            self.command().stderr(Stdio::inherit()).output().with_context(|| self.not_started())?;
        self.must_succeed(output.status)?;
        String::from_utf8(output.stdout)
            .with_context(|| format!("read the output of `{}` as text", self.shown()))
    }

    /// Runs it, hands each line of its standard output to `each` after printing it, and gives
    /// back how it ended.
    pub(crate) fn run_lines(&self, mut each: impl FnMut(&str)) -> Result<ExitStatus> {
        self.announce();
        let mut child =
            self.command().stdout(Stdio::piped()).spawn().with_context(|| self.not_started())?;
        let output = child.stdout.take().expect("the line above asked for a pipe");
        for line in BufReader::new(output).lines() {
            // A line that is not UTF-8 is somebody's output and not a result: leave it out.
            let Ok(line) = line else { continue };
            println!("{line}");
            each(&line);
        }
        child.wait().with_context(|| format!("wait for `{}`", self.shown()))
    }

    /// Runs it with this terminal for its words, and gives back how it ended and what it wrote to
    /// its standard output.
    pub(crate) fn run_and_read(&self) -> Result<(ExitStatus, Vec<u8>)> {
        self.announce();
        let output =
            self.command().stderr(Stdio::inherit()).output().with_context(|| self.not_started())?;
        Ok((output.status, output.stdout))
    }

    /// Runs it to its end and keeps all it wrote, however it ends.
    pub(crate) fn keep_output(&self) -> Result<Output> {
        self.announce();
        self.command().stdin(Stdio::null()).output().with_context(|| self.not_started())
    }

    /// Whether it ends well; nothing is shown.
    pub(crate) fn succeeds(&self) -> bool {
        self.command()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    /// The command for the operating system, for callers that keep the child.
    pub(crate) fn command(&self) -> Command {
        let mut command = match (self.program.as_str(), std::env::var_os("CARGO")) {
            ("cargo", Some(cargo)) => Command::new(cargo),
            (program, _) => Command::new(program),
        };
        command.args(&self.arguments).current_dir(&self.folder);
        // What `cargo run` tells this program of itself is not meant for the programs below.
        for (name, _) in std::env::vars_os() {
            if is_about_this_package(&name) {
                command.env_remove(&name);
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Prints the line unless it was asked not to.
    pub(crate) fn announce(&self) {
        if !self.quiet {
            say(&format!("$ {}", self.shown()));
        }
    }

    fn must_succeed(&self, status: ExitStatus) -> Result<()> {
        if !status.success() {
            bail!("run `{}`: it ended with {status}", self.shown());
        }
        Ok(())
    }

    fn not_started(&self) -> String {
        format!("start `{}`: is `{}` installed?", self.shown(), self.program)
    }
}

fn is_about_this_package(name: &OsStr) -> bool {
    name.to_str()
        .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
}

/// Whether a program is on the search path.
pub(crate) fn is_installed(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    })
}

/// Whether this process is root's.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether a continuous-integration service runs this: then nothing may be left out.
pub(crate) fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false" && value != "0")
}

/// Installs a Debian package when this is Debian and root, and says so otherwise.
///
/// Returns whether `program` is there afterwards.
pub(crate) fn provide(program: &str, package: &str) -> bool {
    provide_until(|| is_installed(program), program, &[package])
}

/// Installs Debian packages when this is Debian and root, and says so otherwise, unless what they
/// bring is there already.
///
/// Returns whether it is there afterwards.
pub(crate) fn provide_until(is_there: impl Fn() -> bool, what: &str, packages: &[&str]) -> bool {
    if is_there() {
        return true;
    }
    if !(is_root() && is_installed("apt-get")) {
        let packages = packages.join(" ");
        say(&format!(
            "`{what}` is missing: install it (on Debian and Ubuntu: sudo apt-get install {packages})"
        ));
        return false;
    }
    let apt = |arguments: &[&str]| {
        Plain::new("apt-get", arguments.iter().copied())
            .env("DEBIAN_FRONTEND", "noninteractive")
            .run()
    };
    let install = [&["install", "--yes", "--no-install-recommends"], packages].concat();
    if apt(&install).is_err()
        && let Err(error) = apt(&["update"]).and_then(|()| apt(&install))
    {
        say(&format!("failed to {error:#}"));
    }
    is_there()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let shown = Plain::new("sh", ["-c", "echo it's $HOME"]).env("A", "b c").shown();
        assert_eq!(shown, r"A='b c' sh -c 'echo it'\''s $HOME'");
        assert_eq!(
            Plain::cargo("build -p node").with(["--locked"]).shown(),
            "cargo build -p node --locked"
        );
    }

    #[test]
    fn lines_reach_the_reader_and_the_status_is_kept() {
        let mut lines = Vec::new();
        let status = Plain::new("sh", ["-c", "echo one; echo two; exit 3"])
            .quietly()
            .run_lines(|line| lines.push(line.to_owned()))
            .expect("sh is there");
        assert_eq!(lines, ["one", "two"]);
        assert_eq!(status.code(), Some(3));
    }
}
