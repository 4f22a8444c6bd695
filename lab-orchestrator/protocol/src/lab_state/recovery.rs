//! The clusters of a run, one after the other: who was in each, what each acknowledged, and which
//! files hold how much of it.
//!
//! ```text
//!  first cluster   1 ─── 2 ─── … ─── 1204 ─── … ─── 1250      acknowledged, as runs of revisions
//!                                     │ snapshot saved   └─ lost: acknowledged, not in the file
//!  restored        1 ─── 2 ─── … ─── 1204 ─── 1205 …
//! ```
//!
//! A restore begins another cluster, whose revisions go on from the snapshot's: the same number
//! means another write there. So everything is kept by cluster. Counts are exact as far as the
//! runs reach; of the writes themselves only the newest are kept.
//!
//! Left out: writes that a tool of the terminal made. They are no operations of the lab's clients.

use node_protocol::{ClusterId, MemberId};
use serde::{Deserialize, Serialize};

use super::{tape::BUCKET_MICROS, terminal::Terminal};
use crate::{Call, Event, MemberNo, OpId, Outcome, Process, TxnResult};

/// Clusters kept; the oldest are dropped.
const CLUSTERS: usize = 6;

/// Acknowledged writes of a cluster kept one by one: the newest.
const NEWEST: usize = 48;

/// Runs of revisions kept of a cluster. A run ends where a write was not acknowledged to a client.
const RUNS: usize = 2_048;

/// Tenths of a second whose newest revision is kept: as many as the tape shows.
const PACES: usize = 3_000;

/// Saved files whose origin is kept.
const SAVED: usize = 64;

/// Operations followed until they return.
const OPEN: usize = 16_384;

/// The clusters of a run, and the snapshots that were saved.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recovery {
    clusters: Vec<ClusterBook>,
    saved: Vec<Saved>,
    /// Which cluster each member is in now.
    seats: Vec<(MemberNo, ClusterId)>,
    /// Ascending by operation.
    open: Vec<Open>,
}

/// What is known of one cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterBook {
    /// Which.
    pub cluster: ClusterId,
    /// Its members, as they told who they are, ascending.
    pub members: Vec<Seat>,
    /// What it was restored from; none if it was not.
    pub restored: Option<Origin>,
    /// Acknowledged revisions: first and last of each run, ascending.
    runs: Vec<(i64, i64)>,
    /// Below it runs were dropped.
    known_from: i64,
    /// The newest acknowledged writes, ascending by revision.
    newest: Vec<Acknowledged>,
    /// The newest revision acknowledged in each tenth of a second, ascending.
    paces: Vec<(u64, i64)>,
}

/// What a restored cluster began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The cluster that was there before.
    pub earlier: ClusterId,
    /// The snapshot's newest revision.
    pub revision: i64,
    /// When the first member of it told so.
    pub at_micros: u64,
}

/// A member of one cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// Its number in the lab.
    pub no: MemberNo,
    /// Its identity in that cluster.
    pub id: MemberId,
    /// The newest revision that it told.
    pub revision: i64,
    /// Its disk was deleted, and it has not begun anew.
    pub wiped: bool,
}

/// A write that a client was told has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// The revision it made.
    pub revision: i64,
    /// The key; empty for a transaction, which may write several.
    pub key: String,
    /// When the client was told.
    pub at_micros: u64,
}

/// A file that `snapshot save` or `cp` made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Its path on the desk, as typed.
    pub name: String,
    /// Which member it was saved from; none if that cannot be told from the line.
    pub member: Option<MemberNo>,
    /// When it was there.
    pub at_micros: u64,
    /// A copy of another file or of a member's own database.
    pub copied: bool,
}

/// Acknowledged writes that a restored cluster has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// How many.
    pub count: u64,
    /// There may be more: too much happened since.
    pub at_least: bool,
    /// The newest of them, ascending.
    pub newest: Vec<Acknowledged>,
    /// From the first to the last of them, as far as the tape reaches.
    pub span_micros: Option<(u64, u64)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Open {
    op: OpId,
    key: String,
    /// What was not there leaves no revision.
    deletes: bool,
    cluster: Option<ClusterId>,
}

