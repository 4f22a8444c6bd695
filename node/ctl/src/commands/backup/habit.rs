//! Periods: in each a new backup, an older one tried again, and the oldest removed.

use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use etcd_api::etcdserverpb as pb;
use jiff::Timestamp;
use node_restore::Status;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::name::Name;
use super::shelf::Shelf;
use super::trial::{self, Trouble};
use crate::args::Backup as Asked;
use crate::client::{Client, Patience};
use crate::commands::Desk;
use crate::commands::snapshot::{fetch, in_time};
use crate::commands::stop::{Stop, Stopped};
use crate::duration;
use crate::failure::{Failure, code, complain, words};
use crate::show::{BackupPeriod, Format, SavedBackup};

/// No two backups are of one second.
const SHORTEST: Duration = Duration::from_secs(1);

/// How long a member may say nothing during a save, before the next one is asked.
const SILENCE: Duration = Duration::from_secs(60);

pub(crate) async fn run(desk: &Desk, asked: &Asked) -> Result<(), Failure> {
    check(desk, asked)?;
    let stop = Stop::listen()?;
    let shelf = Shelf::open(&asked.dir)?;
    let mut habit = Habit { desk, asked, stop, shelf, is_over: false };
    if io::stderr().is_terminal() && !asked.once {
        let (every, keep, dir) = (duration::format(asked.every), asked.keep, &asked.dir);
        complain(&format!("a backup every {every} into {dir}, {keep} kept; Ctrl-C ends it"));
    }
    let mut good = 0_u64;
    let mut ticks = interval(asked.every);
    // A backup that takes longer than a period is followed by a whole one.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while !habit.is_over && habit.stop.during(ticks.tick()).await.is_ok() {
        let Ok(period) = Box::pin(habit.period()).await else { break };
        let is_good = habit.is_good(&period);
        good += u64::from(is_good);
        desk.style.print(&period)?;
        if asked.once {
            let well = is_good && period.damaged.is_empty();
            // What went wrong has been said.
            return if well { Ok(()) } else { Err(Failure::silent(code::ERROR)) };
        }
    }
    match good {
        0 => Err(Failure::new(code::INTERRUPTED, "ended before there was a good backup")),
        _ => Ok(()),
    }
}

/// Refuses what makes no sense, before anything is done.
fn check(desk: &Desk, asked: &Asked) -> Result<(), Failure> {
    if !asked.words.is_empty() {
        return Err(Failure::bad_args("backup takes no arguments: the folder is given by --dir"));
    }
    if asked.every < SHORTEST {
        let given = duration::format(asked.every);
        return Err(Failure::bad_args(format!("--every must be 1s at least, and is {given}")));
    }
    if asked.keep == 0 {
        let text = "--keep must be 1 at least: the last good backup is never removed";
        return Err(Failure::bad_args(text));
    }
    match desk.style.format {
        Format::Simple | Format::Json => Ok(()),
        Format::Fields | Format::Table => {
            let text = "backup prints a line at a time: use -w simple or -w json";
            Err(Failure::new(code::BAD_FEATURE, text))
        }
    }
}

/// All that the periods share.
struct Habit<'a> {
    desk: &'a Desk,
    asked: &'a Asked,
    stop: Stop,
    shelf: Shelf,
    /// An end was asked for while there still was something to tell.
    is_over: bool,
}

