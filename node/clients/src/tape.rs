//! The recording: a line on standard output for each call, and what is asked of the test.

use std::fmt::Display;
use std::io::{BufRead as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::answer::{Answer, error};

/// How long members may take for whatever is awaited.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks at what is awaited.
const LOOK: Duration = Duration::from_millis(100);

/// Makes a call and records it, as it is written here, with its answer; gives the answer back.
macro_rules! hear {
    ($call:expr) => {
        $crate::tape::heard(stringify!($call), $call.await)?
    };
}

/// Makes a call again and again as long as the error says this; records the last.
macro_rules! hear_unless {
    ($said:expr, $call:expr) => {{
        let since = std::time::Instant::now();
        loop {
            let result = $call.await;
            let again = result.as_ref().is_err_and(|error| error.to_string().contains($said));
            if !again || since.elapsed() > $crate::tape::PATIENCE {
                break $crate::tape::heard(stringify!($call), result)?;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }};
}

pub(crate) use {hear, hear_unless};

/// Records a call and what came of it.
pub(crate) fn heard<T: Answer>(
    call: &str,
    result: Result<T, etcd_client::Error>,
) -> Result<Option<T>> {
    let (value, answer) = match result {
        Ok(answer) => (answer.json(), Some(answer)),
        Err(failed) => (json!({"error": error(&failed)}), None),
    };
    line(call, &value)?;
    Ok(answer)
}

/// Records something that was made of several answers.
pub(crate) fn line(call: &str, value: &Value) -> Result<()> {
    // Long calls are written on several lines.
    let call: Vec<_> = call.split_whitespace().collect();
    print(format_args!("{} => {value}", call.join(" ")))
}

fn print(text: impl Display) -> Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{text}").and_then(|()| output.flush()).context("write the recording")
}

/// Says what the calls that follow are about, where they do not say it themselves.
pub(crate) fn about(what: &str) -> Result<()> {
    print(format_args!("# {what}"))
}

/// Asks the test to start the member of a place.
pub(crate) fn start(place: usize) -> Result<()> {
    ask(format_args!("start {place}"))
}

/// Tells the test that an id is chance, and what stands for it.
pub(crate) fn name(id: u64, name: &str) -> Result<()> {
    ask(format_args!("name {id} {name}"))
}

fn ask(what: impl Display) -> Result<()> {
    print(format_args!("! {what}"))?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("hear the test")?;
    ensure!(answer.trim() == "done", "the test answered {answer:?}");
    Ok(())
}

/// Looks again and again until something is there.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> Result<T> {
    let since = Instant::now();
    loop {
        if let Some(found) = look().await {
            return Ok(found);
        }
        if since.elapsed() > PATIENCE {
            bail!("{what}: not in {PATIENCE:?}");
        }
        tokio::time::sleep(LOOK).await;
    }
}
