//! A program that uses the public `etcd-client` crate for every call it has of keys, watches,
//! leases, members and maintenance, and records what it hears.
//!
//! ```text
//!  record-etcd-client CLIENT-URL × 5  PEER-URL × 5
//! ```
//!
//! The first three members run. A line for each call goes to standard output: the call, as it is
//! written in this program, and the answer as JSON. A line that begins with `!` asks something of
//! the test, which answers `done` on standard input. It knows neither etcd nor ours: whatever
//! listens at the URLs is asked.
//!
//! Users, locks and elections are left out: they are not promised yet.

mod answer;
mod parts;
mod stage;
mod tape;

use anyhow::Result;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let stage = stage::Stage::new(std::env::args().skip(1))?;
    parts::keys::play(&stage).await?;
    parts::transactions::play(&stage).await?;
    parts::watches::play(&stage).await?;
    parts::leases::play(&stage).await?;
    parts::compaction::play(&stage).await?;
    parts::maintenance::play(&stage).await?;
    parts::members::play(&stage).await
}
