//! Who is a member, what may change about it, and how both are written down.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use etcd_api::etcdserverpb;
use node_identity::FirstMember;
use node_protocol::MemberId;
use prost::Message;
use serde::{Deserialize, Serialize};

use crate::kv::{Change, Table};
use node_identity::urls::Url;

/// Learners a cluster may have at a time (etcd's limit).
pub const MAX_LEARNERS: usize = 1;

/// Longest encoding of a change; what a log entry's context may hold.
const MAX_RECORD_BYTES: usize = 64 * 1024;

/// Version byte before every change.
const RECORD_VERSION: u8 = 1;

/// A member, as every member knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: MemberId,
    /// Its name; empty until it has started and published it.
    pub name: String,
    /// Where other members reach it; never empty, sorted.
    pub peer_urls: Vec<String>,
    /// Where clients reach it; empty until it has started and published them.
    pub client_urls: Vec<String>,
    /// Receives the log, has no vote.
    pub learner: bool,
}

impl From<FirstMember> for Member {
    fn from(first: FirstMember) -> Self {
        let FirstMember { id, name, peer_urls } = first;
        Self { id, name, peer_urls, client_urls: Vec::new(), learner: false }
    }
}

/// A change of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// Add a voter or a learner.
    Add(Member),
    /// Remove a member for good.
    Remove(MemberId),
    /// Replace where a member is reached by the others.
    UpdatePeerUrls {
        /// Which member.
        id: MemberId,
        /// Its peer URLs from now on.
        urls: Vec<String>,
    },
    /// Make a learner a voter.
    Promote(MemberId),
    /// None: the leader refuses what was asked about this member. It is written into the log in
    /// place of that, so that whoever asked is told by it.
    Refused(MemberId, ChangeError),
}

/// Why a change is refused. Written down by its place in this list: new ones come last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ChangeError {
    /// No member has the id.
    #[error("member not found")]
    NotFound,
    /// The id was removed; it never returns.
    #[error("member was removed")]
    Removed,
    /// A member with this id exists.
    #[error("member ID already exist")]
    IdExists,
    /// Another member has one of the peer URLs.
    #[error("Peer URLs already exists")]
    PeerUrlExists,
    /// The URLs are missing or malformed.
    #[error("given member URLs are invalid")]
    BadUrls,
    /// There are [`MAX_LEARNERS`] learners.
    #[error("too many learner members in cluster")]
    TooManyLearners,
    /// Only a learner can be promoted.
    #[error("can only promote a learner member")]
    NotLearner,
    /// The learner lacks too much of the log.
    #[error("can only promote a learner member which is in sync with leader")]
    LearnerNotReady,
    /// After the change too few members that run would be left to make a quorum.
    #[error("re-configuration failed due to not enough started members")]
    NotEnoughStarted,
    /// Too few members are reachable to change the configuration safely.
    #[error("unhealthy cluster")]
    Unhealthy,
}

/// Bytes are not a change or row of this version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Longer than any record may be.
    #[error("membership record of {0} bytes, at most {MAX_RECORD_BYTES} are allowed")]
    TooLong(usize),
    /// Written by a program that speaks another version.
    #[error("membership record of version {0}, this program reads {RECORD_VERSION}")]
    Version(u8),
    /// Damaged, or not a record at all.
    #[error("damaged membership record")]
    Damaged,
}

/// How a member is written down; kept apart from [`Member`] so that the bytes stay when it moves.
#[derive(Serialize, Deserialize)]
struct MemberRecord {
    id: u64,
    name: String,
    peer_urls: Vec<String>,
    client_urls: Vec<String>,
    learner: bool,
}

#[derive(Serialize, Deserialize)]
enum ChangeRecord {
    Add(MemberRecord),
    Remove(u64),
    UpdatePeerUrls(u64, Vec<String>),
    Promote(u64),
    Refused(u64, ChangeError),
}

impl From<&Member> for MemberRecord {
    fn from(member: &Member) -> Self {
        let Member { id, name, peer_urls, client_urls, learner } = member.clone();
        Self { id: id.0, name, peer_urls, client_urls, learner }
    }
}

impl From<MemberRecord> for Member {
    fn from(record: MemberRecord) -> Self {
        let MemberRecord { id, name, peer_urls, client_urls, learner } = record;
        Self { id: MemberId(id), name, peer_urls, client_urls, learner }
    }
}

fn encode_record(record: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(record, vec![RECORD_VERSION]).expect("every record has an encoding")
}

