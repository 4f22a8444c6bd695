//! Each command with its flags and an example of its use.

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use super::access::{Auth, Role, User};
use super::backup::Backup;
use crate::quote;

/// Reads a whole number; errors are in Go's words.
fn number(text: &str) -> Result<i64, String> {
    quote::int(text, 10)
}

pub(super) fn unsigned(text: &str) -> Result<u64, String> {
    quote::uint(text, 10)
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Get a key or a range of keys
    Get(Get),
    /// Put a value under a key
    Put(Put),
    /// Delete a key or a range of keys
    Del(Del),
    /// Do several things at once, if comparisons hold
    Txn(Txn),
    /// Follow the changes of keys
    Watch(Watch),
    /// Forget the history before a revision
    Compaction(Compaction),
    /// Leases: keys that vanish with whoever keeps them
    #[command(subcommand)]
    Lease(Lease),
    /// The members of the cluster
    #[command(subcommand)]
    Member(Member),
    /// Ask each endpoint how it is
    Endpoint(Endpoint),
    /// Alarms that stop writes
    #[command(subcommand)]
    Alarm(Alarm),
    /// Give space of the members' storage back
    #[command(after_help = "Example:\n  raft-ctl defrag --cluster")]
    Defrag(Defrag),
    /// Make another member the leader; needs the leader among --endpoints
    #[command(after_help = "Example:\n  raft-ctl move-leader 8e9e05c52164694d")]
    MoveLeader(Words),
    /// Copies of a member's state
    #[command(subcommand)]
    Snapshot(Snapshot),
    /// Keep the keys of another cluster as they are here
    MakeMirror(MakeMirror),
    /// Save and test snapshots again and again, and keep the newest
    Backup(Backup),
    /// Measure what the cluster can do
    #[command(subcommand)]
    Check(Check),
    /// Hold a named lock, alone or while a command runs
    #[command(after_help = "Examples:\n  raft-ctl lock build\n  raft-ctl lock build -- make all")]
    Lock(Lock),
    /// Take part in an election among clients, or observe it
    #[command(after_help = "Examples:\n  raft-ctl elect chief alice\n  raft-ctl elect -l chief")]
    Elect(Elect),
    /// Users and their roles
    #[command(subcommand)]
    User(User),
    /// Roles and what they permit
    #[command(subcommand)]
    Role(Role),
    /// Turn users and roles on or off
    #[command(subcommand)]
    Auth(Auth),
    /// Print the versions of program and API
    Version,
    /// Print a script that completes commands at a shell
    #[command(after_help = "Example:\n  source <(raft-ctl completion bash)")]
    Completion(Completion),
}

/// A command that takes only words.
#[derive(Debug, Args)]
pub(crate) struct Words {
    /// Arguments
    pub(crate) words: Vec<String>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  raft-ctl get greeting\n  raft-ctl get --prefix jobs/ --limit=10 --sort-by=modify --order=descend"
)]
pub(crate) struct Get {
    /// KEY, or KEY and the end of a range, which is not part of it
    #[arg(value_name = "KEY [RANGE_END]")]
    pub(crate) words: Vec<String>,
    /// Keys that begin with KEY
    #[arg(long)]
    pub(crate) prefix: bool,
    /// Keys from KEY on, in the order of their bytes
    #[arg(long)]
    pub(crate) from_key: bool,
    /// At most so many; 0 for all
    #[arg(long, default_value = "0", value_parser = number, allow_hyphen_values = true)]
    pub(crate) limit: i64,
    /// ASCEND or DESCEND
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) order: String,
    /// CREATE, KEY, MODIFY, VALUE or VERSION
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) sort_by: String,
    /// As it was at this revision
    #[arg(long, default_value = "0", value_parser = number, allow_hyphen_values = true)]
    pub(crate) rev: i64,
    /// l: as fresh as the last write (linearizable); s: what this member knows (serializable)
    #[arg(long, default_value = "l")]
    pub(crate) consistency: String,
    /// Without values
    #[arg(long)]
    pub(crate) keys_only: bool,
    /// Only how many; with -w fields
    #[arg(long)]
    pub(crate) count_only: bool,
    /// Without keys; with -w simple
    #[arg(long)]
    pub(crate) print_value_only: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  raft-ctl put greeting hello\n  raft-ctl put config < config.json\n  raft-ctl put -- key -value"
)]
pub(crate) struct Put {
    /// KEY and VALUE; without VALUE it is read from standard input
    #[arg(value_name = "KEY [VALUE]")]
    pub(crate) words: Vec<String>,
    /// The lease to attach the key to, in hexadecimal
    #[arg(long, default_value = "0", allow_hyphen_values = true)]
    pub(crate) lease: String,
    /// Print the pair that was there before
    #[arg(long)]
    pub(crate) prev_kv: bool,
    /// Keep the value the key has
    #[arg(long)]
    pub(crate) ignore_value: bool,
    /// Keep the lease the key has
    #[arg(long)]
    pub(crate) ignore_lease: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  raft-ctl del greeting\n  raft-ctl del --prefix jobs/ --prev-kv"
)]
pub(crate) struct Del {
    /// KEY, or KEY and the end of a range, which is not part of it
    #[arg(value_name = "KEY [RANGE_END]")]
    pub(crate) words: Vec<String>,
    /// Keys that begin with KEY
    #[arg(long)]
    pub(crate) prefix: bool,
    /// Keys from KEY on, in the order of their bytes
    #[arg(long)]
    pub(crate) from_key: bool,
    /// Print the pairs that were deleted
    #[arg(long)]
    pub(crate) prev_kv: bool,
    /// A range is meant, so do not warn
    #[arg(long)]
    pub(crate) range: bool,
}

