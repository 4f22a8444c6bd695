//! A rule: one promise as a proof judges it, with how often it was looked at.

use lab_protocol::{CheckResult, Judgement};

/// Violations that are told in words; all are counted.
const SHOWN: usize = 3;

/// One promise, and what came of it.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    check: &'static str,
    guards: &'static str,
    /// What is counted, in the plural.
    unit: &'static str,
    /// With fewer nothing is proved.
    least: u64,
    judged: u64,
    broken: u64,
    shown: Vec<String>,
    /// Why it cannot be told, if something is missing.
    untold: Option<String>,
    /// Figures that belong to it.
    notes: Vec<String>,
}

impl Rule {
    /// A rule that nothing was judged by yet.
    pub(super) fn new(
        check: &'static str,
        guards: &'static str,
        unit: &'static str,
        least: u64,
    ) -> Self {
        let (shown, notes) = (Vec::new(), Vec::new());
        Self { check, guards, unit, least, judged: 0, broken: 0, shown, untold: None, notes }
    }

    /// Counts one thing that was looked at; `why` names what shows that the promise was broken.
    pub(super) fn judge(&mut self, holds: bool, why: impl FnOnce() -> String) {
        self.judged += 1;
        if !holds {
            self.broken += 1;
            if self.shown.len() < SHOWN {
                self.shown.push(why());
            }
        }
    }

    /// Counts one thing that was looked at, by what is wrong with it.
    pub(super) fn find(&mut self, wrong: Option<String>) {
        let holds = wrong.is_none();
        self.judge(holds, || wrong.unwrap_or_default());
    }

    /// Something is missing, so that silence of this rule proves nothing.
    pub(super) fn cannot_tell(&mut self, why: String) {
        self.untold.get_or_insert(why);
    }

    /// Adds a figure to what it says.
    pub(super) fn note(&mut self, figure: String) {
        self.notes.push(figure);
    }

    /// Whether a violation was found.
    #[cfg(test)]
    pub(super) fn is_broken(&self) -> bool {
        self.broken > 0
    }

    /// Its name.
    #[cfg(test)]
    pub(super) fn name(&self) -> &'static str {
        self.check
    }

    /// What it says.
    pub(super) fn result(&self) -> CheckResult {
        let Self { check, guards, unit, least, judged, broken, shown, untold, notes } = self;
        let figures: String = notes.iter().map(|note| format!("; {note}")).collect();
        let (judgement, because) = if *broken > 0 {
            let because = format!("{broken} of {judged} {unit}: {}{figures}", shown.join("; "));
            (Judgement::Invalid, because)
        } else if let Some(why) = untold {
            (Judgement::Unknown, format!("{judged} {unit}, but {why}{figures}"))
        } else if judged < least {
            let because = format!("only {judged} {unit} of the {least} wanted{figures}");
            (Judgement::Unknown, because)
        } else {
            (Judgement::Valid, format!("{judged} {unit}{figures}"))
        };
        let (check, guards) = ((*check).to_owned(), (*guards).to_owned());
        CheckResult { check, guards, judgement, because, evidence: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_says_how_much_it_judged_and_names_what_broke_it() {
        let mut rule = Rule::new("order", "events come in order", "events", 2);
        assert_eq!(rule.result().judgement, Judgement::Unknown);
        rule.judge(true, String::new);
        assert_eq!(rule.result().because, "only 1 events of the 2 wanted");
        rule.judge(true, String::new);
        rule.note("lag 3 ms".into());
        assert_eq!(rule.result().judgement, Judgement::Valid);
        assert_eq!(rule.result().because, "2 events; lag 3 ms");
        rule.cannot_tell("the end is missing".into());
        assert_eq!(rule.result().judgement, Judgement::Unknown);
        rule.find(Some("revision 7 after 8".into()));
        assert_eq!(rule.result().judgement, Judgement::Invalid);
        assert_eq!(rule.result().because, "1 of 3 events: revision 7 after 8; lag 3 ms");
    }
}
