//! Members, endpoints and alarms.

use std::time::Duration;

use etcd_api::etcdserverpb::{
    AlarmMember, AlarmResponse, AlarmType, HashKvResponse, Member, MemberAddResponse,
    MemberListResponse, ResponseHeader, StatusResponse,
};

use super::fields::Fields;
use super::json::{Object, array, string};
use super::table::Table;
use super::{Show, Style, line};
use crate::duration;
use crate::failure::complain;
use crate::quote::human_bytes;

/// The members.
pub(crate) struct Members<'a>(pub(crate) &'a MemberListResponse);

/// A member that was added, under this name and with these URLs once it starts.
pub(crate) struct MemberAdded<'a> {
    pub(crate) answer: &'a MemberAddResponse,
    pub(crate) name: &'a str,
    pub(crate) peer_urls: &'a str,
}

/// A member that was removed, updated or promoted.
pub(crate) struct MemberChanged<'a> {
    pub(crate) id: u64,
    /// `removed from`, `updated in`, `promoted in`.
    pub(crate) how: &'static str,
    pub(crate) header: Option<ResponseHeader>,
    pub(crate) members: &'a [Member],
}

/// One endpoint's health.
pub(crate) struct Health {
    pub(crate) endpoint: String,
    /// None if it could not even be tried.
    pub(crate) took: Option<Duration>,
    /// What is wrong, if anything.
    pub(crate) error: String,
}

/// The health of all endpoints.
pub(crate) struct Healths(pub(crate) Vec<Health>);
/// The status of those that answered.
pub(crate) struct Statuses(pub(crate) Vec<(String, StatusResponse)>);
/// The sums of those that answered.
pub(crate) struct Hashes(pub(crate) Vec<(String, HashKvResponse)>);
/// The alarms.
pub(crate) struct Alarms<'a>(pub(crate) &'a AlarmResponse);

/// A leader that handed over, to whom.
pub(crate) struct Moved {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) header: Option<ResponseHeader>,
}

fn member(member: &Member) -> String {
    let Member { id, name, peer_urls, client_urls, is_learner } = member;
    Object::new()
        .number("ID", *id)
        .text("name", name)
        .list("peerURLs", peer_urls, |url| string(url))
        .list("clientURLs", client_urls, |url| string(url))
        .truth("isLearner", *is_learner)
        .end()
}

impl Members<'_> {
    fn rows(&self) -> impl Iterator<Item = Vec<String>> {
        self.0.members.iter().map(|member| {
            let Member { id, name, peer_urls, client_urls, is_learner } = member;
            let status = if name.is_empty() { "unstarted" } else { "started" };
            vec![
                format!("{id:x}"),
                status.to_owned(),
                name.clone(),
                peer_urls.join(","),
                client_urls.join(","),
                is_learner.to_string(),
            ]
        })
    }
}

impl Show for Members<'_> {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        self.rows().for_each(|row| line(out, row.join(", ")));
    }

    fn json(&self) -> String {
        let MemberListResponse { header, members } = self.0;
        Object::new().header(header.as_ref()).list("members", members, member).end()
    }

    fn hex_json(&self) -> String {
        let header = self.0.header.unwrap_or_default();
        let header = Object::new()
            .raw("cluster_id", format!("\"{:x}\"", header.cluster_id))
            .raw("member_id", format!("\"{:x}\"", header.member_id))
            .raw("raft_term", header.raft_term)
            .end();
        // `clientURLS` is etcdctl's own spelling, here only.
        let one = |member: &Member| {
            Object::new()
                .raw("ID", format!("\"{:x}\"", member.id))
                .raw("name", format!("\"{}\"", member.name))
                .raw("peerURLs", urls(&member.peer_urls))
                .raw("clientURLS", urls(&member.client_urls))
                .end()
        };
        Object::new().raw("header", header).list("members", &self.0.members, one).end()
    }

    fn fields(&self, out: &mut Fields) -> Option<()> {
        out.header(self.0.header.as_ref());
        for member in &self.0.members {
            let Member { id, name, peer_urls, client_urls, is_learner } = member;
            out.plain("ID", id);
            out.quoted("Name", name.as_bytes());
            peer_urls.iter().for_each(|url| out.quoted("PeerURL", url.as_bytes()));
            client_urls.iter().for_each(|url| out.quoted("ClientURL", url.as_bytes()));
            out.plain("IsLearner", is_learner);
            out.line("");
        }
        Some(())
    }

    fn table(&self) -> Option<Table> {
        let names = ["ID", "Status", "Name", "Peer Addrs", "Client Addrs", "Is Learner"];
        let mut table = Table::new(&names);
        self.rows().for_each(|row| table.row(row));
        Some(table)
    }
}

