//! Locks and elections among clients, made of a lease, keys and watches as etcdctl makes them.
//!
//! Whoever wants something puts a key under its name, held by a lease. The key that was created
//! first has it; the others each wait until all older keys are gone.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};

use etcd_api::etcdserverpb as pb;
use etcd_api::mvccpb::event::EventType;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::range_request::{SortOrder, SortTarget};
use pb::request_op::Request;
use pb::response_op::Response;
use tokio::process::Command;
use tonic::Status;

use super::Desk;
use super::keeper::Keeper;
use super::stop::Stop;
use super::watcher::Watcher;
use crate::args::{Elect, Lock};
use crate::client::{Client, Patience};
use crate::failure::{Failure, code};
use crate::quote::{prefix_end, quote};
use crate::show::Got;

/// Seconds for which an elected client that died stays elected.
const ELECTION_TTL: i64 = 60;

const LEASE_LOST: &str = "etcdserver: requested lease not found";

/// A place in the queue for a name.
#[derive(Debug)]
struct Place<'a> {
    client: &'a Client,
    prefix: String,
    key: String,
    /// The revision at which the key was created.
    created: i64,
    /// The answer's header of when it was had.
    revision: i64,
}

impl<'a> Place<'a> {
    /// Puts a key with a value under a name.
    async fn take(client: &'a Client, name: &str, lease: i64, value: &str) -> Result<Self, Status> {
        let prefix = format!("{name}/");
        let key = format!("{prefix}{lease:x}");
        let put = pb::PutRequest {
            key: key.clone().into(),
            value: value.to_owned().into(),
            lease,
            ..Default::default()
        };
        let mine = pb::RangeRequest { key: key.clone().into(), ..Default::default() };
        let request = pb::TxnRequest {
            compare: vec![created(&key, 0)],
            success: vec![operation(Request::RequestPut(put))],
            failure: vec![operation(Request::RequestRange(mine))],
        };
        let answer = client.txn(Patience::Endless, request).await?;
        let revision = answer.header.map_or(0, |header| header.revision);
        let found = answer.responses.first().and_then(|answer| match &answer.response {
            Some(Response::ResponseRange(answer)) => answer.kvs.first(),
            _ => None,
        });
        let created = found.map_or(revision, |kv| kv.create_revision);
        Ok(Self { client, prefix, key, created, revision })
    }

    /// Waits until no older key is left.
    async fn wait(&mut self) -> Result<(), Status> {
        loop {
            let older = pb::RangeRequest {
                key: self.prefix.clone().into(),
                range_end: prefix_end(self.prefix.as_bytes()).into(),
                limit: 1,
                sort_order: SortOrder::Descend.into(),
                sort_target: SortTarget::Create.into(),
                max_create_revision: self.created - 1,
                ..Default::default()
            };
            let answer = self.client.range(Patience::Endless, older).await?;
            let revision = answer.header.map_or(0, |header| header.revision);
            let Some(last) = answer.kvs.first() else {
                self.revision = revision;
                return Ok(());
            };
            let request = pb::WatchCreateRequest {
                key: last.key.clone(),
                start_revision: revision,
                ..Default::default()
            };
            let mut watcher = Watcher::new(self.client, request, false);
            loop {
                let Some(answer) = watcher.next().await? else {
                    return Err(Status::aborted("lost watcher waiting for delete"));
                };
                if answer.events.iter().any(|event| event.r#type() == EventType::Delete) {
                    break;
                }
            }
        }
    }

    /// The key as it is now.
    async fn get(&self) -> Result<pb::RangeResponse, Status> {
        let question = pb::RangeRequest { key: self.key.clone().into(), ..Default::default() };
        self.client.range(Patience::Endless, question).await
    }

    /// Gives the place up, if it is still ours.
    async fn leave(&self) -> Result<(), Status> {
        let delete = pb::DeleteRangeRequest { key: self.key.clone().into(), ..Default::default() };
        let request = pb::TxnRequest {
            compare: vec![created(&self.key, self.created)],
            success: vec![operation(Request::RequestDeleteRange(delete))],
            failure: Vec::new(),
        };
        self.client.txn(Patience::Command, request).await.map(|_| ())
    }
}

