//! The run: leases are granted and kept alive, leaders change, then all is quiet.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use clap::Args;
use etcd_api::etcdserverpb::request_op::Request;
use etcd_api::etcdserverpb::watch_request::RequestUnion;
use etcd_api::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseTimeToLiveRequest,
    PutRequest, RangeRequest, RequestOp, TxnRequest, WatchCreateRequest, WatchRequest,
};
use etcd_api::mvccpb::event::EventType;
use futures_util::{StreamExt as _, stream};
use lab_protocol::{MemberNo, Verdict};
use parking_lot::Mutex;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tonic::{Response, Status};

use super::super::command::{Common, Teller};
use super::super::contact::Contact;
use super::super::rule::Rule;
use super::super::stage::{RECOVER, Stage};
use super::book::{Book, Granted, Lease, Sighting};
use crate::workload::CallError;

/// How long a request may take before it is sent again elsewhere.
const WAIT: Duration = Duration::from_secs(3);

/// Everything that the leases hold.
const PREFIX: &str = "lease/";

/// Clients that grant and keep leases alive.
const KEEPERS: u64 = 8;

/// Hold leases while leaders crash and hand over, and see when they end.
#[derive(Clone, Debug, Args)]
pub struct LeasesArgs {
    /// Leases.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=5000))]
    pub leases: u64,
    /// Changes of leader: every second leader crashes, the others are asked to hand over.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub changes: u32,
    /// Seconds between two changes.
    #[arg(long, default_value_t = 3.0)]
    pub every: f64,
    /// Shortest time to live of a lease, seconds; the longest is twice that.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..))]
    pub ttl: u32,
    #[command(flatten)]
    pub common: Common,
}

/// What all clients share.
struct Desk {
    book: Mutex<Book>,
    began: Instant,
    /// Nothing is kept alive or asked any more.
    quiet: CancellationToken,
    /// Watchers end.
    end: CancellationToken,
}

/// Starts a cluster, does it, and says what was found.
pub(in crate::prove) async fn perform(
    args: &LeasesArgs,
    seed: u64,
    teller: &Teller,
) -> Result<Verdict> {
    let stage = Stage::begin(&args.common, seed, &[]).await?;
    let found = on_stage(args, seed, &stage, teller).await;
    stage.end().await;
    teller.end();
    found
}

async fn on_stage(args: &LeasesArgs, seed: u64, stage: &Stage, teller: &Teller) -> Result<Verdict> {
    let desk = Arc::new(Desk {
        book: Mutex::default(),
        began: Instant::now(),
        quiet: CancellationToken::new(),
        end: CancellationToken::new(),
    });
    let (mut watchers, mut clients) = (JoinSet::new(), JoinSet::new());
    for (place, (member, _)) in stage.members.iter().enumerate() {
        let (desk, contact) = (desk.clone(), stage.contact(place));
        let who = format!("watcher at {member}");
        watchers.spawn(async move {
            let watching = watch(&desk, who, contact);
            desk.end.run_until_cancelled(watching).await;
        });
    }
    teller.tell(&format!("leases: granting {}", args.leases));
    let granted = Arc::new(tokio::sync::Barrier::new(KEEPERS as usize + 1));
    for keeper in 0..KEEPERS {
        let (desk, contact) = (desk.clone(), stage.contact(keeper as usize));
        let granted = granted.clone();
        let mut draws = ChaCha8Rng::seed_from_u64(seed ^ (keeper + 1));
        let ids: Vec<i64> = (1..=args.leases)
            .filter(|number| number % KEEPERS == keeper)
            .map(|number| i64::try_from(number).unwrap_or(i64::MAX) << 16 | 0x1ea5)
            .collect();
        let ttl = args.ttl;
        clients.spawn(async move {
            let mut keeper = Keeper { desk: &desk, who: format!("keeper {keeper}"), contact };
            let mut kept = Vec::new();
            for id in ids {
                let ttl = draws.random_range(ttl..=2 * ttl);
                keeper.grant(id, ttl).await;
                // The others only ever had their grant.
                if draws.random_ratio(1, 2) {
                    kept.push(id);
                }
            }
            granted.wait().await;
            let keeping = keeper.keep(&kept, draws);
            desk.quiet.run_until_cancelled(keeping).await;
        });
    }
    let all = tokio::time::timeout(2 * RECOVER, granted.wait());
    all.await.context("grant all leases in time")?;

    let mut changes = Rule::new(
        "leaders_change",
        "each crash of a leader and each hand-over gives a leader in a higher term",
        "changes",
        u64::from(args.changes),
    );
    change_leaders(stage, args, seed, &mut changes, teller).await?;
    desk.quiet.cancel();
    while clients.join_next().await.is_some() {}
    let settled = stage.whole().await;
    let quiet = desk.began.elapsed();
    match settled {
        Ok(_) => desk.book.lock().quiet = Some(quiet),
        Err(why) => changes.judge(false, || why),
    }
    let ends = desk.began + desk.book.lock().ends(quiet);
    while Instant::now() < ends && !desk.book.lock().all_gone() {
        let gone = desk.book.lock().leases.values().filter(|lease| !lease.gone.is_empty()).count();
        teller.tell(&format!("leases: quiet; {gone} of {} have ended", args.leases));
        let look = Instant::now() + teller.every();
        while Instant::now() < look.min(ends) && !desk.book.lock().all_gone() {
            sleep(Duration::from_millis(50)).await;
        }
    }
    let left = what_is_left(stage.contact(0)).await;
    desk.book.lock().left = left.ok();
    desk.end.cancel();
    while watchers.join_next().await.is_some() {}

    let book = desk.book.lock();
    ensure!(book.leases.len() as u64 == args.leases, "grant {} leases", args.leases);
    let mut rules = book.judge(args.leases);
    rules.push(changes);
    if let Some(fallen) = stage.fallen() {
        rules.iter_mut().for_each(|rule| rule.cannot_tell(fallen.clone()));
    }
    Ok(Verdict::of("leases", rules.iter().map(Rule::result).collect()))
}

