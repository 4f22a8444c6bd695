//! What was typed, in types: every value judged, alone and together with the others.

use std::{fmt, path::PathBuf, time::Duration};

use super::{arguments, flags, flags::Flags};
use crate::cluster::{InitialCluster, InitialClusterError, Member};
use node_identity::urls::{Url, join};

/// The version of etcd whose behaviour is reported to clients.
///
/// Clients decide by it what they may ask: clientv3 and Kubernetes parse it, and from 3.5.13 on
/// they rely on watch progress requests. Our own version is a different thing; `--version` and
/// the metric `raftlab_build_info` tell it.
pub const ETCD_VERSION: &str = "3.5.16";

/// The cluster version that goes with [`ETCD_VERSION`].
pub const ETCD_CLUSTER_VERSION: &str = "3.5.0";

/// Our own version.
pub const OWN_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Longest election timeout that makes sense (etcd's limit).
const MAX_ELECTION_MILLIS: u64 = 50_000;

/// Quota when none is given, or 0.
const DEFAULT_QUOTA_BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// Whether the members listed start together, or this one joins them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitialState {
    /// All of them start a new cluster.
    New,
    /// The others run already and have added this one.
    Existing,
}

/// A SOCKS5 proxy through which all peers are dialled, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerProxy {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// Everything a node was told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The member's name.
    pub name: String,
    /// Where everything it must not forget lies.
    pub data_dir: PathBuf,
    /// Where it serves clients.
    pub listen_client_urls: Vec<Url>,
    /// Where it tells clients to find it.
    pub advertise_client_urls: Vec<Url>,
    /// Where it serves the other members.
    pub listen_peer_urls: Vec<Url>,
    /// Where it tells the other members to find it, when it joins.
    pub initial_advertise_peer_urls: Vec<Url>,
    /// Where it tells whoever asks what it does; loopback only, empty for nowhere.
    pub listen_telemetry_urls: Vec<Url>,
    /// Where it serves metrics and health besides the client URLs; empty for nowhere.
    pub listen_metrics_urls: Vec<Url>,
    /// The first members, as typed; read by [`Config::first_members`] only for a new data
    /// directory, because etcd ignores it for a used one.
    pub initial_cluster: String,
    /// Whether they start together.
    pub initial_cluster_state: InitialState,
    /// Makes this cluster's ids different from those of another with the same URLs.
    pub initial_cluster_token: String,
    /// Length of a tick: a tenth of the heartbeat interval, at least a millisecond.
    pub tick: Duration,
    /// Ticks between a leader's heartbeats.
    pub heartbeat_ticks: u32,
    /// Ticks of silence after which a follower may campaign.
    pub election_ticks: u32,
    /// The election timeout, as typed.
    pub election_timeout: Duration,
    /// Ask before campaigning (Raft thesis §9.6).
    pub pre_vote: bool,
    /// Time between two words to a watch that asked to be told of the progress.
    pub watch_progress_interval: Duration,
    /// Applied entries after which the log's start may be dropped.
    pub snapshot_count: u64,
    /// Entries kept before the last snapshot, for followers that are slow.
    pub snapshot_catchup_entries: u64,
    /// What the leader keeps when it compacts by itself; `None` if it does not.
    pub auto_compaction: Option<Retention>,
    /// Size of the state from which on writes are refused.
    pub quota_backend_bytes: u64,
    /// Longest request of a client.
    pub max_request_bytes: usize,
    /// Most operations in one branch of a transaction.
    pub max_txn_ops: usize,
    /// Keep the data, drop all other members.
    pub force_new_cluster: bool,
    /// Refuse changes of the configuration that could cost the quorum.
    pub strict_reconfig_check: bool,
    /// Compare all keys with those of the members that run before serving.
    pub initial_corrupt_check: bool,
    /// Dial peers through this.
    pub peer_proxy: Option<PeerProxy>,
    /// Take orders of the lab here.
    pub lab_control: Option<PathBuf>,
    /// End in order when standard input ends, so that a node never outlives who started it.
    pub exit_on_stdin_eof: bool,
    /// How much is said on standard error: `debug`, `info`, `warn` or `error`.
    pub log_level: String,
    /// What the operator should be told at the start.
    pub warnings: Vec<String>,
}

/// What auto-compaction keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// Whatever was current within this time.
    Period(Duration),
    /// This many revisions before the current one.
    Revisions(i64),
}

/// What a command line asks for.
#[derive(Debug)]
pub enum Asked {
    /// Run a node.
    Run(Box<Config>),
    /// Defragment the state in this data directory and end.
    Defragment(PathBuf),
    /// Print this and end well.
    Print(String),
}

/// What was typed cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    /// What is wrong and what to do, for standard error.
    pub message: String,
    /// 2 for what is no flag or no value of it, 1 for values that do not go together.
    pub exit_code: u8,
}