const TXN: &str = r#"Three blocks, each ended by an empty line: comparisons, what to do if all hold, what to do if not.
A comparison is TARGET("KEY") OP "VALUE": value, version, create, mod or lease; =, !=, < or >.

Example:
  raft-ctl txn <<'END'
  value("greeting") = "hello"

  put greeting goodbye

  get greeting

  END"#;

#[derive(Debug, Args)]
#[command(after_help = TXN)]
pub(crate) struct Txn {
    /// None
    #[arg(hide = true)]
    pub(crate) words: Vec<String>,
    /// Say which block is expected
    #[arg(long, short)]
    pub(crate) interactive: bool,
}

/// A line of a transaction.
#[derive(Debug, Parser)]
pub(crate) enum TxnLine {
    Put(Put),
    Get(Get),
    Del(Del),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  raft-ctl watch --prefix jobs/\n  raft-ctl watch greeting --rev=5 -- sh -c 'echo $ETCD_WATCH_VALUE'"
)]
pub(crate) struct Watch {
    /// KEY, or KEY and the end of a range; ETCDCTL_WATCH_KEY and ETCDCTL_WATCH_RANGE_END stand in
    #[arg(value_name = "KEY [RANGE_END]")]
    pub(crate) words: Vec<String>,
    /// Read `watch …` and `progress` from standard input
    #[arg(long, short)]
    pub(crate) interactive: bool,
    /// Keys that begin with KEY
    #[arg(long)]
    pub(crate) prefix: bool,
    /// Begin with this revision, in the past or to come
    #[arg(long, default_value = "0", value_parser = number, allow_hyphen_values = true)]
    pub(crate) rev: i64,
    /// Print the pair that was there before, too
    #[arg(long)]
    pub(crate) prev_kv: bool,
    /// Be told how far the member is, when nothing happens
    #[arg(long)]
    pub(crate) progress_notify: bool,
    /// A command to run for each event
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) exec: Vec<String>,
}

/// A line of an interactive watch.
#[derive(Debug, Parser)]
pub(crate) struct WatchLine {
    #[command(flatten)]
    pub(crate) watch: Watch,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  raft-ctl compaction 1000")]
pub(crate) struct Compaction {
    /// The revision to keep; what is older goes
    #[arg(value_name = "REVISION", allow_negative_numbers = true)]
    pub(crate) words: Vec<String>,
    /// Wait until it is gone from the disk
    #[arg(long)]
    pub(crate) physical: bool,
}

#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  raft-ctl lease grant 60\n  raft-ctl put --lease=694d5765fc71500b worker alive"
)]
pub(crate) enum Lease {
    /// Grant a lease for so many seconds
    #[command(after_help = "Example:\n  raft-ctl lease grant 60")]
    Grant(LeaseWords),
    /// End a lease and delete its keys
    #[command(after_help = "Example:\n  raft-ctl lease revoke 694d5765fc71500b")]
    Revoke(LeaseWords),
    /// Ask how long a lease still has
    #[command(after_help = "Example:\n  raft-ctl lease timetolive 694d5765fc71500b --keys")]
    Timetolive(LeaseTime),
    /// List the leases
    #[command(after_help = "Example:\n  raft-ctl lease list")]
    List(Words),
    /// Renew a lease until stopped, or once
    #[command(after_help = "Example:\n  raft-ctl lease keep-alive --once 694d5765fc71500b")]
    KeepAlive(LeaseKeep),
}

