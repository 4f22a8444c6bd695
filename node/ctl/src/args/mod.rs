//! The command line: etcdctl's commands and flags, its variables, and its words for mistakes.
//!
//! Positional arguments are taken in any number here and counted by the commands, which know
//! etcdctl's words for too few and too many. A variable `ETCDCTL_…` is put before the arguments
//! as if it had been typed; one that is also typed is a conflict, as in etcdctl.

mod access;
mod backup;
mod commands;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Styles};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgAction, Args, Command, CommandFactory as _, FromArgMatches as _, Parser};

pub(crate) use access::*;
pub(crate) use backup::*;
pub(crate) use commands::*;

use crate::duration;
use crate::failure::{Failure, code, say};

/// What a person is told about all of it.
const ABOUT: &str =
    "A command line client for Raftlab and etcd, with etcdctl's commands and output";

const EXAMPLES: &str = "\
Examples:
  raft-ctl put greeting hello
  raft-ctl get --prefix ''
  raft-ctl --endpoints=127.0.0.1:2379,127.0.0.1:22379 endpoint status -w table

Each global option can be a variable too: ETCDCTL_ENDPOINTS, ETCDCTL_WRITE_OUT, …
An option given in both ways is an error.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "raft-ctl", version, about = ABOUT, after_help = EXAMPLES)]
pub(crate) struct Line {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: What,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Where the members listen, separated by commas; the first that answers is used
    #[arg(long, global = true, value_delimiter = ',', default_value = "127.0.0.1:2379")]
    pub(crate) endpoints: Vec<String>,
    /// How the answer is printed: simple, fields, json or table
    #[arg(long, short = 'w', global = true, default_value = "simple", value_name = "FORMAT")]
    pub(crate) write_out: String,
    /// Print byte strings as hexadecimal numbers
    #[arg(long, global = true)]
    pub(crate) hex: bool,
    /// How long a short command may take, once connected
    #[arg(long, global = true, default_value = "5s", value_parser = duration::parse,
          value_name = "TIME")]
    pub(crate) command_timeout: Duration,
    /// How long connecting to a member may take
    #[arg(long, global = true, default_value = "2s", value_parser = duration::parse,
          value_name = "TIME")]
    pub(crate) dial_timeout: Duration,
    /// How often a silent connection is asked for a sign of life
    #[arg(long, global = true, default_value = "2s", value_parser = duration::parse,
          value_name = "TIME")]
    pub(crate) keepalive_time: Duration,
    /// How long the sign of life may take
    #[arg(long, global = true, default_value = "6s", value_parser = duration::parse,
          value_name = "TIME")]
    pub(crate) keepalive_timeout: Duration,
    /// Who asks: NAME or NAME:PASSWORD; without a password it is asked for
    #[arg(long, global = true, default_value = "", hide_default_value = true)]
    pub(crate) user: String,
    /// The password of --user, which then holds the name alone
    #[arg(long, global = true, default_value = "", hide_default_value = true)]
    pub(crate) password: String,
    /// Tell each call and each member that could not be reached
    #[arg(long, global = true)]
    pub(crate) debug: bool,
    /// Certificate authorities to trust (TLS: not supported yet)
    #[arg(long, global = true, default_value = "", hide_default_value = true)]
    pub(crate) cacert: String,
    /// The client's certificate (TLS: not supported yet)
    #[arg(long, global = true, default_value = "", hide_default_value = true)]
    pub(crate) cert: String,
    /// The key of --cert (TLS: not supported yet)
    #[arg(long, global = true, default_value = "", hide_default_value = true)]
    pub(crate) key: String,
    /// Connect without TLS; false is not supported yet
    #[arg(long, global = true, default_value = "true", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", action = ArgAction::Set, hide_possible_values = true)]
    pub(crate) insecure_transport: bool,
    /// Believe any certificate (TLS: not supported yet)
    #[arg(long, global = true, hide = true)]
    pub(crate) insecure_skip_tls_verify: bool,
    /// Accept members found by DNS without TLS
    #[arg(long, global = true, default_value = "true", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", action = ArgAction::Set, hide = true)]
    pub(crate) insecure_discovery: bool,
    /// Find the members by DNS (not supported yet)
    #[arg(long, short = 'd', global = true, default_value = "", hide = true)]
    pub(crate) discovery_srv: String,
    /// The service to ask DNS for (not supported yet)
    #[arg(long, global = true, default_value = "", hide = true)]
    pub(crate) discovery_srv_name: String,
    /// Whether the command's time was set and not left as it is.
    #[arg(skip)]
    pub(crate) command_timeout_is_set: bool,
}

/// The global options by their long names.
const GLOBAL: [&str; 18] = [
    "endpoints",
    "write-out",
    "hex",
    "command-timeout",
    "dial-timeout",
    "keepalive-time",
    "keepalive-timeout",
    "user",
    "password",
    "debug",
    "cacert",
    "cert",
    "key",
    "insecure-transport",
    "insecure-skip-tls-verify",
    "insecure-discovery",
    "discovery-srv",
    "discovery-srv-name",
];