impl ConfigError {
    pub(super) fn usage(message: impl fmt::Display) -> Self {
        Self { message: format!("{message}\nrun raft-node --help for all flags"), exit_code: 2 }
    }

    /// A value that is no value of its flag.
    fn value(flag: &str, value: &str, why: impl fmt::Display) -> Self {
        Self::usage(format_args!("invalid value \"{value}\" for flag -{flag}: {why}"))
    }

    pub(super) fn meaning(message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), exit_code: 1 }
    }
}

impl Config {
    /// Reads arguments (without the program's name) and environment variables; a flag wins over
    /// its variable.
    pub fn read<K, V>(
        arguments: impl IntoIterator<Item = String>,
        environment: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Asked, ConfigError>
    where
        K: Into<String>,
        V: Into<String>,
    {
        let environment =
            environment.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        match arguments::read(arguments, environment)? {
            arguments::Read::Help => Ok(Asked::Print(flags::help())),
            arguments::Read::Version => Ok(Asked::Print(version_lines())),
            arguments::Read::DefragHelp => Ok(Asked::Print(flags::DEFRAG_HELP.to_owned())),
            arguments::Read::Defrag(data_dir) => Ok(Asked::Defragment(data_dir)),
            arguments::Read::Flags(flags, warnings) => {
                Ok(Asked::Run(Box::new(Self::mean(*flags, warnings)?)))
            }
        }
    }

    /// What the flags mean together.
    fn mean(flags: Flags, mut warnings: Vec<String>) -> Result<Self, ConfigError> {
        let listen_explicit = flags.listen_client_urls.is_some();
        if listen_explicit && flags.advertise_client_urls.is_none() {
            return Err(ConfigError::meaning(
                "--advertise-client-urls is required when --listen-client-urls is set explicitly",
            ));
        }
        let clients = "http://localhost:2379";
        let peers = "http://localhost:2380";
        let listen_client_urls =
            listen_urls("listen-client-urls", flags.listen_client_urls.as_deref(), clients)?;
        let advertise_client_urls = advertised_urls(
            "advertise-client-urls",
            flags.advertise_client_urls.as_deref(),
            clients,
        )?;
        let listen_peer_urls =
            listen_urls("listen-peer-urls", flags.listen_peer_urls.as_deref(), peers)?;
        let initial_advertise_peer_urls = advertised_urls(
            "initial-advertise-peer-urls",
            flags.initial_advertise_peer_urls.as_deref(),
            peers,
        )?;
        let listen_metrics_urls =
            listen_urls("listen-metrics-urls", flags.listen_metrics_urls.as_deref(), "")?;
        let listen_telemetry_urls = telemetry_urls(flags.listen_telemetry_urls.as_deref())?;
        for url in listen_client_urls.iter().chain(&listen_peer_urls).chain(&listen_metrics_urls) {
            if !url.is_loopback() {
                warnings.push(format!(
                    "{url} can be reached from other machines and is not encrypted: \
                     use it on a trusted network only"
                ));
            }
        }

        let (tick, heartbeat_ticks, election_timeout, election_ticks) =
            timers(&flags.heartbeat_interval, &flags.election_timeout)?;
        let name = flags.name;
        let initial_cluster = flags.initial_cluster.unwrap_or_else(|| {
            let urls = initial_advertise_peer_urls.iter();
            urls.map(|url| format!("{name}={url}")).collect::<Vec<_>>().join(",")
        });
        let initial_cluster_state = match flags.initial_cluster_state.as_str() {
            "new" => InitialState::New,
            "existing" => InitialState::Existing,
            other => {
                let why = "expected \"new\" or \"existing\"";
                return Err(ConfigError::value("initial-cluster-state", other, why));
            }
        };
        let quota_backend_bytes = quota(&flags.quota_backend_bytes)?;
        let size = |flag, text: &str| {
            let size = number(flag, text, 1)?;
            usize::try_from(size).map_err(|_| ConfigError::value(flag, text, "too large"))
        };
        Ok(Self {
            data_dir: flags.data_dir.map_or_else(|| format!("{name}.etcd").into(), PathBuf::from),
            name,
            listen_client_urls,
            advertise_client_urls,
            listen_peer_urls,
            initial_advertise_peer_urls,
            listen_telemetry_urls,
            listen_metrics_urls,
            initial_cluster,
            initial_cluster_state,
            initial_cluster_token: flags.initial_cluster_token,
            tick,
            heartbeat_ticks,
            election_ticks,
            election_timeout,
            watch_progress_interval: time(
                "experimental-watch-progress-notify-interval",
                &flags.watch_progress_interval,
            )?,
            pre_vote: yes_or_no("pre-vote", &flags.pre_vote)?,
            snapshot_count: number("snapshot-count", &flags.snapshot_count, 1)?,
            snapshot_catchup_entries: number(
                "experimental-snapshot-catchup-entries",
                &flags.snapshot_catchup_entries,
                0,
            )?,
            auto_compaction: retention(
                &flags.auto_compaction_mode,
                &flags.auto_compaction_retention,
            )?,
            quota_backend_bytes,
            max_request_bytes: size("max-request-bytes", &flags.max_request_bytes)?,
            max_txn_ops: size("max-txn-ops", &flags.max_txn_ops)?,
            force_new_cluster: yes_or_no("force-new-cluster", &flags.force_new_cluster)?,
            strict_reconfig_check: yes_or_no(
                "strict-reconfig-check",
                &flags.strict_reconfig_check,
            )?,
            initial_corrupt_check: yes_or_no(
                "experimental-initial-corrupt-check",
                &flags.initial_corrupt_check,
            )?,
            peer_proxy: flags.peer_proxy.as_deref().map(peer_proxy).transpose()?,
            lab_control: flags.lab_control,
            exit_on_stdin_eof: yes_or_no("exit-on-stdin-eof", &flags.exit_on_stdin_eof)?,
            log_level: log_level(&flags.log_level)?,
            warnings,
        })
    }

    /// The first members of a new cluster, ascending by id; this one is among them, just as it
    /// advertises itself.
    pub fn first_members(&self) -> Result<Vec<Member>, InitialClusterError> {
        let cluster = InitialCluster::parse(&self.initial_cluster)?;
        cluster.check_local(&self.name, &self.initial_advertise_peer_urls)?;
        Ok(cluster.members(&self.initial_cluster_token).into_iter().map(Member::from).collect())
    }

    /// How long a request may wait in the node: 5 s and two election timeouts, as etcd.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(5) + 2 * self.election_timeout
    }

