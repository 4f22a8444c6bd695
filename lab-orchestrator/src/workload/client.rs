//! A client: one connection at a time, and all the members it may turn to.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Uri;
use lab_protocol::node_protocol::ClusterId;
use lab_protocol::{Call, ClientNo, Event, MemberNo, Outcome};
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;
use tonic::Code;

use super::{CallError, Connection, Dialler};

/// How long a client waits before it turns to another member: members that fail together are then
/// all known to be gone, and a cluster in trouble is not stormed.
const TURN_PAUSE: Duration = Duration::from_millis(50);

/// How long a client waits when nobody could be reached.
const NOBODY_PAUSE: Duration = Duration::from_millis(100);

/// One client. Its operations may overlap; they share its connection.
#[derive(Debug)]
pub struct Client {
    no: ClientNo,
    /// Whom it may turn to, home first. With one member only it is *pinned*: it never turns.
    members: Vec<(MemberNo, Uri)>,
    dialler: Dialler,
    events: mpsc::Sender<Event>,
    /// Where in `members` it is connected, or was last; for reports, without waiting for the lock.
    place: AtomicUsize,
    /// Held while dialling, so that all operations of a client wait for one connection.
    attached: Mutex<Attached>,
}

#[derive(Debug, Default)]
struct Attached {
    connection: Option<Connection>,
    /// Counts connections: an operation that saw one break names the one it saw.
    generation: u64,
}

/// A connection as one operation got it.
struct Attachment {
    connection: Connection,
    generation: u64,
}

impl Client {
    /// A client that is connected to nobody yet.
    ///
    /// `members` is never empty; the first is its home.
    pub fn new(
        no: ClientNo,
        members: Vec<(MemberNo, Uri)>,
        dialler: Dialler,
        events: mpsc::Sender<Event>,
    ) -> Self {
        assert!(!members.is_empty(), "a client needs somebody to turn to");
        let place = AtomicUsize::new(0);
        Self { no, members, dialler, events, place, attached: Mutex::default() }
    }

    /// Its number.
    pub fn no(&self) -> ClientNo {
        self.no
    }

    /// The member it is connected to, was last, or will try first.
    pub fn member(&self) -> MemberNo {
        self.members[self.place.load(Ordering::Relaxed)].0
    }

    fn is_pinned(&self) -> bool {
        self.members.len() == 1
    }

    /// Makes one call before `deadline`; a read is repeated at other members until then, a write
    /// only as long as it certainly was not sent. Also says which cluster it happened in.
    ///
    /// When dropped, the outcome of a write is unknown.
    pub async fn perform(&self, call: &Call, deadline: Instant) -> (Outcome, Option<ClusterId>) {
        let mut answered_by = None;
        let outcome = self.try_until(deadline, call, &mut answered_by).await;
        (outcome, answered_by)
    }

    async fn try_until(
        &self,
        deadline: Instant,
        call: &Call,
        answered_by: &mut Option<ClusterId>,
    ) -> Outcome {
        let mut lost = None;
        loop {
            let attachment = match before(deadline, self.attach(lost)).await {
                Some(Ok(attachment)) => attachment,
                Some(Err(why)) if self.is_pinned() => return Outcome::Fail { error: why },
                Some(Err(why)) => {
                    if before(deadline, tokio::time::sleep(NOBODY_PAUSE)).await.is_none() {
                        return Outcome::Fail { error: format!("nobody was reached: {why}") };
                    }
                    continue;
                }
                None => return Outcome::Fail { error: "nobody was reached in time".into() },
            };
            let error = match before(deadline, attachment.connection.call(call)).await {
                Some(Ok(happened)) => {
                    *answered_by = attachment.connection.answered_by();
                    return happened;
                }
                Some(Err(error)) => error,
                None => return unanswered(call, "no answer before the deadline".into()),
            };
            let turn = match &error {
                CallError::NotSent(_) => true,
                CallError::Lost(_) => !call.is_write(),
                CallError::Refused { code, .. } => {
                    !call.is_write() && !self.is_pinned() && *code == Code::Unavailable
                }
            };
            if !turn {
                return if error.is_certain_failure() {
                    Outcome::Fail { error: error.to_string() }
                } else {
                    unanswered(call, error.to_string())
                };
            }
            lost = Some(attachment.generation);
        }
    }

    /// The connection, or a new one: when there is none, when it is closed, or when it is the one
    /// that the caller wants to leave.
    async fn attach(&self, leave: Option<u64>) -> Result<Attachment, String> {
        let mut attached = self.attached.lock().await;
        let generation = attached.generation;
        if leave != Some(generation)
            && let Some(connection) = &attached.connection
            && !connection.is_closed()
        {
            return Ok(Attachment { connection: connection.clone(), generation });
        }
        let from = self.place.load(Ordering::Relaxed);
        let had_one = attached.connection.take().is_some();
        if had_one && !self.is_pinned() {
            tokio::time::sleep(TURN_PAUSE).await;
        }
        let count = self.members.len();
        // Who lost a connection tries the others first, and the lost one last.
        let first = if had_one { from + 1 } else { from };
        let mut why = String::new();
        for place in (first..first + count).map(|place| place % count) {
            let (member, origin) = &self.members[place];
            match self.dialler.dial(origin).await {
                Ok(connection) => {
                    self.place.store(place, Ordering::Relaxed);
                    attached.generation += 1;
                    attached.connection = Some(connection.clone());
                    let generation = attached.generation;
                    drop(attached);
                    if place != from {
                        let from = self.members[from].0;
                        let event = Event::Reconnected { client: self.no, from, to: *member };
                        // The lab that would listen is ending when this fails.
                        self.events.send(event).await.ok();
                    }
                    return Ok(Attachment { connection, generation });
                }
                Err(error) => why = format!("{member}: {error}"),
            }
        }
        Err(why)
    }
}

/// A write without an answer is unknown; a read without one changed nothing.
fn unanswered(call: &Call, error: String) -> Outcome {
    if call.is_write() { Outcome::Info { error } } else { Outcome::Fail { error } }
}

async fn before<T>(deadline: Instant, what: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout_at(deadline, what).await.ok()
}