#[derive(Debug, Args)]
pub(crate) struct LeaseWords {
    /// Seconds, or the lease in hexadecimal
    #[arg(value_name = "TTL|LEASE", allow_negative_numbers = true)]
    pub(crate) words: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct LeaseTime {
    /// The lease in hexadecimal
    #[arg(value_name = "LEASE", allow_negative_numbers = true)]
    pub(crate) words: Vec<String>,
    /// And which keys it holds
    #[arg(long)]
    pub(crate) keys: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LeaseKeep {
    /// The lease in hexadecimal
    #[arg(value_name = "LEASE", allow_negative_numbers = true)]
    pub(crate) words: Vec<String>,
    /// Renew once and end
    #[arg(long)]
    pub(crate) once: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Member {
    /// List the members
    #[command(after_help = "Example:\n  raft-ctl member list -w table")]
    List(Words),
    /// Add a member before it is started
    #[command(after_help = "Example:\n  raft-ctl member add m4 --peer-urls=http://10.0.0.4:2380")]
    Add(MemberAdd),
    /// Remove a member for ever
    #[command(after_help = "Example:\n  raft-ctl member remove 8e9e05c52164694d")]
    Remove(Words),
    /// Change the URLs by which other members reach one
    #[command(
        after_help = "Example:\n  raft-ctl member update 8e9e05c52164694d --peer-urls=http://10.0.0.5:2380"
    )]
    Update(MemberUpdate),
    /// Give a learner its vote
    #[command(after_help = "Example:\n  raft-ctl member promote 8e9e05c52164694d")]
    Promote(Words),
}

#[derive(Debug, Args)]
pub(crate) struct MemberAdd {
    /// The new member's name
    #[arg(value_name = "NAME")]
    pub(crate) words: Vec<String>,
    /// Where other members reach it, separated by commas
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) peer_urls: String,
    /// Without a vote until it is promoted
    #[arg(long)]
    pub(crate) learner: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MemberUpdate {
    /// The member in hexadecimal
    #[arg(value_name = "MEMBER")]
    pub(crate) words: Vec<String>,
    /// Where other members reach it, separated by commas
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) peer_urls: String,
}

#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Endpoint {
    /// Ask all members, not only the endpoints given
    #[arg(long, global = true)]
    pub(crate) cluster: bool,
    #[command(subcommand)]
    pub(crate) command: EndpointCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EndpointCommand {
    /// Can it read what the cluster agreed on?
    #[command(after_help = "Example:\n  raft-ctl endpoint health --cluster")]
    Health(Words),
    /// Who it is, who leads, how far it is
    #[command(after_help = "Example:\n  raft-ctl endpoint status --cluster -w table")]
    Status(Words),
    /// A sum over its keys and their history; equal on all members
    #[command(after_help = "Example:\n  raft-ctl endpoint hashkv --cluster")]
    Hashkv(HashKv),
}

#[derive(Debug, Args)]
pub(crate) struct HashKv {
    /// Up to this revision; 0 for all
    #[arg(long, default_value = "0", value_parser = number, allow_hyphen_values = true)]
    pub(crate) rev: i64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Alarm {
    /// List the alarms
    #[command(after_help = "Example:\n  raft-ctl alarm list")]
    List(Words),
    /// Clear all alarms
    #[command(after_help = "Example:\n  raft-ctl alarm disarm")]
    Disarm(Words),
}

#[derive(Debug, Args)]
pub(crate) struct Defrag {
    /// Every member, not only the endpoints given
    #[arg(long)]
    pub(crate) cluster: bool,
    /// The data of a member that does not run: this program opens none, raft-node defrag does
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) data_dir: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Snapshot {
    /// Save one member's state to a file, and check it
    #[command(
        after_help = "Example:\n  raft-ctl --endpoints=127.0.0.1:2379 snapshot save backup.db"
    )]
    Save(Words),
    /// Tell what is in a saved snapshot, or in a copied member/snap/db
    #[command(after_help = "Example:\n  raft-ctl snapshot status backup.db -w table")]
    Status(Words),
    /// Make a snapshot into the data directory of a member of a new cluster
    #[command(after_help = RESTORE_HELP)]
    Restore(Restore),
}

const RESTORE_HELP: &str = "\
Every member of the new cluster is restored from the same file, each with its own --name,
--initial-advertise-peer-urls and directory, and with the same --initial-cluster and
--initial-cluster-token. Members and cluster get new ids: no member of an old cluster can join.
What was written after the snapshot is not in it.

Example, for each of m1, m2 and m3:
  raft-ctl snapshot restore backup.db --name m1 \\
    --initial-cluster m1=http://10.0.0.1:2380,m2=http://10.0.0.2:2380,m3=http://10.0.0.3:2380 \\
    --initial-cluster-token cluster-2 --initial-advertise-peer-urls http://10.0.0.1:2380
  raft-node --name m1 --listen-peer-urls http://10.0.0.1:2380 \\
    --listen-client-urls http://10.0.0.1:2379 --advertise-client-urls http://10.0.0.1:2379

