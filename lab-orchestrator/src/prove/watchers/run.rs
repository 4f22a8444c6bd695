//! The run: watches are opened, a writer writes, streams stall and go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use bytes::Bytes;
use clap::Args;
use etcd_api::etcdserverpb::{CompactionRequest, PutRequest};
use http::Uri;
use lab_protocol::{MemberNo, Verdict};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::super::command::{Common, Teller};
use super::super::contact::Contact;
use super::super::rule::Rule;
use super::super::stage::Stage;
use super::book::{Book, Ear, Lags, Memory, Part, is_enough};
use super::ears::{Hall, Heard, LARGE, listen, prefix, value};
use super::stall::{Valve, Valved};
use crate::workload::{CallError, Connection};

/// Watches on one connection.
const A_CONNECTION: u64 = 100;

/// Watches that a small write concerns.
const A_GROUP: u64 = 100;

/// Bytes of a small value and of a large one.
const SMALL_BYTES: usize = 64;
const LARGE_BYTES: usize = 32 * 1024;

/// Keys in each group.
const KEYS: u64 = 8;

/// How long anything may take that has to happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often the member's memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Watch a member with thousands of watches, some of which stop reading.
#[derive(Clone, Debug, Args)]
pub struct WatchersArgs {
    /// Watches that always read.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(100..=100_000))]
    pub watchers: u64,
    /// How long there is load: half of it without, half with stalled streams; seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(2..))]
    pub seconds: u64,
    /// Writes a second: every second one is large and concerns few watches, every other one small
    /// and concerns a hundred.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub rate: u64,
    /// Watches of everything on each of the two streams that stall.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub stalled: u64,
    #[command(flatten)]
    pub common: Common,
}

/// Starts a cluster, does it, and says what was found.
pub(in crate::prove) async fn perform(
    args: &WatchersArgs,
    seed: u64,
    teller: &Teller,
) -> Result<Verdict> {
    // The members inherit it.
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files })
        .context("allow as many open files as may be")?;
    let stage = Stage::begin(&args.common, seed, &[]).await?;
    let found = on_stage(args, &stage, teller).await;
    stage.end().await;
    teller.end();
    found
}

/// The one that writes, and what it knows.
struct Writer {
    contact: Contact,
    hall: Arc<Hall>,
    groups: u32,
    /// The number of the next write.
    next: u64,
    acknowledged: Vec<i64>,
    large_bytes: u64,
}

impl Writer {
    /// Writes for so long, at this rate.
    async fn write_for(&mut self, time: Duration, rate: u64) -> Result<()> {
        let mut ticks = interval(Duration::from_secs(1) / u32::try_from(rate).unwrap_or(u32::MAX));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let until = Instant::now() + time;
        while Instant::now() < until {
            ticks.tick().await;
            let number = self.next;
            let (group, bytes) = if number.is_multiple_of(2) {
                (u32::try_from(number / 2).unwrap_or(0) % self.groups, SMALL_BYTES)
            } else {
                (LARGE, LARGE_BYTES)
            };
            self.put(format!("{}k{}", prefix(group), number % KEYS), bytes).await?;
        }
        Ok(())
    }

    /// The last write of each group; that of the large one is the last of all.
    async fn write_ends(&mut self) -> Result<()> {
        for group in (0..self.groups).chain([LARGE]) {
            self.put(format!("{}end", prefix(group)), SMALL_BYTES).await?;
        }
        Ok(())
    }