impl Global {
    /// Refuses what is understood but not there yet.
    fn check(&self) -> Result<(), Failure> {
        let files = [("cacert", &self.cacert), ("cert", &self.cert), ("key", &self.key)];
        refuse_tls("", files, self.insecure_transport, &self.endpoints)?;
        if !self.discovery_srv.is_empty() {
            let text = "--discovery-srv is not supported yet: name the members by --endpoints";
            return Err(Failure::bad_args(text));
        }
        Ok(())
    }
}

impl MakeMirror {
    /// How the destination is asked: by the global options, but for what has an option of its own.
    pub(crate) fn destination(&self, endpoint: &str, global: &Global) -> Result<Global, Failure> {
        let files =
            [("cacert", &self.dest_cacert), ("cert", &self.dest_cert), ("key", &self.dest_key)];
        let endpoints = vec![endpoint.to_owned()];
        refuse_tls("dest-", files, self.dest_insecure_transport, &endpoints)?;
        Ok(Global {
            endpoints,
            user: self.dest_user.clone(),
            password: self.dest_password.clone(),
            ..global.clone()
        })
    }
}

/// Refuses what asks for TLS: one of the files, a flag, or an endpoint's scheme. The names of the
/// flags begin with `dest-`, or with nothing.
fn refuse_tls(
    whose: &str,
    files: [(&str, &String); 3],
    insecure: bool,
    endpoints: &[String],
) -> Result<(), Failure> {
    let what = if let Some((flag, _)) = files.iter().find(|(_, value)| !value.is_empty()) {
        Some(format!("--{whose}{flag}"))
    } else if !insecure {
        Some(format!("--{whose}insecure-transport=false"))
    } else {
        endpoints.iter().find(|url| url.trim().starts_with("https://")).cloned()
    };
    let Some(what) = what else { return Ok(()) };
    Err(Failure::bad_args(format!(
        "{what} asks for TLS, which is not supported yet: use http:// endpoints"
    )))
}

/// The parser, with flags as Go understands them: `--flag` and `--flag=false`, the last one wins.
fn parser() -> Command {
    like_go(plain_parser())
}

/// The parser as it is shown in help and completions, where a switch is just `--flag`.
pub(crate) fn plain_parser() -> Command {
    Line::command().infer_subcommands(true).styles(
        Styles::styled()
            .header(AnsiColor::Green.on_default().bold())
            .usage(AnsiColor::Green.on_default().bold())
            .literal(AnsiColor::Cyan.on_default().bold())
            .placeholder(AnsiColor::Cyan.on_default()),
    )
}

fn like_go(command: Command) -> Command {
    let mut command = command.args_override_self(true).mut_args(|arg| match arg.get_action() {
        ArgAction::SetTrue => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_value("false")
            .default_missing_value("true")
            .hide_default_value(true)
            .hide_possible_values(true),
        _ => arg,
    });
    let names: Vec<_> =
        command.get_subcommands().map(|below| below.get_name().to_owned()).collect();
    for name in names {
        command = command.mut_subcommand(name, |below| like_go(below).infer_subcommands(true));
    }
    command
}

/// Reads a command line; `variable` gives the value of an environment variable.
///
/// Nothing comes back where help was asked for and has been printed.
pub(crate) fn read(
    typed: Vec<OsString>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Line>, Failure> {
    let mut parser = parser();
    let matches = match parser.try_get_matches_from_mut(&typed) {
        Ok(matches) => matches,
        Err(error) if is_help(&error) => {
            // Told without what only Go's flags have.
            let plain = plain_parser().try_get_matches_from(&typed).err();
            return mistake(plain.as_ref().filter(|plain| is_help(plain)).unwrap_or(&error))
                .map(|()| None);
        }
        Err(error) => return mistake(&error).map(|()| None),
    };
    let mut innermost = &matches;
    while let Some((_, below)) = innermost.subcommand() {
        innermost = below;
    }
    let mut before = Vec::new();
    let mut is_set = false;
    for flag in GLOBAL {
        let by_hand =
            innermost.value_source(&flag.replace('-', "_")) == Some(ValueSource::CommandLine);
        let name = format!("ETCDCTL_{}", flag.replace('-', "_").to_uppercase());
        let value = variable(&name).filter(|value| !value.is_empty());
        is_set |= flag == "command-timeout" && (by_hand || value.is_some());
        match value {
            Some(_) if by_hand => {
                return Err(Failure::error(format!(
                    "conflicting environment variable \"{name}\" is shadowed by corresponding \
                     command-line flag (either unset environment variable or disable flag)"
                )));
            }
            Some(value) => before.push(OsString::from(format!("--{flag}={value}"))),
            None => {}
        }
    }
    let mut all = typed;
    let program = if all.is_empty() { OsString::from("raft-ctl") } else { all.remove(0) };
    before.insert(0, program);
    before.extend(all);
    let mut line = match parser
        .try_get_matches_from_mut(before)
        .and_then(|matches| Line::from_arg_matches(&matches))
    {
        Ok(line) => line,
        Err(error) => return mistake(&error).map(|()| None),
    };
    line.global.command_timeout_is_set = is_set;
    line.global.endpoints = line
        .global
        .endpoints
        .iter()
        .map(|endpoint| endpoint.trim().to_owned())
        .filter(|endpoint| !endpoint.is_empty())
        .collect();
    line.global.check()?;
    Ok(Some(line))
}

/// Reads a line of a transaction or of an interactive watch; errors are in Go's words.
pub(crate) fn read_words<T: Parser>(words: &[String]) -> Result<T, String> {
    let matches = like_go(T::command()).no_binary_name(true).try_get_matches_from(words);
    matches.and_then(|matches| T::from_arg_matches(&matches)).map_err(|error| told(&error))
}

/// Prints help that was asked for; everything else is a failure in etcdctl's words.
fn mistake(error: &clap::Error) -> Result<(), Failure> {
    if !is_help(error) {
        return Err(Failure::new(code::ERROR, told(error)));
    }
    let text = error.render();
    let colour = io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    say(if colour { text.ansi().to_string() } else { text.to_string() })
}

fn is_help(error: &clap::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            | ErrorKind::MissingSubcommand
    )
}