impl Recovery {
    /// The clusters that were seen, the oldest first.
    pub fn clusters(&self) -> impl DoubleEndedIterator<Item = &ClusterBook> {
        self.clusters.iter()
    }

    /// One of them.
    pub fn cluster(&self, cluster: ClusterId) -> Option<&ClusterBook> {
        self.clusters.iter().find(|book| book.cluster == cluster)
    }

    /// The newest cluster that was restored, if one was.
    pub fn restored(&self) -> Option<(&ClusterBook, Origin)> {
        self.clusters.iter().rev().find_map(|book| Some((book, book.restored?)))
    }

    /// Where a file came from.
    pub fn origin(&self, name: &str) -> Option<&Saved> {
        self.saved.iter().rev().find(|saved| saved.name == name)
    }

    /// The files that were saved or copied, in the order of time.
    pub fn saved(&self) -> impl DoubleEndedIterator<Item = &Saved> {
        self.saved.iter()
    }

    /// What a cluster acknowledged above a revision.
    pub fn above(&self, cluster: ClusterId, revision: i64) -> Loss {
        self.cluster(cluster).map_or(
            Loss { count: 0, at_least: false, newest: Vec::new(), span_micros: None },
            |book| book.above(revision),
        )
    }

    /// Folds an event in; `terminal` knows the lines.
    pub(super) fn observe(&mut self, at_micros: u64, event: &Event, terminal: &Terminal) {
        match event {
            Event::Identified { member, id, cluster }
            | Event::MemberAdded { plan: crate::MemberPlan { member, .. }, id, cluster, .. } => {
                self.seats.retain(|(no, _)| no != member);
                self.seats.push((*member, *cluster));
                self.book(*cluster).seat(*member, *id);
            }
            Event::Restored { cluster, revision, .. } => {
                self.begins(*cluster, *revision, at_micros)
            }
            Event::Status { member, status } => {
                if let Some(seat) = self.seat(*member) {
                    seat.revision = status.revision.0;
                }
            }
            Event::Process { member, process: Process::Down { wiped: true, .. } } => {
                if let Some(seat) = self.seat(*member) {
                    seat.wiped = true;
                }
            }
            Event::Invoked { op, call, .. } if call.is_write() && self.open.len() < OPEN => {
                let key = call.key().unwrap_or_default().to_owned();
                // Leases and compactions make no revision.
                if matches!(call, Call::Put { .. } | Call::Delete { .. } | Call::Txn { .. }) {
                    let deletes = matches!(call, Call::Delete { .. });
                    let place = self.open.partition_point(|open| open.op < *op);
                    self.open.insert(place, Open { op: *op, key, deletes, cluster: None });
                }
            }
            Event::AnsweredBy { op, cluster } => {
                if let Ok(place) = self.open.binary_search_by_key(op, |open| open.op) {
                    self.open[place].cluster = Some(*cluster);
                }
            }
            Event::Returned { op, outcome } => {
                let Ok(place) = self.open.binary_search_by_key(op, |open| open.op) else { return };
                let Open { key, deletes, cluster, op: _ } = self.open.remove(place);
                let first = self.clusters.first().map(|book| book.cluster);
                let (Some(revision), Some(cluster)) = (made(outcome, deletes), cluster.or(first))
                else {
                    return;
                };
                self.book(cluster).acknowledge(Acknowledged { revision, key, at_micros });
            }
            Event::Said(said) if said.code == 0 => {
                let line = terminal.lines().rev().find(|line| line.id == said.id);
                if let Some(saved) = line.and_then(|line| saved(&line.line, at_micros)) {
                    self.saved.retain(|known| known.name != saved.name);
                    if self.saved.len() == SAVED {
                        self.saved.remove(0);
                    }
                    self.saved.push(saved);
                }
            }
            _ => {}
        }
    }

