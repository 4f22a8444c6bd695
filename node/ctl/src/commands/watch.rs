//! Watches: one until it ends, or several by lines from standard input.

use std::process::Stdio;
use std::sync::Arc;

use etcd_api::etcdserverpb as pb;
use tokio::process::Command;
use tokio::sync::broadcast;
use tokio::task::JoinSet;

use super::watcher::Watcher;
use super::{Desk, read_line};
use crate::args::{Watch, WatchLine, read_words};
use crate::failure::{Failure, code, complain, say, words as told};
use crate::quote::{prefix_end, quote, words};
use crate::show::{Style, Watched, kind};

/// Progress asked for that a watch has not sent on yet; the oldest are dropped.
const ASKED: usize = 16;

const CONFLICT: &str = "bad number of arguments (found conflicting environment key)";

pub(crate) async fn run(desk: Desk, asked: Watch) -> Result<(), Failure> {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let (key, end) = (variable("ETCDCTL_WATCH_KEY"), variable("ETCDCTL_WATCH_RANGE_END"));
    if key.is_empty() && !end.is_empty() {
        return Err(Failure::bad_args(format!(
            "ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END={}",
            quote(end.as_bytes())
        )));
    }
    if asked.interactive {
        return interactive(Arc::new(desk), &key, &end).await;
    }
    let has_separator = std::env::args_os().any(|word| word == "--");
    if has_separator && asked.exec.is_empty() {
        return Err(Failure::bad_args(
            "bad number of arguments (found separator --, but no commands)",
        ));
    }
    let request = request(&asked, &key, &end)?.map_err(Failure::bad_args)?;
    follow(&desk, request, &asked.exec, None).await?;
    Err(Failure::new(code::INTERRUPTED, "watch is canceled by the server"))
}

/// What to watch. The outer error is in the count of words, the inner one in their meaning.
fn request(
    asked: &Watch,
    key: &str,
    end: &str,
) -> Result<Result<pb::WatchCreateRequest, &'static str>, Failure> {
    let mut words = asked.words.clone();
    if !key.is_empty() {
        if !words.is_empty() {
            return Err(Failure::bad_args(CONFLICT));
        }
        words.push(key.to_owned());
        words.extend((!end.is_empty()).then(|| end.to_owned()));
    }
    let Some(key) = words.first() else {
        return Err(Failure::bad_args("bad number of arguments"));
    };
    let mut key = key.clone().into_bytes();
    let range_end = match words.get(1) {
        Some(_) if words.len() == 2 && asked.prefix => {
            return Ok(Err("`range_end` and `--prefix` are mutually exclusive"));
        }
        Some(end) if words.len() == 2 => end.clone().into_bytes(),
        _ if asked.prefix && key.is_empty() => {
            key = vec![0];
            vec![0]
        }
        _ if asked.prefix => prefix_end(&key),
        _ => Vec::new(),
    };
    Ok(Ok(pb::WatchCreateRequest {
        key: key.into(),
        range_end: range_end.into(),
        start_revision: asked.rev,
        prev_kv: asked.prev_kv,
        progress_notify: asked.progress_notify,
        ..Default::default()
    }))
}

/// Prints what a watch is told until it ends.
async fn follow(
    desk: &Desk,
    request: pb::WatchCreateRequest,
    exec: &[String],
    mut progress: Option<broadcast::Receiver<()>>,
) -> Result<(), Failure> {
    let mut watcher = Watcher::new(&desk.client, request, true);
    loop {
        let answer = match &mut progress {
            None => watcher.next().await,
            Some(asked) => tokio::select! {
                answer = watcher.next() => answer,
                asked = asked.recv() => {
                    if asked.is_ok() {
                        watcher.ask_progress().await;
                    } else {
                        // Nobody can ask any more.
                        progress = None;
                    }
                    continue;
                }
            },
        };
        match answer {
            Ok(Some(answer)) => tell(desk.style, &answer, exec).await?,
            Ok(None) => return Ok(()),
            Err(status) => {
                complain(&format!("watch was canceled ({})", told(&status)));
                return Ok(());
            }
        }
    }
}

async fn tell(style: Style, answer: &pb::WatchResponse, exec: &[String]) -> Result<(), Failure> {
    let revision = answer.header.map_or(0, |header| header.revision);
    if answer.canceled {
        let why = match answer.cancel_reason.as_str() {
            _ if answer.compact_revision != 0 => {
                "etcdserver: mvcc: required revision has been compacted"
            }
            "" => "etcdserver: mvcc: required revision is a future revision",
            reason => reason,
        };
        complain(&format!("watch was canceled ({why})"));
    } else if answer.events.is_empty() && revision != 0 {
        say(format!("progress notify: {revision}\n"))?;
    }
    style.print(&Watched(answer))?;
    let [program, arguments @ ..] = exec else { return Ok(()) };
    for event in &answer.events {
        let kv = event.kv.clone().unwrap_or_default();
        let ended = Command::new(program)
            .args(arguments)
            .env("ETCD_WATCH_REVISION", revision.to_string())
            .env("ETCD_WATCH_EVENT_TYPE", quote(kind(event).as_bytes()))
            .env("ETCD_WATCH_KEY", quote(&kv.key))
            .env("ETCD_WATCH_VALUE", quote(&kv.value))
            .stdin(Stdio::null())
            .status()
            .await;
        let why = match ended {
            Ok(status) if status.success() => continue,
            Ok(status) => super::lock::ending(status),
            Err(error) => super::lock::not_started(program, &error),
        };
        let words: Vec<_> = exec.iter().map(|word| quote(word.as_bytes())).collect();
        complain(&format!("command [{}] error ({why})", words.join(" ")));
        return Err(Failure::silent(code::ERROR));
    }
    Ok(())
}

/// Reads `watch …` and `progress` until the input ends, which is an error as in etcdctl.
async fn interactive(desk: Arc<Desk>, key: &str, end: &str) -> Result<(), Failure> {
    let (progress, _) = broadcast::channel(ASKED);
    let mut watches = JoinSet::new();
    loop {
        let mut line = tokio::task::spawn_blocking(read_line);
        let line = loop {
            tokio::select! {
                line = &mut line => break line,
                Some(ended) = watches.join_next() => {
                    // A watch that the server ended is no reason to end the others.
                    ended.unwrap_or(Ok(()))?;
                }
            }
        };
        let line =
            line.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(|error| {
                let text = format!("error reading watch request line: {error}");
                Failure::new(code::INVALID_INPUT, text)
            })?;
        let words = words(&line).map_err(|why| Failure::new(code::INVALID_INPUT, why))?;
        match words.first().map(String::as_str) {
            None => complain(&format!("Invalid command: {line} (watch and progress supported)")),
            Some("watch") if words.len() < 2 && key.is_empty() => {
                complain(&format!("Invalid command {line} (command type or key is not provided)"))
            }
            Some("watch") => {
                let WatchLine { watch } = read_words(&words[1..]).map_err(Failure::bad_args)?;
                match request(&watch, key, end)? {
                    Err(why) => complain(&format!("Invalid command {line} ({why})")),
                    Ok(request) => {
                        let (desk, asked) = (Arc::clone(&desk), progress.subscribe());
                        watches.spawn(async move {
                            follow(&desk, request, &watch.exec, Some(asked)).await
                        });
                    }
                }
            }
            Some("progress") => {
                // Without a watch there is nobody to ask.
                progress.send(()).ok();
            }
            Some(_) => complain(&format!("Invalid command {line} (only support watch)")),
        }
    }
}
