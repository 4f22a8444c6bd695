//! Flags as Go's programs take them, and the ones of etcd that mean nothing here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Parser;

use super::{ConfigError, flags, flags::Flags};

/// Flags of etcd that change nothing here. They are taken, so that a command line written for
/// etcd works, and answered with a warning. A trailing `*` stands for any ending.
const IGNORED: &[&str] = &[
    "auth-token",
    "auth-token-ttl",
    "backend-batch-interval",
    "backend-batch-limit",
    "backend-bbolt-freelist-type",
    "bcrypt-cost",
    "cipher-suites",
    "client-crl-file",
    "cors",
    "debug",
    "enable-grpc-gateway",
    "enable-pprof",
    "enable-v2",
    "experimental-*",
    "feature-gates",
    "grpc-keepalive-*",
    "host-whitelist",
    "initial-election-tick-advance",
    "log-format",
    "log-outputs",
    "log-package-levels",
    "log-rotation-config-json",
    "enable-log-rotation",
    "logger",
    "max-concurrent-streams",
    "max-snapshots",
    "max-wals",
    "metrics",
    "peer-client-cert-allowed-*",
    "peer-cert-allowed-*",
    "self-signed-cert-validity",
    "socket-reuse-*",
    "tls-max-version",
    "tls-min-version",
    "unsafe-no-fsync",
    "v2-deprecation",
    "warning-*",
];

/// Flags of etcd that promise something this version cannot keep. To ignore them would be to lie.
/// A trailing `*` stands for any ending.
const REFUSED: &[(&str, &str)] = &[
    ("auto-tls", TLS),
    ("cert-file", TLS),
    ("client-cert-auth", TLS),
    ("config-file", "give each setting as a flag or an ETCD_ environment variable"),
    ("discovery*", DISCOVERY),
    ("key-file", TLS),
    ("peer-auto-tls", TLS),
    ("peer-cert-file", TLS),
    ("peer-client-cert-auth", TLS),
    ("peer-key-file", TLS),
    ("peer-trusted-ca-file", TLS),
    ("trusted-ca-file", TLS),
    ("wal-dir", "the log lies in --data-dir; make that a place on the disk you want"),
];

const TLS: &str = "this version speaks plaintext only; use it on a trusted network, or put a \
                   tunnel between the machines";
const DISCOVERY: &str = "give every member the same static list, \
                         --initial-cluster m1=http://HOST:2380,m2=http://HOST:2380,... and \
                         --initial-cluster-state new";

/// Variables that start with `ETCD_` and are not flags.
const NOT_FLAGS: &[&str] = &["ETCD_UNSUPPORTED_ARCH", "ETCD_VERIFY"];

/// What the arguments are.
pub(super) enum Read {
    /// Print the help.
    Help,
    /// Print the versions.
    Version,
    /// Print the help of `defrag`.
    DefragHelp,
    /// Defragment this data directory.
    Defrag(PathBuf),
    /// Flags, and what to warn of.
    Flags(Box<Flags>, Vec<String>),
}

/// What a name is to us.
enum Known {
    /// A flag; whether it may stand without a value.
    Flag {
        alone: bool,
    },
    Ignored,
    Refused(&'static str),
    Unknown,
}

fn known(name: &str, flags: &[(String, bool)]) -> Known {
    if let Some((_, alone)) = flags.iter().find(|(flag, _)| flag == name) {
        return Known::Flag { alone: *alone };
    }
    let fits = |pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    };
    if let Some((_, instead)) = REFUSED.iter().find(|(flag, _)| fits(flag)) {
        return Known::Refused(instead);
    }
    if IGNORED.iter().any(|flag| fits(flag)) { Known::Ignored } else { Known::Unknown }
}

/// A truth value that switches a flag off, so that even a refused flag may be given.
fn is_off(value: Option<&str>) -> bool {
    matches!(value, Some("false" | "0" | ""))
}