fn told(error: &clap::Error) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let argument = context(ContextKind::InvalidArg);
    let value = context(ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::UnknownArgument if argument.starts_with("--") => {
            format!("unknown flag: {argument}")
        }
        ErrorKind::UnknownArgument if argument.starts_with('-') => {
            let letter = argument.trim_start_matches('-').chars().next().unwrap_or('-');
            format!("unknown shorthand flag: '{letter}' in {argument}")
        }
        ErrorKind::InvalidSubcommand => {
            let name = context(ContextKind::InvalidSubcommand);
            format!("unknown command {name:?} for \"raft-ctl\"")
        }
        ErrorKind::ValueValidation | ErrorKind::InvalidValue if !value.is_empty() => {
            let flag = argument.split([' ', '=', '[']).next().unwrap_or_default();
            let why = std::error::Error::source(error)
                .map_or_else(|| "invalid syntax".to_owned(), ToString::to_string);
            format!("invalid argument {value:?} for {flag:?} flag: {why}")
        }
        ErrorKind::InvalidValue => {
            format!("flag needs an argument: {}", argument.split(' ').next().unwrap_or_default())
        }
        _ => error.to_string().trim_start_matches("error: ").trim_end().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(typed: &str, variables: &[(&str, &str)]) -> Result<Option<Line>, Failure> {
        let typed = typed.split_whitespace().map(OsString::from).collect();
        read(typed, |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_parser_is_sound() {
        parser().debug_assert();
    }

    #[test]
    fn variables_are_flags_and_both_are_a_conflict() {
        let read =
            line("raft-ctl get a", &[("ETCDCTL_WRITE_OUT", "json"), ("ETCDCTL_HEX", "true")]);
        let read = read.expect("a good line").expect("no help");
        assert_eq!(read.global.write_out, "json");
        assert!(read.global.hex);
        let conflict = line("raft-ctl get a -w simple", &[("ETCDCTL_WRITE_OUT", "json")]);
        let text = conflict.expect_err("a conflict").text;
        assert!(
            text.starts_with("conflicting environment variable \"ETCDCTL_WRITE_OUT\""),
            "{text}"
        );
        let empty = line("raft-ctl get a -w simple", &[("ETCDCTL_WRITE_OUT", "")]);
        assert!(empty.is_ok());
    }

    #[test]
    fn flags_stand_anywhere_and_the_last_wins() {
        let read = line("raft-ctl get a --endpoints=x,y -w json --hex --hex=false -w simple", &[]);
        let global = read.expect("a good line").expect("no help").global;
        assert_eq!(global.endpoints, ["x", "y"]);
        assert_eq!((global.write_out.as_str(), global.hex), ("simple", false));
    }

    #[test]
    fn mistakes_are_told_as_etcdctl_tells_them() {
        let check = |typed: &str, code: u8, expected: &str| {
            let failure = line(typed, &[]).expect_err(typed);
            assert_eq!((failure.code, failure.text.as_str()), (code, expected));
        };
        check("raft-ctl get a --bogus", 1, "unknown flag: --bogus");
        check("raft-ctl get a -x", 1, "unknown shorthand flag: 'x' in -x");
        check("raft-ctl bogus", 1, "unknown command \"bogus\" for \"raft-ctl\"");
        check(
            "raft-ctl get a --limit=x",
            1,
            "invalid argument \"x\" for \"--limit\" flag: strconv.ParseInt: parsing \"x\": \
             invalid syntax",
        );
        check(
            "raft-ctl get a --command-timeout=x",
            1,
            "invalid argument \"x\" for \"--command-timeout\" flag: time: invalid duration \"x\"",
        );
        check(
            "raft-ctl get a --cacert=/x",
            128,
            "--cacert asks for TLS, which is not supported yet: use http:// endpoints",
        );
    }
}
