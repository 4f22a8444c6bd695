//! What a member says of itself, and the header peers put around each message.
//!
//! Two contracts live here, both spoken by the node and read by whoever stands outside it:
//!
//! - [`telemetry`]: a member's [`Status`] (its whole picture at an instant) and its
//!   [`TraceEvent`]s (one step each), sent over a websocket to whoever asks.
//! - [`frame`]: the fixed header before every byte string two peers exchange, so that whoever
//!   stands on the wire can tell a vote from a heartbeat without knowing how either is encoded.
//!
//! Left out on purpose: the encoding of a Raft message's body and of a command. Those belong to
//! the node alone.

pub mod frame;
mod ids;
pub mod telemetry;

pub use frame::{FrameHeader, FrameKind};
pub use ids::{ClusterId, Index, MemberId, Revision, Term};
pub use telemetry::{Role, Status, TelemetryFrame, TraceEvent};
