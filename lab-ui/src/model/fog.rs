//! Fog of war: what an operator cannot know without asking is left out before anything is drawn.
//!
//! An operator sees processes, the files on the desk, what the clients hear, and what was typed.
//! Roles, terms, logs, identities, links and the story are what the members say of themselves:
//! `etcdctl endpoint status` and its like tell them in the terminal.

use std::rc::Rc;

use lab_protocol::Standing;

use super::{
    quorum::Quorum,
    recovery::{FileCard, LostCard, RecoverySummary},
    summary::{MemberSummary, Summary},
};

/// What stands where the truth would.
pub const WORDS: &str = "You see what an operator sees: ask the members.";

/// The rows of a member's table that the supervisor tells, not the member.
const SEEN: &str = "Process";

impl Summary {
    /// The truth about the members is hidden.
    pub fn is_fogged(&self) -> bool {
        self.drill.as_ref().is_some_and(|drill| drill.fogged)
    }

    /// The same without what the fog covers, if there is one.
    pub(super) fn under_fog(self) -> Self {
        if !self.is_fogged() {
            return self;
        }
        Self {
            cluster: None,
            members: Rc::new(self.members.iter().map(member).collect()),
            leader: None,
            quorum: Quorum::default(),
            links: Rc::default(),
            active: Rc::default(),
            step: Rc::default(),
            story: Rc::default(),
            // Taken anew when the fog lifts.
            story_revision: u64::MAX,
            leaders_in_a_term: 0,
            ring_label: WORDS.to_owned(),
            tape_label: WORDS.to_owned(),
            newest_entry: String::new(),
            recovery: Rc::new(recovery(&self.recovery)),
            ..self
        }
    }
}

fn member(member: &MemberSummary) -> MemberSummary {
    let rows: Vec<_> = member.rows.iter().filter(|(name, _)| *name == SEEN).cloned().collect();
    let process = rows.first().map_or("", |(_, fact)| fact);
    MemberSummary {
        standing: Standing::Unknown,
        role: None,
        id: None,
        label: format!("{}: {process}", member.no),
        isolated: false,
        rows,
        ..*member
    }
}

/// The files alone: what they hold is told by `snapshot status`.
fn recovery(seen: &RecoverySummary) -> RecoverySummary {
    let files = seen.files.iter().cloned();
    RecoverySummary {
        old: None,
        new: None,
        files: files.map(|file| FileCard { lost: LostCard::default(), ..file }).collect(),
        fogged: true,
    }
}

#[cfg(test)]
mod tests {
    use lab_protocol::MemberNo;
    use node_protocol::Role;

    use super::*;
    use crate::model::{drill::DrillSummary, summary::Condition};

    fn summary(fogged: bool) -> Summary {
        let drill = DrillSummary {
            id: "DR-02".into(),
            title: "Two disks".into(),
            brief: "Bring it back.".into(),
            clock: ("15:00".into(), "left"),
            open: true,
            fogged,
            goals: Vec::new(),
            hints: Vec::new(),
            hints_left: (3, 5),
            end: None,
        };
        let member = MemberSummary {
            no: MemberNo(2),
            condition: Condition::Up,
            standing: Standing::Voter,
            role: Some((Role::Leader, 7)),
            id: Some(9),
            rows: vec![("Role", "leader".into()), ("Process", "up, 4012".into())],
            label: "m2: leader, term 7; up".into(),
            isolated: true,
        };
        Summary {
            known: true,
            cluster: Some(5),
            leader: Some((MemberNo(2), 7)),
            members: Rc::new(vec![member]),
            drill: Some(Rc::new(drill)),
            ..Summary::default()
        }
    }

    #[test]
    fn under_fog_only_the_process_is_left_of_a_member() {
        let seen = summary(true).under_fog();
        assert_eq!((seen.cluster, seen.leader), (None, None));
        let member = &seen.members[0];
        assert_eq!((member.role, member.id, member.isolated), (None, None, false));
        assert_eq!(member.standing, Standing::Unknown);
        assert_eq!(member.rows, [("Process", "up, 4012".to_owned())]);
        assert_eq!(member.label, "m2: up, 4012");
        assert_eq!(member.condition, Condition::Up);
    }

    #[test]
    fn without_fog_all_stays_as_it_is() {
        assert_eq!(summary(false).under_fog(), summary(false));
    }
}