/// A list of URLs; Go writes one that is not there as `null`.
fn urls(urls: &[String]) -> String {
    if urls.is_empty() { "null".to_owned() } else { array(urls, |url| string(url)) }
}

impl Show for MemberAdded<'_> {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        let MemberAddResponse { header, member, members } = self.answer;
        let new = member.as_ref().map_or(0, |member| member.id);
        let cluster = header.unwrap_or_default().cluster_id;
        line(out, format!("Member {new:>16x} added to cluster {cluster:>16x}\n"));
        let mut all = Vec::new();
        for member in members {
            let name = if member.id == new { self.name } else { &member.name };
            all.extend(member.peer_urls.iter().map(|url| format!("{name}={url}")));
        }
        line(out, format!("ETCD_NAME={:?}", self.name));
        line(out, format!("ETCD_INITIAL_CLUSTER={:?}", all.join(",")));
        line(out, format!("ETCD_INITIAL_ADVERTISE_PEER_URLS={:?}", self.peer_urls));
        line(out, "ETCD_INITIAL_CLUSTER_STATE=\"existing\"");
    }

    fn json(&self) -> String {
        let MemberAddResponse { header, member: new, members } = self.answer;
        Object::new()
            .header(header.as_ref())
            .maybe("member", new.as_ref(), member)
            .list("members", members, member)
            .end()
    }
}

impl Show for MemberChanged<'_> {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        let cluster = self.header.unwrap_or_default().cluster_id;
        line(out, format!("Member {:>16x} {} cluster {cluster:>16x}", self.id, self.how));
    }

    fn json(&self) -> String {
        Object::new().header(self.header.as_ref()).list("members", self.members, member).end()
    }
}

impl Health {
    fn took(&self) -> String {
        self.took.map(duration::format).unwrap_or_default()
    }
}

impl Show for Healths {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        for health in &self.0 {
            let Health { endpoint, took: _, error } = health;
            if error.is_empty() {
                let took = health.took();
                line(
                    out,
                    format!(
                        "{endpoint} is healthy: successfully committed proposal: took = {took}"
                    ),
                );
            } else {
                complain(&format!("{endpoint} is unhealthy: failed to commit proposal: {error}"));
            }
        }
    }

    fn json(&self) -> String {
        array(&self.0, |health| {
            Object::new()
                .raw("endpoint", string(&health.endpoint))
                .raw("health", health.error.is_empty())
                .raw("took", string(&health.took()))
                .text("error", &health.error)
                .end()
        })
    }

    fn fields(&self, out: &mut Fields) -> Option<()> {
        for health in &self.0 {
            out.quoted("Endpoint", health.endpoint.as_bytes());
            out.plain("Health", health.error.is_empty());
            out.plain("Took", health.took());
            out.plain("Error", &health.error);
            out.line("");
        }
        Some(())
    }

    fn table(&self) -> Option<Table> {
        let mut table = Table::new(&["endpoint", "health", "took", "error"]);
        for health in &self.0 {
            let well = health.error.is_empty().to_string();
            table.row(vec![health.endpoint.clone(), well, health.took(), health.error.clone()]);
        }
        Some(table)
    }
}

impl Statuses {
    fn rows(&self) -> impl Iterator<Item = Vec<String>> {
        self.0.iter().map(|(endpoint, status)| {
            let id = status.header.unwrap_or_default().member_id;
            vec![
                endpoint.clone(),
                format!("{id:x}"),
                status.version.clone(),
                human_bytes(u64::try_from(status.db_size).unwrap_or(0)),
                (status.leader == id).to_string(),
                status.is_learner.to_string(),
                status.raft_term.to_string(),
                status.raft_index.to_string(),
                status.raft_applied_index.to_string(),
                status.errors.join(", "),
            ]
        })
    }
}