    fn book(&mut self, cluster: ClusterId) -> &mut ClusterBook {
        let place = self.clusters.iter().position(|book| book.cluster == cluster);
        let place = place.unwrap_or_else(|| {
            if self.clusters.len() == CLUSTERS {
                // The first one stays: whoever answers without a name is it.
                self.clusters.remove(1);
            }
            self.clusters.push(ClusterBook {
                cluster,
                members: Vec::new(),
                restored: None,
                runs: Vec::new(),
                known_from: 0,
                newest: Vec::new(),
                paces: Vec::new(),
            });
            self.clusters.len() - 1
        });
        &mut self.clusters[place]
    }

    /// A member's seat in the cluster that it is in now.
    fn seat(&mut self, member: MemberNo) -> Option<&mut Seat> {
        let (_, cluster) = *self.seats.iter().find(|(no, _)| *no == member)?;
        let book = self.clusters.iter_mut().find(|book| book.cluster == cluster)?;
        book.members.iter_mut().find(|seat| seat.no == member)
    }

    /// A cluster tells that it was restored.
    fn begins(&mut self, cluster: ClusterId, revision: i64, at_micros: u64) {
        let others = self.clusters.iter().filter(|book| book.cluster != cluster);
        // The one that was written to last, else the one that was seen last.
        let last = others.enumerate().max_by_key(|(place, book)| {
            (book.newest.last().map_or(0, |write| write.at_micros), *place)
        });
        let Some(earlier) = last.map(|(_, book)| book.cluster) else { return };
        let origin = Origin { earlier, revision, at_micros };
        self.book(cluster).restored.get_or_insert(origin);
    }
}

impl ClusterBook {
    /// The newest revision that was acknowledged; 0 if none was.
    pub fn newest_revision(&self) -> i64 {
        self.runs.last().map_or(0, |(_, last)| *last)
    }

    /// A member told who it is; another identity is another member.
    fn seat(&mut self, no: MemberNo, id: MemberId) {
        let place = self.members.partition_point(|seat| seat.no < no);
        match self.members.get_mut(place) {
            Some(seat) if seat.no == no && seat.id == id => seat.wiped = false,
            Some(seat) if seat.no == no => *seat = Seat { no, id, revision: 0, wiped: false },
            Some(_) | None => {
                self.members.insert(place, Seat { no, id, revision: 0, wiped: false });
            }
        }
    }

    fn acknowledge(&mut self, write: Acknowledged) {
        let Acknowledged { revision, at_micros, .. } = write;
        self.run(revision);
        let place = self.newest.partition_point(|known| known.revision <= revision);
        self.newest.insert(place, write);
        if self.newest.len() > NEWEST {
            self.newest.remove(0);
        }
        let bucket = at_micros / BUCKET_MICROS;
        match self.paces.last_mut() {
            Some((last, newest)) if *last == bucket => *newest = (*newest).max(revision),
            _ => self.paces.push((bucket, revision)),
        }
        if self.paces.len() > PACES {
            self.paces.remove(0);
        }
    }

    /// Puts a revision into the runs.
    fn run(&mut self, revision: i64) {
        // The first run that ends no earlier than just before it.
        let place = self.runs.partition_point(|(_, last)| last + 1 < revision);
        match self.runs.get_mut(place) {
            Some((first, last)) if *first <= revision && revision <= *last => return,
            Some((_, last)) if *last + 1 == revision => {
                *last = revision;
                let next = self.runs.get(place + 1).copied();
                if let Some((_, end)) = next.filter(|(first, _)| *first == revision + 1) {
                    self.runs[place].1 = end;
                    self.runs.remove(place + 1);
                }
            }
            Some((first, _)) if *first == revision + 1 => *first = revision,
            Some(_) | None => self.runs.insert(place, (revision, revision)),
        }
        if self.runs.len() > RUNS {
            let (_, last) = self.runs.remove(0);
            self.known_from = last + 1;
        }
    }

