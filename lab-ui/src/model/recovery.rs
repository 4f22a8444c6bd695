//! The recovery as the stage shows it: the cluster that was, the files, the cluster that is new,
//! and what lies between.

use lab_protocol::{
    Integrity, LabState, MemberNo, Process, SnapshotFile,
    recovery::{ClusterBook, Loss, Origin},
};
use node_protocol::Role;

use super::{typing, wording};

/// Lost writes that are listed.
const LISTED: usize = 7;

/// What the three cards show, and what stands under them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecoverySummary {
    /// The cluster that was there first, or that the snapshots are of.
    pub old: Option<ClusterCard>,
    /// The one that was restored.
    pub new: Option<ClusterCard>,
    /// The files, the one that matters most first.
    pub files: Vec<FileCard>,
    /// Only the files are told.
    pub fogged: bool,
}

/// A cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterCard {
    /// Its identity.
    pub id: u64,
    /// Its members, ascending.
    pub members: Vec<SeatCard>,
}

/// A member of a cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct SeatCard {
    /// Its number in the lab.
    pub no: MemberNo,
    /// Its identity, once it told.
    pub id: Option<u64>,
    /// What became of it.
    pub what: String,
    /// The line under it.
    pub detail: String,
    /// How it is drawn.
    pub look: SeatLook,
    /// Its term, for the hue.
    pub term: u64,
}

/// How a member is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeatLook {
    /// Its process runs, in this cluster.
    Runs,
    /// Its process does not run.
    Gone,
    /// Nothing is left of it.
    Destroyed,
}

/// A file.
#[derive(Clone, Debug, PartialEq)]
pub struct FileCard {
    /// Its name on the desk.
    pub name: String,
    /// The hash of its content.
    pub hash: String,
    /// What its integrity hash says, and the class of the colour.
    pub integrity: (String, &'static str),
    /// The rows under it: what, and the fact.
    pub rows: Vec<(&'static str, String)>,
    /// The lines that restore it, or why that cannot be done now.
    pub restore: Result<Vec<String>, String>,
    /// What was acknowledged and is not in it.
    pub lost: LostCard,
}

/// Acknowledged writes that a file has not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LostCard {
    /// The heading.
    pub title: String,
    /// Whether there are any.
    pub any: bool,
    /// Revision, key, and when it was acknowledged.
    pub rows: Vec<(String, String, String)>,
    /// How many are not listed.
    pub more: u64,
    /// Who still holds them; the words before and after the full stop.
    pub holder: Option<(String, String)>,
}

impl RecoverySummary {
    /// What the stage shows now; nothing without a file and without a restored cluster.
    pub fn of(state: &LabState) -> Self {
        let recovery = &state.recovery;
        let restored = recovery.restored();
        if state.snapshots.is_empty() && restored.is_none() {
            return Self::default();
        }
        let old = match restored {
            Some((_, origin)) => recovery.cluster(origin.earlier),
            None => recovery.clusters().next_back(),
        };
        let origin = restored.map(|(_, origin)| origin);
        let rank = |file: &SnapshotFile| {
            let used = origin.is_some_and(|origin| origin.revision == file.revision);
            let saved = recovery.origin(&file.name);
            (used, saved.map_or(0, |saved| saved.at_micros))
        };
        let mut files = Vec::new();
        for file in &state.snapshots {
            let shown = card(state, file, old, origin);
            match files.first() {
                Some((most, _)) if *most >= rank(file) => files.push((rank(file), shown)),
                _ => files.insert(0, (rank(file), shown)),
            }
        }
        Self {
            old: old.map(|book| cluster(state, book, false)),
            new: restored.map(|(book, _)| cluster(state, book, true)),
            files: files.into_iter().map(|(_, shown)| shown).collect(),
            fogged: false,
        }
    }

    /// Whether there is anything to show.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.new.is_none()
    }
}

