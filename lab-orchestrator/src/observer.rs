//! Follows each member's telemetry, and says so when it goes quiet.
//!
//! One task a member: while its process is up it keeps a websocket to it, connecting again after
//! 50 to 500 ms, and passes on what it hears in the run's time. A live member sends a status at
//! least once a second; one that is silent for a second and a half is *quiet*. A paused process is
//! silent because it was paused, and is not reported.
//!
//! Members without telemetry are asked instead ([`Observer::ask`]).

mod asker;
mod etcd_log;
mod finder;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use http::Uri;
use lab_protocol::{Event, Feed, MemberNo};
use node_protocol::telemetry::{Restored, TELEMETRY_VERSION};
use node_protocol::{MemberId, TelemetryFrame};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

pub use finder::{FOUND, Finder, Found};

use self::asker::{Asker, Whose};
use crate::clock::RunClock;
use crate::supervisor::Lines;
use crate::workload::Dialler;

/// Capacity of the channel of observations. When full the observer waits, the member's own bounded
/// feed fills, and the member counts what it drops.
pub const OBSERVATIONS: usize = 1024;

/// A member that is silent for longer is quiet.
const QUIET_AFTER: Duration = Duration::from_millis(1_500);

const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_millis(500);

/// Connecting and shaking hands may take so long.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);

/// No telemetry message is longer.
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// Whether a member can be expected to speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expect {
    /// Its process does not run.
    #[default]
    Nothing,
    /// Its process runs.
    Speech,
    /// Its process is paused.
    Silence,
}

/// The followers of all members. When it is dropped they end.
#[derive(Debug)]
pub struct Observer {
    members: Vec<(MemberNo, watch::Sender<Expect>)>,
    _tasks: JoinSet<()>,
}

impl Observer {
    /// Follows members whose telemetry is at these ports on loopback. What is heard is sent to
    /// `events`: `Restored`, `Identified`, `Telemetry`, `Status`, `Trace`, `TraceLost`, and a `Note` when
    /// somebody else speaks there.
    pub fn start(
        members: &[(MemberNo, u16)],
        clock: RunClock,
        events: &mpsc::Sender<Event>,
    ) -> Self {
        let mut tasks = JoinSet::new();
        let members = members
            .iter()
            .map(|&(member, port)| {
                let (sender, expect) = watch::channel(Expect::Nothing);
                let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                let ear = Ear {
                    member,
                    address,
                    clock,
                    expect,
                    events: events.clone(),
                    said: String::new(),
                };
                tasks.spawn(ear.follow());
                (member, sender)
            })
            .collect();
        Self { members, _tasks: tasks }
    }

    /// Asks members that do not speak by themselves, at the API that they serve at these ports on
    /// loopback, and reads what their processes print. What is heard is sent to `events`, as by
    /// [`start`](Self::start).
    pub fn ask(
        members: &[(MemberNo, u16)],
        mut lines: BTreeMap<MemberNo, Lines>,
        clock: RunClock,
        events: &mpsc::Sender<Event>,
    ) -> Self {
        let asked = members.iter().map(|&(member, port)| {
            let origin = format!("http://127.0.0.1:{port}").parse().expect("an address");
            (member, origin, Whose::Named, lines.remove(&member))
        });
        Self::asking(asked.collect(), clock, events)
    }

    /// The same for members that the lab did not start: each is known by its identity, and asked
    /// wherever it may be reached.
    pub fn ask_strangers(
        members: Vec<(MemberNo, MemberId, Uri)>,
        clock: RunClock,
        events: &mpsc::Sender<Event>,
    ) -> Self {
        let asked = members
            .into_iter()
            .map(|(member, id, origin)| (member, origin, Whose::Known(id), None));
        let observer = Self::asking(asked.collect(), clock, events);
        for (_, sender) in &observer.members {
            sender.send_replace(Expect::Speech);
        }
        observer
    }

    fn asking(
        members: Vec<(MemberNo, Uri, Whose, Option<Lines>)>,
        clock: RunClock,
        events: &mpsc::Sender<Event>,
    ) -> Self {
        let dialler = Dialler::default();
        let mut tasks = JoinSet::new();
        let members = members
            .into_iter()
            .map(|(member, origin, whose, lines)| {
                let (sender, expect) = watch::channel(Expect::Nothing);
                let (events, dialler) = (events.clone(), dialler.clone());
                let ear = asker::Ear::default();
                let asker =
                    Asker { member, origin, whose, clock, expect, events, dialler, lines, ear };
                tasks.spawn(asker.follow());
                (member, sender)
            })
            .collect();
        Self { members, _tasks: tasks }
    }

    /// Tells what can be expected of a member from now on.
    pub fn expect(&self, member: MemberNo, expect: Expect) {
        if let Some((_, sender)) = self.members.iter().find(|(no, _)| *no == member) {
            sender.send_if_modified(|present| std::mem::replace(present, expect) != expect);
        }
    }
}

/// Follows one member.
struct Ear {
    member: MemberNo,
    address: SocketAddr,
    clock: RunClock,
    expect: watch::Receiver<Expect>,
    events: mpsc::Sender<Event>,
    /// What was last said of a stranger; it is said once.
    said: String,
}

/// Connects to whoever listens there and speaks websocket.
async fn connect(address: SocketAddr) -> Option<WebSocketStream<TcpStream>> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    let url = format!("ws://{}/telemetry", address);
    let connect = async {
        let stream = TcpStream::connect(address).await.ok()?;
        let connected =
            tokio_tungstenite::client_async_with_config(url, stream, Some(config)).await;
        connected.ok().map(|(socket, _)| socket)
    };
    timeout(CONNECT_DEADLINE, connect).await.ok().flatten()
}