/// Reads arguments and environment.
pub(super) fn read(
    arguments: impl IntoIterator<Item = String>,
    environment: BTreeMap<String, String>,
) -> Result<Read, ConfigError> {
    let names = flags::names();
    let mut arguments = arguments.into_iter().peekable();
    if arguments.next_if(|first| first == "defrag").is_some() {
        return read_defrag(arguments, &environment);
    }
    let mut given: BTreeMap<String, String> = BTreeMap::new();
    let mut warnings = Vec::new();
    while let Some(argument) = arguments.next() {
        let dashless = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'));
        let Some(flag) = dashless.filter(|flag| !flag.is_empty()) else {
            return Err(ConfigError::meaning(format_args!(
                "'{argument}' is not a valid flag: flags start with --, and only true-or-false \
                 flags may stand alone (write --flag=false, not --flag false)"
            )));
        };
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, None),
        };
        match name {
            "h" | "help" => return Ok(Read::Help),
            "version" => return Ok(Read::Version),
            _ => {}
        }
        match known(name, &names) {
            Known::Flag { alone } => {
                let value = match value {
                    Some(value) => value,
                    None if alone => "true".to_owned(),
                    None => arguments.next().ok_or_else(|| {
                        ConfigError::usage(format_args!("flag needs an argument: -{name}"))
                    })?,
                };
                given.insert(name.to_owned(), value);
            }
            Known::Ignored => {
                // No argument stands alone, so what does not start with a dash is its value.
                if value.is_none() {
                    arguments.next_if(|next| !next.starts_with('-'));
                }
                warnings.push(format!("--{name} is one of etcd's flags that change nothing here"));
            }
            Known::Refused(instead) => {
                let value = value.or_else(|| arguments.next_if(|next| !next.starts_with('-')));
                if !is_off(value.as_deref()) {
                    return Err(refused(&format!("--{name}"), instead));
                }
            }
            Known::Unknown => {
                return Err(ConfigError::usage(format_args!(
                    "flag provided but not defined: -{name}"
                )));
            }
        }
    }
    for (variable, value) in environment {
        let Some(name) = variable.strip_prefix("ETCD_") else { continue };
        if value.is_empty() || NOT_FLAGS.contains(&variable.as_str()) {
            continue;
        }
        let name = name.to_ascii_lowercase().replace('_', "-");
        match known(&name, &names) {
            Known::Flag { .. } if name == "help" || name == "version" => {}
            Known::Flag { .. } => {
                given.entry(name).or_insert(value);
            }
            Known::Ignored => {
                warnings.push(format!("{variable} is a setting of etcd that changes nothing here"));
            }
            Known::Refused(_) if is_off(Some(&value)) => {}
            Known::Refused(instead) => return Err(refused(&variable, instead)),
            Known::Unknown => {
                warnings.push(format!("unrecognized environment variable {variable}"))
            }
        }
    }
    let words = given.iter().map(|(name, value)| format!("--{name}={value}"));
    let words = std::iter::once("raft-node".to_owned()).chain(words);
    let flags = Flags::try_parse_from(words)
        .map_err(|error| ConfigError::usage(error.to_string().trim_end()))?;
    Ok(Read::Flags(Box::new(flags), warnings))
}

/// Reads what follows `defrag`.
fn read_defrag(
    mut arguments: impl Iterator<Item = String>,
    environment: &BTreeMap<String, String>,
) -> Result<Read, ConfigError> {
    let mut data_dir = environment.get("ETCD_DATA_DIR").cloned();
    while let Some(argument) = arguments.next() {
        let flag = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'));
        let value = match flag {
            Some("h" | "help") => return Ok(Read::DefragHelp),
            Some("data-dir") => arguments.next(),
            _ => match flag.and_then(|flag| flag.strip_prefix("data-dir=")) {
                Some(value) => Some(value.to_owned()),
                None => {
                    return Err(ConfigError::meaning(format_args!(
                        "defrag takes --data-dir and nothing else, not '{argument}'"
                    )));
                }
            },
        };
        data_dir =
            Some(value.ok_or_else(|| ConfigError::meaning("flag needs an argument: -data-dir"))?);
    }
    match data_dir {
        Some(data_dir) if !data_dir.is_empty() => Ok(Read::Defrag(data_dir.into())),
        _ => Err(ConfigError::meaning("defrag: required flag(s) \"data-dir\" not set")),
    }
}

fn refused(what: &str, instead: &str) -> ConfigError {
    ConfigError::meaning(format_args!("{what} is not served by this version: {instead}"))
}
