//! What a page, a drill or a call may ask of the lab: submit a command, follow the journal.

use std::collections::BTreeMap;
use std::sync::Arc;

use lab_protocol::{
    By, Command, CommandId, DrillEvent, Event, LessonEvent, MemberNo, Score, Verdict,
};
use tokio::sync::{mpsc, oneshot};

use crate::journal::Journal;
use crate::supervisor::Output;

/// Requests that wait for the lab's loop. When full, whoever submits waits.
pub(crate) const REQUESTS: usize = 64;

/// A way to ask the lab. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LabHandle {
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) journal: Journal,
    pub(crate) outputs: Arc<BTreeMap<MemberNo, Output>>,
}

/// One request to the lab's loop.
#[derive(Debug)]
pub(crate) enum Request {
    /// Carry this out and say what came of it.
    Command { by: By, command: Command, reply: oneshot::Sender<Result<CommandId, SubmitError>> },
    /// Put this into the journal.
    Tell { event: Event },
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// It cannot be carried out; nothing was changed.
    #[error("{why}")]
    Refused {
        /// The command's number in the journal.
        id: CommandId,
        /// Why, for a person.
        why: String,
    },
    /// The lab is ending.
    #[error("the lab is ending and takes no more commands")]
    Ended,
}

impl LabHandle {
    /// Submits a command and waits until it has been carried out: its effect was seen, not only
    /// asked for.
    ///
    /// Dropping the future does not take the command back.
    pub async fn submit(&self, by: By, command: Command) -> Result<CommandId, SubmitError> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Command { by, command, reply };
        self.requests.send(request).await.map_err(|_| SubmitError::Ended)?;
        answer.await.map_err(|_| SubmitError::Ended)?
    }

    /// The journal: the state now, and all events to follow.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// What a member's processes have printed lately, at most one MiB; `None` for a member that
    /// does not exist.
    pub fn output(&self, member: MemberNo) -> Option<String> {
        let exists = self.journal.with_state(|state| state.members.contains_key(&member));
        self.outputs.get(&member).filter(|_| exists).map(Output::text)
    }

    /// Notes in the journal that a drill's step begins.
    pub async fn step(&self, number: u32, text: impl Into<String>) -> Result<(), SubmitError> {
        self.tell(Event::Step { number, text: text.into() }).await
    }

    /// Notes in the journal whom a scenario calls how from now on.
    pub async fn named(&self, name: &str, members: Vec<MemberNo>) -> Result<(), SubmitError> {
        self.tell(Event::Named { name: name.to_owned(), members }).await
    }

    /// Puts a sentence for a person into the journal.
    pub async fn note(&self, text: impl Into<String>) -> Result<(), SubmitError> {
        self.tell(Event::Note { text: text.into() }).await
    }

    /// Puts a drill's verdict into the journal.
    pub async fn judged(&self, verdict: Verdict) -> Result<(), SubmitError> {
        self.tell(Event::Judged(Box::new(verdict))).await
    }

    /// Puts a drill's score into the journal.
    pub async fn scored(&self, score: Score) -> Result<(), SubmitError> {
        self.tell(Event::Scored(Box::new(score))).await
    }

    /// Puts what happens to a played drill into the journal.
    pub async fn drill(&self, event: DrillEvent) -> Result<(), SubmitError> {
        self.tell(Event::Drill(event)).await
    }

    /// Puts what happens to a lesson into the journal.
    pub async fn lesson(&self, event: LessonEvent) -> Result<(), SubmitError> {
        self.tell(Event::Lesson(event)).await
    }

    async fn tell(&self, event: Event) -> Result<(), SubmitError> {
        self.requests.send(Request::Tell { event }).await.map_err(|_| SubmitError::Ended)
    }
}
