//! `raft-lab attach`: a cluster that was there before the lab, on the page and in a journal.
//!
//! ```text
//!  endpoints ─ find ─► who the members are ─► Observer (asks each, ten times a second)
//!                                                   │
//!                        journal ◄── Watch ◄────────┘
//! ```
//!
//! Nothing is known of such a cluster but what its members answer. A member that answers is shown
//! as *up*, one whose endpoint is closed as *down*: whether its process runs, whoever started it
//! knows. Every command is refused with a sentence: the lab started none of the members and stands
//! on none of their wires.

mod find;
mod watch;

use std::path::PathBuf;

use anyhow::{Context, Result};
use http::Uri;
use tokio::task::JoinSet;

use crate::http::{Face, Token};
use crate::record::Recorder;
use crate::up::{self, PageOptions};

pub use watch::Watch;

/// A recording of an observed cluster is no longer than this.
const RECORDING_BYTES: u64 = 256 * 1024 * 1024;

/// Shows the cluster behind these endpoints until a signal, and records it in a folder of its own
/// below `runs`, if that is given.
///
/// # Errors
/// No endpoint answers, or they are of several clusters; the page cannot be opened.
pub async fn attach(endpoints: &[String], runs: Option<PathBuf>, page: PageOptions) -> Result<()> {
    let (interrupted, _listening) = up::interrupted()?;
    let endpoints = endpoints.iter().map(|text| endpoint(text)).collect::<Result<Vec<_>>>()?;
    let listening = up::bind(&page).await?;
    let address = listening.address();
    let watch = Watch::start(endpoints).await.context("observe the cluster")?;
    let handle = watch.handle().clone();
    let run = handle.journal().with_state(|state| state.run.clone());
    let recorder = match runs {
        None => None,
        Some(runs) => {
            let dir = runs.join(format!("attach-{run}"));
            up::say(&format!("recorded in {}", dir.display()));
            Some(Recorder::start(handle.journal(), &dir, RECORDING_BYTES).context("record it")?)
        }
    };
    let token = Token::new();
    let state = handle.journal().state();
    up::say(&format!("{} members of {}", state.members.len(), state.engine));
    for (member, now) in &state.members {
        up::say(&format!("  {member}   {}", now.plan.client_url));
    }
    up::say(&format!("\n  the page     {}\n  end          Ctrl-C\n", up::url(address, &token)));
    let face = Face { journal: handle.journal().clone(), lab: Some(handle.clone()) };
    let mut serving = JoinSet::new();
    serving.spawn(listening.serve(face, token, interrupted.clone()));
    interrupted.cancelled().await;
    // Browsers are told goodbye before the journal ends.
    while let Some(served) = serving.join_next().await {
        served.context("serve the page")?;
    }
    watch.shutdown().await;
    if let Some(recorder) = recorder {
        recorder.finish().await.context("record the run")?;
    }
    Ok(())
}

/// An endpoint as people write it: `127.0.0.1:2379`, or with `http://` before it.
fn endpoint(text: &str) -> Result<Uri> {
    let text = text.trim().trim_end_matches('/');
    let full = match text.split_once("://") {
        Some(("http", _)) => text.to_owned(),
        Some((scheme, _)) => anyhow::bail!(
            "speak {scheme} to {text}: the lab speaks http only; give an endpoint without TLS"
        ),
        None => format!("http://{text}"),
    };
    let uri: Uri = full.parse().with_context(|| format!("read `{text}` as an endpoint"))?;
    anyhow::ensure!(
        uri.host().is_some() && uri.port_u16().is_some(),
        "read `{text}` as an endpoint: it has the form http://host:port"
    );
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_as_people_write_them() {
        for text in ["127.0.0.1:2379", "http://127.0.0.1:2379/", " localhost:1 "] {
            endpoint(text).unwrap_or_else(|error| panic!("{text}: {error:#}"));
        }
        for (text, needle) in
            [("https://a:1", "https"), ("a", "http://host:port"), ("unix:///x", "unix"), ("", "")]
        {
            let error = endpoint(text).expect_err(text);
            assert!(format!("{error:#}").contains(needle), "{error:#}");
        }
    }
}