fn decode_record<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, RecordError> {
    if bytes.len() > MAX_RECORD_BYTES {
        return Err(RecordError::TooLong(bytes.len()));
    }
    let (&version, body) = bytes.split_first().ok_or(RecordError::Damaged)?;
    if version != RECORD_VERSION {
        return Err(RecordError::Version(version));
    }
    match postcard::take_from_bytes(body) {
        Ok((record, [])) => Ok(record),
        Ok(_) | Err(_) => Err(RecordError::Damaged),
    }
}

impl MemberChange {
    /// Which member it is about.
    pub fn member(&self) -> MemberId {
        match self {
            Self::Add(member) => member.id,
            Self::Remove(id)
            | Self::Promote(id)
            | Self::UpdatePeerUrls { id, .. }
            | Self::Refused(id, _) => *id,
        }
    }

    /// The bytes that travel with the log entry.
    pub fn encode(&self) -> Vec<u8> {
        encode_record(&match self {
            Self::Add(member) => ChangeRecord::Add(member.into()),
            Self::Remove(id) => ChangeRecord::Remove(id.0),
            Self::UpdatePeerUrls { id, urls } => ChangeRecord::UpdatePeerUrls(id.0, urls.clone()),
            Self::Promote(id) => ChangeRecord::Promote(id.0),
            Self::Refused(id, error) => ChangeRecord::Refused(id.0, *error),
        })
    }

    /// Reads what [`MemberChange::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        Ok(match decode_record(bytes)? {
            ChangeRecord::Add(member) => Self::Add(member.into()),
            ChangeRecord::Remove(id) => Self::Remove(MemberId(id)),
            ChangeRecord::UpdatePeerUrls(id, urls) => {
                Self::UpdatePeerUrls { id: MemberId(id), urls }
            }
            ChangeRecord::Promote(id) => Self::Promote(MemberId(id)),
            ChangeRecord::Refused(id, error) => Self::Refused(MemberId(id), error),
        })
    }
}

/// The members of a cluster, and the ids that were removed from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    members: BTreeMap<MemberId, Member>,
    removed: BTreeSet<MemberId>,
}

impl Membership {
    /// A new cluster's membership.
    pub fn bootstrap(members: impl IntoIterator<Item = Member>) -> Self {
        let members = members.into_iter().map(|member| (member.id, member)).collect();
        Self { members, removed: BTreeSet::new() }
    }

    /// Reads the rows of [`Table::Members`], in any order.
    pub fn load<'a>(
        rows: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<Self, RecordError> {
        let mut membership = Self::default();
        for (key, value) in rows {
            let id =
                MemberId(u64::from_be_bytes(key.try_into().map_err(|_| RecordError::Damaged)?));
            if value.is_empty() {
                membership.removed.insert(id);
                continue;
            }
            let wire = etcdserverpb::Member::decode(value).map_err(|_| RecordError::Damaged)?;
            if wire.id != id.0 {
                return Err(RecordError::Damaged);
            }
            membership.members.insert(id, wire.into());
        }
        Ok(membership)
    }

    /// Everything as rows of [`Table::Members`], ascending by key.
    pub fn rows(&self) -> Vec<Change> {
        let ids: BTreeSet<MemberId> = self.members.keys().chain(&self.removed).copied().collect();
        ids.into_iter().map(|id| self.row(id)).collect()
    }

    /// The members, ascending by id.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// The member with this id.
    pub fn get(&self, id: MemberId) -> Option<&Member> {
        self.members.get(&id)
    }

    /// Whether the id was removed.
    pub fn removed(&self, id: MemberId) -> bool {
        self.removed.contains(&id)
    }