    /// Writes until it is acknowledged. No member fails here; a machine that is too slow for an
    /// answer in time may see a write twice, as two revisions.
    async fn put(&mut self, key: String, bytes: usize) -> Result<()> {
        let number = self.next;
        self.next += 1;
        let now = u64::try_from(self.hall.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        if let Some(sent) = usize::try_from(number).ok().and_then(|at| self.hall.sent.get(at)) {
            sent.store(now, Ordering::Relaxed);
        }
        let (key, value) = (Bytes::from(key), value(number, bytes));
        let deadline = Instant::now() + PATIENCE;
        loop {
            let request =
                PutRequest { key: key.clone(), value: value.clone(), ..PutRequest::default() };
            let put = self.contact.once(Duration::from_secs(10), |member| async move {
                member.kv().put(request).await
            });
            match put.await {
                Ok(answer) => {
                    self.acknowledged.push(answer.header.unwrap_or_default().revision);
                    if bytes == LARGE_BYTES {
                        self.large_bytes += LARGE_BYTES as u64;
                    }
                    return Ok(());
                }
                Err(error) if Instant::now() > deadline => bail!("write: {error}"),
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

/// A stream that can stall.
struct Stalling {
    valve: Arc<Valve>,
    listening: JoinSet<Heard>,
}

impl Stalling {
    /// Opens it with so many watches of everything behind a revision, and shuts its valve.
    async fn begin(
        stage: &Stage,
        hall: &Arc<Hall>,
        origin: &Uri,
        name: &str,
        watches: u64,
        from: i64,
    ) -> Result<Self> {
        let valve = Arc::new(Valve::default());
        let at = format!(
            "{}:{}",
            origin.host().unwrap_or_default(),
            origin.port_u16().unwrap_or_default()
        );
        let socket = TcpStream::connect(&at).await.with_context(|| format!("dial {at}"))?;
        let carrier = Valved::new(socket, valve.clone());
        let connection = stage.dialler.over(origin, carrier).await?;
        let ears = (0..watches).map(|watch| Ear {
            who: format!("{name} watch {watch}"),
            part: Part::All,
            from,
            heard: Vec::new(),
            compacted: None,
            broke: None,
        });
        let created = hall.created.load(Ordering::Relaxed) + watches;
        let mut listening = JoinSet::new();
        listening.spawn(listen(hall.clone(), connection, ears.collect(), false, is_last));
        reach(&hall.created, created).await.map_err(|seen| {
            anyhow!("open {watches} watches that will stall: {seen} of {created} are open")
        })?;
        valve.shut();
        Ok(Self { valve, listening })
    }
}

/// Whether an event is the last one of a part.
fn is_last(part: Part, key: &[u8]) -> bool {
    match part {
        Part::Group(_) => key.ends_with(b"/end"),
        Part::All => key == format!("{}end", prefix(LARGE)).as_bytes(),
    }
}

/// Waits until a count is reached, as long as it grows; else how far it came.
async fn reach(count: &AtomicU64, wanted: u64) -> Result<(), u64> {
    let mut seen = (count.load(Ordering::Relaxed), Instant::now());
    loop {
        let now = count.load(Ordering::Relaxed);
        if now >= wanted {
            return Ok(());
        }
        if now > seen.0 {
            seen = (now, Instant::now());
        } else if seen.1.elapsed() > PATIENCE {
            return Err(now);
        }
        sleep(Duration::from_millis(10)).await;
    }
}

async fn on_stage(args: &WatchersArgs, stage: &Stage, teller: &Teller) -> Result<Verdict> {
    let (leader, _) = stage.whole().await.map_err(|why| anyhow!("find a leader: {why}"))?;
    let place = |wanted: &dyn Fn(MemberNo) -> bool| {
        stage.members.iter().position(|(no, _)| wanted(*no)).context("find a member")
    };
    let (at_leader, at_member) = (place(&|no| no == leader)?, place(&|no| no != leader)?);
    let (member, origin) = stage.members[at_member].clone();
    let process = stage.process(member).context("find the member's process")?;
    let groups = u32::try_from(args.watchers.div_ceil(A_GROUP)).unwrap_or(u32::MAX);
    let writes = args.seconds * args.rate + u64::from(groups) + 100;
    let hall = Arc::new(Hall {
        began: Instant::now(),
        sent: (0..writes).map(|_| AtomicU64::new(0)).collect(),
        created: AtomicU64::new(0),
        done: AtomicU64::new(0),
        end: CancellationToken::new(),
    });

    // The history, as another member tells it.
    let mut truth = JoinSet::new();
    let ear = |who: String, part| Ear {
        who,
        part,
        from: 1,
        heard: Vec::new(),
        compacted: None,
        broke: None,
    };
    let connection = stage.contact(at_leader).attached().await;
    let all = vec![ear(format!("the watch at {leader}"), Part::All)];
    truth.spawn(listen(hall.clone(), connection, all, true, is_last));
    let began = Instant::now();
    let mut listening = JoinSet::new();
    let mut wanted = 1;
    for (number, first) in (0..args.watchers).step_by(A_CONNECTION as usize).enumerate() {
        let connection: Connection = stage.dialler.dial(&origin).await.context("dial")?;
        let watches = first..(first + A_CONNECTION).min(args.watchers);
        let ears: Vec<_> = watches
            .map(|watch| {
                // One watch in five hundred is of the large values.
                let large = watch % 500 == 499;
                let group = if large { LARGE } else { u32::try_from(watch).unwrap_or(0) % groups };
                ear(format!("watch {watch} on connection {number}"), Part::Group(group))
            })
            .collect();
        wanted += ears.len() as u64;
        listening.spawn(listen(hall.clone(), connection, ears, false, is_last));
    }
    let opened = reach(&hall.created, wanted).await;
    ensure!(opened.is_ok(), "open {wanted} watches: {opened:?} are open");
    let opening = began.elapsed();
    teller.tell(&format!(
        "watchers: {} watches at {member} opened in {:.1} s",
        args.watchers,
        opening.as_secs_f64()
    ));

    let half = Duration::from_secs(args.seconds) / 2;
    let mut writer = Writer {
        contact: stage.contact(at_leader),
        hall: hall.clone(),
        groups,
        next: 0,
        acknowledged: Vec::new(),
        large_bytes: 0,
    };
    let (before, ()) = watched(process, writer.write_for(half, args.rate)).await?;
    let middle = writer.next;
    teller.tell(&format!("watchers: {middle} writes; now {} watches stall", 2 * args.stalled));

    let from = writer.acknowledged.last().copied().unwrap_or(1);
    let stalls =
        |name: &'static str| Stalling::begin(stage, &hall, &origin, name, args.stalled, from);
    let patient = stalls("patient").await?;
    let overtaken = stalls("overtaken").await?;
    let earlier = writer.large_bytes;
    let unread = |written: u64| written * 2 * args.stalled;
    let stalling = async {
        writer.write_for(half, args.rate).await?;
        // A slow machine takes longer until that proves anything.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let written = writer.large_bytes - earlier;
            if is_enough(unread(written), written) || Instant::now() > deadline {
                return Ok(written);
            }
            writer.write_for(Duration::from_secs(1), args.rate).await?;
        }
    };
    let (stalled, written) = watched(process, stalling).await?;
    let after = writer.next;
    writer.write_ends().await?;
    // Everybody but the stalled hears the end.
    let heard_out = reach(&hall.done, wanted).await;

    let began = Instant::now();
    patient.valve.open();
    let caught_up = reach(&hall.done, wanted + args.stalled).await;
    let catching_up = began.elapsed();
    teller.tell(&format!(
        "watchers: {} watches caught up in {:.1} s",
        args.stalled,
        catching_up.as_secs_f64()
    ));
    let compacted = writer.acknowledged.last().copied().unwrap_or(1);
    compact(&mut writer.contact, compacted).await.context("compact")?;
    overtaken.valve.open();
    let ended = reach(&hall.done, wanted + 2 * args.stalled).await;
    if heard_out.is_err() || caught_up.is_err() || ended.is_err() {
        teller.tell("watchers: not everybody heard the end; judging what was heard");
    }
    hall.end.cancel();

    let memory = before.zip(stalled).map(|(before, stalled)| Memory {
        before,
        stalled,
        written,
        pending: unread(written),
    });
    let mut book = Book { acknowledged: writer.acknowledged, compacted, memory, ..Book::default() };
    for heard in truth.join_all().await {
        book.history.extend(heard.groups);
    }
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for heard in listening.join_all().await {
        for (number, micros) in heard.lags {
            let lag = Duration::from_micros(micros).as_secs_f64() * 1000.0;
            match number {
                number if number < middle => alone.push(lag),
                number if number < after => beside.push(lag),
                // The ends of the groups come all at once.
                _ => {}
            }
        }
        book.ears.extend(heard.ears);
    }
    alone.sort_by(f64::total_cmp);
    beside.sort_by(f64::total_cmp);
    (book.alone, book.beside) = (Lags(alone), Lags(beside));
    book.patient = patient.listening.join_all().await.into_iter().flat_map(|h| h.ears).collect();
    book.overtaken =
        overtaken.listening.join_all().await.into_iter().flat_map(|h| h.ears).collect();
    let mut rules = book.judge(args.watchers);
    if let Some(fallen) = stage.fallen() {
        rules.iter_mut().for_each(|rule| rule.cannot_tell(fallen.clone()));
    }
    Ok(Verdict::of("watchers", rules.iter().map(Rule::result).collect()))
}

/// Does something, and says how much memory a process used at most meanwhile, bytes; `None` where
/// that cannot be seen.
async fn watched<T>(
    process: u32,
    doing: impl Future<Output = Result<T>>,
) -> Result<(Option<u64>, T)> {
    let mut most = None;
    let look = async {
        loop {
            most = most.max(resident_bytes(process));
            sleep(LOOK_EVERY).await;
        }
    };
    let done = tokio::select! {
        done = doing => done?,
        () = look => unreachable!("looking does not end"),
    };
    Ok((most, done))
}

/// What a process has in memory.
fn resident_bytes(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}

async fn compact(contact: &mut Contact, revision: i64) -> Result<(), CallError> {
    let deadline = Instant::now() + PATIENCE;
    let compacted = contact.read(deadline, |member| async move {
        member.kv().compact(CompactionRequest { revision, physical: true }).await
    });
    match compacted.await {
        Ok(_) => Ok(()),
        // An attempt that nobody answered has done it.
        Err(CallError::Refused { message, .. }) if message.contains("has been compacted") => Ok(()),
        Err(error) => Err(error),
    }
}
