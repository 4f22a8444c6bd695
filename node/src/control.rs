//! The control socket: how the lab makes a running member's disk slow, its clocks wrong, or its
//! timers what a lesson needs.
//!
//! ```text
//!   slow-syncs MILLIS     each sync of the disk takes so much longer; 0 heals it
//!   stick-syncs on|off    no sync returns
//!   fail-syncs on|off     each sync fails: an error of the device (EIO)
//!   fill-disk on|off      no file can grow (ENOSPC)
//!   lock-disk on|off      nothing can be written (EROFS)
//!   clock-rate PERMILLE   the clocks run at so many thousandths of the true rate, 10 to 10000
//!   clock-freeze          the clocks stand still
//!   clock-run             the clocks run again
//!   clock-jump MILLIS     the wall clock is moved by so much, which may be negative
//!   tick COUNT            clocks that stand still go on by so many ticks, one after the other
//!   timers TICKS          without a leader the member campaigns after so many ticks; 0: as drawn
//!   campaign              the member campaigns now
//! ```
//!
//! One order a line, one line back: `ok`, or `error: ` and why. What cannot be read changes
//! nothing. A program may add orders of its own ([`Controls::extend`]): the training program does.
//!
//! A start needs its disk before anybody could connect, so orders may also lie in a file beside the
//! socket, named as it with `.start` at its end: they are read, the file removed, and carried out
//! before anything else, once.
//!
//! Only a member that is started with `--lab-control SOCKET` has any of this; the socket is of mode
//! 0600: only its owner gives orders.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::clock::{Clock, LabClock, RealClock};
use crate::storage::DiskFaults;

/// The longest order that is read, in bytes.
const LINE_BYTES: u64 = 256;

/// Whoever says nothing for so long is hung up on: orders are taken from one at a time.
const PATIENCE: Duration = Duration::from_secs(10);

/// A tick that was granted is lived through in this time, if the member lives at all.
const TICK_PATIENCE: Duration = Duration::from_secs(2);

/// Most ticks that are granted at once.
const MAX_TICKS: u32 = 10_000;

/// The rates at which a clock may run, thousandths.
const RATES: std::ops::RangeInclusive<u32> = 10..=10_000;

/// An order that a program adds; `None` if the words are none of its own.
pub type Extra = fn(&[&str]) -> Option<Result<String, String>>;

/// What the orders act on. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Controls {
    /// The disk's switches.
    pub disk: DiskFaults,
    /// The member's clocks.
    pub clock: Arc<LabClock>,
    /// Ticks that the replica has lived through.
    pub ticks: Arc<AtomicU64>,
    /// The replica, once it runs.
    replica: Arc<OnceLock<Replica>>,
    /// Orders of the program's own.
    extra: Option<Extra>,
}

/// What the replica is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Look at the clock.
    Look,
    /// Campaign after so many ticks without a leader; 0: as drawn.
    Timers(u32),
    /// Campaign now.
    Campaign,
}

/// How to ask the replica; false if it ends.
type AskReplica = Box<dyn Fn(Ask) -> bool + Send + Sync>;

struct Replica {
    ask: AskReplica,
    tick_micros: u64,
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica").field("tick_micros", &self.tick_micros).finish_non_exhaustive()
    }
}

