//! A mirror: the keys of one cluster, kept in another as they change.
//!
//! ```text
//!   source ── pages at one revision R ──► a put for each key       ┐
//!          ── a watch from R + 1 ───────► a transaction a revision ┴─► destination
//! ```
//!
//! The first page tells R, so that a user who may read the prefix alone can mirror it. The watch
//! asks to be told of progress: while nothing happens below the prefix the source may compact,
//! and a watch that breaks then would otherwise go on from a revision that is gone.
//!
//! Left out, as in etcdctl: leases, and the deletion of what only the destination has. A write
//! that fails ends the mirror, for whether it happened is unknown.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use etcd_api::{etcdserverpb as pb, mvccpb};
use mvccpb::event::EventType;
use pb::request_op::Request;
use tokio::time::{Instant, interval_at};

use super::watcher::Watcher;
use super::{Desk, client};
use crate::args::MakeMirror;
use crate::client::{Client, Patience};
use crate::failure::{Failure, code, complain, say};
use crate::quote::prefix_end;

/// Between two words on how much was mirrored.
const EVERY: Duration = Duration::from_secs(30);

/// How the password of the destination is asked for.
const PASSWORD: &str = "Destination Password: ";

/// Keys in a page (etcd's number).
const PAGE: i64 = 1_000;

const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";

pub(crate) async fn run(desk: &Desk, asked: &MakeMirror) -> Result<(), Failure> {
    let [destination] = &asked.words[..] else {
        return Err(Failure::bad_args("make-mirror takes one destination argument"));
    };
    if asked.no_dest_prefix && !asked.dest_prefix.is_empty() {
        return Err(Failure::bad_args(
            "`--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, choose one",
        ));
    }
    let destination = asked.destination(destination, &desk.global)?;
    let mirror = Mirror {
        source: &desk.client,
        destination: client(&destination, PASSWORD, true).await?,
        names: Names::of(asked),
        max_ops: usize::try_from(asked.max_txn_ops).unwrap_or(usize::MAX),
        mirrored: AtomicU64::new(0),
    };
    tokio::select! {
        ended = mirror.run(asked.rev) => ended,
        failure = tell(&mirror.mirrored) => Err(failure),
    }
}

/// Prints every now and then how much was mirrored, until that cannot be printed.
async fn tell(mirrored: &AtomicU64) -> Failure {
    let mut turns = interval_at(Instant::now() + EVERY, EVERY);
    loop {
        turns.tick().await;
        if let Err(failure) = say(format!("{}\n", mirrored.load(Ordering::Relaxed))) {
            return failure;
        }
    }
}

/// What keys are called on both sides.
#[derive(Debug, PartialEq, Eq)]
struct Names {
    prefix: Vec<u8>,
    /// What stands in the place of `prefix` at the destination.
    instead: Vec<u8>,
}

impl Names {
    fn of(asked: &MakeMirror) -> Self {
        let instead = match asked.dest_prefix.as_str() {
            "" if !asked.no_dest_prefix => &asked.prefix,
            other => other,
        };
        Self { prefix: asked.prefix.clone().into(), instead: instead.as_bytes().to_vec() }
    }

    /// The first key of the source that is mirrored, and the end of the range.
    fn range(&self) -> (Vec<u8>, Vec<u8>) {
        // The smallest key stands for none.
        let first = if self.prefix.is_empty() { vec![0] } else { self.prefix.clone() };
        (first, prefix_end(&self.prefix))
    }

    /// A mirrored key as it is called at the destination.
    fn at_destination(&self, key: &[u8]) -> Vec<u8> {
        let rest = key.strip_prefix(&self.prefix[..]).unwrap_or(key);
        [&self.instead, rest].concat()
    }

    fn put(&self, kv: &mvccpb::KeyValue) -> pb::PutRequest {
        pb::PutRequest {
            key: self.at_destination(&kv.key).into(),
            value: kv.value.clone(),
            ..Default::default()
        }
    }

    fn operation(&self, event: &mvccpb::Event) -> pb::RequestOp {
        let kv = event.kv.clone().unwrap_or_default();
        let request = match event.r#type() {
            EventType::Put => Request::RequestPut(self.put(&kv)),
            EventType::Delete => Request::RequestDeleteRange(pb::DeleteRangeRequest {
                key: self.at_destination(&kv.key).into(),
                ..Default::default()
            }),
        };
        pb::RequestOp { request: Some(request) }
    }

    /// What to do for a watch's events: a transaction a revision, or several where one has more
    /// than `max_ops` of them.
    fn transactions(&self, events: &[mvccpb::Event], max_ops: usize) -> Vec<pb::TxnRequest> {
        let revision = |event: &mvccpb::Event| event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
        events
            .chunk_by(|one, next| revision(one) == revision(next))
            .flat_map(|of_a_revision| of_a_revision.chunks(max_ops))
            .map(|events| pb::TxnRequest {
                success: events.iter().map(|event| self.operation(event)).collect(),
                ..Default::default()
            })
            .collect()
    }
}

/// A mirror at work.
struct Mirror<'a> {
    source: &'a Client,
    destination: Client,
    names: Names,
    max_ops: usize,
    /// Keys written or deleted at the destination.
    mirrored: AtomicU64,
}

