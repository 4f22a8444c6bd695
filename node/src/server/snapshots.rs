//! Snapshots on their way out of a node and into it.

use std::sync::Arc;

use node_protocol::{MemberId, TraceEvent};
use raft::eraftpb::Message;
use tokio::runtime::Handle as Runtime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::causes::with_causes;
use crate::clock::Clock;
use crate::consensus::log::{SnapshotPoint, SnapshotSource};
use crate::inbox::Input;
use crate::replica::SnapshotSender;
use crate::storage::{SnapshotReader, SnapshotWriter, State};
use crate::telemetry::Telemetry;
use crate::threads::Alarm;
use crate::transport::bulk::{self, Body, Incoming, Receiver};
use crate::transport::handshake::{self, Dial};
use node_identity::urls::Url;

/// Which snapshot could be sent.
pub(super) struct Newest(pub(super) Arc<State>);

impl SnapshotSource for Newest {
    fn newest(&self) -> Option<SnapshotPoint> {
        let applied = self.0.applied();
        Some(SnapshotPoint {
            index: applied.index,
            term: applied.term,
            conf_state: applied.conf_state,
        })
    }
}

/// Snapshots on their way out.
pub(super) struct Departures {
    pub(super) state: Arc<State>,
    pub(super) alarm: Alarm,
    pub(super) identity: handshake::Identity,
    pub(super) proxy: Option<String>,
    pub(super) replica: flume::Sender<Input>,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
    pub(super) runtime: Runtime,
    pub(super) telemetry: Telemetry,
    pub(super) clock: Arc<dyn Clock>,
}

impl SnapshotSender for Departures {
    fn send(&mut self, mut message: Message) {
        let to = MemberId(message.to);
        let urls = match self.identity.membership.read().get(to) {
            Some(member) => member.peer_urls.clone(),
            None => Vec::new(),
        };
        // What is sent is the newest state there is; the announcement is made to fit it.
        let reader = SnapshotReader::new(&self.state);
        let applied = reader.applied();
        let index = applied.index;
        let metadata = message.mut_snapshot().mut_metadata();
        metadata.index = applied.index.0;
        metadata.term = applied.term.0;
        metadata.set_conf_state(applied.conf_state.clone());
        let bytes = self.state.bytes_on_disk().unwrap_or_default();
        self.telemetry
            .trace(TraceEvent::SnapshotSent { to, index, bytes }, self.clock.seen_micros());
        let dial = Dial {
            urls: urls.iter().filter_map(|url| Url::parse(url).ok()).collect(),
            proxy: self.proxy.clone(),
        };
        let (identity, replica) = (self.identity.clone(), self.replica.clone());
        let leaving = Leaving { reader, alarm: self.alarm.clone() };
        let stop = self.stop.clone();
        let sending = async move {
            let sent = stop
                .run_until_cancelled(bulk::send(&identity, &dial, &message, Box::new(leaving)))
                .await;
            let arrived = matches!(sent, Some(Ok(())));
            if let Some(Err(error)) = sent {
                tracing::warn!(%to, %error, "a snapshot did not arrive");
            }
            replica.send_async(Input::Sent { to, arrived }).await.ok();
        };
        self.tasks.spawn_on(sending, &self.runtime);
    }
}

struct Leaving {
    reader: SnapshotReader,
    alarm: Alarm,
}

impl Body for Leaving {
    fn next(&mut self) -> Result<Option<bytes::Bytes>, String> {
        self.reader.next_chunk().map_err(|error| {
            let why = with_causes(&error);
            // What cannot be sent cannot be served either: the node stops.
            self.alarm.raise(why.clone());
            why
        })
    }
}

/// Snapshots that arrive.
pub(super) struct Arrivals {
    pub(super) state: Arc<State>,
    pub(super) replica: flume::Sender<Input>,
}

impl Receiver for Arrivals {
    fn begin(&self, message: Message) -> Result<Box<dyn Incoming>, String> {
        let writer = SnapshotWriter::new(&self.state);
        Ok(Box::new(Arriving { writer, message, replica: self.replica.clone() }))
    }
}

struct Arriving {
    writer: SnapshotWriter,
    message: Message,
    replica: flume::Sender<Input>,
}

impl Incoming for Arriving {
    fn take(&mut self, chunk: &[u8]) -> Result<(), String> {
        self.writer.write(chunk).map_err(|error| error.to_string())
    }

    fn finish(self: Box<Self>) -> Result<(), String> {
        let Self { writer, message, replica } = *self;
        let received = writer.finish().map_err(|error| error.to_string())?;
        let announced = message.get_snapshot().get_metadata().index;
        if received.applied().index.0 != announced {
            return Err(format!("it was announced for entry {announced} and is another"));
        }
        let message = Box::new(message);
        replica
            .send(Input::Arrived { message, received })
            .map_err(|_| "the member stops".to_owned())
    }
}