    fn above(&self, revision: i64) -> Loss {
        let part = |&(first, last): &(i64, i64)| (last - first.max(revision + 1) + 1).max(0);
        let count: i64 = self.runs.iter().map(part).sum();
        let newest: Vec<_> =
            self.newest.iter().filter(|write| write.revision > revision).cloned().collect();
        let mut lost = self.paces.iter().filter(|(_, newest)| *newest > revision);
        let span_micros = lost.next().map(|(first, _)| {
            let last = lost.next_back().map_or(*first, |(last, _)| *last);
            (first * BUCKET_MICROS, (last + 1) * BUCKET_MICROS)
        });
        Loss {
            count: u64::try_from(count).unwrap_or(0),
            at_least: revision + 1 < self.known_from,
            newest,
            span_micros,
        }
    }
}

/// The revision that a write made, if it is known to have made one.
fn made(outcome: &Outcome, deletes: bool) -> Option<i64> {
    match outcome {
        // A delete tells how many keys were there.
        Outcome::Ok(answer) if !deletes || answer.number > 0 => Some(answer.revision),
        Outcome::Txn(answer) => {
            let wrote = |result: &TxnResult| match result {
                TxnResult::Put => true,
                TxnResult::Deleted(count) => *count > 0,
                TxnResult::Range(_) => false,
            };
            answer.results.iter().any(wrote).then_some(answer.revision)
        }
        Outcome::Ok(_) | Outcome::Fail { .. } | Outcome::Info { .. } => None,
    }
}

/// What a line left on the desk, if it was one that saves or copies.
fn saved(line: &str, at_micros: u64) -> Option<Saved> {
    let words: Vec<_> = line.split_whitespace().filter(|word| *word != "$").collect();
    if words.first() == Some(&"cp") {
        let [.., from, to] = words.as_slice() else { return None };
        let member = from.strip_suffix("/member/snap/db").and_then(number);
        return Some(Saved { name: (*to).to_owned(), member, at_micros, copied: true });
    }
    let save = words.windows(2).position(|pair| pair == ["snapshot", "save"])?;
    let name = words[save + 2..].iter().find(|word| !word.starts_with('-'))?;
    let endpoint = words.iter().find_map(|word| word.strip_prefix("--endpoints="));
    let flag = words.iter().position(|word| *word == "--endpoints");
    let endpoint = endpoint.or_else(|| flag.and_then(|place| words.get(place + 1).copied()));
    let endpoint = endpoint.and_then(|word| word.trim_start_matches("http://").strip_prefix('$'));
    let member = endpoint.and_then(|name| number(&name.to_ascii_lowercase()));
    Some(Saved { name: (*name).to_owned(), member, at_micros, copied: false })
}

