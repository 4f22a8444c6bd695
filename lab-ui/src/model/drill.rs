//! A drill that is played, as its card shows it.

use std::rc::Rc;

use lab_protocol::scenario::Fog;
use lab_protocol::{DrillState, Judgement, LabState};

/// The drill's card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrillSummary {
    /// Its name in the catalogue.
    pub id: String,
    /// What it is called.
    pub title: String,
    /// What there is to do.
    pub brief: String,
    /// What time is left, such as `13:27`, and what that means.
    pub clock: (String, &'static str),
    /// It is the person's turn.
    pub open: bool,
    /// The truth about the members is hidden.
    pub fogged: bool,
    /// What counts: in words, how it stands, and why.
    pub goals: Vec<GoalSummary>,
    /// The hints that were given.
    pub hints: Vec<String>,
    /// How many are left, and what one costs.
    pub hints_left: (u32, u32),
    /// What came of it: a heading, and what is said under it.
    pub end: Option<(String, Vec<String>)>,
}

/// One thing that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoalSummary {
    /// What it guards.
    pub what: String,
    /// `yes`, `no`, `not yet`.
    pub stands: (&'static str, &'static str),
    /// Why.
    pub because: String,
}

impl DrillSummary {
    /// The drill that is played, if one is.
    pub fn of(state: &LabState) -> Option<Rc<Self>> {
        let drill = state.drill.as_ref()?;
        let brief = &drill.brief;
        let given = u32::try_from(drill.hints.len()).unwrap_or(u32::MAX);
        let goals = match &drill.verdict {
            None => drill
                .goals
                .iter()
                .map(|goal| GoalSummary::of(&goal.guards, goal.judgement, &goal.because))
                .collect(),
            Some(verdict) => verdict
                .checks
                .iter()
                .map(|check| GoalSummary::of(&check.guards, check.judgement, &check.because))
                .collect(),
        };
        let end = drill.score.as_ref().map(|score| {
            let heading = match score.won {
                true => format!("Won, {} of 100 points", score.points),
                false => "Lost".to_owned(),
            };
            let harm = score.harm.iter().map(|(what, points)| format!("−{points}: {what}."));
            (heading, harm.chain(score.debrief.iter().cloned()).collect())
        });
        Some(Rc::new(Self {
            id: brief.id.clone(),
            title: brief.title.clone(),
            brief: brief.brief.clone(),
            clock: clock(drill, state.at_micros),
            open: drill.is_open(),
            fogged: brief.fog == Fog::Operator && drill.score.is_none(),
            goals,
            hints: drill.hints.clone(),
            hints_left: (brief.hints.saturating_sub(given), brief.hint_points),
            end,
        }))
    }
}

impl GoalSummary {
    fn of(what: &str, judgement: Judgement, because: &str) -> Self {
        let stands = match judgement {
            Judgement::Valid => ("yes", "holds"),
            Judgement::Unknown => ("not yet", "unknown"),
            Judgement::Invalid => ("no", "fault"),
        };
        Self { what: what.to_owned(), stands, because: because.to_owned() }
    }
}

/// What is left of the time.
fn clock(drill: &DrillState, now_micros: u64) -> (String, &'static str) {
    let whole = drill.brief.millis / 1_000;
    let shown = |seconds: u64| format!("{}:{:02}", seconds / 60, seconds % 60);
    match (drill.opened_at_micros, drill.finished_at_micros) {
        (None, _) => (shown(whole), "from your turn on; things are still happening"),
        (Some(opened), end) => {
            let until = end.unwrap_or(now_micros);
            let used = until.saturating_sub(opened) / 1_000_000;
            let words = if end.is_some() { "were left" } else { "left" };
            (shown(whole.saturating_sub(used)), words)
        }
    }
}

#[cfg(test)]
mod tests {
    use lab_protocol::{DrillBrief, DrillEvent, Event, Goal, Numbered, Score};

    use super::*;

    fn tell(state: &mut LabState, at_micros: u64, event: Event) {
        state.apply(&Numbered { seq: state.seq + 1, at_micros, event }, true);
    }

    #[test]
    fn a_drill_is_fogged_until_it_is_scored() {
        let mut state = LabState::default();
        assert_eq!(DrillSummary::of(&state), None);
        let brief = DrillBrief {
            id: "DR-02".into(),
            title: "Two disks".into(),
            brief: "Bring it back.".into(),
            fog: Fog::Operator,
            millis: 900_000,
            hints: 3,
            hint_points: 5,
        };
        tell(&mut state, 1, Event::Drill(DrillEvent::Told(Box::new(brief))));
        let told = DrillSummary::of(&state).expect("played");
        assert!(told.fogged && !told.open);
        assert_eq!(told.clock.0, "15:00");
        tell(&mut state, 2, Event::Drill(DrillEvent::Opened));
        let hint = DrillEvent::Hinted { number: 1, text: "Look.".into() };
        tell(&mut state, 3, Event::Drill(hint));
        let goal = Goal {
            check: "c".into(),
            guards: "all equal".into(),
            judgement: Judgement::Unknown,
            because: "b".into(),
        };
        tell(&mut state, 93_000_002, Event::Drill(DrillEvent::Goals(vec![goal])));
        let open = DrillSummary::of(&state).expect("played");
        assert!(open.open);
        assert_eq!(open.clock, ("13:27".into(), "left"));
        assert_eq!(open.hints_left, (2, 5));
        assert_eq!(open.goals[0].stands, ("not yet", "unknown"));
        let score = Score {
            won: true,
            points: 95,
            harm: vec![("1 hint".into(), 5)],
            debrief: vec!["Well.".into()],
        };
        tell(&mut state, 94_000_000, Event::Scored(Box::new(score)));
        let won = DrillSummary::of(&state).expect("played");
        assert!(!won.fogged);
        let expected = ("Won, 95 of 100 points".into(), vec!["−5: 1 hint.".into(), "Well.".into()]);
        assert_eq!(won.end, Some(expected));
    }
}