impl Mirror<'_> {
    /// Mirrors until it cannot go on; from a revision after the first one, without what is there.
    async fn run(&self, from: i64) -> Result<(), Failure> {
        let from = if from > 1 { from } else { self.write_what_is_there().await? + 1 };
        self.follow(from).await
    }

    /// Writes all keys as they are at one revision; returns that.
    async fn write_what_is_there(&self) -> Result<i64, Failure> {
        let (mut key, range_end) = self.names.range();
        let mut revision = 0;
        loop {
            let page = self.source.range(
                Patience::Endless,
                pb::RangeRequest {
                    key: key.clone().into(),
                    range_end: range_end.clone().into(),
                    limit: PAGE,
                    revision,
                    ..Default::default()
                },
            );
            let page = page.await?;
            if revision == 0 {
                revision = page.header.map_or(0, |header| header.revision);
            }
            for kv in &page.kvs {
                self.destination.put(Patience::Endless, self.names.put(kv)).await?;
                self.mirrored.fetch_add(1, Ordering::Relaxed);
            }
            match page.kvs.last() {
                // The next key there can be.
                Some(last) if page.more => key = [&last.key[..], &[0]].concat(),
                _ => return Ok(revision),
            }
        }
    }

    /// Writes what changes from a revision on.
    async fn follow(&self, from: i64) -> Result<(), Failure> {
        let (key, range_end) = self.names.range();
        let watch = pb::WatchCreateRequest {
            key: key.into(),
            range_end: range_end.into(),
            start_revision: from,
            progress_notify: true,
            ..Default::default()
        };
        let mut watcher = Watcher::new(self.source, watch, true);
        while let Some(answer) = watcher.next().await? {
            if answer.compact_revision != 0 {
                complain(&format!(
                    "the source has compacted up to revision {}, and not all of that was \
                     mirrored: start again, without --rev, to begin anew",
                    answer.compact_revision
                ));
                return Err(Failure::error(COMPACTED));
            }
            if answer.canceled {
                return Err(Failure::error(format!(
                    "watch was canceled ({})",
                    answer.cancel_reason
                )));
            }
            for transaction in self.names.transactions(&answer.events, self.max_ops) {
                let operations = transaction.success.len() as u64;
                self.destination.txn(Patience::Endless, transaction).await?;
                self.mirrored.fetch_add(operations, Ordering::Relaxed);
            }
        }
        Err(Failure::new(code::INTERRUPTED, "watch is canceled by the server"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(prefix: &str, instead: &str) -> Names {
        Names { prefix: prefix.into(), instead: instead.into() }
    }

    #[test]
    fn keys_have_the_other_prefix_at_the_destination() {
        let check = |prefix: &str, instead: &str, key: &str, expected: &str| {
            let told = names(prefix, instead).at_destination(key.as_bytes());
            assert_eq!(told, expected.as_bytes(), "{key} of {prefix} as {instead}");
        };
        check("", "", "a", "a");
        check("", "all/", "a", "all/a");
        check("a/", "a/", "a/b", "a/b");
        check("a/", "c/", "a/a/b", "c/a/b");
        check("a/", "", "a/a/b", "a/b");
    }

    #[test]
    fn an_empty_prefix_means_all_keys() {
        assert_eq!(names("", "x").range(), (vec![0], vec![0]));
        assert_eq!(names("a/", "").range(), (b"a/".to_vec(), b"a0".to_vec()));
    }

    #[test]
    fn what_one_revision_changed_is_one_transaction_if_it_may_be_so_long() {
        let check = |revisions: &[i64], max_ops: usize, expected: &[usize]| {
            let events: Vec<_> = (0_u8..)
                .zip(revisions)
                .map(|(name, &mod_revision)| mvccpb::Event {
                    r#type: i32::from(name % 2),
                    kv: Some(mvccpb::KeyValue {
                        key: vec![b'a', name].into(),
                        mod_revision,
                        ..Default::default()
                    }),
                    ..Default::default()
                })
                .collect();
            let transactions = names("a", "b").transactions(&events, max_ops);
            let sizes: Vec<_> = transactions.iter().map(|txn| txn.success.len()).collect();
            assert_eq!(sizes, expected, "{revisions:?}, at most {max_ops}");
            let all = transactions.into_iter().flat_map(|txn| txn.success);
            for (name, operation) in (0_u8..).zip(all) {
                let (key, is_put) = match operation.request {
                    Some(Request::RequestPut(put)) => (put.key, true),
                    Some(Request::RequestDeleteRange(delete)) => (delete.key, false),
                    other => panic!("{other:?}"),
                };
                assert_eq!((&key[..], is_put), (&[b'b', name][..], name % 2 == 0));
            }
        };
        check(&[], 8, &[]);
        check(&[5], 8, &[1]);
        check(&[5, 5, 5, 6, 8, 8], 8, &[3, 1, 2]);
        check(&[5, 5, 5, 5, 5, 6, 6], 2, &[2, 2, 1, 2]);
        check(&[5, 5], 1, &[1, 1]);
    }
}