    /// The ids that were removed, ascending.
    pub fn removed_ids(&self) -> impl Iterator<Item = MemberId> + '_ {
        self.removed.iter().copied()
    }

    /// Ids of the voters, ascending.
    pub fn voters(&self) -> Vec<MemberId> {
        self.members.values().filter(|member| !member.learner).map(|member| member.id).collect()
    }

    /// Ids of the learners, ascending.
    pub fn learners(&self) -> Vec<MemberId> {
        self.members.values().filter(|member| member.learner).map(|member| member.id).collect()
    }

    /// Whether the change is possible by what every member knows.
    ///
    /// Asked twice: before a change is proposed, and again when it is applied, because another
    /// may have been applied in between. The second answer is the same on every member.
    pub fn check(&self, change: &MemberChange) -> Result<(), ChangeError> {
        let id = change.member();
        if self.removed(id) {
            return Err(ChangeError::Removed);
        }
        let existing = self.get(id);
        match (change, existing) {
            (MemberChange::Add(_), Some(_)) => Err(ChangeError::IdExists),
            (MemberChange::Add(member), None) => {
                self.check_urls(id, &member.peer_urls)?;
                if member.learner && self.learners().len() >= MAX_LEARNERS {
                    return Err(ChangeError::TooManyLearners);
                }
                Ok(())
            }
            (MemberChange::Refused(_, error), _) => Err(*error),
            (_, None) => Err(ChangeError::NotFound),
            (MemberChange::Remove(_), Some(member)) => {
                // A cluster without a voter could never do anything again.
                if !member.learner && self.voters().len() == 1 {
                    return Err(ChangeError::NotEnoughStarted);
                }
                Ok(())
            }
            (MemberChange::UpdatePeerUrls { urls, .. }, Some(_)) => self.check_urls(id, urls),
            (MemberChange::Promote(_), Some(member)) if member.learner => Ok(()),
            (MemberChange::Promote(_), Some(_)) => Err(ChangeError::NotLearner),
        }
    }

    /// Carries a checked change out; returns the rows that changed.
    pub fn apply(&mut self, change: &MemberChange) -> Vec<Change> {
        let id = change.member();
        match change {
            MemberChange::Add(member) => {
                let mut member = member.clone();
                member.peer_urls.sort_unstable();
                self.members.insert(id, member);
            }
            MemberChange::Remove(_) => {
                self.members.remove(&id);
                self.removed.insert(id);
            }
            MemberChange::UpdatePeerUrls { urls, .. } => {
                let Some(member) = self.members.get_mut(&id) else { return Vec::new() };
                member.peer_urls = urls.clone();
                member.peer_urls.sort_unstable();
            }
            MemberChange::Promote(_) => {
                let Some(member) = self.members.get_mut(&id) else { return Vec::new() };
                member.learner = false;
            }
            MemberChange::Refused(..) => return Vec::new(),
        }
        vec![self.row(id)]
    }

    /// Notes what a started member says of itself; returns the rows that changed. A member that
    /// is not (or no longer) one changes nothing.
    pub fn publish(&mut self, id: MemberId, name: String, client_urls: Vec<String>) -> Vec<Change> {
        match self.members.get_mut(&id) {
            Some(member) if member.name != name || member.client_urls != client_urls => {
                member.name = name;
                member.client_urls = client_urls;
                vec![self.row(id)]
            }
            Some(_) | None => Vec::new(),
        }
    }

    fn check_urls(&self, id: MemberId, urls: &[String]) -> Result<(), ChangeError> {
        if urls.is_empty() || urls.iter().any(|url| Url::parse(url).is_err()) {
            return Err(ChangeError::BadUrls);
        }
        let taken = self
            .members()
            .filter(|member| member.id != id)
            .any(|member| member.peer_urls.iter().any(|url| urls.contains(url)));
        if taken { Err(ChangeError::PeerUrlExists) } else { Ok(()) }
    }

    /// A member's row: etcd's message for it, or nothing at all for one that was removed.
    fn row(&self, id: MemberId) -> Change {
        let value = match self.members.get(&id) {
            Some(member) => etcdserverpb::Member::from(member).encode_to_vec(),
            None => Vec::new(),
        };
        Change {
            table: Table::Members,
            key: Bytes::copy_from_slice(&id.0.to_be_bytes()),
            value: Some(Bytes::from(value)),
        }
    }
}

impl From<&Member> for etcdserverpb::Member {
    fn from(member: &Member) -> Self {
        let Member { id, name, peer_urls, client_urls, learner } = member.clone();
        Self { id: id.0, name, peer_urls, client_urls, is_learner: learner }
    }
}

impl From<etcdserverpb::Member> for Member {
    fn from(wire: etcdserverpb::Member) -> Self {
        let etcdserverpb::Member { id, name, peer_urls, client_urls, is_learner } = wire;
        Self { id: MemberId(id), name, peer_urls, client_urls, learner: is_learner }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, url: &str, learner: bool) -> Member {
        Member {
            id: MemberId(id),
            name: format!("m{id}"),
            peer_urls: vec![url.into()],
            client_urls: Vec::new(),
            learner,
        }
    }

    fn three() -> Membership {
        Membership::bootstrap([
            member(1, "http://a:1", false),
            member(2, "http://b:1", false),
            member(3, "http://c:1", true),
        ])
    }