    /// Shortest time to live of a lease, in whole seconds.
    pub fn min_lease_ttl_seconds(&self) -> i64 {
        crate::lease::min_ttl_seconds(self.election_timeout)
    }

    /// Where the member tells clients to find it, as texts.
    pub fn client_urls(&self) -> Vec<String> {
        self.advertise_client_urls.iter().map(|url| url.as_str().to_owned()).collect()
    }
}

fn version_lines() -> String {
    format!(
        "etcd Version: {ETCD_VERSION}\nRaftlab Version: {OWN_VERSION}\nRust OS/Arch: {}/{}\n",
        std::env::consts::OS,
        std::env::consts::ARCH
    )
}

/// Tick, heartbeat in ticks, election timeout, and that in ticks.
fn timers(heartbeat: &str, election: &str) -> Result<(Duration, u32, Duration, u32), ConfigError> {
    let heartbeat_millis = number("heartbeat-interval", heartbeat, 0)?;
    let election_millis = number("election-timeout", election, 0)?;
    for (flag, millis) in
        [("heartbeat-interval", heartbeat_millis), ("election-timeout", election_millis)]
    {
        if millis == 0 {
            return Err(ConfigError::meaning(format_args!("--{flag} must be >0 (set to 0ms)")));
        }
    }
    if heartbeat_millis.saturating_mul(5) > election_millis {
        return Err(ConfigError::meaning(format_args!(
            "--election-timeout[{election_millis}ms] should be at least as 5 times as \
             --heartbeat-interval[{heartbeat_millis}ms]"
        )));
    }
    if election_millis > MAX_ELECTION_MILLIS {
        return Err(ConfigError::meaning(format_args!(
            "--election-timeout[{election_millis}ms] is too long, and should be set less than \
             {MAX_ELECTION_MILLIS}ms"
        )));
    }
    let heartbeat = Duration::from_millis(heartbeat_millis);
    let election = Duration::from_millis(election_millis);
    let tick = (heartbeat / 10).max(Duration::from_millis(1));
    let ticks = |time: Duration| {
        u32::try_from(time.as_micros() / tick.as_micros()).expect("at most 50 s of 1 ms ticks")
    };
    Ok((tick, ticks(heartbeat).max(1), election, ticks(election)))
}

fn number(flag: &str, text: &str, least: u64) -> Result<u64, ConfigError> {
    text.parse().ok().filter(|number| *number >= least).ok_or_else(|| {
        ConfigError::value(flag, text, format_args!("expected a whole number from {least} on"))
    })
}