/// Nobody listens to what is heard any more.
struct LabGone;

impl Ear {
    async fn follow(mut self) {
        // It fails when the lab is gone, and then there is nobody to tell.
        while self.one_process().await.is_ok() {}
    }

    /// Waits for a process to be up and follows it until it is down.
    async fn one_process(&mut self) -> Result<(), LabGone> {
        let up = self.expect.wait_for(|expect| *expect != Expect::Nothing).await;
        up.map_err(|_| LabGone)?;
        let mut retry = FIRST_RETRY;
        while *self.expect.borrow() != Expect::Nothing {
            if let Some(mut socket) = connect(self.address).await {
                let heard = self.listen(&mut socket).await?;
                if heard {
                    retry = FIRST_RETRY;
                    self.tell(Event::Telemetry { member: self.member, feed: Feed::Lost }).await?;
                }
            }
            let mut expect = self.expect.clone();
            tokio::select! {
                () = sleep(retry) => retry = (retry * 2).min(LAST_RETRY),
                down = expect.wait_for(|expect| *expect == Expect::Nothing) => {
                    down.map_err(|_| LabGone)?;
                }
            }
        }
        Ok(())
    }

    /// Listens until the connection or the process ends; whether it was heard at all.
    async fn listen(&mut self, socket: &mut WebSocketStream<TcpStream>) -> Result<bool, LabGone> {
        let mut expect = self.expect.clone();
        let mut greeted = false;
        let mut quiet = false;
        loop {
            let frame = tokio::select! {
                frame = timeout(QUIET_AFTER, socket.next()) => frame,
                down = expect.wait_for(|expect| *expect == Expect::Nothing) => {
                    down.map_err(|_| LabGone)?;
                    return Ok(greeted);
                }
            };
            let message = match frame {
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(_)) | None) => return Ok(greeted),
                Err(_) => {
                    if greeted && !quiet && *self.expect.borrow() == Expect::Speech {
                        quiet = true;
                        self.feed(Feed::Quiet).await?;
                    }
                    continue;
                }
            };
            let Message::Binary(bytes) = message else { continue };
            let Ok(frame) = TelemetryFrame::decode(&bytes) else {
                let why = "sends what is not telemetry of this version";
                self.stranger(why).await?;
                return Ok(greeted);
            };
            if !greeted {
                match self.greeting(&frame).await? {
                    true => greeted = true,
                    false => return Ok(false),
                }
                self.feed(Feed::Live).await?;
                continue;
            }
            if std::mem::take(&mut quiet) {
                self.feed(Feed::Live).await?;
            }
            self.heard(frame).await?;
        }
    }

    /// Checks the first frame; false when somebody else speaks there.
    async fn greeting(&mut self, frame: &TelemetryFrame) -> Result<bool, LabGone> {
        match frame {
            TelemetryFrame::Hello { version, name, member, cluster, restored, .. } => {
                if *version != TELEMETRY_VERSION {
                    let why = format!(
                        "speaks telemetry version {version}, this lab {TELEMETRY_VERSION}; \
                         build both from one source"
                    );
                    self.stranger(&why).await?;
                    return Ok(false);
                }
                if *name != self.member.to_string() {
                    self.stranger(&format!("is {name}")).await?;
                    return Ok(false);
                }
                let (id, cluster) = (*member, *cluster);
                if let Some(Restored { snapshot, began_at }) = *restored {
                    let member = self.member;
                    let (revision, began_at) = (snapshot.0, began_at.0);
                    self.tell(Event::Restored { member, cluster, revision, began_at }).await?;
                }
                self.tell(Event::Identified { member: self.member, id, cluster }).await?;
                Ok(true)
            }
            TelemetryFrame::Status(_)
            | TelemetryFrame::Trace(_)
            | TelemetryFrame::Dropped { .. } => {
                self.stranger("does not say who it is").await?;
                Ok(false)
            }
        }
    }

    async fn heard(&self, frame: TelemetryFrame) -> Result<(), LabGone> {
        let member = self.member;
        match frame {
            TelemetryFrame::Hello { .. } => Ok(()), // Said once more; nothing is new in it.
            TelemetryFrame::Status(mut status) => {
                status.at_micros = self.clock.from_machine_micros(status.at_micros);
                self.tell(Event::Status { member, status }).await
            }
            TelemetryFrame::Trace(batch) => {
                for mut traced in batch {
                    traced.at_micros = self.clock.from_machine_micros(traced.at_micros);
                    self.tell(Event::Trace { member, traced }).await?;
                }
                Ok(())
            }
            TelemetryFrame::Dropped { count } => {
                self.tell(Event::TraceLost { member, count }).await
            }
        }
    }

    async fn feed(&self, feed: Feed) -> Result<(), LabGone> {
        self.tell(Event::Telemetry { member: self.member, feed }).await
    }

    async fn stranger(&mut self, why: &str) -> Result<(), LabGone> {
        let (member, address) = (self.member, self.address);
        let text = format!("who answers at {address} as {member}'s telemetry {why}");
        if self.said == text {
            return Ok(());
        }
        self.said.clone_from(&text);
        self.tell(Event::Note { text }).await
    }

    async fn tell(&self, event: Event) -> Result<(), LabGone> {
        self.events.send(event).await.map_err(|_| LabGone)
    }
}