/// Was the key created at this revision? 0: is it absent?
fn created(key: &str, revision: i64) -> pb::Compare {
    pb::Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Create.into(),
        key: key.to_owned().into(),
        range_end: Default::default(),
        target_union: Some(TargetUnion::CreateRevision(revision)),
    }
}

fn operation(request: Request) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

/// A lease of one's own, renewed by the future that comes with it; that ends when it is lost.
async fn session(client: &Client, ttl: i64) -> Result<(i64, impl Future<Output = ()>), Failure> {
    let question = pb::LeaseGrantRequest { ttl, id: 0 };
    let lease = client.grant(Patience::Endless, question).await?.id;
    let mut keeper = Keeper::new(client, lease);
    let kept = async move {
        if matches!(keeper.renew().await, Ok(Some(_))) {
            while keeper.next().await.is_some() {}
        }
    };
    Ok((lease, kept))
}

pub(crate) async fn lock(desk: &Desk, asked: &Lock) -> Result<(), Failure> {
    let [name, command @ ..] = asked.words.as_slice() else {
        return Err(Failure::bad_args(
            "lock takes a lock name argument and an optional command to execute",
        ));
    };
    let mut stop = Stop::listen()?;
    let (lease, kept) = session(&desk.client, asked.ttl).await?;
    let kept = std::pin::pin!(kept);
    let mut place = Place::take(&desk.client, name, lease, "").await?;
    let mut kept = Some(kept);
    had(&mut place, &mut stop, kept.as_mut()).await?;
    let found = place.get().await?;
    if found.kvs.is_empty() {
        return Err(Failure::error("lock lost on init"));
    }
    if let [program, arguments @ ..] = command {
        let mut child = Command::new(program);
        child
            .args(arguments)
            .env("ETCD_LOCK_KEY", &place.key)
            .env("ETCD_LOCK_REV", place.revision.to_string())
            .stdin(Stdio::null());
        let ended = beside(child.status(), kept).await;
        let left = place.leave().await;
        let status = ended.map_err(|error| Failure::error(not_started(program, &error)))?;
        if !status.success() {
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            return Err(Failure::new(code.unwrap_or(code::ERROR), ending(status)));
        }
        return left.map_err(Failure::from);
    }
    desk.style.print(&Got(&found))?;
    tokio::select! {
        () = stop.asked() => place.leave().await.map_err(Failure::from),
        () = lost(kept) => Err(Failure::error("session expired")),
    }
}

/// Waits until the place is the first; gives it up when asked to stop.
async fn had(
    place: &mut Place<'_>,
    stop: &mut Stop,
    kept: Option<&mut std::pin::Pin<&mut impl Future<Output = ()>>>,
) -> Result<(), Failure> {
    let gone = async {
        match kept {
            Some(kept) => kept.await,
            None => std::future::pending().await,
        }
    };
    let why = tokio::select! {
        waited = place.wait() => match waited {
            Ok(()) => return Ok(()),
            Err(status) => Failure::from(status),
        },
        () = stop.asked() => Failure::error("context canceled"),
        () = gone => return Err(Failure::error(LEASE_LOST)),
    };
    // The lease takes the key away if this does not.
    place.leave().await.ok();
    Err(why)
}

/// A future, while the lease is kept; the lease's end does not end it.
async fn beside<T>(
    work: impl Future<Output = T>,
    kept: Option<std::pin::Pin<&mut impl Future<Output = ()>>>,
) -> T {
    let mut work = std::pin::pin!(work);
    tokio::select! {
        done = &mut work => done,
        () = lost(kept) => work.await,
    }
}

async fn lost(kept: Option<std::pin::Pin<&mut impl Future<Output = ()>>>) {
    match kept {
        Some(kept) => kept.await,
        None => std::future::pending().await,
    }
}

pub(crate) async fn elect(desk: &Desk, asked: &Elect) -> Result<(), Failure> {
    match asked.words.as_slice() {
        [_] if !asked.listen => Err(Failure::bad_args("no proposal argument but -l not set")),
        [name] => observe(desk, name).await,
        [_, _] if asked.listen => Err(Failure::bad_args("proposal given but -l is set")),
        [name, proposal] => campaign(desk, name, proposal).await,
        _ => Err(Failure::bad_args(
            "elect takes one election name argument and an optional proposal argument",
        )),
    }
}