impl Habit<'_> {
    /// A new backup counts if it is all that was asked for.
    fn is_good(&self, period: &BackupPeriod) -> bool {
        period.saved.as_ref().is_some_and(|saved| saved.verified || !self.asked.verify)
    }

    async fn period(&mut self) -> Result<BackupPeriod, Stopped> {
        let since = Instant::now();
        let mut period = BackupPeriod {
            began: second(now()),
            took: Duration::ZERO,
            saved: None,
            tried: None,
            damaged: Vec::new(),
            errors: Vec::new(),
            kept: 0,
            last_good: None,
            lost: None,
        };
        let new = self.save(&mut period).await?;
        if new.is_none() {
            period.took = since.elapsed();
        }
        if self.asked.verify && self.try_older(new, &mut period).await.is_err() {
            // What was saved is told all the same.
            self.is_over = true;
        }
        let is_good = self.is_good(&period);
        if let Some(new) = new.filter(|_| is_good)
            && let Err(why) = self.shelf.prune(self.asked.keep, new)
        {
            wrong(&mut period, why);
        }
        let now = now();
        match self.shelf.kept() {
            Ok(kept) => {
                period.kept = kept.len();
                // One that lies ahead of the clock tells no age.
                period.last_good = kept.into_keys().map(|name| name.at).rfind(|at| *at <= now);
            }
            Err(why) => wrong(&mut period, why),
        }
        period.lost = period.last_good.map(|last| passed(last, now));
        if !is_good || !period.damaged.is_empty() {
            complain(&period.loss());
        }
        Ok(period)
    }

    /// Saves a snapshot of one member, of whichever is furthest on and can.
    async fn save(&mut self, period: &mut BackupPeriod) -> Result<Option<Name>, Stopped> {
        if let Err(why) = self.shelf.check_room() {
            wrong(period, why);
            return Ok(None);
        }
        for (endpoint, answer) in self.stop.during(rank(self.desk)).await? {
            let revision = match answer {
                Ok(revision) => revision,
                Err(why) => {
                    wrong(period, format!("no backup of {endpoint}: {why}"));
                    continue;
                }
            };
            match self.save_of(&endpoint, revision, period).await {
                Ok(name) => return Ok(Some(name)),
                Err(Trouble::Stopped) => return Err(Stopped),
                // Told as such already, and another member may be well.
                Err(Trouble::Damaged(_)) => {}
                Err(Trouble::Untried(why)) => {
                    wrong(period, format!("no backup of {endpoint}: {why}"));
                }
            }
        }
        Ok(None)
    }

    /// Saves one member's state, which was at this revision a moment ago, and tests it.
    ///
    /// `Untried` says that there is no file. A file that is there and could not be tested is an
    /// error of the period.
    async fn save_of(
        &mut self,
        endpoint: &str,
        revision: i64,
        period: &mut BackupPeriod,
    ) -> Result<Name, Trouble> {
        let at = self.free_second().await?;
        let since = Instant::now();
        // The snapshot is newer, and how much is known when it is here.
        let asked = Name { at, revision };
        let part = Part(self.shelf.part(asked));
        let path = part.0.to_string_lossy().into_owned();
        let client = self.desk.client.only(endpoint);
        let fetching = in_time(&self.desk.global, fetch(&client, &path, Some(SILENCE)));
        let fetched = self.stop.during(fetching).await?;
        fetched.map_err(|failure| Trouble::Untried(failure.text))?;
        let status = match self.look(part.0.clone()).await {
            Ok(status) => status,
            Err(Trouble::Damaged(why)) => return Err(self.damaged(&part.0, asked, why, period)),
            Err(trouble) => return Err(trouble),
        };
        let name = Name { at, revision: status.revision };
        self.shelf.add(&path, name).map_err(Trouble::Untried)?;
        let file = self.shelf.path(name);
        let mut verified = false;
        if self.asked.verify {
            match self.test(&file, status, name).await {
                Ok(()) => verified = true,
                Err(Trouble::Stopped) => return Err(Trouble::Stopped),
                Err(Trouble::Damaged(why)) => return Err(self.damaged(&file, name, why, period)),
                Err(Trouble::Untried(why)) => {
                    wrong(period, format!("{} is kept, untested: {why}", file.display()));
                }
            }
        }
        if verified {
            self.shelf.note_sound(name, now());
        }
        (period.began, period.took) = (at, since.elapsed());
        let (endpoint, file) = (endpoint.to_owned(), file.display().to_string());
        period.saved = Some(SavedBackup { endpoint, file, status, verified });
        Ok(name)
    }

    /// Tries the kept file for which that is longest ago.
    async fn try_older(
        &mut self,
        new: Option<Name>,
        period: &mut BackupPeriod,
    ) -> Result<(), Stopped> {
        let older = match self.shelf.longest_untried(self.asked.keep, new) {
            Ok(Some(older)) => older,
            Ok(None) => return Ok(()),
            Err(why) => {
                wrong(period, why);
                return Ok(());
            }
        };
        let file = self.shelf.path(older);
        let tried = match self.look(file.clone()).await {
            Ok(Status { revision, .. }) if revision != older.revision => {
                Err(Trouble::Damaged(format!("it is another file: its revision is {revision}")))
            }
            Ok(status) => self.test(&file, status, older).await,
            Err(trouble) => Err(trouble),
        };
        match tried {
            Ok(()) => {
                self.shelf.note_sound(older, now());
                period.tried = Some(file.display().to_string());
            }
            Err(Trouble::Stopped) => return Err(Stopped),
            Err(Trouble::Damaged(why)) => {
                self.damaged(&file, older, why, period);
            }
            Err(Trouble::Untried(why)) => {
                wrong(period, format!("{} could not be tested again: {why}", file.display()));
            }
        }
        Ok(())
    }

    /// Sets a file apart, loudly.
    fn damaged(
        &mut self,
        file: &Path,
        name: Name,
        why: String,
        period: &mut BackupPeriod,
    ) -> Trouble {
        let shown = self.shelf.path(name).display().to_string();
        let text = match self.shelf.set_apart(&file.to_string_lossy(), name) {
            Ok(apart) => {
                let text = format!("{shown} cannot be restored: {why}. It is set apart as {apart}");
                period.damaged.push(apart);
                text
            }
            Err(failed) => {
                period.damaged.push(shown.clone());
                format!("{shown} cannot be restored: {why}. It could not be set apart: {failed}")
            }
        };
        wrong(period, text);
        Trouble::Damaged(why)
    }

    /// A second of which there is no backup yet: this one, or the next.
    async fn free_second(&mut self) -> Result<Timestamp, Trouble> {
        loop {
            let now = now();
            let at = second(now);
            if !self.shelf.is_taken(at).map_err(Trouble::Untried)? {
                return Ok(at);
            }
            let left = SHORTEST.saturating_sub(passed(at, now));
            self.stop.during(sleep(left)).await?;
        }
    }

    /// Reads a file on a thread of its own. Nobody waits for that thread after an end was asked
    /// for: it changes nothing.
    async fn look(&mut self, file: PathBuf) -> Result<Status, Trouble> {
        let looking = spawn_blocking(move || trial::look(&file));
        self.stop.during(looking).await?.expect("looking does not panic")
    }

    /// Restores a file on a thread of its own, and waits for that thread in any case: it cleans up.
    async fn test(&mut self, file: &Path, status: Status, name: Name) -> Result<(), Trouble> {
        let (file, folder) = (file.to_path_buf(), self.shelf.test(name));
        let is_over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_over);
        let mut testing = spawn_blocking(move || trial::restore(&file, &status, &folder, &is_over));
        let why = "a restore does not panic";
        if let Ok(tested) = self.stop.during(&mut testing).await {
            return tested.expect(why);
        }
        told.store(true, Ordering::Relaxed);
        // The end is what was asked for, whatever the test would have said.
        testing.await.expect(why).ok();
        Err(Trouble::Stopped)
    }
}

