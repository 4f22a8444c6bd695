//! `backup` with its flags, and what a person should know of backups.

use std::time::Duration;

use clap::Args;

use super::commands::unsigned;
use crate::duration;

const HELP: &str = "\
A backup is a snapshot of one member: of the endpoints given, the one with the highest revision,
or the next one if it fails. Its name tells when it was taken, in UTC, and up to which revision:
  backups/2026-11-28T18-30-00Z-rev-1234.db
What would be lost is what was written since the last good one: at most --every, and the time a
save takes. Whenever one fails, the age of the last good one is told. Of the good ones the newest
--keep stay. Files of other names are nobody's business here and are never touched.

Why --verify: a file that nobody has restored is a hope. Each new file is restored into a folder
beside it, which is removed again, and one older file each time as well, the one that was not
tested for the longest: disks rot in silence. What cannot be restored is set apart as ….db.damaged
and no longer counted.

Why off the machine: a backup on a member's disk is lost with that disk. Run this on another
machine, or copy DIR to one after each time; the files never change once they have their names.

How to restore: stop all members, then on each machine, from the same file
  raft-ctl snapshot restore backups/2026-11-28T18-30-00Z-rev-1234.db --name m1 \\
    --initial-cluster m1=http://10.0.0.1:2380,m2=… --initial-advertise-peer-urls http://10.0.0.1:2380
and start the members on the new directories. `raft-ctl help snapshot restore` says more.

Ctrl-C ends it, with 0 if there was a good backup. With --once it ends after the first, for cron
and timers: with 0 only if that was good and nothing was found damaged.

Examples:
  raft-ctl backup --every 30m --keep 48 --verify
  raft-ctl --endpoints=10.0.0.1:2379,10.0.0.2:2379 backup --once --verify --dir /mnt/far/etcd -w json";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Backup {
    /// None
    #[arg(hide = true)]
    pub(crate) words: Vec<String>,
    /// The time from one backup to the next, and so the most that can be lost: 30m, 1h30m, 45s
    #[arg(long, default_value = "30m", value_parser = duration::parse, value_name = "TIME")]
    pub(crate) every: Duration,
    /// How many good backups are kept; the oldest one goes when there is a new one
    #[arg(long, default_value = "48", value_parser = unsigned, value_name = "COUNT",
          allow_hyphen_values = true)]
    pub(crate) keep: u64,
    /// Restore each new file for a test, and one older file each time
    #[arg(long)]
    pub(crate) verify: bool,
    /// The folder for the files; it is made if it is not there
    #[arg(long, default_value = "backups")]
    pub(crate) dir: String,
    /// One backup, and end
    #[arg(long)]
    pub(crate) once: bool,
}