    #[test]
    fn a_change_is_judged_by_who_is_there() {
        let mut membership = three();
        membership.apply(&MemberChange::Add(member(9, "http://z:1", false)));
        membership.apply(&MemberChange::Remove(MemberId(9)));
        let urls = |text: &str| vec![text.to_owned()];
        for (change, expected) in [
            (MemberChange::Add(member(4, "http://d:1", false)), Ok(())),
            (MemberChange::Add(member(1, "http://d:1", false)), Err(ChangeError::IdExists)),
            (MemberChange::Add(member(4, "http://a:1", false)), Err(ChangeError::PeerUrlExists)),
            (MemberChange::Add(member(4, "d", false)), Err(ChangeError::BadUrls)),
            (MemberChange::Add(member(4, "http://d:1", true)), Err(ChangeError::TooManyLearners)),
            (MemberChange::Add(member(9, "http://d:1", false)), Err(ChangeError::Removed)),
            (MemberChange::Remove(MemberId(2)), Ok(())),
            (MemberChange::Remove(MemberId(7)), Err(ChangeError::NotFound)),
            (MemberChange::Remove(MemberId(9)), Err(ChangeError::Removed)),
            (MemberChange::Promote(MemberId(3)), Ok(())),
            (MemberChange::Promote(MemberId(1)), Err(ChangeError::NotLearner)),
            (MemberChange::Promote(MemberId(7)), Err(ChangeError::NotFound)),
            (MemberChange::UpdatePeerUrls { id: MemberId(1), urls: urls("http://a:1") }, Ok(())),
            (
                MemberChange::UpdatePeerUrls { id: MemberId(1), urls: urls("http://b:1") },
                Err(ChangeError::PeerUrlExists),
            ),
            (
                MemberChange::UpdatePeerUrls { id: MemberId(1), urls: Vec::new() },
                Err(ChangeError::BadUrls),
            ),
        ] {
            assert_eq!(membership.check(&change), expected, "{change:?}");
        }
        let lonely = Membership::bootstrap([member(1, "http://a:1", false)]);
        assert_eq!(
            lonely.check(&MemberChange::Remove(MemberId(1))),
            Err(ChangeError::NotEnoughStarted)
        );
    }

    #[test]
    fn rows_read_back_as_the_membership_they_were_written_from() {
        let mut membership = three();
        let mut rows: BTreeMap<Bytes, Bytes> = BTreeMap::new();
        let mut changes = membership.rows();
        changes.extend(membership.publish(MemberId(1), "one".into(), vec!["http://a:2".into()]));
        changes.extend(membership.apply(&MemberChange::Promote(MemberId(3))));
        changes.extend(membership.apply(&MemberChange::Remove(MemberId(2))));
        changes.extend(membership.apply(&MemberChange::UpdatePeerUrls {
            id: MemberId(1),
            urls: vec!["http://y:1".into(), "http://x:1".into()],
        }));
        for Change { key, value, .. } in changes {
            rows.insert(key, value.expect("membership never deletes a row"));
        }
        let read = Membership::load(rows.iter().map(|(key, value)| (&key[..], &value[..])));
        assert_eq!(read, Ok(membership.clone()));
        assert_eq!(membership.voters(), [MemberId(1), MemberId(3)]);
        assert!(membership.removed(MemberId(2)));
        let first = membership.get(MemberId(1)).expect("is a member");
        assert_eq!(first.peer_urls, ["http://x:1", "http://y:1"]);
        assert!(
            membership.publish(MemberId(1), "one".into(), vec!["http://a:2".into()]).is_empty()
        );
        assert!(membership.publish(MemberId(2), "two".into(), Vec::new()).is_empty());
    }

    #[test]
    fn changes_read_back_and_garbage_is_refused() {
        for change in [
            MemberChange::Add(member(4, "http://d:1", true)),
            MemberChange::Remove(MemberId(u64::MAX)),
            MemberChange::UpdatePeerUrls { id: MemberId(1), urls: vec!["http://d:1".into()] },
            MemberChange::Promote(MemberId(3)),
        ] {
            let bytes = change.encode();
            assert_eq!(MemberChange::decode(&bytes), Ok(change));
            assert!(MemberChange::decode(&bytes[..bytes.len() - 1]).is_err());
            let longer = [&bytes[..], &[0]].concat();
            assert_eq!(MemberChange::decode(&longer), Err(RecordError::Damaged));
        }
        assert_eq!(MemberChange::decode(&[]), Err(RecordError::Damaged));
        assert_eq!(MemberChange::decode(&[9, 1]), Err(RecordError::Version(9)));
        let huge = vec![1; MAX_RECORD_BYTES + 1];
        assert_eq!(MemberChange::decode(&huge), Err(RecordError::TooLong(MAX_RECORD_BYTES + 1)));
    }

    /// Yesterday's bytes still read: these were written by the first version.
    #[test]
    fn a_change_has_these_bytes() {
        let change = MemberChange::Add(Member {
            id: MemberId(300),
            name: "m".into(),
            peer_urls: vec!["http://d:1".into()],
            client_urls: Vec::new(),
            learner: true,
        });
        let bytes = b"\x01\x00\xac\x02\x01m\x01\x0ahttp://d:1\x00\x01";
        assert_eq!(change.encode(), bytes);
        assert_eq!(MemberChange::decode(bytes), Ok(change));
    }
}
