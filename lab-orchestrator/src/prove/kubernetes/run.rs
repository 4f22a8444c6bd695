//! The run: who is on the stage, who strikes it, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use clap::Args;
use lab_protocol::Verdict;
use parking_lot::Mutex;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::super::command::{Common, Teller};
use super::super::rule::Rule;
use super::super::stage::{RECOVER, Stage};
use super::book::{Book, Change, Guard, Outcome, Scope};
use super::calls::{Caller, Desk};
use super::informer::Informer;
use super::judge::{Wanted, judge};

/// The key whose version says who may compact.
pub(super) const COMPACT_KEY: &str = "compact_rev_key";

/// Objects of the kind that changes all the time.
const PODS: u32 = 150;

/// Objects of the kind that seldom changes.
const CONFIG_MAPS: u32 = 12;

/// Events that share a lease at most.
const EVENTS_A_LEASE: u32 = 40;

/// What a lease may take beyond its time at the end: the extension of a new leader, the period in
/// which leases are looked at, and a slow machine.
const LEASE_ALLOWANCE: Duration = Duration::from_secs(8);

/// Flags of every member: bookmarks come often.
const FLAGS: [&str; 1] = ["--experimental-watch-progress-notify-interval=700ms"];

/// Run what a Kubernetes API server asks of its storage, while leaders crash.
#[derive(Clone, Debug, Args)]
pub struct KubernetesArgs {
    /// How long, seconds.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(2..))]
    pub seconds: u64,
    /// A leader crashes so often, seconds.
    #[arg(long, default_value_t = 5.0)]
    pub every: f64,
    /// Seconds between two compactions; what is older than one is gone.
    #[arg(long, default_value_t = 10.0)]
    pub compact_every: f64,
    /// Time to live of the events' leases, seconds.
    #[arg(long, default_value_t = 10)]
    pub ttl: u32,
    #[command(flatten)]
    pub common: Common,
}

/// Starts a cluster, does it, and says what was found.
pub(in crate::prove) async fn perform(
    args: &KubernetesArgs,
    seed: u64,
    teller: &Teller,
) -> Result<Verdict> {
    let stage = Stage::begin(&args.common, seed, &FLAGS).await?;
    let found = on_stage(args, seed, &stage, teller).await;
    stage.end().await;
    found
}

async fn on_stage(
    args: &KubernetesArgs,
    seed: u64,
    stage: &Stage,
    teller: &Teller,
) -> Result<Verdict> {
    let (goal, _) = tokio::sync::watch::channel(None);
    let desk = Arc::new(Desk {
        book: Mutex::new(Book::default()),
        began: Instant::now(),
        stop: CancellationToken::new(),
        end: CancellationToken::new(),
        goal,
    });
    let mut draws = ChaCha8Rng::seed_from_u64(seed);
    let mut informers = JoinSet::new();
    let mut clients = JoinSet::new();
    let mut seat = |who: String| (who, draws.random_range(0..stage.members.len()));

    // Everything from the empty store on is heard by two, each at another member.
    for (number, prefix, audits) in [
        (1, "", true),
        (2, "", true),
        (1, "/registry/pods/", false),
        (2, "/registry/pods/", false),
        (1, "/registry/configmaps/", false),
        (1, "/registry/events/", false),
        (1, "/registry/", false),
    ] {
        let kind = if audits { "auditor" } else { "informer of " };
        let (who, mut home) = seat(format!("{kind}{prefix} {number}"));
        if audits {
            home = number;
        }
        let scope = Scope::prefix(prefix);
        let (desk, contact) = (desk.clone(), stage.contact(home));
        let life = (!audits).then(|| Duration::from_secs(25));
        let draws = ChaCha8Rng::seed_from_u64(seed ^ (0x1000 + home as u64 + who.len() as u64));
        let mut caller = Caller { desk: &desk, who: who.clone(), contact };
        let first = caller.list(scope.clone(), 100, 0).await;
        let contact = caller.contact;
        informers.spawn(async move {
            let caller = Caller { desk: &desk, who, contact };
            Informer { caller, scope, audits, life, draws }.run(first).await;
        });
    }
    for number in 1..=8u64 {
        let (desk, kind) = (desk.clone(), number);
        let draws = ChaCha8Rng::seed_from_u64(seed ^ number);
        let (ttl, every) = (args.ttl, Duration::from_secs_f64(args.compact_every));
        let name = match kind {
            1..=4 => "writer",
            5..=6 => "reporter",
            _ => "lister",
        };
        let (who, home) = seat(format!("{name} {number}"));
        let contact = stage.contact(home);
        let (rival, other) = seat(format!("compactor {number}"));
        let compacts = stage.contact(other);
        clients.spawn(async move {
            let caller = Caller { desk: &desk, who, contact };
            match kind {
                1..=4 => write(caller, draws).await,
                5..=6 => report(caller, number, ttl, draws).await,
                _ => {
                    let rival = Caller { desk: &desk, who: rival, contact: compacts };
                    tokio::join!(look_around(caller, every, draws), compact(rival, every));
                }
            }
        });
    }

    let mut recovers = Rule::new(
        "cluster_recovers",
        "after each crash of a leader there is another one, and the crashed one comes back",
        "crashes of leaders",
        1,
    );
    let until = desk.began + Duration::from_secs(args.seconds);
    let told = async {
        loop {
            teller.tell(&progress(&desk, until));
            tokio::time::sleep(teller.every()).await;
        }
    };
    let struck = tokio::select! {
        struck = strike(stage, args, until, seed, &mut recovers) => struck,
        () = told => Ok(()),
    };
    desk.stop.cancel();
    joined(&mut clients).await;
    struck?;
    if let Err(why) = stage.converged().await {
        recovers.judge(false, || format!("all members being up and quiet, all equal: {why}"));
    }
    if finish(args, &desk, stage, teller).await {
        // Who has not come by then is cut off, and its cache is found to be behind.
        timeout(RECOVER, joined(&mut informers)).await.ok();
    }
    desk.end.cancel();
    joined(&mut informers).await;
    teller.end();

    let wanted = Wanted { writes: 50, lists: 3, compactions: 1 };
    let book = desk.book.lock();
    let mut rules = judge(&book, wanted);
    rules.push(recovers);
    if let Some(fallen) = stage.fallen() {
        rules.iter_mut().for_each(|rule| rule.cannot_tell(fallen.clone()));
    }
    Ok(Verdict::of("kubernetes", rules.iter().map(Rule::result).collect()))
}

