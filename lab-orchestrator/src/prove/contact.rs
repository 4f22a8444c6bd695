//! A client's contact with the cluster: one connection at a time, and whom it may turn to.

use std::future::Future;
use std::time::Duration;

use http::Uri;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::Status;

use crate::workload::{CallError, Connection, Dialler};

/// How long a client waits before it turns to another member.
const TURN_PAUSE: Duration = Duration::from_millis(50);

/// A client's connection, and the members it turns to when it breaks.
#[derive(Debug)]
pub(super) struct Contact {
    dialler: Dialler,
    members: Vec<Uri>,
    /// Where in `members` it is connected, or will try next.
    place: usize,
    connection: Option<Connection>,
}

impl Contact {
    /// A contact with nobody yet, that will try the member at `first` in the list.
    pub(super) fn new(dialler: Dialler, members: Vec<Uri>, first: usize) -> Self {
        let place = first % members.len();
        Self { dialler, members, place, connection: None }
    }

    /// Leaves this member; the next call goes to the next one.
    pub(super) fn turn(&mut self) {
        self.connection = None;
        self.place = (self.place + 1) % self.members.len();
    }

    /// The connection, or a new one to the first member that takes it.
    ///
    /// Cancel safe.
    pub(super) async fn attached(&mut self) -> Connection {
        loop {
            if let Some(connection) = &self.connection {
                if !connection.is_closed() {
                    return connection.clone();
                }
                self.turn();
            }
            match self.dialler.dial(&self.members[self.place]).await {
                Ok(connection) => self.connection = Some(connection),
                Err(_) => {
                    self.turn();
                    sleep(TURN_PAUSE).await;
                }
            }
        }
    }

    /// Makes one call, once, and waits so long for its answer. Whoever failed is left.
    ///
    /// Errors: the call was refused, was not sent, or nobody knows.
    pub(super) async fn once<T, F, Fut>(&mut self, wait: Duration, call: F) -> Result<T, CallError>
    where
        F: FnOnce(Connection) -> Fut,
        Fut: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let deadline = Instant::now() + wait;
        let Ok(connection) = timeout_at(deadline, self.attached()).await else {
            return Err(CallError::NotSent("nobody was reached in time".into()));
        };
        let error = match timeout_at(deadline, call(connection)).await {
            Ok(Ok(answer)) => return Ok(answer.into_inner()),
            Ok(Err(status)) => CallError::of(&status),
            Err(_) => CallError::Lost("no answer in time".into()),
        };
        if !matches!(&error, CallError::Refused { .. }) || !error.is_certain_failure() {
            self.turn();
        }
        Err(error)
    }

    /// Makes a call that changes nothing, again and again at other members, until it is answered
    /// or refused for good.
    ///
    /// Errors: refused, or no answer by the deadline.
    pub(super) async fn read<T, F, Fut>(
        &mut self,
        deadline: Instant,
        mut call: F,
    ) -> Result<T, CallError>
    where
        F: FnMut(Connection) -> Fut,
        Fut: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let error = match self.once(left.min(Duration::from_secs(3)), &mut call).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let refused = matches!(error, CallError::Refused { .. }) && error.is_certain_failure();
            if refused || Instant::now() >= deadline {
                return Err(error);
            }
            sleep(TURN_PAUSE).await;
        }
    }
}
