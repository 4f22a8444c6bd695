//! A watch that goes on at another member when its stream breaks, with nothing lost or told twice.

use etcd_api::etcdserverpb as pb;
use pb::watch_request::RequestUnion;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status, Streaming};

use crate::client::{Client, Patience, watches};

/// Requests that wait to be sent: the creation, and progress asked for; then the asker waits.
const REQUESTS: usize = 4;

/// One watch on a stream of its own.
#[derive(Debug)]
pub(crate) struct Watcher<'a> {
    client: &'a Client,
    /// What to ask for if the stream must be opened again.
    request: pb::WatchCreateRequest,
    /// Whether the member must know a leader.
    needs_leader: bool,
    stream: Option<Open>,
    over: bool,
}

#[derive(Debug)]
struct Open {
    asks: mpsc::Sender<pb::WatchRequest>,
    answers: Streaming<pb::WatchResponse>,
}

impl<'a> Watcher<'a> {
    pub(crate) fn new(
        client: &'a Client,
        request: pb::WatchCreateRequest,
        needs_leader: bool,
    ) -> Self {
        Self { client, request, needs_leader, stream: None, over: false }
    }

    /// The next answer with events, progress or an end in it; nothing after the end.
    ///
    /// Cancel safe: an answer is either returned or still to come.
    pub(crate) async fn next(&mut self) -> Result<Option<pb::WatchResponse>, Status> {
        while !self.over {
            if self.stream.is_none() {
                self.stream = self.open().await?;
            }
            let Some(stream) = &mut self.stream else { continue };
            match stream.answers.message().await {
                Ok(Some(answer)) => {
                    self.note(&answer);
                    if answer.canceled || !answer.created {
                        return Ok(Some(answer));
                    }
                }
                Ok(None) => self.broke(&Status::unavailable("the stream ended")).await?,
                Err(status) => self.broke(&status).await?,
            }
        }
        Ok(None)
    }

    /// Asks the member how far it is.
    pub(crate) async fn ask_progress(&mut self) {
        if let Some(stream) = &self.stream {
            let ask = RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
            let ask = pb::WatchRequest { request_union: Some(ask) };
            // A stream that broke is found out by whoever reads it.
            stream.asks.send(ask).await.ok();
        }
    }

    /// Opens the stream; nothing where another member has to be tried.
    async fn open(&mut self) -> Result<Option<Open>, Status> {
        let wire = self.client.wire(Patience::Endless).await?;
        let (asks, asked) = mpsc::channel(REQUESTS);
        let create = RequestUnion::CreateRequest(self.request.clone());
        asks.try_send(pb::WatchRequest { request_union: Some(create) })
            .map_err(|_| Status::internal("an empty channel is full"))?;
        let mut request = Request::new(ReceiverStream::new(asked));
        if self.needs_leader {
            request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
        }
        match watches(wire).watch(request).await {
            Ok(answers) => Ok(Some(Open { asks, answers: answers.into_inner() })),
            Err(status) => self.broke(&status).await.map(|()| None),
        }
    }

    /// Turns to another member, unless the error is no fault of the connection.
    async fn broke(&mut self, status: &Status) -> Result<(), Status> {
        self.stream = None;
        let passing = [Code::Unavailable, Code::Unknown, Code::Internal, Code::Cancelled];
        if !passing.contains(&status.code()) || status.message().contains("permission denied") {
            return Err(status.clone());
        }
        self.client.hang_up().await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        Ok(())
    }

    /// Remembers where to go on.
    fn note(&mut self, answer: &pb::WatchResponse) {
        self.over |= answer.canceled;
        let revision = answer.header.map_or(0, |header| header.revision);
        let next = match answer.events.last().and_then(|event| event.kv.as_ref()) {
            Some(kv) => kv.mod_revision + 1,
            None if answer.created && self.request.start_revision != 0 => return,
            None => revision + 1,
        };
        self.request.start_revision = self.request.start_revision.max(next);
    }
}