impl Show for Statuses {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        self.rows().for_each(|row| line(out, row.join(", ")));
    }

    fn json(&self) -> String {
        array(&self.0, |(endpoint, status)| {
            let answer = Object::new()
                .header(status.header.as_ref())
                .text("version", &status.version)
                .number("dbSize", status.db_size)
                .number("leader", status.leader)
                .number("raftIndex", status.raft_index)
                .number("raftTerm", status.raft_term)
                .number("raftAppliedIndex", status.raft_applied_index)
                .list("errors", &status.errors, |error| string(error))
                .number("dbSizeInUse", status.db_size_in_use)
                .truth("isLearner", status.is_learner)
                .end();
            Object::new().raw("Endpoint", string(endpoint)).raw("Status", answer).end()
        })
    }

    fn fields(&self, out: &mut Fields) -> Option<()> {
        for (endpoint, status) in &self.0 {
            out.header(status.header.as_ref());
            out.quoted("Version", status.version.as_bytes());
            out.plain("DBSize", status.db_size);
            out.plain("Leader", status.leader);
            out.plain("IsLearner", status.is_learner);
            out.plain("RaftIndex", status.raft_index);
            out.plain("RaftTerm", status.raft_term);
            out.plain("RaftAppliedIndex", status.raft_applied_index);
            out.plain("Errors", format!("[{}]", status.errors.join(" ")));
            out.quoted("Endpoint", endpoint.as_bytes());
            out.line("");
        }
        Some(())
    }

    fn table(&self) -> Option<Table> {
        let mut table = Table::new(&[
            "endpoint",
            "ID",
            "version",
            "db size",
            "is leader",
            "is learner",
            "raft term",
            "raft index",
            "raft applied index",
            "errors",
        ]);
        self.rows().for_each(|row| table.row(row));
        Some(table)
    }
}

impl Show for Hashes {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        for (endpoint, answer) in &self.0 {
            line(out, format!("{endpoint}, {}", answer.hash));
        }
    }

    fn json(&self) -> String {
        array(&self.0, |(endpoint, answer)| {
            let sum = Object::new()
                .header(answer.header.as_ref())
                .number("hash", answer.hash)
                .number("compact_revision", answer.compact_revision)
                .end();
            Object::new().raw("Endpoint", string(endpoint)).raw("HashKV", sum).end()
        })
    }

    fn fields(&self, out: &mut Fields) -> Option<()> {
        for (endpoint, answer) in &self.0 {
            out.header(answer.header.as_ref());
            out.quoted("Endpoint", endpoint.as_bytes());
            out.plain("Hash", answer.hash);
            out.line("");
        }
        Some(())
    }

    fn table(&self) -> Option<Table> {
        let mut table = Table::new(&["endpoint", "hash"]);
        for (endpoint, answer) in &self.0 {
            table.row(vec![endpoint.clone(), answer.hash.to_string()]);
        }
        Some(table)
    }
}

/// An alarm's name.
pub(crate) fn alarm(alarm: &AlarmMember) -> &'static str {
    match alarm.alarm() {
        AlarmType::None => "NONE",
        AlarmType::Nospace => "NOSPACE",
        AlarmType::Corrupt => "CORRUPT",
    }
}

impl Show for Alarms<'_> {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        for one in &self.0.alarms {
            // The blank at the end is etcdctl's.
            line(out, format!("memberID:{} alarm:{} ", one.member_id, alarm(one)));
        }
    }

    fn json(&self) -> String {
        let AlarmResponse { header, alarms } = self.0;
        let one = |alarm: &AlarmMember| {
            Object::new().number("memberID", alarm.member_id).number("alarm", alarm.alarm).end()
        };
        Object::new().header(header.as_ref()).list("alarms", alarms, one).end()
    }

    fn fields(&self, out: &mut Fields) -> Option<()> {
        out.header(self.0.header.as_ref());
        for one in &self.0.alarms {
            out.plain("MemberID", one.member_id);
            out.plain("AlarmType", alarm(one));
            out.line("");
        }
        Some(())
    }
}

impl Show for Moved {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        line(out, format!("Leadership transferred from {:x} to {:x}", self.from, self.to));
    }

    fn json(&self) -> String {
        Object::new().header(self.header.as_ref()).end()
    }
}
