//! A transcript, played on a cluster.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::process::{Child, Stdio};
use std::time::Instant;

use node_oracle::{Cluster, FIRST, LOOK, PATIENCE, PLACES};
use rustix::process::{Pid, Signal, kill_process};

use crate::plain::{Names, anybody, first_id, status};
use crate::script::{Call, Does, Script, Step};

/// Most times a call is made until it says something.
const TRIES: usize = 4_000;

/// What a call said, without what may differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) line: usize,
    pub(crate) command: String,
    pub(crate) text: String,
}

/// A call that goes on.
struct Watch {
    process: Child,
    command: String,
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It may have ended by itself. `timeout` ends its child when it is asked to, not when it
        // is killed.
        kill_process(Pid::from_child(&self.process), Signal::TERM).ok();
        self.process.wait().ok();
    }
}

struct Play<'a> {
    cluster: Cluster<'a>,
    names: Names,
    /// Ids that have a name, as `etcdctl` writes them.
    kept: BTreeMap<String, String>,
    watches: BTreeMap<String, Watch>,
    said: Vec<Said>,
}

/// Plays all of it; returns what every call said.
pub(crate) fn play(script: &Script, cluster: Cluster<'_>) -> Vec<Said> {
    let mut kept = BTreeMap::new();
    let mut names = Names::default();
    for place in 1..=PLACES {
        for (kind, urls) in [("client", &cluster.client_urls), ("peer", &cluster.peer_urls)] {
            let url = &urls[place - 1];
            names.text(url, format!("<{kind} {place}>"));
            names.text(url.trim_start_matches("http://"), format!("<{kind} {place}>"));
            kept.insert(format!("{kind}{place}"), url.clone());
        }
    }
    let mut play = Play { cluster, names, kept, watches: BTreeMap::new(), said: Vec::new() };
    (1..=FIRST).for_each(|place| play.member(place));
    for step in &script.steps {
        play.step(step);
    }
    play.said
}

impl Play<'_> {
    fn step(&mut self, Step { line, does }: &Step) {
        match does {
            Does::Call(call) => {
                // Both kinds leave it out, so that the states stay equal.
                let left_out =
                    call.since.as_ref().is_some_and(|since| !self.cluster.programs.is_since(since));
                if !left_out {
                    self.call(*line, call);
                }
            }
            Does::Watch { name, call } => {
                let process = self
                    .cluster
                    .etcdctl(&call.asked, &self.words(call, 0))
                    .stdin(Stdio::null())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::null())
                    .spawn()
                    .expect("etcdctl starts");
                let command = call.text.clone();
                self.watches.insert(name.clone(), Watch { process, command });
            }
            Does::Heard { name, lines } => self.heard(*line, name, *lines),
            Does::Crash(place) => self.cluster.crash(*place),
            Does::Start(place) => self.cluster.run(*place),
            Does::Pause(place) => self.cluster.signal(*place, Signal::STOP),
            Does::Resume(place) => self.cluster.signal(*place, Signal::CONT),
            Does::AwaitLeader => self.cluster.await_answer("a leader", &["get", "first"]),
            Does::AwaitStarted(place) => self.member(*place),
            Does::Sleep(time) => std::thread::sleep(*time),
        }
    }

    /// Gives a name to a member, once it has said who it is.
    fn member(&mut self, place: usize) {
        let id = self.cluster.await_started(place);
        self.names.id(id, format!("<m{place}>"));
        self.kept.insert(format!("m{place}"), format!("{id:x}"));
    }

    fn words(&self, call: &Call, attempt: usize) -> Vec<String> {
        let word = |word: &String| {
            let mut word = word.replace("{n}", &attempt.to_string());
            if let Some((before, size)) = word.split_once('{')
                && let Some((kibibytes, after)) = size.split_once("k}")
                && let Ok(kibibytes) = kibibytes.parse::<usize>()
            {
                word = [before, &"x".repeat(kibibytes * 1024), after].concat();
            }
            // The longest names first: $m1 begins $m10.
            for (name, id) in self.kept.iter().rev() {
                word = word.replace(&format!("${name}"), id);
            }
            word
        };
        call.words.iter().map(word).collect()
    }

    fn call(&mut self, line: usize, call: &Call) {
        let since = Instant::now();
        let mut attempt = 0;
        let said = loop {
            attempt += 1;
            let said = self.cluster.call(&call.asked, &self.words(call, attempt), &call.input);
            let again = match (&call.until, &call.retry) {
                (Some(until), _) => !said.contains(until) && attempt < TRIES,
                (None, Some(retry)) => said.contains(retry) && since.elapsed() < PATIENCE,
                (None, None) => false,
            };
            if !again {
                break said;
            }
            if call.retry.is_some() {
                std::thread::sleep(LOOK);
            }
        };
        if let Some(name) = &call.keep {
            let id = first_id(&said).unwrap_or_else(|| panic!("line {line}: no id in {said}"));
            self.kept.insert(name.clone(), id.to_owned());
        }
        let said = if call.status { status(&said) } else { said };
        let mut text = self.names.plain(&said);
        if call.set {
            text = anybody(&text);
        }
        if call.sorted || call.set {
            let mut lines: Vec<_> = text.lines().collect();
            lines.sort_unstable();
            if call.set {
                lines.dedup();
            }
            text = lines.join("\n");
        }
        self.said.push(Said { line, command: call.text.clone(), text });
    }

    fn heard(&mut self, line: usize, name: &str, lines: usize) {
        let watch = self.watches.get_mut(name).expect("the transcript opened it");
        let output = watch.process.stdout.as_mut().expect("piped");
        let mut said = Vec::new();
        let mut byte = [0];
        // One byte at a time, so that what comes after stays to be heard later.
        while said.iter().filter(|byte| **byte == b'\n').count() < lines
            && output.read(&mut byte).is_ok_and(|read| read == 1)
        {
            said.push(byte[0]);
        }
        let said = String::from_utf8(said).expect("keys and values here are text");
        let heard = said.lines().count();
        assert_eq!(heard, lines, "line {line}, in {PATIENCE:?}: {said}");
        let command = format!("{} ({lines} lines)", watch.command);
        let text = self.names.plain(&said);
        self.said.push(Said { line, command, text });
    }
}
