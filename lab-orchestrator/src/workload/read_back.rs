//! What every member holds, read at a quiet moment: all keys, and the hash of the state.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use etcd_api::etcdserverpb::{HashKvRequest, RangeRequest};
use http::Uri;
use lab_protocol::{Event, MemberNo, ReadBack};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::connection::classify;
use super::{Connection, Dialler};

/// How long one member may take for its keys, and again for its hash.
const DEADLINE: Duration = Duration::from_secs(15);

/// How long to wait before a member is asked again.
const PAUSE: Duration = Duration::from_millis(100);

/// The largest answer that is read: far above what a drill writes.
const MAX_ANSWER_BYTES: usize = 256 * 1024 * 1024;

/// Reads all members' keys, then all their hashes at the lowest revision any of them answered
/// with, and reports each member once, in the order given.
///
/// The reads are linearizable, so a member that answers has applied everything acknowledged
/// before; in a quiet cluster all answer with the same revision. Where they do not, every member
/// still has the lowest one, and what differs is there to be judged.
pub(super) async fn read_back(
    members: Vec<(MemberNo, Uri)>,
    dialler: &Dialler,
    events: &mpsc::Sender<Event>,
) {
    let mut reads = JoinSet::new();
    for (member, origin) in members {
        let dialler = dialler.clone();
        reads.spawn(async move {
            let read = until_answered(|| read_keys(&dialler, &origin)).await;
            (member, origin, read)
        });
    }
    let mut read: Vec<_> = reads.join_all().await;
    read.sort_by_key(|(member, ..)| *member);
    let lowest = read
        .iter()
        .filter_map(|(_, _, read)| read.as_ref().ok().map(|(revision, _)| *revision))
        .min()
        .unwrap_or(0);
    for (member, origin, read) in read {
        let mut told = ReadBack {
            member,
            revision: 0,
            rows: Vec::new(),
            hash: (lowest, 0),
            failed: String::new(),
        };
        match read {
            Ok((revision, rows)) => {
                (told.revision, told.rows) = (revision, rows);
                match until_answered(|| read_hash(dialler, &origin, lowest)).await {
                    Ok(hash) => told.hash.1 = hash,
                    Err(why) => told.failed = format!("its hash could not be read: {why}"),
                }
            }
            Err(why) => told.failed = format!("its keys could not be read: {why}"),
        }
        if !told.failed.is_empty() {
            told.rows.clear();
            told.revision = 0;
        }
        // The lab that would listen is ending when this fails.
        events.send(Event::ReadBack(Box::new(told))).await.ok();
    }
}

async fn until_answered<T, F>(mut ask: impl FnMut() -> F) -> Result<T, String>
where
    F: Future<Output = Result<T, String>>,
{
    let deadline = Instant::now() + DEADLINE;
    let mut last = "no answer in time".to_owned();
    loop {
        match tokio::time::timeout_at(deadline, ask()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(why)) => last = why,
            Err(_) => return Err(last),
        }
        if tokio::time::timeout_at(deadline, tokio::time::sleep(PAUSE)).await.is_err() {
            return Err(last);
        }
    }
}

async fn connect(dialler: &Dialler, origin: &Uri) -> Result<Connection, String> {
    dialler.dial(origin).await.map_err(|error| error.to_string())
}

type Rows = Vec<(String, String, i64)>;

async fn read_keys(dialler: &Dialler, origin: &Uri) -> Result<(i64, Rows), String> {
    let everything = RangeRequest {
        key: Bytes::from_static(&[0]),
        range_end: Bytes::from_static(&[0]),
        ..RangeRequest::default()
    };
    let mut kv = connect(dialler, origin).await?.kv().max_decoding_message_size(MAX_ANSWER_BYTES);
    let answer = kv.range(everything).await.map_err(|status| classify(&status).to_string())?;
    let answer = answer.into_inner();
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let rows =
        answer.kvs.iter().map(|row| (text(&row.key), text(&row.value), row.mod_revision)).collect();
    Ok((answer.header.unwrap_or_default().revision, rows))
}

async fn read_hash(dialler: &Dialler, origin: &Uri, revision: i64) -> Result<u32, String> {
    let mut maintenance = connect(dialler, origin).await?.maintenance();
    let answer = maintenance
        .hash_kv(HashKvRequest { revision })
        .await
        .map_err(|status| classify(&status).to_string())?;
    Ok(answer.into_inner().hash)
}
