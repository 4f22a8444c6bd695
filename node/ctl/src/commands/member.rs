//! The members: list, add, remove, update, promote.

use etcd_api::etcdserverpb as pb;

use super::Desk;
use crate::args::{Member, MemberAdd, MemberUpdate};
use crate::client::Patience;
use crate::failure::Failure;
use crate::quote::uint;
use crate::show::{MemberAdded, MemberChanged, Members};

pub(crate) async fn run(desk: &Desk, asked: &Member) -> Result<(), Failure> {
    match asked {
        Member::List(_) => {
            let question = pb::MemberListRequest { linearizable: true };
            let answer = desk.client.member_list(Patience::Command, question).await?;
            desk.style.print(&Members(&answer))
        }
        Member::Add(asked) => add(desk, asked).await,
        Member::Remove(asked) => {
            let id = member(&asked.words)?;
            let question = pb::MemberRemoveRequest { id };
            let answer = desk.client.member_remove(Patience::Command, question).await?;
            let pb::MemberRemoveResponse { header, members } = &answer;
            changed(desk, id, "removed from", *header, members)
        }
        Member::Update(asked) => update(desk, asked).await,
        Member::Promote(asked) => {
            let id = member(&asked.words)?;
            let question = pb::MemberPromoteRequest { id };
            let answer = desk.client.member_promote(Patience::Command, question).await?;
            let pb::MemberPromoteResponse { header, members } = &answer;
            changed(desk, id, "promoted in", *header, members)
        }
    }
}

fn changed(
    desk: &Desk,
    id: u64,
    how: &'static str,
    header: Option<pb::ResponseHeader>,
    members: &[pb::Member],
) -> Result<(), Failure> {
    desk.style.print(&MemberChanged { id, how, header, members })
}

/// The member that is the only word.
fn member(words: &[String]) -> Result<u64, Failure> {
    let [word] = words else { return Err(Failure::bad_args("member ID is not provided")) };
    uint(word, 16)
        .map_err(|why| Failure::bad_args(format!("bad member ID arg ({why}), expecting ID in Hex")))
}

async fn add(desk: &Desk, asked: &MemberAdd) -> Result<(), Failure> {
    let name = match asked.words.as_slice() {
        [] => return Err(Failure::bad_args("member name not provided")),
        [name] => name,
        words => {
            let mut text = "too many arguments".to_owned();
            for word in words.iter().filter(|word| word.to_lowercase().starts_with("http")) {
                text.push_str(&format!(", did you mean --peer-urls={word}"));
            }
            return Err(Failure::bad_args(text));
        }
    };
    let peer_urls = urls(&asked.peer_urls)?;
    let question = pb::MemberAddRequest { peer_urls, is_learner: asked.learner };
    let answer = desk.client.member_add(Patience::Command, question).await?;
    desk.style.print(&MemberAdded { answer: &answer, name, peer_urls: &asked.peer_urls })
}

async fn update(desk: &Desk, asked: &MemberUpdate) -> Result<(), Failure> {
    let id = member(&asked.words)?;
    let question = pb::MemberUpdateRequest { id, peer_urls: urls(&asked.peer_urls)? };
    let answer = desk.client.member_update(Patience::Command, question).await?;
    changed(desk, id, "updated in", answer.header, &answer.members)
}

/// URLs between commas, each of a form that a member can listen on.
fn urls(text: &str) -> Result<Vec<String>, Failure> {
    if text.is_empty() {
        return Err(Failure::bad_args("member peer urls not provided"));
    }
    let urls: Vec<_> = text.split(',').map(str::to_owned).collect();
    for url in &urls {
        let known = ["http://", "https://", "unix://", "unixs://"];
        let rest = known.iter().find_map(|scheme| url.trim().strip_prefix(scheme));
        let Some(rest) = rest else {
            let text = format!("URL scheme must be http, https, unix, or unixs: {url}");
            return Err(Failure::error(text));
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !host.contains(':') {
            let text = format!("URL address does not have the form \"host:port\": {url}");
            return Err(Failure::error(text));
        }
        if !path.is_empty() {
            return Err(Failure::error(format!("URL must not contain a path: {url}")));
        }
    }
    Ok(urls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_looked_at_before_they_are_sent() {
        assert_eq!(urls("http://a:1,http://b:2").expect("two"), ["http://a:1", "http://b:2"]);
        let why = |text: &str| urls(text).expect_err(text).text;
        assert_eq!(why(""), "member peer urls not provided");
        assert_eq!(why("zz"), "URL scheme must be http, https, unix, or unixs: zz");
        assert!(why("http://a").starts_with("URL address does not have the form"));
        assert_eq!(why("http://a:1/b"), "URL must not contain a path: http://a:1/b");
    }
}
