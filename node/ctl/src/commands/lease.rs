//! Leases: grant, revoke, ask, list, keep alive.

use etcd_api::etcdserverpb as pb;
use tonic::Status;

use super::Desk;
use super::keeper::Keeper;
use crate::args::Lease;
use crate::client::Patience;
use crate::failure::{Failure, code, say, words};
use crate::quote::int;
use crate::show::{Format, Granted, KeptAlive, Leases, Revoked, TimeToLive};

pub(crate) async fn run(desk: &Desk, asked: &Lease) -> Result<(), Failure> {
    match asked {
        Lease::Grant(asked) => grant(desk, &asked.words).await,
        Lease::Revoke(asked) => revoke(desk, &asked.words).await,
        Lease::Timetolive(asked) => time_to_live(desk, &asked.words, asked.keys).await,
        Lease::List(_) => list(desk).await,
        Lease::KeepAlive(asked) => keep_alive(desk, &asked.words, asked.once).await,
    }
}

/// The lease that is the only word.
fn lease(words: &[String], otherwise: &str) -> Result<i64, Failure> {
    let [word] = words else { return Err(Failure::bad_args(otherwise)) };
    int(word, 16)
        .map_err(|why| Failure::bad_args(format!("bad lease ID arg ({why}), expecting ID in Hex")))
}

/// What etcdctl makes of an error of its lease commands.
fn bad_connection(status: &Status) -> Failure {
    Failure::new(code::BAD_CONNECTION, words(status))
}

async fn grant(desk: &Desk, words: &[String]) -> Result<(), Failure> {
    let [ttl] = words else {
        return Err(Failure::bad_args("lease grant command needs TTL argument"));
    };
    let ttl = int(ttl, 10).map_err(|why| Failure::bad_args(format!("bad TTL ({why})")))?;
    let question = pb::LeaseGrantRequest { ttl, id: 0 };
    let answer = desk.client.grant(Patience::Command, question).await;
    let answer = answer.map_err(|status| {
        Failure::error(format!("failed to grant lease ({})", crate::failure::words(&status)))
    })?;
    desk.style.print(&Granted(&answer))
}

async fn revoke(desk: &Desk, words: &[String]) -> Result<(), Failure> {
    let id = lease(words, "lease revoke command needs 1 argument")?;
    let answer = desk.client.revoke(Patience::Command, pb::LeaseRevokeRequest { id }).await;
    let answer = answer.map_err(|status| {
        Failure::error(format!("failed to revoke lease ({})", crate::failure::words(&status)))
    })?;
    desk.style.print(&Revoked(id, &answer))
}

async fn time_to_live(desk: &Desk, words: &[String], keys: bool) -> Result<(), Failure> {
    let id = lease(words, "lease timetolive command needs lease ID as argument")?;
    let question = pb::LeaseTimeToLiveRequest { id, keys };
    let answer = desk.client.time_to_live(Patience::Endless, question).await;
    let answer = answer.map_err(|status| bad_connection(&status))?;
    desk.style.print(&TimeToLive(&answer, keys))
}

async fn list(desk: &Desk) -> Result<(), Failure> {
    let answer = desk.client.leases(Patience::Endless, pb::LeaseLeasesRequest {}).await;
    let answer = answer.map_err(|status| bad_connection(&status))?;
    desk.style.print(&Leases(&answer))
}

async fn keep_alive(desk: &Desk, words: &[String], once: bool) -> Result<(), Failure> {
    let id = lease(words, "lease keep-alive command needs lease ID as argument")?;
    let mut keeper = Keeper::new(&desk.client, id);
    let mut renewed = keeper.renew().await.map_err(|status| bad_connection(&status))?;
    if once {
        let answer = renewed.ok_or_else(|| {
            Failure::new(code::BAD_CONNECTION, "etcdserver: requested lease not found")
        })?;
        return desk.style.print(&KeptAlive(&answer));
    }
    while let Some(answer) = renewed {
        desk.style.print(&KeptAlive(&answer))?;
        renewed = keeper.next().await;
    }
    match desk.style.format {
        Format::Simple => say(format!("lease {id:016x} expired or revoked.\n")),
        Format::Fields | Format::Json | Format::Table => Ok(()),
    }
}
