//! One websocket for each browser: the state, then events in batches; commands back.
//!
//! ```text
//!  journal ── cursor ──► batch, at most one each 33 ms, at most two unseen ──► browser
//! ```
//!
//! Nothing is queued for a browser: it has a cursor, and takes the next batch when it has seen the
//! one before the last. When it is too far behind, it gets the whole state instead.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use lab_protocol::{By, ClientFrame, Event, Fate, LAB_PROTOCOL_VERSION, Numbered, ServerFrame};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::serve::{Door, MAX_SOCKETS};
use crate::journal::{FollowError, Follower};

/// No message of a browser is longer.
const MAX_CLIENT_FRAME_BYTES: usize = 64 * 1024;

/// Batches are at least this far apart.
const BATCH_EVERY: Duration = Duration::from_millis(33);

/// Batches that may be under way.
const UNSEEN_BATCHES: usize = 2;

/// Single messages between members in one batch; the others are counted.
const MESSAGES_IN_BATCH: usize = 400;

/// A browser further behind gets the state instead.
const MAX_BEHIND: u64 = 20_000;

/// Commands of one browser under way; more are refused.
const MAX_COMMANDS: usize = 32;

/// A browser that takes nothing for so long is hung up on.
const SEND_DEADLINE: Duration = Duration::from_secs(30);

/// `GET /api/socket`.
pub(super) async fn upgrade(State(door): State<Arc<Door>>, upgrade: WebSocketUpgrade) -> Response {
    let Ok(place) = door.sockets.clone().try_acquire_owned() else {
        let why = format!("{MAX_SOCKETS} browsers look at this lab already; close one\n");
        return (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    };
    upgrade
        .max_message_size(MAX_CLIENT_FRAME_BYTES)
        .max_frame_size(MAX_CLIENT_FRAME_BYTES)
        .on_upgrade(move |socket| converse(door, socket, place))
}

async fn converse(door: Arc<Door>, socket: WebSocket, _place: OwnedSemaphorePermit) {
    let (to_browser, from_browser) = socket.split();
    let follower = door.face.journal.follow(0);
    let mut viewer = Viewer {
        door,
        to_browser,
        follower,
        unseen: VecDeque::new(),
        next_batch: Instant::now(),
        commands: JoinSet::new(),
    };
    if let Err(Goodbye { code, reason }) = viewer.serve(from_browser).await {
        let close = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
        // Who has left needs no goodbye.
        timeout(Duration::from_millis(100), viewer.to_browser.send(close)).await.ok();
    }
}

/// Why the lab ends the conversation.
struct Goodbye {
    code: u16,
    reason: &'static str,
}

const LEFT: Goodbye = Goodbye { code: close_code::NORMAL, reason: "" };

const NOT_OURS: Goodbye = Goodbye {
    code: close_code::POLICY,
    reason: "that was not a frame of this lab's protocol; reload the page",
};

const LAB_ENDS: Goodbye = Goodbye { code: close_code::AWAY, reason: "the lab has ended" };

struct Viewer {
    door: Arc<Door>,
    to_browser: SplitSink<WebSocket, Message>,
    follower: Follower,
    /// The last event of each batch that the browser has not seen.
    unseen: VecDeque<u64>,
    next_batch: Instant,
    commands: JoinSet<ServerFrame>,
}

impl Viewer {
    async fn serve(&mut self, mut from_browser: SplitStream<WebSocket>) -> Result<(), Goodbye> {
        let hello = ServerFrame::Hello {
            version: LAB_PROTOCOL_VERSION,
            may_command: self.door.face.lab.is_some(),
            now_micros: self.now_micros(),
        };
        self.send(&hello).await?;
        self.send_state().await?;
        let ended = self.door.ended.clone();
        let mut over = false;
        loop {
            let may_send = !over && self.unseen.len() < UNSEEN_BATCHES;
            let next_batch = self.next_batch;
            tokio::select! {
                () = ended.cancelled() => return Err(LAB_ENDS),
                message = from_browser.next() => match message {
                    Some(Ok(message)) => self.hear(message).await?,
                    Some(Err(_)) => return Err(NOT_OURS),
                    None => return Err(LEFT),
                },
                ready = due(&mut self.follower, next_batch), if may_send => match ready {
                    Ok(()) => self.send_batch().await?,
                    // A recording has been shown to its end, or the lab is about to say goodbye.
                    Err(_) => over = true,
                },
                Some(answer) = self.commands.join_next() => {
                    if let Ok(answer) = answer {
                        self.send(&answer).await?;
                    }
                }
            }
        }
    }

    fn now_micros(&self) -> u64 {
        self.door.face.journal.clock().now_micros()
    }

    async fn hear(&mut self, message: Message) -> Result<(), Goodbye> {
        let bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
            Message::Close(_) => return Err(LEFT),
            Message::Text(_) => return Err(NOT_OURS),
        };
        match ClientFrame::decode(&bytes).map_err(|_| NOT_OURS)? {
            ClientFrame::Seen { seq } => {
                while self.unseen.front().is_some_and(|last| *last <= seq) {
                    self.unseen.pop_front();
                }
                Ok(())
            }
            ClientFrame::Resync => self.send_state().await,
            ClientFrame::Command { ticket, command } => {
                let refusal = match &self.door.face.lab {
                    None => Some("this is a recording; nothing can be done to it".to_owned()),
                    Some(_) if self.commands.len() >= MAX_COMMANDS => {
                        Some(format!("{MAX_COMMANDS} commands of this page are under way already"))
                    }
                    Some(lab) => {
                        let lab = lab.clone();
                        self.commands.spawn(async move {
                            let refused = match lab.submit(By::Page, command).await {
                                Ok(_) => String::new(),
                                Err(error) => error.to_string(),
                            };
                            ServerFrame::Answer { ticket, refused }
                        });
                        None
                    }
                };
                match refusal {
                    Some(refused) => self.send(&ServerFrame::Answer { ticket, refused }).await,
                    None => Ok(()),
                }
            }
        }
    }

    /// Sends everything up to now; what follows comes in batches.
    async fn send_state(&mut self) -> Result<(), Goodbye> {
        let (state, follower) = self.door.face.journal.state_and_follow();
        self.follower = follower;
        self.unseen.clear();
        self.send(&ServerFrame::State { state: Box::new(state) }).await
    }

    async fn send_batch(&mut self) -> Result<(), Goodbye> {
        self.next_batch = Instant::now() + BATCH_EVERY;
        if self.follower.behind() > MAX_BEHIND {
            return self.send_state().await;
        }
        let Ok(events) = self.follower.take(usize::try_from(MAX_BEHIND).unwrap_or(usize::MAX))
        else {
            return self.send_state().await;
        };
        let (events, unsent_messages) = within_budget(&events);
        let Some(last) = events.last() else { return Ok(()) };
        self.unseen.push_back(last.seq);
        let now_micros = self.now_micros();
        self.send(&ServerFrame::Events { now_micros, events, unsent_messages }).await
    }

    async fn send(&mut self, frame: &ServerFrame) -> Result<(), Goodbye> {
        let message = Message::Binary(frame.encode().into());
        match timeout(SEND_DEADLINE, self.to_browser.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(LEFT),
        }
    }
}