fn cluster(state: &LabState, book: &ClusterBook, new: bool) -> ClusterCard {
    let mut members: Vec<_> = book
        .members
        .iter()
        .map(|seat| {
            let no = seat.no;
            let id = Some(seat.id.0);
            let holds = format!("revision {}", grouped(seat.revision));
            let known = state.members.get(&no);
            let own = known.filter(|known| known.id == Some((seat.id, book.cluster)));
            let role = own.and_then(|known| Some((known.status.as_ref()?, &known.process)));
            let term = own.and_then(|known| Some(known.status.as_ref()?.term.0)).unwrap_or(0);
            let (what, detail, look) = match (own.map(|known| &known.process), role) {
                _ if seat.wiped => {
                    ("disk destroyed", "process gone".to_owned(), SeatLook::Destroyed)
                }
                (Some(Process::Up { .. }), Some((status, _))) => {
                    let what = match (status.role, status.leader, new) {
                        (Role::Leader, ..) => "leads",
                        (_, None, _) => "no leader",
                        (_, Some(_), true) => "restored",
                        (_, Some(_), false) => "follows",
                    };
                    (what, holds, SeatLook::Runs)
                }
                (Some(Process::Up { .. }), None) => ("starts", holds, SeatLook::Runs),
                (Some(Process::Paused { .. }), _) => ("paused", holds, SeatLook::Runs),
                (Some(Process::Down { .. } | Process::Planned), _) => {
                    ("process gone", holds, SeatLook::Gone)
                }
                (None, _) => ("process gone", holds, SeatLook::Gone),
            };
            SeatCard { no, id, what: what.to_owned(), detail, look, term }
        })
        .collect();
    if new {
        let told = |no: MemberNo| book.members.iter().any(|seat| seat.no == no);
        let missing = state.taking_part().filter(|(no, _)| !told(*no));
        members.extend(missing.map(|(no, _)| SeatCard {
            no,
            id: None,
            what: "not started".to_owned(),
            detail: "n/a".to_owned(),
            look: SeatLook::Gone,
            term: 0,
        }));
    }
    ClusterCard { id: book.cluster.0, members }
}

fn card(
    state: &LabState,
    file: &SnapshotFile,
    old: Option<&ClusterBook>,
    origin: Option<Origin>,
) -> FileCard {
    let (integrity, known) = match &file.integrity {
        Integrity::Verified => (("verified".to_owned(), "holds"), true),
        Integrity::NoHash => (("no hash".to_owned(), "unknown"), true),
        Integrity::Damaged(_) => (("damaged".to_owned(), "fault"), file.revision > 0),
    };
    let fact = |fact: String| if known { fact } else { "n/a".to_owned() };
    let saved = state.recovery.origin(&file.name);
    let taken = match saved {
        Some(saved) => match (saved.member, saved.copied) {
            (Some(no), false) => no.to_string(),
            (Some(no), true) => format!("{no}'s disk"),
            (None, false) => "n/a".to_owned(),
            (None, true) => "a copy".to_owned(),
        },
        None => "n/a".to_owned(),
    };
    let at = saved.map_or_else(|| "n/a".to_owned(), |saved| at(saved.at_micros));
    let rows = vec![
        ("Revision", fact(grouped(file.revision))),
        ("Keys", fact(grouped(i64::try_from(file.keys).unwrap_or(i64::MAX)))),
        ("Size", wording::bytes(file.bytes)),
        ("Taken from", taken),
        ("At", at),
    ];
    let restored = origin.is_some_and(|origin| origin.revision == file.revision);
    let lost = match (old, known) {
        (Some(old), true) => lost(state, old, file.revision, origin.is_some().then_some(restored)),
        _ => LostCard {
            title: "What is in this file cannot be told: it is damaged".to_owned(),
            ..LostCard::default()
        },
    };
    let restore = typing::restore(state, file);
    let hash = fact(format!("{:08x}", file.hash));
    FileCard { name: file.name.clone(), hash, integrity, rows, restore, lost }
}