async fn campaign(desk: &Desk, name: &str, proposal: &str) -> Result<(), Failure> {
    let mut stop = Stop::listen()?;
    let (lease, kept) = session(&desk.client, ELECTION_TTL).await?;
    let mut kept = Some(std::pin::pin!(kept));
    let mut place = Place::take(&desk.client, name, lease, proposal).await?;
    had(&mut place, &mut stop, kept.as_mut()).await?;
    desk.style.print(&Got(&place.get().await?))?;
    tokio::select! {
        () = stop.asked() => place.leave().await.map_err(Failure::from),
        () = lost(kept) => Err(Failure::error("elect: session expired")),
    }
}

async fn observe(desk: &Desk, name: &str) -> Result<(), Failure> {
    let mut stop = Stop::listen()?;
    tokio::select! {
        () = stop.asked() => Ok(()),
        ended = leaders(desk, name) => match ended {
            Ok(()) => Err(Failure::error("elect: observer lost")),
            Err(failure) => Err(failure),
        },
    }
}

/// Prints who leads, each time that changes or a leader changes its mind.
async fn leaders(desk: &Desk, name: &str) -> Result<(), Failure> {
    let prefix = format!("{name}/");
    let range_end = prefix_end(prefix.as_bytes());
    loop {
        let question = pb::RangeRequest {
            key: prefix.clone().into(),
            range_end: range_end.clone().into(),
            limit: 1,
            sort_order: SortOrder::Ascend.into(),
            sort_target: SortTarget::Create.into(),
            ..Default::default()
        };
        let mut found = desk.client.range(Patience::Endless, question).await?;
        let revision = found.header.map_or(0, |header| header.revision);
        let leader = match found.kvs.first().cloned() {
            Some(kv) => kv,
            None => {
                let request = pb::WatchCreateRequest {
                    key: prefix.clone().into(),
                    range_end: range_end.clone().into(),
                    start_revision: revision,
                    ..Default::default()
                };
                let mut watcher = Watcher::new(&desk.client, request, false);
                loop {
                    let Some(answer) = watcher.next().await? else { return Ok(()) };
                    let put = answer.events.iter().find(|event| event.r#type() == EventType::Put);
                    if let Some(kv) = put.and_then(|event| event.kv.clone()) {
                        found.header = answer.header.map(|header| pb::ResponseHeader {
                            revision: kv.mod_revision,
                            ..header
                        });
                        break kv;
                    }
                }
            }
        };
        let told = |header, kv| pb::RangeResponse { header, kvs: vec![kv], more: false, count: 0 };
        desk.style.print(&Got(&told(found.header, leader.clone())))?;
        let request = pb::WatchCreateRequest {
            key: leader.key.clone(),
            start_revision: found.header.map_or(0, |header| header.revision) + 1,
            ..Default::default()
        };
        let mut watcher = Watcher::new(&desk.client, request, false);
        'leads: loop {
            let Some(answer) = watcher.next().await? else { return Ok(()) };
            for event in answer.events {
                match event.kv {
                    Some(kv) if event.r#type == i32::from(EventType::Put) => {
                        desk.style.print(&Got(&told(answer.header, kv)))?;
                    }
                    _ => break 'leads,
                }
            }
        }
    }
}

/// How a command ended, in Go's words.
pub(crate) fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal: {signal}"),
        (None, None) => status.to_string(),
    }
}

/// Why a command did not begin, in Go's words.
pub(crate) fn not_started(program: &str, error: &std::io::Error) -> String {
    let name = quote(program.as_bytes());
    match error.kind() {
        std::io::ErrorKind::NotFound if !program.contains('/') => {
            format!("exec: {name}: executable file not found in $PATH")
        }
        std::io::ErrorKind::NotFound => {
            format!("fork/exec {program}: no such file or directory")
        }
        _ => format!("fork/exec {program}: {error}"),
    }
}