The directory is etcd's own: a real etcd starts from it as well.";

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The snapshot's file
    #[arg(value_name = "FILE")]
    pub(crate) words: Vec<String>,
    /// The directory to make; NAME.etcd if none is given
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) data_dir: String,
    /// Where the log goes, if not into the data directory
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) wal_dir: String,
    /// The member's name
    #[arg(long, default_value = "default")]
    pub(crate) name: String,
    /// All members of the new cluster, NAME=URL separated by commas
    #[arg(long, default_value = "default=http://localhost:2380")]
    pub(crate) initial_cluster: String,
    /// A name that no cluster with the same members had before
    #[arg(long, default_value = "etcd-cluster")]
    pub(crate) initial_cluster_token: String,
    /// Where this member's peers reach it, as in --initial-cluster
    #[arg(long, default_value = "http://localhost:2380")]
    pub(crate) initial_advertise_peer_urls: String,
    /// Take a file without a hash (a copied member/snap/db has none), or with a wrong one
    #[arg(long)]
    pub(crate) skip_hash_check: bool,
    /// Raise the newest revision by this much, so that no client sees a revision twice
    #[arg(long, default_value = "0", value_parser = unsigned)]
    pub(crate) bump_revision: u64,
    /// Make watchers of raised revisions begin anew; goes with --bump-revision
    #[arg(long)]
    pub(crate) mark_compacted: bool,
}

const MIRROR: &str = "\
First all keys are written as they are at one revision, then each change as it comes: what one
revision changed is one transaction. Every 30 seconds it prints how many keys it has written or
deleted. Keys that only the destination has stay there; leases are not mirrored.

It runs until stopped, and ends with 1 if it cannot go on, as when the source has compacted what
was not mirrored yet. Started again, it begins anew.

Examples:
  raft-ctl --endpoints=127.0.0.1:2379 make-mirror 127.0.0.1:22379
  raft-ctl make-mirror --prefix=jobs/ --dest-prefix=old-jobs/ 127.0.0.1:22379";

#[derive(Debug, Args)]
#[command(after_help = MIRROR)]
pub(crate) struct MakeMirror {
    /// Where a member of the destination listens
    #[arg(value_name = "DESTINATION")]
    pub(crate) words: Vec<String>,
    /// Only keys that begin with this
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) prefix: String,
    /// What they begin with at the destination, instead
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) dest_prefix: String,
    /// At the destination they stand without the prefix
    #[arg(long)]
    pub(crate) no_dest_prefix: bool,
    /// Only the changes from this revision on, without what is there
    #[arg(long, default_value = "0", value_parser = number, allow_hyphen_values = true)]
    pub(crate) rev: i64,
    /// Most operations in a transaction at the destination; a larger revision is written in several
    #[arg(long, default_value = "128", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_txn_ops: u32,
    /// Who asks the destination: NAME or NAME:PASSWORD; without a password it is asked for
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) dest_user: String,
    /// The password of --dest-user, which then holds the name alone
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) dest_password: String,
    /// Certificate authorities to trust at the destination (TLS: not supported yet)
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) dest_cacert: String,
    /// The client's certificate at the destination (TLS: not supported yet)
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) dest_cert: String,
    /// The key of --dest-cert (TLS: not supported yet)
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) dest_key: String,
    /// Connect to the destination without TLS; false is not supported yet
    #[arg(long, default_value = "true", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", action = ArgAction::Set, hide_possible_values = true)]
    pub(crate) dest_insecure_transport: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Check {
    /// Write for a minute and judge the speed
    #[command(after_help = "Example:\n  raft-ctl check perf --load=s")]
    Perf(Perf),
}

#[derive(Debug, Args)]
pub(crate) struct Perf {
    /// s, m, l or xl: 150, 1000, 8000 or 15000 writes a second
    #[arg(long, default_value = "s")]
    pub(crate) load: String,
    /// The keys written begin with this
    #[arg(long, default_value = "/etcdctl-check-perf/")]
    pub(crate) prefix: String,
    /// Compact when done
    #[arg(long)]
    pub(crate) auto_compact: bool,
    /// Defragment when done
    #[arg(long)]
    pub(crate) auto_defrag: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Lock {
    /// The lock's name, and the command to run while it is held
    #[arg(value_name = "NAME [COMMAND]")]
    pub(crate) words: Vec<String>,
    /// Seconds after which the lock of a dead client is free
    #[arg(long, default_value = "10", value_parser = number)]
    pub(crate) ttl: i64,
}

#[derive(Debug, Args)]
pub(crate) struct Elect {
    /// The election's name, and what to propose
    #[arg(value_name = "NAME [PROPOSAL]")]
    pub(crate) words: Vec<String>,
    /// Observe only
    #[arg(long, short)]
    pub(crate) listen: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Completion {
    /// The shell
    pub(crate) shell: Shell,
}

/// Shells whose completion is known.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}