/// The member whose name this begins with: `m1`, `m1_client`, `m1.etcd`, `m1-restored.etcd`.
fn number(name: &str) -> Option<MemberNo> {
    let name = name.trim_start_matches(['{', '.', '/']);
    name.get(..2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Answer, By, ClientNo, Command, CommandId, LabState, Numbered, Said};

    const OLD: ClusterId = ClusterId(1);
    const NEW: ClusterId = ClusterId(2);

    fn tell(state: &mut LabState, at_micros: u64, event: Event) {
        let numbered = Numbered { seq: state.seq + 1, at_micros, event };
        state.apply(&numbered, true);
    }

    fn write(state: &mut LabState, op: u64, revision: i64, cluster: Option<ClusterId>) {
        let (op, at) = (OpId(op), op * 1_000);
        let call = Call::Put { key: format!("k{revision}"), value: "v".into() };
        let (client, member) = (ClientNo(1), MemberNo(1));
        tell(state, at, Event::Invoked { op, client, member, call });
        if let Some(cluster) = cluster {
            tell(state, at, Event::AnsweredBy { op, cluster });
        }
        let answer = Answer { revision, term: 2, value: None, number: 0 };
        tell(state, at, Event::Returned { op, outcome: Outcome::Ok(answer) });
    }

    fn identified(state: &mut LabState, cluster: ClusterId) {
        for no in 1..=3 {
            let id = MemberId(cluster.0 * 10 + u64::from(no));
            tell(state, 0, Event::Identified { member: MemberNo(no), id, cluster });
        }
    }

    #[test]
    fn what_was_acknowledged_above_the_snapshot_is_lost_and_counted() {
        let mut state = LabState::default();
        identified(&mut state, OLD);
        for (op, revision) in (1..).zip([2, 3, 5, 4, 7, 8]) {
            write(&mut state, op, revision, None);
        }
        let loss = state.recovery.above(OLD, 4);
        assert_eq!((loss.count, loss.at_least), (3, false), "5, 7 and 8; 6 was never acknowledged");
        let keys: Vec<_> = loss.newest.iter().map(|write| write.key.as_str()).collect();
        assert_eq!(keys, ["k5", "k7", "k8"]);
        assert_eq!(state.recovery.above(OLD, 8).count, 0);

        let at = 50_000;
        tell(
            &mut state,
            at,
            Event::Restored { member: MemberNo(1), cluster: NEW, revision: 4, began_at: 4 },
        );
        identified(&mut state, NEW);
        write(&mut state, 100, 5, Some(NEW));
        let (book, origin) = state.recovery.restored().expect("restored");
        assert_eq!((book.cluster, book.members.len()), (NEW, 3));
        assert_eq!(origin, Origin { earlier: OLD, revision: 4, at_micros: at });
        assert_eq!(state.recovery.above(OLD, 4).count, 3, "the new cluster's 5 is another write");
        assert_eq!(book.newest_revision(), 5);
        assert_eq!(state.recovery.cluster(OLD).map(|book| book.members[1].id.0), Some(12));
    }

    #[test]
    fn much_is_counted_and_little_is_kept() {
        let mut state = LabState::default();
        identified(&mut state, OLD);
        for revision in 2..10_002 {
            write(&mut state, u64::try_from(revision).expect("positive"), revision, None);
        }
        let loss = state.recovery.above(OLD, 1_001);
        assert_eq!((loss.count, loss.at_least, loss.newest.len()), (9_000, false, NEWEST));
        for place in 0..i64::try_from(RUNS).expect("small") + 10 {
            write(&mut state, 20_000, 20_000 + 2 * place, None);
        }
        assert!(state.recovery.above(OLD, 1_001).at_least);
        assert!(!state.recovery.above(OLD, 20_100).at_least);
    }

    #[test]
    fn lines_tell_where_a_file_came_from() {
        for (line, name, member, copied) in [
            ("raft-ctl --endpoints $M2 snapshot save a.db", "a.db", Some(2), false),
            ("$ etcdctl --endpoints=http://$M3 snapshot save b.db", "b.db", Some(3), false),
            ("etcdctl --endpoints 127.0.0.1:1 snapshot save c.db", "c.db", None, false),
            ("cp m1.etcd/member/snap/db d.db", "d.db", Some(1), true),
        ] {
            let found = saved(line, 1).expect(line);
            let expected =
                Saved { name: name.into(), member: member.map(MemberNo), at_micros: 1, copied };
            assert_eq!(found, expected, "{line}");
        }
        assert_eq!(saved("raft-ctl get a", 1), None);

        let mut state = LabState::default();
        let id = CommandId(1);
        let line = "raft-ctl --endpoints $M2 snapshot save a.db".to_owned();
        tell(&mut state, 1, Event::Asked { id, by: By::Page, command: Command::Type { line } });
        let said = Said { id, out: String::new(), errors: String::new(), code: 0 };
        tell(&mut state, 9, Event::Said(Box::new(said)));
        assert_eq!(state.recovery.origin("a.db").map(|saved| saved.at_micros), Some(9));
    }
}