/// What auto-compaction keeps. A bare number is hours, or revisions.
fn retention(mode: &str, text: &str) -> Result<Option<Retention>, ConfigError> {
    let flag = "auto-compaction-retention";
    match (mode, text.parse::<u32>()) {
        ("periodic" | "revision", Ok(0)) => Ok(None),
        ("periodic", Ok(hours)) => Ok(Some(Retention::Period(hours * Duration::from_secs(3600)))),
        ("periodic", Err(_)) if text.trim_end_matches(|c: char| c.is_ascii_lowercase()) == "0" => {
            Ok(None)
        }
        ("periodic", Err(_)) => Ok(Some(Retention::Period(time(flag, text)?))),
        ("revision", Ok(count)) => Ok(Some(Retention::Revisions(i64::from(count)))),
        ("revision", Err(_)) => {
            let why = "expected a number of revisions, for --auto-compaction-mode is revision";
            Err(ConfigError::value(flag, text, why))
        }
        _ => {
            let why = "expected \"periodic\" or \"revision\"";
            Err(ConfigError::value("auto-compaction-mode", mode, why))
        }
    }
}

/// The quota of `--quota-backend-bytes`: a negative number is none, 0 the default.
fn quota(text: &str) -> Result<u64, ConfigError> {
    match text.parse::<i64>() {
        Ok(0) => Ok(DEFAULT_QUOTA_BYTES),
        Ok(bytes) => Ok(u64::try_from(bytes).unwrap_or(u64::MAX)),
        Err(_) => Err(ConfigError::value("quota-backend-bytes", text, "expected a whole number")),
    }
}

/// A length of time as Go writes it: `10m`, `1m30s`, `1.5h`, `250ms`.
fn time(flag: &str, text: &str) -> Result<Duration, ConfigError> {
    const UNITS: [(&str, f64); 6] =
        [("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let wrong = || ConfigError::value(flag, text, "expected a time such as 5s, 1m30s or 250ms");
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let (_, unit_seconds) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        seconds += number.parse::<f64>().map_err(|_| wrong())? * unit_seconds;
        rest = tail;
    }
    // No time at all would mean to do it without end.
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|time| *time >= Duration::from_millis(1))
        .ok_or_else(wrong)
}

/// Go's ways of writing a truth value.
fn yes_or_no(flag: &str, text: &str) -> Result<bool, ConfigError> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(ConfigError::value(flag, text, "expected true or false")),
    }
}

fn urls(flag: &str, given: Option<&str>, default: &str) -> Result<Vec<Url>, ConfigError> {
    match given.unwrap_or(default) {
        "" => Ok(Vec::new()),
        text => Url::parse_list(text).map_err(|why| {
            ConfigError::value(
                flag,
                text,
                format_args!("{why}\nexpected http://host:port, several separated by commas"),
            )
        }),
    }
}

fn listen_urls(flag: &str, given: Option<&str>, default: &str) -> Result<Vec<Url>, ConfigError> {
    let urls = urls(flag, given, default)?;
    for url in &urls {
        let host = url.host();
        if !host.is_empty() && host != "localhost" && host.parse::<std::net::IpAddr>().is_err() {
            return Err(ConfigError::meaning(format_args!(
                "--{flag}: expected IP in URL for binding ({url})"
            )));
        }
    }
    Ok(urls)
}

fn advertised_urls(
    flag: &str,
    given: Option<&str>,
    default: &str,
) -> Result<Vec<Url>, ConfigError> {
    let urls = urls(flag, given, default)?;
    match urls.iter().find(|url| url.host().is_empty()) {
        Some(url) => {
            Err(ConfigError::meaning(format_args!("--{flag}: unexpected empty host ({url})")))
        }
        None => Ok(urls),
    }
}

fn telemetry_urls(given: Option<&str>) -> Result<Vec<Url>, ConfigError> {
    let urls = listen_urls("listen-telemetry-urls", given, "")?;
    if urls.iter().all(Url::is_loopback) {
        return Ok(urls);
    }
    Err(ConfigError::meaning(format_args!(
        "--listen-telemetry-urls={} is refused: telemetry shows everything and asks nobody who \
         they are, so it is served on loopback only; use http://127.0.0.1:port",
        join(&urls)
    )))
}

fn peer_proxy(text: &str) -> Result<PeerProxy, ConfigError> {
    let parsed = text.strip_prefix("socks5://").and_then(|address| {
        Url::parse(&format!("http://{address}")).ok().filter(|url| !url.host().is_empty())
    });
    match parsed {
        Some(url) => Ok(PeerProxy { host: url.host().to_owned(), port: url.port() }),
        None => Err(ConfigError::value("peer-proxy", text, "expected socks5://host:port")),
    }
}

fn log_level(text: &str) -> Result<String, ConfigError> {
    match text {
        "debug" | "info" | "warn" | "error" => Ok(text.to_owned()),
        "dpanic" | "panic" | "fatal" => Ok("error".to_owned()),
        _ => Err(ConfigError::value("log-level", text, "expected debug, info, warn or error")),
    }
}
