//! Backups as a habit: a snapshot of one member every so often, each tested, the newest kept.
//!
//! ```text
//!   every so often: ask all endpoints ─► the one furthest on ─► NAME.db.part ─► NAME.db
//!                                          │ fails: the next       hash, fsync    │
//!                                          ▼                                      ▼ --verify
//!                                     "no backup newer than …"        a restore into NAME.db.test
//!                                                                       │ cannot be restored
//!                                                                       ▼
//!                                                                    NAME.db.damaged
//! ```
//!
//! `name` is what a file's name tells, `shelf` the folder, `trial` the restore for a test, and
//! `habit` the periods.
//!
//! What must hold:
//! - A file has its name only once it is whole, by the member's own hash, and durable.
//! - A good backup is removed only when a newer good one is there, and never the last one.
//! - A file whose name is not of this form, or whose time lies ahead of the clock, is not removed.
//! - The time in a name is that before the member was asked: what was written until then is in it.
//! - Damage is what the bytes of a file say. A test that could not be done, for want of room say,
//!   is a failure to be told, and the file keeps its name.
//!
//! Left out: copying to another machine, which rsync, restic and their like do; encryption; and
//! more than one generation of ages.

mod habit;
mod name;
mod shelf;
mod trial;

pub(super) use habit::run;
