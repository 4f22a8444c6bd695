//! A transcript: calls of `etcdctl` in order, and what happens to the members in between.
//!
//! ```text
//!  # a comment
//!  put greeting hello              a call on all endpoints, typed as in a shell
//!  < first line of its input       the lines of its standard input
//!  [m2,m3] get greeting            a call on these endpoints only
//!  [sorted] endpoint health        its lines may come in any order
//!  [set] alarm list                its lines may come in any order, of any member, any times
//!  [status] endpoint status        only the columns that two clusters have in common
//!  [until space] put k{n} {64k}    again until it says so; only the last is compared
//!  [retry unhealthy] member add    again as long as it says so
//!  [3.5] member list               only where the etcd at hand is at least this version
//!  lease grant 60 => $lease        the first id it says has a name from here on
//!  .flags --quota-backend-bytes=1  flags for all members, before everything else
//!  .watch w watch foo              a call that goes on, called w
//!  .heard w 3                      what it said, once it has said three lines
//!  .crash m3  .start m3            what is done to a member; m4 and m5 are started to join
//!  .pause m3  .resume m3           stopped in its tracks, and going on
//!  .await leader                   until a read is answered
//!  .await started m4               until the member has said who it is
//!  .sleep 6s                       where etcd itself only waits
//! ```
//!
//! `$m1` is the id of a member, `$client1` and `$peer1` its URLs, `{n}` the number of the try,
//! `{64k}` so many letters.

use std::time::Duration;

/// A transcript, read.
#[derive(Debug, Default)]
pub(crate) struct Script {
    /// Flags for all members.
    pub(crate) flags: Vec<String>,
    pub(crate) steps: Vec<Step>,
}

#[derive(Debug)]
pub(crate) struct Step {
    /// Its line in the file, from 1.
    pub(crate) line: usize,
    pub(crate) does: Does,
}

#[derive(Debug)]
pub(crate) enum Does {
    Call(Call),
    Watch { name: String, call: Call },
    Heard { name: String, lines: usize },
    Crash(usize),
    Start(usize),
    Pause(usize),
    Resume(usize),
    AwaitLeader,
    AwaitStarted(usize),
    Sleep(Duration),
}

/// One call of `etcdctl`.
#[derive(Debug, Default)]
pub(crate) struct Call {
    /// As it stands in the file.
    pub(crate) text: String,
    pub(crate) words: Vec<String>,
    pub(crate) input: String,
    /// Places of the members asked, from 1; all that were started when empty.
    pub(crate) asked: Vec<usize>,
    pub(crate) sorted: bool,
    pub(crate) set: bool,
    pub(crate) status: bool,
    pub(crate) until: Option<String>,
    pub(crate) retry: Option<String>,
    /// The name of the first id in the answer.
    pub(crate) keep: Option<String>,
    /// Least version of etcd this is compared with.
    pub(crate) since: Option<String>,
}

impl Script {
    /// Reads a transcript; the error says in which line what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut script = Self::default();
        for (line, text) in (1..).zip(text.lines()) {
            script.line(line, text).map_err(|wrong| format!("line {line}: {wrong}"))?;
        }
        Ok(script)
    }

    fn line(&mut self, line: usize, text: &str) -> Result<(), String> {
        if text.is_empty() || text.starts_with('#') {
            return Ok(());
        }
        if let Some(input) = text.strip_prefix('<') {
            let Some(Step { does: Does::Call(call) | Does::Watch { call, .. }, .. }) =
                self.steps.last_mut()
            else {
                return Err("input of nothing".into());
            };
            call.input.push_str(input.strip_prefix(' ').unwrap_or(input));
            call.input.push('\n');
            return Ok(());
        }
        let does = match text.strip_prefix('.') {
            None => Does::Call(Call::parse(text)?),
            Some(verb) => {
                let (verb, rest) = verb.split_once(' ').unwrap_or((verb, ""));
                match (verb, rest) {
                    ("flags", flags) if self.steps.is_empty() => {
                        self.flags.extend(flags.split(' ').map(str::to_owned));
                        return Ok(());
                    }
                    ("watch", rest) => {
                        let (name, call) = rest.split_once(' ').ok_or("what is watched?")?;
                        Does::Watch { name: name.into(), call: Call::parse(call)? }
                    }
                    ("heard", rest) => {
                        let (name, lines) = rest.split_once(' ').ok_or("how many lines?")?;
                        let lines = lines.parse().map_err(|_| "how many lines?")?;
                        Does::Heard { name: name.into(), lines }
                    }
                    ("crash", member) => Does::Crash(place(member)?),
                    ("start", member) => Does::Start(place(member)?),
                    ("pause", member) => Does::Pause(place(member)?),
                    ("resume", member) => Does::Resume(place(member)?),
                    ("await", "leader") => Does::AwaitLeader,
                    ("await", rest) => {
                        let member = rest.strip_prefix("started ").ok_or("what is awaited?")?;
                        Does::AwaitStarted(place(member)?)
                    }
                    ("sleep", time) => {
                        let seconds = time.strip_suffix('s').and_then(|time| time.parse().ok());
                        Does::Sleep(Duration::from_secs(seconds.ok_or("how many seconds?")?))
                    }
                    _ => return Err(format!("`.{verb}` is not known here")),
                }
            }
        };
        self.steps.push(Step { line, does });
        Ok(())
    }
}

impl Call {
    fn parse(text: &str) -> Result<Self, String> {
        let mut call = Self { text: text.to_owned(), ..Self::default() };
        let mut rest = text;
        while let Some((option, after)) = rest.strip_prefix('[').and_then(|t| t.split_once("] ")) {
            rest = after;
            match option.split_once(' ').unwrap_or((option, "")) {
                ("sorted", "") => call.sorted = true,
                ("set", "") => call.set = true,
                ("status", "") => call.status = true,
                ("until", said) => call.until = Some(said.to_owned()),
                ("retry", said) => call.retry = Some(said.to_owned()),
                (version, "") if version.starts_with("3.") => call.since = Some(version.to_owned()),
                (members, "") => {
                    call.asked = members.split(',').map(place).collect::<Result<_, _>>()?;
                }
                _ => return Err(format!("`[{option}]` is not known here")),
            }
        }
        if let Some((before, name)) = rest.split_once(" => $") {
            call.keep = Some(name.to_owned());
            rest = before;
        }
        call.words = shlex::split(rest).ok_or("a quotation mark is missing")?;
        Ok(call)
    }
}

/// `m3` is place 3.
fn place(member: &str) -> Result<usize, String> {
    member
        .strip_prefix('m')
        .and_then(|place| place.parse().ok())
        .filter(|place| (1..=node_oracle::PLACES).contains(place))
        .ok_or_else(|| format!("`{member}` is no member"))
}
