//! A running lab, as its own process, with its own members on free ports.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long a lab may take until it prints its address, and to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A lab; it ends, with its members, when its process is told to or when this is dropped.
pub(crate) struct Lab {
    child: Child,
    /// Drains what the lab prints, so that it never waits for a reader.
    drain: JoinHandle<()>,
    /// The page's address with the one-time token, as a person would open it.
    pub(crate) url: String,
    /// `http://127.0.0.1:PORT`.
    pub(crate) origin: String,
}

impl Lab {
    /// Starts a lab of three members, without opening a browser.
    pub(crate) async fn start(program: &Path, arguments: &[&str]) -> Result<Self> {
        Self::run(program, &[&["up"], arguments].concat()).await
    }

    /// Shows a recorded run, without opening a browser.
    pub(crate) async fn replay(program: &Path, run: &str) -> Result<Self> {
        Self::run(program, &["replay", run]).await
    }

    async fn run(program: &Path, arguments: &[&str]) -> Result<Self> {
        let mut child = Command::new(program)
            .args(arguments)
            .args(["--port", "0", "--no-open"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let output = child.stdout.take().context("read what the lab prints")?;
        let mut lines = BufReader::new(output).lines();
        let url = timeout(PATIENCE, async {
            while let Some(line) = lines.next_line().await? {
                if let Some(url) = page_url(&line) {
                    return Ok(url);
                }
            }
            bail!("see the page's address: the lab ended without it")
        })
        .await
        .context("see the page's address in time")??;
        let origin = url.split_inclusive('/').take(3).collect::<String>();
        let origin = origin.trim_end_matches('/').to_owned();
        #[expect(clippy::disallowed_methods, reason = "awaited in `end`, aborted on drop")]
        let drain = tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { child, drain, url, origin })
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> &str {
        self.origin.trim_start_matches("http://")
    }

    /// Ends the lab as Ctrl-C does, and waits until it has.
    pub(crate) async fn end(mut self) -> Result<()> {
        if let Some(process) = self.child.id() {
            Command::new("kill")
                .args(["-INT", &process.to_string()])
                .status()
                .await
                .context("signal the lab")?;
        }
        timeout(PATIENCE, self.child.wait())
            .await
            .context("see the lab end after Ctrl-C")?
            .context("wait for the lab")?;
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.drain.abort();
    }
}

/// The page's address in a line of output: the one with a token in its fragment.
fn page_url(line: &str) -> Option<String> {
    let from = line.find("http://127.0.0.1:")?;
    let url: String = line[from..].chars().take_while(|letter| !letter.is_whitespace()).collect();
    url.contains('#').then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_with_a_token_is_taken() {
        assert_eq!(page_url("clients: http://127.0.0.1:2379"), None);
        assert_eq!(
            page_url("page  http://127.0.0.1:7070/#token=ab12  (open it)").as_deref(),
            Some("http://127.0.0.1:7070/#token=ab12")
        );
    }
}