/// Why there are no orders to be had.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// What lies there is not a socket that a former life left.
    #[error("{} is there and is not a socket; give another --lab-control", .0.display())]
    NotASocket(PathBuf),
    /// The file of orders for the start cannot be read.
    #[error("failed to read the orders in {}", path.display())]
    Start {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// One of them is none.
    #[error("failed to read the orders in {}: {why}", path.display())]
    Order {
        /// In which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The system refused the socket.
    #[error("failed to listen at {}", path.display())]
    Listen {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Controls {
    /// With orders of the program's own.
    #[must_use]
    pub fn extend(mut self, extra: Extra) -> Self {
        self.extra = Some(extra);
        self
    }

    /// Carries out what was asked for this start, then takes orders at `path` for as long as the
    /// process lives, in a thread of its own.
    ///
    /// Call it before any other thread runs: the mode of the socket is set by the process's umask.
    ///
    /// # Errors
    ///
    /// If the socket cannot be had or an order for the start is none.
    pub fn start(&self, path: &Path) -> Result<(), ControlError> {
        self.carry_out_start_orders(&beside(path, ".start"))?;
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(ControlError::NotASocket(path.to_path_buf()));
            }
            // A former life left it; if it cannot be removed, binding says so.
            Ok(_) => drop(fs::remove_file(path)),
            Err(_) => {}
        }
        let failed = |source| ControlError::Listen { path: path.to_path_buf(), source };
        let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
        let bound = UnixListener::bind(path);
        rustix::process::umask(before);
        let listener = bound.map_err(failed)?;
        let controls = self.clone();
        let serve = move || {
            for stream in listener.incoming().flatten() {
                // Whoever hung up gets no answer, and owes none.
                controls.obey(&stream).ok();
            }
        };
        std::thread::Builder::new().name("control".into()).spawn(serve).map_err(failed)?;
        Ok(())
    }

    /// The replica runs: its timers and ticks can be asked for.
    pub fn attach(&self, tick_micros: u64, ask: impl Fn(Ask) -> bool + Send + Sync + 'static) {
        // There is one replica in a process.
        self.replica.set(Replica { ask: Box::new(ask), tick_micros }).ok();
    }

    /// Carries out one line; what is answered, or why it is not carried out.
    fn carry_out(&self, line: &str) -> Result<String, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let Some(answer) = self.extra.and_then(|extra| extra(&words)) {
            return answer;
        }
        match words.as_slice() {
            ["slow-syncs", millis] => {
                self.disk.delay_syncs(Duration::from_millis(number(millis)?));
            }
            ["stick-syncs", switch] => self.disk.hold_syncs(is_on(switch)?),
            ["fail-syncs", switch] => {
                self.disk.fail_syncs_after(is_on(switch)?.then_some(0));
            }
            ["fill-disk", switch] => self.disk.fill(is_on(switch)?),
            ["lock-disk", switch] => self.disk.lock(is_on(switch)?),
            ["clock-rate", permille] => {
                let permille = number(permille)?;
                if !RATES.contains(&permille) {
                    return Err(format!("a clock runs at 10 to 10000 ‰, not at {permille}"));
                }
                self.run_at(permille);
            }
            ["clock-freeze"] => self.run_at(0),
            ["clock-run"] => self.run_at(1_000),
            ["clock-jump", millis] => self.clock.jump_wall(number(millis)?),
            ["tick", count] => self.grant(number(count)?)?,
            ["timers", ticks] => self.ask(Ask::Timers(number(ticks)?))?,
            ["campaign"] => self.ask(Ask::Campaign)?,
            _ => {
                return Err(format!(
                    "`{}` is not an order; orders are: slow-syncs MILLIS, stick-syncs on|off, \
                     fail-syncs on|off, fill-disk on|off, lock-disk on|off, clock-rate PERMILLE, \
                     clock-freeze, clock-run, clock-jump MILLIS, tick COUNT, timers TICKS, campaign",
                    line.trim()
                ));
            }
        }
        Ok("ok".to_owned())
    }

    /// Has the clocks run otherwise, and the replica look: what it told of its timers is of now.
    fn run_at(&self, permille: u32) {
        self.clock.set_rate(permille);
        if let Some(replica) = self.replica.get() {
            (replica.ask)(Ask::Look);
        }
    }

    fn ask(&self, ask: Ask) -> Result<(), String> {
        if (self.running()?.ask)(ask) { Ok(()) } else { Err("the member ends".to_owned()) }
    }

    fn running(&self) -> Result<&Replica, String> {
        self.replica.get().ok_or_else(|| "the member has not begun yet; try again".to_owned())
    }

    /// Lets clocks that stand still go on, tick by tick: the member lives through each.
    fn grant(&self, count: u32) -> Result<(), String> {
        let replica = self.running()?;
        if !self.clock.stands_still() {
            return Err("the clocks run; freeze them before ticks are granted".to_owned());
        }
        if count > MAX_TICKS {
            return Err(format!("at most {MAX_TICKS} ticks are granted at once"));
        }
        for _ in 0..count {
            let before = self.ticks.load(Ordering::Acquire);
            let deadline = Instant::now() + TICK_PATIENCE;
            self.clock.advance_micros(replica.tick_micros);
            (replica.ask)(Ask::Look);
            while self.ticks.load(Ordering::Acquire) == before {
                if Instant::now() > deadline {
                    return Err("the member does not come to its tick: something blocks it".into());
                }
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        Ok(())
    }

    fn carry_out_start_orders(&self, path: &Path) -> Result<(), ControlError> {
        let failed = |source| ControlError::Start { path: path.to_path_buf(), source };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        // Removed first: the next start is another one.
        fs::remove_file(path).map_err(failed)?;
        for line in text.lines() {
            let carried_out = self.carry_out(line);
            carried_out.map_err(|why| ControlError::Order { path: path.to_path_buf(), why })?;
        }
        Ok(())
    }

    fn obey(&self, stream: &UnixStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut reader = BufReader::new(stream);
        loop {
            let mut line = Vec::new();
            reader.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line)?;
            if line.is_empty() {
                return Ok(());
            }
            let mut writer = stream;
            if line.last() != Some(&b'\n') {
                return writeln!(
                    writer,
                    "error: an order ends with a line feed and is no longer than {LINE_BYTES} bytes"
                );
            }
            match self.carry_out(&String::from_utf8_lossy(&line)) {
                Ok(answer) => writeln!(writer, "{answer}")?,
                Err(why) => writeln!(writer, "error: {why}")?,
            }
        }
    }
}

/// A member's clock: the machine's own, unless the lab may touch it.
#[must_use]
pub fn clock(controls: Option<&Controls>) -> Arc<dyn Clock> {
    match controls {
        Some(controls) => controls.clock.clone(),
        None => Arc::new(RealClock),
    }
}

fn number<N: std::str::FromStr>(word: &str) -> Result<N, String> {
    word.parse().map_err(|_| format!("`{word}` is not a number that can stand here"))
}

fn is_on(word: &str) -> Result<bool, String> {
    match word {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("`{word}` is neither `on` nor `off`")),
    }
}