/// What a cluster acknowledged above a revision; `used` says whether the restore was from there,
/// and is nothing when there was no restore.
fn lost(state: &LabState, old: &ClusterBook, revision: i64, used: Option<bool>) -> LostCard {
    let Loss { count, at_least, newest, .. } = state.recovery.above(old.cluster, revision);
    let number = match (count, at_least) {
        (1, false) => "1 write".to_owned(),
        (count, false) => format!("{} writes", grouped(i64::try_from(count).unwrap_or(i64::MAX))),
        (count, true) => format!("at least {count} writes"),
    };
    let title = match (used, count) {
        (Some(true), 0) => "Every acknowledged write was in the snapshot".to_owned(),
        (Some(true), _) => format!("Acknowledged after the snapshot, and gone with it: {number}"),
        (_, 0) => "Every acknowledged write is in this snapshot".to_owned(),
        (_, _) => format!("Acknowledged, and not in this snapshot: {number}"),
    };
    let rows: Vec<_> = newest
        .iter()
        .skip(newest.len().saturating_sub(LISTED))
        .map(|write| {
            let key = if write.key.is_empty() { "a transaction" } else { &write.key };
            (grouped(write.revision), key.to_owned(), format!("acked {}", at(write.at_micros)))
        })
        .collect();
    let more = count.saturating_sub(rows.len() as u64);
    let holder = if count > 0 && used.is_none() { holder(state, old, revision) } else { None };
    LostCard { title, any: count > 0, rows, more, holder }
}

/// The live member of a cluster that holds most above a revision, in words.
fn holder(state: &LabState, old: &ClusterBook, revision: i64) -> Option<(String, String)> {
    let live = |seat: &lab_protocol::recovery::Seat| {
        let member = state.members.get(&seat.no)?;
        let runs = matches!(member.process, Process::Up { .. });
        (runs && member.id == Some((seat.id, old.cluster))).then_some((seat.revision, seat.no))
    };
    let most = old.members.iter().filter_map(live).max_by_key(|(held, no)| (*held, 255 - no.0));
    let (held, no) = most.filter(|(held, _)| *held > revision)?;
    let short = state.recovery.above(old.cluster, held).count;
    Some(match short {
        0 => (
            format!("{no} still holds them."),
            " A snapshot taken from it now would lose none.".to_owned(),
        ),
        1 => (format!("{no} still holds all but one."), " Take a snapshot from it.".to_owned()),
        more => (
            format!("{no} holds revision {}.", grouped(held)),
            format!(" A snapshot taken from it now would lose {more}."),
        ),
    })
}

/// A number in groups of three digits.
fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{a0}');
        }
        text.push(digit);
    }
    text
}

/// A time of the run: `41.2 s`.
fn at(micros: u64) -> String {
    match micros / 1_000_000 {
        seconds @ 0..600 => format!("{seconds}.{} s", micros % 1_000_000 / 100_000),
        _ => wording::clock(micros),
    }
}

#[cfg(test)]
mod tests {
    use lab_protocol::{Answer, Call, ClientNo, Ended, Event, MemberPlan, Numbered, OpId, Outcome};
    use node_protocol::{ClusterId, MemberId, Revision, Status};

    use super::*;

    fn tell(state: &mut LabState, event: Event) {
        let at_micros = 41_200_000 + state.seq * 100_000;
        state.apply(&Numbered { seq: state.seq + 1, at_micros, event }, true);
    }

    fn begins(state: &mut LabState, no: u8, cluster: u64, revision: i64) {
        let (member, id) = (MemberNo(no), MemberId(cluster * 10 + u64::from(no)));
        tell(state, Event::Process { member, process: Process::Up { pid: 1 } });
        tell(state, Event::Identified { member, id, cluster: ClusterId(cluster) });
        let status =
            Status { revision: Revision(revision), leader: Some(id), ..Status::default_at(0) };
        tell(state, Event::Status { member, status: Box::new(status) });
    }

