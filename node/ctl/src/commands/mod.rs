//! What each command does: arguments are counted, members asked, answers printed.

mod access;
mod auth;
mod backup;
mod check;
mod endpoint;
mod keeper;
mod kv;
mod lease;
mod lock;
mod maintenance;
mod member;
mod mirror;
mod password;
mod restore;
mod snapshot;
mod stop;
mod txn;
mod watch;
mod watcher;

use std::io;

use clap_complete::Shell as Script;
use etcd_api::etcdserverpb as pb;

use crate::args::{Endpoint, EndpointCommand, Global, Line, Shell, What, plain_parser};
use crate::client::{Client, Patience};
use crate::failure::{Failure, code, say, words};
use crate::show::Style;

/// How a password is asked for.
const PASSWORD: &str = "Password: ";

/// What a command has at hand.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) client: Client,
    pub(crate) style: Style,
    pub(crate) global: Global,
}

/// Performs a command.
pub(crate) async fn run(line: Line) -> Result<(), Failure> {
    let Line { global, command } = line;
    match &command {
        What::Version => {
            let version = env!("CARGO_PKG_VERSION");
            return say(format!("raft-ctl version: {version}\nAPI version: 3.5\n"));
        }
        What::Completion(completion) => {
            let script = match completion.shell {
                Shell::Bash => Script::Bash,
                Shell::Zsh => Script::Zsh,
                Shell::Fish => Script::Fish,
            };
            let mut text = Vec::new();
            clap_complete::generate(script, &mut plain_parser(), "raft-ctl", &mut text);
            return say(text);
        }
        _ => {}
    }
    let style = Style::of(&global)?;
    // These ask each endpoint for itself, and tell who does not let the user in.
    let asks_each = matches!(
        &command,
        What::Endpoint(Endpoint { command: EndpointCommand::Health(_), .. }) | What::Backup(_)
    );
    let client = client(&global, PASSWORD, !asks_each).await?;
    let desk = Desk { client, style, global };
    match command {
        What::Get(asked) => kv::get(&desk, &asked).await,
        What::Put(asked) => kv::put(&desk, &asked).await,
        What::Del(asked) => kv::del(&desk, &asked).await,
        What::Compaction(asked) => kv::compact(&desk, &asked).await,
        What::Txn(asked) => txn::run(&desk, &asked).await,
        What::Watch(asked) => watch::run(desk, asked).await,
        What::Lease(asked) => lease::run(&desk, &asked).await,
        What::Member(asked) => member::run(&desk, &asked).await,
        What::Endpoint(asked) => endpoint::run(&desk, &asked).await,
        What::Alarm(asked) => maintenance::alarm(&desk, &asked).await,
        What::Defrag(asked) => maintenance::defrag(&desk, &asked).await,
        What::MoveLeader(asked) => maintenance::move_leader(&desk, &asked.words).await,
        What::Snapshot(asked) => snapshot::run(&desk, &asked).await,
        What::MakeMirror(asked) => mirror::run(&desk, &asked).await,
        What::Backup(asked) => backup::run(&desk, &asked).await,
        What::Check(asked) => check::run(&desk, &asked).await,
        What::Lock(asked) => lock::lock(&desk, &asked).await,
        What::Elect(asked) => lock::elect(&desk, &asked).await,
        What::User(asked) => auth::user(&desk, &asked).await,
        What::Role(asked) => access::role(&desk, &asked).await,
        What::Auth(asked) => auth::auth(&desk, &asked).await,
        What::Version | What::Completion(_) => Ok(()),
    }
}

/// A client of the endpoints; one with a user logs in first, if it shall.
async fn client(global: &Global, prompt: &str, log_in: bool) -> Result<Client, Failure> {
    let user = password::of(global, prompt)?;
    let log_in = log_in && user.is_some();
    let client = Client::new(global, user)?;
    if log_in {
        // Whom no member lets in has no client to ask anything with.
        let wire = client.wire(Patience::For(global.dial_timeout)).await;
        wire.map_err(|status| Failure::new(code::BAD_CONNECTION, words(&status)))?;
    }
    Ok(client)
}

impl Desk {
    /// The endpoints to ask one by one: those given, or all members'.
    pub(crate) async fn endpoints(&self, cluster: bool) -> Result<Vec<String>, Failure> {
        if !cluster {
            return Ok(self.client.endpoints().to_vec());
        }
        let question = pb::MemberListRequest { linearizable: true };
        let answer = self.client.member_list(Patience::Command, question).await;
        let answer = answer.map_err(|status| {
            let why = Failure::from(status).text;
            Failure::error(format!(
                "failed to fetch endpoints from etcd cluster member list: {why}"
            ))
        })?;
        Ok(answer.members.into_iter().flat_map(|member| member.client_urls).collect())
    }
}

/// Reads a line from standard input; an end before the line's end is Go's `EOF`.
fn read_line() -> io::Result<String> {
    let mut line = Vec::new();
    io::BufRead::read_until(&mut io::stdin().lock(), b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::Error::other("EOF"));
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}
