//! Every flag: its name, its default, and what it is good for.

use std::path::PathBuf;

use clap::{CommandFactory, Parser};

/// The text of `defrag --help`.
pub(super) const DEFRAG_HELP: &str = "\
Give the room of removed rows back to the disk, while no member runs.

Usage: raft-node defrag --data-dir DIR

  --data-dir DIR  The data directory of a member that does not run; ETCD_DATA_DIR if not given

The state is verified, written anew beside the old one and put in its place: the disk needs room for
both meanwhile. Whatever happens, the directory holds one of the two, complete.

A member that runs is defragmented by `etcdctl defrag`, or by `raft-ctl defrag`.
";

/// What was typed, not yet understood.
///
/// All values are texts here: they are judged by `Config`, whose messages are etcd's.
#[derive(Debug, Parser)]
#[command(
    name = "raft-node",
    disable_version_flag = true,
    disable_help_flag = true,
    max_term_width = 100,
    about = "A member of a Raft cluster that serves etcd's v3 API.",
    long_about = "A member of a Raft cluster that serves etcd's v3 API.\n\n\
        Flags have etcd's names, defaults and meaning. A flag may be written -name x, --name x or \
        --name=x. Each is also an environment variable: ETCD_ and its name in upper case with _ \
        for -, such as ETCD_DATA_DIR; the flag wins.",
    after_help = "Started without any flag it is a cluster of one, on localhost, with its data in \
        ./default.etcd.\n\n\
        Three members on one machine, each in a terminal of its own (here the first):\n\n  \
        raft-node --name m1 --listen-client-urls http://127.0.0.1:2379 \\\n    \
        --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380 \\\n    \
        --initial-advertise-peer-urls http://127.0.0.1:2380 \\\n    \
        --initial-cluster m1=http://127.0.0.1:2380,m2=http://127.0.0.1:22380,m3=http://127.0.0.1:32380\n\n\
        While no member runs on a data directory:\n\n  \
        raft-node defrag --data-dir DIR     give the room of removed rows back to the disk\n"
)]
pub(super) struct Flags {
    /// The member's name; what stands before = in --initial-cluster.
    #[arg(long, default_value = "default", help_heading = "Member")]
    pub(super) name: String,
    /// Where everything it must not forget lies; ${name}.etcd if not given. Never start two nodes
    /// on one directory, and never start a removed member's directory again.
    #[arg(long, value_name = "DIR", help_heading = "Member")]
    pub(super) data_dir: Option<String>,
    /// Where to serve clients, an address of this machine; http://localhost:2379 if not given.
    #[arg(long, value_name = "URLS", help_heading = "Member")]
    pub(super) listen_client_urls: Option<String>,
    /// Where to serve the other members; http://localhost:2380 if not given.
    #[arg(long, value_name = "URLS", help_heading = "Member")]
    pub(super) listen_peer_urls: Option<String>,
    /// Where to serve /metrics and /health besides the client URLs.
    #[arg(long, value_name = "URLS", help_heading = "Member")]
    pub(super) listen_metrics_urls: Option<String>,

    /// Where clients find this member, told to them in the member list. Required together with
    /// --listen-client-urls, because 0.0.0.0 is nobody's address.
    #[arg(long, value_name = "URLS", help_heading = "Clustering")]
    pub(super) advertise_client_urls: Option<String>,
    /// Where the other members find this one. Must be what --initial-cluster says of it.
    #[arg(long, value_name = "URLS", help_heading = "Clustering")]
    pub(super) initial_advertise_peer_urls: Option<String>,
    /// All first members: name=URL, separated by commas, the same line on each of them. Ignored
    /// once the data directory is in use, as are the other --initial flags.
    #[arg(long, value_name = "NAME=URL,...", help_heading = "Clustering")]
    pub(super) initial_cluster: Option<String>,
    /// "new" if those members start together, "existing" if the others run and have added this
    /// one with `member add`.
    #[arg(long, value_name = "STATE", default_value = "new", help_heading = "Clustering")]
    pub(super) initial_cluster_state: String,
    /// Part of all ids: a new token makes a new cluster out of the same URLs, whose members talk
    /// to nobody of the old one.
    #[arg(long, value_name = "TOKEN", default_value = "etcd-cluster", help_heading = "Clustering")]
    pub(super) initial_cluster_token: String,
    /// Refuse changes of members that could cost the quorum.
    #[arg(long, value_name = "BOOL", default_value = "true", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", help_heading = "Clustering")]
    pub(super) strict_reconfig_check: String,
    /// Ask the others before campaigning, so that a member which was cut off does not disturb them
    /// when it returns.
    #[arg(long, value_name = "BOOL", default_value = "true", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", help_heading = "Clustering")]
    pub(super) pre_vote: String,
    /// Keep the data but drop all other members: the last resort after losing the quorum for good.
    #[arg(long, value_name = "BOOL", default_value = "false", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", help_heading = "Clustering")]
    pub(super) force_new_cluster: String,