/// A path with this at the end of its name.
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn orders_are_read_and_everything_else_is_refused() {
        let controls = Controls::default();
        for (line, expected) in [
            ("slow-syncs 20", Ok("ok")),
            (" fill-disk on\n", Ok("ok")),
            ("lock-disk off", Ok("ok")),
            ("clock-rate 500", Ok("ok")),
            ("clock-jump -3600000", Ok("ok")),
            ("clock-freeze", Ok("ok")),
            ("clock-rate 0", Err("10 to 10000")),
            ("slow-syncs soon", Err("`soon` is not a number")),
            ("stick-syncs yes", Err("neither `on` nor `off`")),
            ("campaign", Err("not begun yet")),
            ("tick 1", Err("not begun yet")),
            ("hits", Err("`hits` is not an order; orders are: slow-syncs")),
            ("", Err("`` is not an order")),
        ] {
            match (controls.carry_out(line), expected) {
                (Ok(answer), Ok(expected)) => assert_eq!(answer, expected, "{line}"),
                (Err(why), Err(needle)) => assert!(why.contains(needle), "{line}: {why}"),
                (got, expected) => panic!("{line}: {got:?} instead of {expected:?}"),
            }
        }
        let own = controls.extend(|words| (words == ["hits"]).then(|| Ok("ok a=1".to_owned())));
        assert_eq!(own.carry_out("hits"), Ok("ok a=1".to_owned()));
    }

    #[test]
    fn ticks_are_granted_one_after_the_other() {
        let controls = Controls::default();
        let (inbox, woken) = flume::unbounded();
        controls.attach(100_000, move |ask| inbox.send(ask).is_ok());
        let (ticks, clock) = (controls.ticks.clone(), controls.clock.clone());
        // A replica that lives through a tick whenever its clock has gone on by one.
        let mut last = clock.now_micros();
        let replica = std::thread::spawn(move || {
            let mut seen = Vec::new();
            while let Ok(Ask::Look) = woken.recv() {
                let now = clock.now_micros();
                let moved = now - std::mem::replace(&mut last, now);
                // It is woken by a freeze as well.
                if moved >= 100_000 {
                    seen.push(moved);
                    ticks.fetch_add(1, Ordering::Release);
                }
            }
            seen
        });
        assert!(controls.carry_out("tick 2").expect_err("it runs").contains("freeze"));
        controls.carry_out("clock-freeze").expect("frozen");
        controls.carry_out("tick 3").expect("granted");
        assert!(controls.carry_out("tick 10001").expect_err("too many").contains("at most"));
        drop(controls);
        let seen = replica.join().expect("it ends");
        // The first is of the time before the freeze too, if the thread was late.
        assert_eq!((seen.len(), &seen[1..]), (3, &[100_000, 100_000][..]));
    }

    #[test]
    fn the_socket_is_its_owners_and_answers_each_line() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("control");
        let controls = Controls::default();
        controls.start(&path).expect("it listens");
        // A former life's socket is no hindrance; another file is.
        controls.start(&path).expect("it listens again");
        let other = dir.path().join("file");
        fs::write(&other, "").expect("written");
        let error = controls.start(&other).expect_err("not a socket");
        assert!(error.to_string().contains("not a socket"));
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let stream = UnixStream::connect(&path).expect("connected");
        let mut lines = BufReader::new(&stream).lines();
        let mut ask = |order: &str| {
            (&stream).write_all(order.as_bytes()).expect("sent");
            lines.next().expect("an answer").expect("a text")
        };
        assert_eq!(ask("slow-syncs 1\n"), "ok");
        assert!(ask("\u{1}\u{2}\n").starts_with("error: "));
        assert!(ask(&"x".repeat(300)).starts_with("error: an order ends"));
    }

    #[test]
    fn orders_for_a_start_are_carried_out_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("control.start");
        let controls = Controls::default();
        controls.carry_out_start_orders(&path).expect("none is fine");
        fs::write(&path, "clock-freeze\ncrash-at nowhere 1\n").expect("written");
        let error = controls.carry_out_start_orders(&path).expect_err("refused");
        assert!(error.to_string().contains("nowhere"), "{error}");
        assert!(!path.exists() && controls.clock.stands_still());
    }
}
