//! Listens for members that are down by the lab's account and speak all the same: somebody started
//! them by hand.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use lab_protocol::MemberNo;
use node_protocol::TelemetryFrame;
use node_protocol::telemetry::TELEMETRY_VERSION;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::connect;

/// Capacity of the channel of what was found. When full the finder waits; it looks again later.
pub const FOUND: usize = 16;

/// Ports are looked at so often: a connection on loopback that is refused costs next to nothing.
const EVERY: Duration = Duration::from_millis(300);

/// Whoever listens says who it is within this time.
const GREETING_DEADLINE: Duration = Duration::from_secs(2);

/// Who spoke at the telemetry port of a member that is down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Whose port it is.
    pub member: MemberNo,
    /// Its name and its process, or why it cannot be a member.
    pub greeting: Result<(String, u32), String>,
}

/// The task that looks. When it is dropped it ends.
#[derive(Debug)]
pub struct Finder {
    down: watch::Sender<BTreeSet<MemberNo>>,
    _task: JoinSet<()>,
}

impl Finder {
    /// Looks at these telemetry ports on loopback, once it is told whose.
    pub fn start(members: &[(MemberNo, u16)], found: mpsc::Sender<Found>) -> Self {
        let (down, look_for) = watch::channel(BTreeSet::new());
        let mut task = JoinSet::new();
        task.spawn(look(members.to_vec(), look_for, found));
        Self { down, _task: task }
    }

    /// The members that are down from now on.
    pub fn look_for(&self, down: BTreeSet<MemberNo>) {
        self.down.send_if_modified(|present| {
            let is_new = *present != down;
            *present = down;
            is_new
        });
    }
}

async fn look(
    members: Vec<(MemberNo, u16)>,
    mut down: watch::Receiver<BTreeSet<MemberNo>>,
    found: mpsc::Sender<Found>,
) {
    while down.wait_for(|down| !down.is_empty()).await.is_ok() {
        sleep(EVERY).await;
        let looked = down.borrow().clone();
        let calls = members
            .iter()
            .filter(|(member, _)| looked.contains(member))
            .map(|&(member, port)| call(member, SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
        for heard in futures_util::future::join_all(calls).await.into_iter().flatten() {
            if found.send(heard).await.is_err() {
                return; // The lab is gone.
            }
        }
    }
}

/// Who speaks there, if anybody does.
async fn call(member: MemberNo, address: SocketAddr) -> Option<Found> {
    let mut socket = connect(address).await?;
    let first = timeout(GREETING_DEADLINE, socket.next()).await.ok()??.ok()?;
    let greeting = match first {
        Message::Binary(bytes) => match TelemetryFrame::decode(&bytes) {
            Ok(TelemetryFrame::Hello { version: TELEMETRY_VERSION, name, pid, .. }) => {
                Ok((name, pid))
            }
            Ok(TelemetryFrame::Hello { version, .. }) => {
                Err(format!("it speaks telemetry version {version}, this lab {TELEMETRY_VERSION}"))
            }
            Ok(_) | Err(_) => Err("it does not say who it is".to_owned()),
        },
        _ => Err("it does not say who it is".to_owned()),
    };
    Some(Found { member, greeting })
}
