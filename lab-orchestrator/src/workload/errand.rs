//! How an errand is run: its operations one after the other, each seen in the history by itself.
//!
//! What is not known goes on as if it had not happened: an append whose outcome is unknown is not
//! waited for, and a lock that may have been taken is not used. A try again is a new operation with
//! values of its own. Whoever is told to stop begins no operation any more.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use lab_protocol::mix::{ACCOUNTS, BETWEEN, GUARDED, LEASED, LISTS, LOCKS, REGISTERS, SETS, set};
use lab_protocol::{
    Call, Compare, CompareResult, CompareTarget, KeyRange, Outcome, Row, TxnAnswer, TxnOp,
    TxnResult,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio_util::sync::CancellationToken;

use super::Client;
use super::asking::Asking;
use super::mix::{Errand, PlannedErrand};
use super::slots::Slots;

/// Between two tries of one operation.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// What all errands of a mix share.
#[derive(Clone)]
pub(super) struct Errands {
    pub(super) asking: Asking,
    pub(super) deadline: Duration,
    pub(super) retries: u32,
    /// Another mix runs, or none.
    pub(super) stopping: CancellationToken,
    /// The highest revision that any client was told.
    pub(super) told: Arc<AtomicI64>,
    pub(super) slots: Arc<Slots>,
}

/// One errand, and the client that runs it.
struct Running {
    shared: Errands,
    client: Arc<Client>,
    mark: String,
    /// Operations tried so far: each has values of its own.
    tries: u32,
    draws: ChaCha8Rng,
}

/// The errand goes no further: something did not happen, or it was told to stop.
struct GoesNoFurther;

type Gone<T> = Result<T, GoesNoFurther>;

impl Errands {
    /// Runs one errand to its end.
    pub(super) async fn run(self, client: Arc<Client>, planned: PlannedErrand) {
        let PlannedErrand { mark, seed, errand, .. } = planned;
        if let Errand::Watch { watcher, millis } = errand {
            let slots = self.slots.clone();
            return slots.watch(watcher, Duration::from_millis(millis), &self.stopping).await;
        }
        let draws = ChaCha8Rng::seed_from_u64(seed);
        let running = Running { shared: self, client, mark, tries: 0, draws };
        // That it went no further is in the history.
        running.errand(errand).await.ok();
    }
}

impl Running {
    async fn errand(mut self, errand: Errand) -> Gone<()> {
        match errand {
            Errand::Put { register } => {
                let key = format!("{REGISTERS}{register:04}");
                self.ask(|value| Call::Put { key: key.clone(), value }).await.map(drop)
            }
            Errand::Get { register, serializable } => {
                let key = format!("{REGISTERS}{register:04}");
                self.ask(|_| Call::Get { key: key.clone(), serializable }).await.map(drop)
            }
            Errand::Delete { register } => {
                let key = format!("{REGISTERS}{register:04}");
                self.ask(|_| Call::Delete { key: key.clone() }).await.map(drop)
            }
            Errand::Swap { register } => {
                let key = format!("{REGISTERS}{register:04}");
                self.swap(&[key]).await
            }
            Errand::Exchange { first, keys } => {
                let keys: Vec<_> =
                    (first..first + keys).map(|key| format!("{ACCOUNTS}{key:04}")).collect();
                self.swap(&keys).await
            }
            Errand::Add { set } => {
                // The element is its own name: one that is tried again is another.
                let put = |value| Call::Put { key: format!("{SETS}{set}/{value}"), value };
                self.ask(put).await.map(drop)
            }
            Errand::ReadSet { set: name } => self.read(set(&name)).await.map(drop),
            Errand::DropSet { set: name } => self.drop_keys(set(&name)).await,
            Errand::Append { list } => self.append(format!("{LISTS}{list}")).await,
            Errand::ReadList { list } => {
                self.read(KeyRange::one(format!("{LISTS}{list}"))).await.map(drop)
            }
            Errand::DropList { list } => {
                self.drop_keys(KeyRange::one(format!("{LISTS}{list}"))).await
            }
            Errand::Lease { ttl_seconds } => self.lease(ttl_seconds).await,
            Errand::Lock { lock, ttl_seconds, writes } => {
                self.lock(lock, ttl_seconds, writes).await
            }
            Errand::Compact { back } => {
                let revision = self.shared.told.load(Ordering::Relaxed) - back;
                if revision > 1 {
                    self.ask(|_| Call::Compact { revision }).await?;
                }
                Ok(())
            }
            // Run by whoever began this.
            Errand::Watch { .. } => Ok(()),
        }
    }

    /// Asks, and again while it does not succeed and tries are left. The call is given a value that
    /// nobody else writes.
    async fn ask(&mut self, call: impl Fn(String) -> Call) -> Gone<Outcome> {
        for retry in 0..=self.shared.retries {
            if retry > 0 {
                self.pause(RETRY_PAUSE).await?;
            }
            if self.shared.stopping.is_cancelled() {
                return Err(GoesNoFurther);
            }
            self.tries += 1;
            let call = call(format!("{}.{}", self.mark, self.tries));
            let asked = (self.shared.asking.next_op(), self.client.member());
            let asking = self.shared.asking.ask(&self.client, asked, &call, self.shared.deadline);
            let outcome = asking.await.ok_or(GoesNoFurther)?;
            let revision = match &outcome {
                Outcome::Ok(answer) => answer.revision,
                Outcome::Txn(answer) => answer.revision,
                Outcome::Fail { .. } | Outcome::Info { .. } => continue,
            };
            self.shared.told.fetch_max(revision, Ordering::Relaxed);
            return Ok(outcome);
        }
        Err(GoesNoFurther)
    }

    async fn transact(
        &mut self,
        call: impl Fn(String) -> (Vec<Compare>, Vec<TxnOp>, Vec<TxnOp>),
    ) -> Gone<TxnAnswer> {
        let asked = self.ask(|value| {
            let (compare, then, otherwise) = call(value);
            Call::Txn { compare, then, otherwise }
        });
        match asked.await? {
            Outcome::Txn(answer) => Ok(*answer),
            Outcome::Ok(_) | Outcome::Fail { .. } | Outcome::Info { .. } => Err(GoesNoFurther),
        }
    }

    /// All keys of a range.
    async fn read(&mut self, keys: KeyRange) -> Gone<Vec<Row>> {
        let range = || vec![TxnOp::Range { keys: keys.clone() }];
        let answer = self.transact(|_| (vec![], range(), vec![])).await?;
        Ok(rows(answer))
    }

    async fn drop_keys(&mut self, keys: KeyRange) -> Gone<()> {
        let delete = || vec![TxnOp::Delete { keys: keys.clone() }];
        self.transact(|_| (vec![], delete(), vec![])).await.map(drop)
    }

    /// Reads keys, and writes all of them if nobody wrote any since.
    async fn swap(&mut self, keys: &[String]) -> Gone<()> {
        let ranges = || keys.iter().map(|key| TxnOp::Range { keys: KeyRange::one(key) }).collect();
        let seen = rows(self.transact(|_| (vec![], ranges(), vec![])).await?);
        let written = |key: &String| {
            let row = seen.iter().find(|row| row.key == *key);
            unwritten_since(key, row.map_or(0, |row| row.mod_revision))
        };
        let put = |(number, key): (usize, &String), value: &str| TxnOp::Put {
            key: key.clone(),
            value: format!("{value}.{number}"),
            lease: 0,
        };
        let swapped = self.transact(|value| {
            let puts = keys.iter().enumerate().map(|one| put(one, &value)).collect();
            (keys.iter().map(written).collect(), puts, ranges())
        });
        swapped.await.map(drop)
    }

    /// Reads a list, and appends an element to it if nobody wrote since.
    async fn append(&mut self, list: String) -> Gone<()> {
        let seen = self.read(KeyRange::one(&list)).await?;
        let (before, revision) = match seen.first() {
            Some(row) => (format!("{}{BETWEEN}", row.value), row.mod_revision),
            None => (String::new(), 0),
        };
        let appended = self.transact(|element| {
            let value = format!("{before}{element}");
            let put = TxnOp::Put { key: list.clone(), value, lease: 0 };
            let range = TxnOp::Range { keys: KeyRange::one(&list) };
            (vec![unwritten_since(&list, revision)], vec![put], vec![range])
        });
        appended.await.map(drop)
    }

    async fn grant(&mut self, ttl_seconds: u32) -> Gone<i64> {
        match self.ask(|_| Call::LeaseGrant { ttl_seconds }).await? {
            Outcome::Ok(answer) => Ok(answer.number),
            Outcome::Txn(_) | Outcome::Fail { .. } | Outcome::Info { .. } => Err(GoesNoFurther),
        }
    }

    /// Takes a lease, attaches a key, keeps it alive, asks about it; revokes it or lets it end.
    async fn lease(&mut self, ttl_seconds: u32) -> Gone<()> {
        let lease = self.grant(ttl_seconds).await?;
        let key = format!("{LEASED}{}", self.mark);
        let attach = |value| vec![TxnOp::Put { key: key.clone(), value, lease }];
        self.transact(|value| (vec![], attach(value), vec![])).await?;
        for _ in 0..self.draws.random_range(1..=3) {
            let most = u64::from(ttl_seconds) * 600;
            let pause = self.draws.random_range(100..most);
            self.pause(Duration::from_millis(pause)).await?;
            match self.draws.random_bool(0.5) {
                true => self.ask(|_| Call::LeaseKeepAlive { lease }).await?,
                false => self.ask(|_| Call::LeaseTimeToLive { lease }).await?,
            };
        }
        if self.draws.random_bool(0.6) {
            self.ask(|_| Call::LeaseRevoke { lease }).await?;
        }
        self.ask(|_| Call::LeaseTimeToLive { lease }).await.map(drop)
    }

    /// Takes a lock that is a key attached to a lease, writes under its guard, releases it.
    ///
    /// The holder may be slower than its lease: then another may hold the lock as well, and the
    /// guard alone keeps the late write out.
    async fn lock(&mut self, lock: u32, ttl_seconds: u32, writes: u32) -> Gone<()> {
        let lease = self.grant(ttl_seconds).await?;
        let (key, guarded) = (format!("{LOCKS}{lock}"), format!("{GUARDED}{lock}"));
        let look = || vec![TxnOp::Range { keys: KeyRange::one(&key) }];
        let created = |revision| Compare {
            key: key.clone(),
            result: CompareResult::Equal,
            target: CompareTarget::CreateRevision(revision),
        };
        let take = |value| {
            let put = TxnOp::Put { key: key.clone(), value, lease };
            (vec![created(0)], vec![put], look())
        };
        let taken = self.transact(take).await?;
        if !taken.succeeded {
            return self.ask(|_| Call::LeaseRevoke { lease }).await.map(drop);
        }
        let held = taken.revision;
        for _ in 0..writes {
            // Now and then longer than the lease lives.
            let most = u64::from(ttl_seconds) * 1_200 / u64::from(writes);
            let pause = self.draws.random_range(0..most);
            self.pause(Duration::from_millis(pause)).await?;
            let write = |value| {
                let put = TxnOp::Put { key: guarded.clone(), value, lease: 0 };
                (vec![created(held)], vec![put], look())
            };
            if !self.transact(write).await?.succeeded {
                break;
            }
        }
        match self.draws.random_range(0..10) {
            0..7 => self.ask(|_| Call::LeaseRevoke { lease }).await.map(drop),
            7 => {
                let delete = || vec![TxnOp::Delete { keys: KeyRange::one(&key) }];
                self.transact(|_| (vec![created(held)], delete(), look())).await?;
                self.ask(|_| Call::LeaseRevoke { lease }).await.map(drop)
            }
            // It ends by itself.
            _ => Ok(()),
        }
    }

    async fn pause(&self, time: Duration) -> Gone<()> {
        stopped_by(&self.shared.stopping, tokio::time::sleep(time)).await.ok_or(GoesNoFurther)
    }
}

async fn stopped_by<T>(stopping: &CancellationToken, what: impl Future<Output = T>) -> Option<T> {
    stopping.run_until_cancelled(what).await
}

/// Nobody wrote a key since this revision did; 0 if it was not there.
fn unwritten_since(key: &str, revision: i64) -> Compare {
    Compare {
        key: key.to_owned(),
        result: CompareResult::Equal,
        target: CompareTarget::ModRevision(revision),
    }
}

/// All rows that a transaction was shown.
fn rows(answer: TxnAnswer) -> Vec<Row> {
    let shown = |result| match result {
        TxnResult::Range(rows) => rows,
        TxnResult::Put | TxnResult::Deleted(_) => Vec::new(),
    };
    answer.results.into_iter().flat_map(shown).collect()
}