/// Has leaders hand over, to whom the seed says, and crashes every second one.
async fn change_leaders(
    stage: &Stage,
    args: &LeasesArgs,
    seed: u64,
    changes: &mut Rule,
    teller: &Teller,
) -> Result<()> {
    let mut draws = ChaCha8Rng::seed_from_u64(seed ^ 0xb10);
    let (mut crashes, mut moves) = (0, 0);
    for number in 1..=args.changes {
        sleep(Duration::from_secs_f64(args.every)).await;
        let (leader, term) = match stage.whole().await {
            Ok(led) => led,
            Err(why) => {
                changes.judge(false, || why);
                return Ok(());
            }
        };
        let crash = number.is_multiple_of(2);
        teller.tell(&format!(
            "leases: change {number} of {}: {leader} {}",
            args.changes,
            if crash { "crashes" } else { "hands over" }
        ));
        let led = if crash {
            crashes += 1;
            stage.crash(leader).await?;
            let led = stage.led_after(term).await;
            stage.restart(leader).await?;
            led
        } else {
            moves += 1;
            let others: Vec<MemberNo> =
                stage.members.iter().map(|(no, _)| *no).filter(|no| *no != leader).collect();
            let to = others[draws.random_range(0..others.len())];
            match stage.move_leader(leader, to).await {
                Ok(()) => stage.led_after(term).await,
                Err(why) => Err(format!("{leader} did not hand over to {to}: {why}")),
            }
        };
        changes.find(led.err());
    }
    changes.note(format!("{crashes} crashes, {moves} hand-overs"));
    Ok(())
}

/// What the cluster has at the end: leases, and keys that hung on them.
async fn what_is_left(mut contact: Contact) -> Result<(usize, i64), CallError> {
    let deadline = Instant::now() + Duration::from_secs(15);
    let leases = contact.read(deadline, |member| async move {
        member.leases().lease_leases(LeaseLeasesRequest {}).await
    });
    let leases = leases.await?.leases.len();
    let request = RangeRequest {
        key: Bytes::from_static(PREFIX.as_bytes()),
        range_end: Bytes::from_static(b"lease0"),
        count_only: true,
        ..RangeRequest::default()
    };
    let keys = contact.read(deadline, |member| {
        let request = request.clone();
        async move { member.kv().range(request).await }
    });
    Ok((leases, keys.await?.count))
}

/// A client that holds leases.
struct Keeper<'a> {
    desk: &'a Desk,
    who: String,
    contact: Contact,
}