    /// Before serving, compare all keys with those of the members that run, and end if they are
    /// others.
    #[arg(long = "experimental-initial-corrupt-check", value_name = "BOOL", default_value = "false",
        num_args = 0..=1, require_equals = true, default_missing_value = "true",
        help_heading = "Clustering")]
    pub(super) initial_corrupt_check: String,

    /// How often a leader says that it is alive; about the round-trip time between members.
    #[arg(long, value_name = "MILLIS", default_value = "100", help_heading = "Timing")]
    pub(super) heartbeat_interval: String,
    /// Silence after which a follower campaigns; at least 5 heartbeats, the same on all members.
    #[arg(long, value_name = "MILLIS", default_value = "1000", help_heading = "Timing")]
    pub(super) election_timeout: String,

    /// Entries applied between two cuts of the log.
    #[arg(long, value_name = "COUNT", default_value = "100000", help_heading = "Limits")]
    pub(super) snapshot_count: String,
    /// Entries kept before a cut, so that a follower a little behind needs no snapshot.
    #[arg(
        long = "experimental-snapshot-catchup-entries",
        value_name = "COUNT",
        default_value = "5000",
        help_heading = "Limits"
    )]
    pub(super) snapshot_catchup_entries: String,
    /// What the leader keeps when it compacts by itself: "periodic", what was current within some
    /// time, or "revision", so many revisions.
    #[arg(long, value_name = "MODE", default_value = "periodic", help_heading = "Limits")]
    pub(super) auto_compaction_mode: String,
    /// How much that is: a time such as 30m, a bare number of hours, or of revisions; 0 to compact
    /// only when told to.
    #[arg(long, value_name = "KEEP", default_value = "0", help_heading = "Limits")]
    pub(super) auto_compaction_retention: String,
    /// Size of the state from which on writes are refused, until room was made and the alarm
    /// disarmed. 0 means 2 GiB, a negative number no limit.
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "0",
        allow_negative_numbers = true,
        help_heading = "Limits"
    )]
    pub(super) quota_backend_bytes: String,
    /// Longest request of a client.
    #[arg(long, value_name = "BYTES", default_value = "1572864", help_heading = "Limits")]
    pub(super) max_request_bytes: String,
    /// Most operations in a transaction.
    #[arg(long, value_name = "COUNT", default_value = "128", help_heading = "Limits")]
    pub(super) max_txn_ops: String,

    /// Time between two words to a watch that asked to be told of the progress, such as 5s.
    #[arg(
        long = "experimental-watch-progress-notify-interval",
        value_name = "TIME",
        default_value = "10m",
        help_heading = "Timing"
    )]
    pub(super) watch_progress_interval: String,

    /// How much to say on standard error: debug, info, warn or error.
    #[arg(long, value_name = "LEVEL", default_value = "info", help_heading = "Watching it")]
    pub(super) log_level: String,
    /// Where to tell whoever asks what this member is doing: a websocket at /telemetry, on loopback
    /// only. Not one of etcd's flags.
    #[arg(long, value_name = "URLS", help_heading = "Watching it")]
    pub(super) listen_telemetry_urls: Option<String>,

    /// Dial the other members through this SOCKS5 proxy, which also resolves their names. This is
    /// how the lab stands on every wire; a real cluster never sets it. Not one of etcd's flags.
    #[arg(long, value_name = "socks5://HOST:PORT", help_heading = "In the lab")]
    pub(super) peer_proxy: Option<String>,
    /// Take orders of the lab at this socket: to make the disk slow or full, the clocks wrong. Not
    /// one of etcd's flags.
    #[arg(long, value_name = "SOCKET", help_heading = "In the lab")]
    pub(super) lab_control: Option<PathBuf>,
    /// End in order when standard input ends, so that a node never outlives who started it. Not
    /// one of etcd's flags.
    #[arg(long, value_name = "BOOL", default_value = "false", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", help_heading = "In the lab")]
    pub(super) exit_on_stdin_eof: String,

    /// Print this text and end.
    #[arg(long, num_args = 0, action = clap::ArgAction::SetTrue, help_heading = "Help")]
    help: bool,
    /// Print the versions and end.
    #[arg(long, num_args = 0, action = clap::ArgAction::SetTrue, help_heading = "Help")]
    version: bool,
}

/// The text of `--help`.
pub(super) fn help() -> String {
    Flags::command().render_long_help().to_string()
}

/// Every flag, and whether it may stand without a value.
pub(super) fn names() -> Vec<(String, bool)> {
    let mut command = Flags::command();
    command.build();
    command
        .get_arguments()
        .filter_map(|argument| {
            let alone = argument.get_num_args().is_some_and(|range| range.min_values() == 0);
            argument.get_long().map(|name| (name.to_owned(), alone))
        })
        .collect()
}