/// Waits until there is something to send and time to send it. Cancel safe.
async fn due(follower: &mut Follower, next_batch: Instant) -> Result<(), FollowError> {
    follower.ready().await?;
    sleep_until(next_batch).await;
    Ok(())
}

/// The events of a batch without the messages beyond its budget, and how many those were.
fn within_budget(events: &[Arc<Numbered>]) -> (Vec<Numbered>, u32) {
    let (mut messages, mut unsent) = (0, 0);
    let kept = events
        .iter()
        .filter(|numbered| {
            if !matches!(&numbered.event, Event::Message(message) if message.fate != Fate::Held) {
                return true;
            }
            messages += 1;
            let fits = messages <= MESSAGES_IN_BATCH;
            unsent += u32::from(!fits);
            fits
        })
        .map(|numbered| Numbered::clone(numbered))
        .collect();
    (kept, unsent)
}

#[cfg(test)]
mod tests {
    use lab_protocol::{Link, MemberNo, Message as Wire};
    use node_protocol::{FrameKind, Index, Term};

    use super::*;

    #[test]
    fn a_batch_holds_every_event_but_not_every_message() {
        let message = Event::Message(Wire {
            number: 1,
            link: Link { from: MemberNo(1), to: MemberNo(2) },
            kind: FrameKind::Heartbeat,
            reject: false,
            term: Term(1),
            index: Index(1),
            entries: 0,
            bytes: 72,
            fate: Fate::Lands { at_micros: 0 },
        });
        let events: Vec<_> = (1..=2_000)
            .map(|seq| {
                let note = Event::Note { text: String::new() };
                let event = if seq % 2 == 0 { message.clone() } else { note };
                Arc::new(Numbered { seq, at_micros: 0, event })
            })
            .collect();
        let (kept, unsent) = within_budget(&events);
        assert_eq!(kept.len(), 1_000 + MESSAGES_IN_BATCH);
        assert_eq!(unsent, 600);
        assert!(kept.windows(2).all(|two| two[0].seq < two[1].seq));
    }
}