/// A file that is not whole, removed unless it has got its name.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // It may never have been made, or be renamed by now.
        fs::remove_file(&self.0).ok();
    }
}

/// All endpoints at once, each with its revision or why it has none: those further on come first,
/// of equals those given first, and who did not answer last.
async fn rank(desk: &Desk) -> Vec<(String, Result<i64, String>)> {
    let mut asked = JoinSet::new();
    for (at, endpoint) in desk.client.endpoints().iter().enumerate() {
        let client = desk.client.only(endpoint);
        let endpoint = endpoint.clone();
        asked.spawn(async move {
            let answer = revision(&client, &endpoint).await;
            (at, endpoint, answer)
        });
    }
    let mut found = asked.join_all().await;
    found.sort_by_key(|(at, _, answer)| (std::cmp::Reverse(answer.as_ref().ok().copied()), *at));
    found.into_iter().map(|(_, endpoint, answer)| (endpoint, answer)).collect()
}

/// How far a member is; whoever cannot be reached at once is not waited for.
async fn revision(client: &Client, endpoint: &str) -> Result<i64, String> {
    client.reach().await.map_err(|status| {
        let why = status.message();
        why.strip_prefix(&format!("{endpoint}: ")).unwrap_or(why).to_owned()
    })?;
    let answer = client.status(Patience::Command, pb::StatusRequest {}).await;
    let status = answer.map_err(|status| words(&status))?;
    Ok(status.header.map_or(0, |header| header.revision))
}

/// Says at once what is wrong, and keeps it for the period's line.
fn wrong(period: &mut BackupPeriod, text: String) {
    let failure = Failure::error(text);
    failure.say();
    period.errors.push(failure.text);
}

/// The wall clock, for names that people read.
#[expect(clippy::disallowed_methods, reason = "a timestamp for people")]
fn now() -> Timestamp {
    // No clock is off by ten thousand years.
    Timestamp::try_from(SystemTime::now()).unwrap_or_default()
}

/// From one time to another; nothing if the clock was put back.
fn passed(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// The second in which a time is.
fn second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).expect("it was one before")
}
