//! The drill that a person plays: the fold of its events.

use serde::{Deserialize, Serialize};

use crate::{Command, CommandId, DrillBrief, DrillEvent, Event, Goal, Score, Verdict};

/// A drill that is played, or was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillState {
    /// What the person was told.
    pub brief: DrillBrief,
    /// When it became their turn; before that, things happen to the cluster.
    pub opened_at_micros: Option<u64>,
    /// The hints that they were given.
    pub hints: Vec<String>,
    /// How what counts stands.
    pub goals: Vec<Goal>,
    /// They say that they are done, and it is not granted yet.
    pub asked_to_finish: Option<CommandId>,
    /// When they were done.
    pub finished_at_micros: Option<u64>,
    /// What was found.
    pub verdict: Option<Verdict>,
    /// What it was worth.
    pub score: Option<Score>,
}

impl DrillState {
    /// Whether it is the person's turn.
    pub fn is_open(&self) -> bool {
        self.opened_at_micros.is_some() && self.finished_at_micros.is_none()
    }

    /// Folds an event into the drill that is played, if one is.
    pub(super) fn observe(drill: &mut Option<Self>, at_micros: u64, event: &Event) {
        if let Event::Drill(DrillEvent::Told(brief)) = event {
            *drill = Some(Self {
                brief: brief.as_ref().clone(),
                opened_at_micros: None,
                hints: Vec::new(),
                goals: Vec::new(),
                asked_to_finish: None,
                finished_at_micros: None,
                verdict: None,
                score: None,
            });
        }
        let Some(drill) = drill else { return };
        match event {
            Event::Drill(DrillEvent::Opened) => drill.opened_at_micros = Some(at_micros),
            Event::Drill(DrillEvent::Hinted { text, .. }) => drill.hints.push(text.clone()),
            Event::Drill(DrillEvent::Goals(goals)) => drill.goals.clone_from(goals),
            Event::Asked { id, command: Command::FinishDrill, .. } => {
                drill.asked_to_finish = Some(*id);
            }
            Event::Done { id } if drill.asked_to_finish == Some(*id) => {
                drill.finished_at_micros.get_or_insert(at_micros);
            }
            Event::Judged(verdict) => {
                drill.finished_at_micros.get_or_insert(at_micros);
                drill.verdict = Some(verdict.as_ref().clone());
            }
            Event::Scored(score) => drill.score = Some(score.as_ref().clone()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::By;
    use crate::scenario::Fog;

    #[test]
    fn a_drill_opens_is_helped_and_ends() {
        let mut drill = None;
        let mut tell = |at, event: Event| {
            DrillState::observe(&mut drill, at, &event);
            drill.clone()
        };
        assert_eq!(tell(1, Event::Drill(DrillEvent::Opened)), None, "nothing is played");
        let brief = DrillBrief {
            id: "DR-02".into(),
            title: "t".into(),
            brief: "b".into(),
            fog: Fog::Operator,
            millis: 900_000,
            hints: 2,
            hint_points: 5,
        };
        let told = tell(2, Event::Drill(DrillEvent::Told(Box::new(brief)))).expect("played");
        assert!(!told.is_open());
        assert!(tell(3, Event::Drill(DrillEvent::Opened)).expect("played").is_open());
        let hint = DrillEvent::Hinted { number: 1, text: "h".into() };
        assert_eq!(tell(4, Event::Drill(hint)).expect("played").hints, ["h"]);
        let done = Command::FinishDrill;
        let asked = Event::Asked { id: CommandId(1), by: By::Page, command: done };
        assert!(tell(5, asked).expect("played").is_open(), "it may still be refused");
        let finished = tell(5, Event::Done { id: CommandId(1) }).expect("played");
        assert!(!finished.is_open());
        assert_eq!(finished.finished_at_micros, Some(5));
        let verdict = Event::Judged(Box::new(Verdict::of("s", vec![])));
        assert!(tell(6, verdict).expect("played").verdict.is_some());
    }
}