    fn ends(state: &mut LabState, no: u8, wiped: bool) {
        let ended = Ended::Signal { number: 9 };
        let process = Process::Down { ended, asked: true, wiped };
        tell(state, Event::Process { member: MemberNo(no), process });
    }

    /// Three members, a snapshot at revision 1 204, and two writes behind it.
    fn lab() -> LabState {
        let mut state = LabState::default();
        let plan = |no| MemberPlan {
            member: MemberNo(no),
            client_url: String::new(),
            peer_url: String::new(),
        };
        let start = Event::RunStarted {
            run: String::new(),
            seed: 0,
            version: String::new(),
            engine: String::new(),
            token: String::new(),
            wall_millis: 0,
            members: (1..=3).map(plan).collect(),
        };
        tell(&mut state, start);
        for no in 1..=3 {
            begins(&mut state, no, 1, 1_206);
        }
        for revision in 1_203..=1_206 {
            let op = OpId(u64::try_from(revision).expect("positive"));
            let call = Call::Put { key: format!("k{revision}"), value: String::new() };
            let member = MemberNo(1);
            tell(&mut state, Event::Invoked { op, client: ClientNo(1), member, call });
            let answer = Answer { revision, term: 2, value: None, number: 0 };
            tell(&mut state, Event::Returned { op, outcome: Outcome::Ok(answer) });
        }
        let file = SnapshotFile {
            name: "a.db".into(),
            bytes: 53_000,
            integrity: Integrity::Verified,
            hash: 0xe10a_1959,
            revision: 1_204,
            keys: 318,
        };
        tell(&mut state, Event::Snapshots(vec![file]));
        state
    }

    #[test]
    fn who_still_holds_what_the_snapshot_has_not_is_said_before_the_restore() {
        let mut state = lab();
        ends(&mut state, 1, false);
        ends(&mut state, 1, true);
        ends(&mut state, 2, false);
        let seen = RecoverySummary::of(&state);
        let old = seen.old.expect("there is a cluster");
        let what: Vec<_> = old.members.iter().map(|member| member.what.as_str()).collect();
        assert_eq!(what, ["disk destroyed", "process gone", "follows"]);
        let lost = &seen.files[0].lost;
        assert_eq!(lost.title, "Acknowledged, and not in this snapshot: 2 writes");
        assert_eq!(lost.rows[0].0, "1\u{a0}205");
        assert_eq!(lost.holder.as_ref().expect("m3 runs").0, "m3 still holds them.");
        let why = seen.files[0].restore.as_ref().expect_err("m3 runs");
        assert!(why.contains("m3"), "{why}");
    }

    #[test]
    fn after_a_restore_the_two_clusters_stand_side_by_side() {
        let mut state = lab();
        for no in 1..=3 {
            ends(&mut state, no, false);
        }
        ends(&mut state, 2, true);
        let (member, cluster) = (MemberNo(1), ClusterId(2));
        tell(&mut state, Event::Restored { member, cluster, revision: 1_204, began_at: 1_204 });
        begins(&mut state, 1, 2, 1_204);
        begins(&mut state, 2, 2, 1_204);
        let seen = RecoverySummary::of(&state);
        let words = |card: &ClusterCard| {
            let word = |member: &SeatCard| format!("{} {}", member.no, member.what);
            card.members.iter().map(word).collect::<Vec<_>>()
        };
        let (old, new) = (seen.old.expect("old"), seen.new.expect("new"));
        assert_eq!((old.id, new.id), (1, 2));
        assert_eq!(words(&old), ["m1 process gone", "m2 disk destroyed", "m3 process gone"]);
        assert_eq!(words(&new), ["m1 restored", "m2 restored", "m3 not started"]);
        let lost = &seen.files[0].lost;
        assert_eq!(lost.title, "Acknowledged after the snapshot, and gone with it: 2 writes");
        assert_eq!(lost.holder, None);
    }
}
