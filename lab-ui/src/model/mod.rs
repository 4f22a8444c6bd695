//! What the page knows: the lab's state, the messages of the last moments, and the time.
//!
//! Everything here is a function of the frames that arrived and of a time that is passed in. Live
//! and replay are the same code: a replay's lab sends old events at its own pace.

pub mod clock;
pub mod drill;
pub mod flights;
pub mod fog;
pub mod identity;
pub mod lens;
pub mod quorum;
pub mod recovery;
pub mod step;
pub mod store;
pub mod summary;
pub mod typing;
pub mod wording;

pub use clock::Clock;
pub use flights::{Flight, Flights, Landing};
pub use store::{Connection, Store};
pub use summary::Summary;