/// A task that panicked is a mistake of this program.
async fn joined(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

fn progress(desk: &Desk, until: Instant) -> String {
    let book = desk.book.lock();
    let left = until.saturating_duration_since(Instant::now()).as_secs();
    format!(
        "kubernetes: {left} s left, {} writes, {} lists, revision {}, {} compactions",
        book.writes.len(),
        book.views.len(),
        book.told,
        book.compactions
    )
}

/// Crashes leaders until the time is over, and starts them again.
async fn strike(
    stage: &Stage,
    args: &KubernetesArgs,
    until: Instant,
    seed: u64,
    recovers: &mut Rule,
) -> Result<()> {
    let mut draws = ChaCha8Rng::seed_from_u64(seed ^ 0xb10);
    let mut next = Instant::now() + Duration::from_secs_f64(args.every / 2.0);
    let mut slowest = Duration::ZERO;
    while next < until {
        tokio::time::sleep_until(next).await;
        next += Duration::from_secs_f64(args.every);
        let (leader, term) = match stage.whole().await {
            Ok(led) => led,
            Err(why) => {
                recovers.judge(false, || why);
                break;
            }
        };
        let began = Instant::now();
        stage.crash(leader).await?;
        let led = stage.led_after(term);
        let down = Duration::from_millis(draws.random_range(50..1500));
        let restarted = async {
            tokio::time::sleep(down).await;
            stage.restart(leader).await
        };
        let (led, restarted) = tokio::join!(
            async {
                let led = led.await;
                (led, began.elapsed())
            },
            restarted
        );
        restarted?;
        slowest = slowest.max(led.1);
        recovers.find(led.0.err().map(|why| format!("{leader} crashed; a new leader: {why}")));
    }
    tokio::time::sleep_until(until).await;
    recovers.note(format!("a new leader after {:.1} s at most", slowest.as_secs_f64()));
    Ok(())
}

/// When all is quiet: the leases end, and a last list is made, up to which the informers have to
/// come; false if it was not to be had.
async fn finish(args: &KubernetesArgs, desk: &Desk, stage: &Stage, teller: &Teller) -> bool {
    teller.tell("kubernetes: quiet; waiting for the leases to end");
    let contact = stage.contact(0);
    let mut last = Caller { desk, who: "last lister".into(), contact };
    let deadline = Instant::now() + Duration::from_secs(u64::from(args.ttl)) + LEASE_ALLOWANCE;
    loop {
        let seen = last.list(Scope::prefix("/registry/events/"), 0, 0).await;
        let left = seen.map(|view| {
            let names = view.rows.iter().map(|row| String::from_utf8_lossy(&row.key).into_owned());
            names.collect::<Vec<_>>()
        });
        let done = left.as_ref().is_some_and(Vec::is_empty);
        if done || Instant::now() > deadline {
            desk.book.lock().left_over = left;
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    if let Some(view) = last.list(Scope::prefix(""), 50, 0).await {
        desk.goal.send_replace(Some(view.revision));
        desk.book.lock().last = Some(view);
        return true;
    }
    false
}

/// A controller: creates, updates and deletes objects, each write guarded by what it knows.
async fn write(mut caller: Caller<'_>, mut draws: ChaCha8Rng) {
    let mut known: std::collections::HashMap<Bytes, i64> = std::collections::HashMap::new();
    let mut number = 0;
    while caller.desk.pause(draws.random_range(5..35)).await {
        number += 1;
        let key = if draws.random_ratio(1, 40) {
            format!("/registry/configmaps/default/c{}", draws.random_range(0..CONFIG_MAPS))
        } else {
            format!("/registry/pods/default/p{:03}", draws.random_range(0..PODS))
        };
        let key = Bytes::from(key);
        let guard = match known.get(&key) {
            Some(guard) => *guard,
            None => match caller.get(key.clone()).await {
                Some(guard) => guard,
                None => continue,
            },
        };
        let change = if guard > 0 && draws.random_ratio(1, 4) {
            Change::Delete
        } else {
            Change::Put { value: value(&caller.who, number), lease: 0 }
        };
        let deletes = change == Change::Delete;
        match caller.write(key.clone(), Guard::ModRevision(guard), change).await {
            Outcome::At(revision) => {
                known.insert(key, if deletes { 0 } else { revision });
            }
            Outcome::Conflict { found, .. } => {
                known.insert(key, found.map_or(0, |row| row.mod_revision));
            }
            // What is there now has to be read.
            Outcome::Refused(_) | Outcome::Unknown(_) => drop(known.remove(&key)),
        }
    }
}

fn value(who: &str, number: u64) -> Bytes {
    format!("{who}, number {number} {:.<200}", "").into()
}

/// Reports events that go by themselves: many share a lease, and the next takes another one when
/// it is full or a quarter of its time is over.
async fn report(mut caller: Caller<'_>, number: u64, ttl: u32, mut draws: ChaCha8Rng) {
    let mut lease = None;
    let mut events = 0u64;
    while caller.desk.pause(draws.random_range(20..70)).await {
        let (id, since, used) = match lease {
            Some(held) => held,
            None => match caller.grant(ttl).await {
                Some(id) => (id, Instant::now(), 0),
                None => continue,
            },
        };
        events += 1;
        // Now and then an event happens again: it moves to the newer lease.
        let again = events > 10 && draws.random_ratio(1, 6);
        let name = if again { events - draws.random_range(1..10) } else { events };
        let key = Bytes::from(format!("/registry/events/default/e{number}-{name}"));
        let guard = if again { caller.get(key.clone()).await } else { Some(0) };
        if let Some(guard) = guard {
            let value = value(&caller.who, events);
            let change = Change::Put { value, lease: id };
            caller.write(key, Guard::ModRevision(guard), change).await;
        }
        let full =
            used + 1 >= EVENTS_A_LEASE || since.elapsed().as_secs_f64() > f64::from(ttl) / 4.0;
        lease = (!full).then_some((id, since, used + 1));
    }
}

/// Lists in pages of all sizes; now and then it takes longer between two pages than it takes a
/// compaction to come by.
async fn look_around(mut caller: Caller<'_>, every: Duration, mut draws: ChaCha8Rng) {
    while caller.desk.pause(draws.random_range(50..250)).await {
        let prefix = ["/registry/pods/", "/registry/events/", "/registry/"];
        let scope = Scope::prefix(prefix[draws.random_range(0..prefix.len())]);
        let slow = draws.random_ratio(1, 12);
        let page = if slow { 60 } else { draws.random_range(5..60) };
        let slowly = every.mul_f64(0.9).as_millis().min(12_000);
        let pause = if slow { u64::try_from(slowly).unwrap_or(0) } else { 0 };
        caller.list(scope, page, pause).await;
    }
}

/// The compactor of one API server: whoever wins the guard on the key's version compacts to where
/// the store was one interval ago.
async fn compact(mut caller: Caller<'_>, every: Duration) {
    let key = Bytes::from_static(COMPACT_KEY.as_bytes());
    let (mut version, mut revision) = (0, 0);
    let mut number = 0;
    let millis = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
    loop {
        number += 1;
        let value = format!("{revision} by {}, number {number}", caller.who).into();
        let change = Change::Put { value, lease: 0 };
        match caller.write(key.clone(), Guard::Version(version), change).await {
            Outcome::At(at) => {
                version += 1;
                if revision > 0 {
                    caller.compact(revision).await;
                }
                revision = at;
            }
            Outcome::Conflict { revision: at, found } => {
                (version, revision) = (found.map_or(0, |row| row.version), at);
            }
            // Whether it was the winner is shown by the next conflict.
            Outcome::Refused(_) | Outcome::Unknown(_) => {}
        }
        if !caller.desk.pause(millis).await {
            return;
        }
    }
}