impl Keeper<'_> {
    /// Grants a lease and hangs two keys on it, as often as it takes.
    async fn grant(&mut self, id: i64, ttl_seconds: u32) {
        // An attempt that nobody answered may have been the one: time counts from the first.
        let sent = self.desk.began.elapsed();
        let ttl = loop {
            let request = LeaseGrantRequest { ttl: i64::from(ttl_seconds), id };
            let granted = self
                .contact
                .once(WAIT, |member| async move { member.leases().lease_grant(request).await });
            match granted.await {
                Ok(answer) => break u64::try_from(answer.ttl).unwrap_or(0),
                Err(CallError::Refused { message, .. }) if message.contains("already exists") => {
                    break u64::from(ttl_seconds);
                }
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        };
        let answered = self.desk.began.elapsed();
        let keys = ["a", "b"].map(|part| format!("{PREFIX}{id:x}/{part}"));
        let lease = Lease {
            ttl: Duration::from_secs(ttl),
            keys: keys.to_vec(),
            granted: vec![Granted { sent, answered }],
            gone: Vec::new(),
        };
        self.desk.book.lock().leases.insert(id, lease);
        let put = |key: &String| RequestOp {
            request: Some(Request::RequestPut(PutRequest {
                key: Bytes::from(key.clone()),
                value: Bytes::from_static(b"held"),
                lease: id,
                ..PutRequest::default()
            })),
        };
        let request =
            TxnRequest { success: keys.iter().map(put).collect(), ..TxnRequest::default() };
        loop {
            let request = request.clone();
            let put =
                self.contact.once(WAIT, |member| async move { member.kv().txn(request).await });
            match put.await {
                Ok(_) => return,
                // It has ended before anything hung on it: the watch will not tell.
                Err(CallError::Refused { message, .. }) if message.contains("lease not found") => {
                    return self.gone(id);
                }
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Keeps these leases alive, three times as often as needed, and asks for any in between.
    async fn keep(&mut self, kept: &[i64], mut draws: ChaCha8Rng) {
        let all: Vec<i64> = self.desk.book.lock().leases.keys().copied().collect();
        let mut due: Vec<(Instant, i64)> = kept.iter().map(|id| (Instant::now(), *id)).collect();
        loop {
            due.sort_unstable();
            match due.first_mut() {
                Some((at, id)) if *at <= Instant::now() => {
                    let (id, ttl) = (*id, self.desk.book.lock().leases[&*id].ttl);
                    // One that is gone is not asked for again.
                    let next = if self.keep_alive(id).await { ttl / 3 } else { ttl * 1000 };
                    *at = Instant::now() + next;
                }
                Some(_) | None => {
                    let id = all[draws.random_range(0..all.len())];
                    self.ask(id).await;
                    sleep(Duration::from_millis(draws.random_range(20..80))).await;
                }
            }
        }
    }

    /// Gives a lease its full time again; false when it is gone.
    async fn keep_alive(&mut self, id: i64) -> bool {
        loop {
            let sent = self.desk.began.elapsed();
            let kept = self.contact.once(WAIT, |member| async move {
                let request = stream::iter([LeaseKeepAliveRequest { id }]);
                let mut answers = member.leases().lease_keep_alive(request).await?.into_inner();
                let answer = answers.message().await?;
                answer.map(Response::new).ok_or_else(|| Status::unavailable("the stream ended"))
            });
            match kept.await {
                Ok(answer) if answer.ttl > 0 => {
                    let answered = self.desk.began.elapsed();
                    let mut book = self.desk.book.lock();
                    if let Some(lease) = book.leases.get_mut(&id) {
                        lease.granted.push(Granted { sent, answered });
                    }
                    return true;
                }
                Ok(_) => {
                    self.gone(id);
                    return false;
                }
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Asks how long a lease has left.
    async fn ask(&mut self, id: i64) {
        let request = LeaseTimeToLiveRequest { id, keys: false };
        let asked = self
            .contact
            .once(WAIT, |member| async move { member.leases().lease_time_to_live(request).await });
        if asked.await.is_ok_and(|answer| answer.ttl < 0) {
            self.gone(id);
        }
    }

    fn gone(&self, id: i64) {
        let at = self.desk.began.elapsed();
        let seen = Sighting { who: self.who.clone(), key: None, at };
        if let Some(lease) = self.desk.book.lock().leases.get_mut(&id) {
            lease.gone.push(seen);
        }
    }
}

/// Watches all keys that hang on leases, from the empty store on, over as many streams as it
/// takes.
async fn watch(desk: &Desk, who: String, mut contact: Contact) {
    let mut next = 1;
    loop {
        let member = contact.attached().await;
        let create = WatchCreateRequest {
            key: Bytes::from_static(PREFIX.as_bytes()),
            range_end: Bytes::from_static(b"lease0"),
            start_revision: next,
            ..WatchCreateRequest::default()
        };
        let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        let requests = stream::iter([create]).chain(stream::pending());
        let mut client = member.watches();
        if let Ok(Ok(answer)) = tokio::time::timeout(WAIT, client.watch(requests)).await {
            let mut responses = answer.into_inner();
            while let Ok(Some(response)) = responses.message().await {
                let at = desk.began.elapsed();
                for event in response.events {
                    let deleted = event.r#type() == EventType::Delete;
                    let Some(kv) = event.kv else { continue };
                    next = kv.mod_revision + 1;
                    if deleted {
                        let key = String::from_utf8_lossy(&kv.key).into_owned();
                        deleted_at(desk, &who, key, kv.mod_revision, at);
                    }
                }
            }
        }
        contact.turn();
        sleep(Duration::from_millis(20)).await;
    }
}

fn deleted_at(desk: &Desk, who: &str, key: String, revision: i64, at: Duration) {
    let id = key.split('/').nth(1).and_then(|id| i64::from_str_radix(id, 16).ok());
    let mut book = desk.book.lock();
    let Some(lease) = id.and_then(|id| book.leases.get_mut(&id)) else { return };
    lease.gone.push(Sighting { who: who.to_owned(), key: Some((key, revision)), at });
}
