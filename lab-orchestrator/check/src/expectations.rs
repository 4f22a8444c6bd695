//! What a scenario expects beside its named checks, judged as the run goes by.
//!
//! Each expectation looks at one stretch of the run, from the beginning of one step to that of
//! another. What it counts, it counts from the stretch's beginning. A stretch that never began, or
//! in which there was nothing to measure, proves nothing: unknown.

use lab_protocol::scenario::{
    ClusterWish, Condition, Expectation, Owed, Quantity, Scale, Scenario, Span, THE_END, When,
};
use lab_protocol::{Account, CheckResult, EngineKind, Event, Numbered};

use crate::history::Moment;
use crate::phrase::{holds, is_tolerable, measure};
use crate::tally::{Mark, Tally};
use crate::{Finding, seconds};

/// All expectations of a scenario.
#[derive(Clone, Debug)]
pub(crate) struct Expectations {
    tally: Tally,
    /// Whether what failed could be borne since, microseconds of the run.
    tolerable_since: Option<u64>,
    /// How long it could be borne in all, up to the last event.
    tolerable_micros: u64,
    all: Vec<Expected>,
}

/// One expectation and what was seen of it.
#[derive(Clone, Debug)]
struct Expected {
    name: String,
    say: String,
    when: When,
    condition: Condition,
    within: Option<u64>,
    lasts: Option<u64>,
    is_owed_always: bool,
    /// The first step of its stretch, and the first behind it.
    steps: (u32, u32),
    stretch: Stretch,
    /// When it first held.
    held: Option<Moment>,
    /// Since when it has held without a break.
    holds_since: Option<Moment>,
    /// The time that counted, from the stretch's beginning to when it first held, microseconds.
    waited: u64,
    /// When it did not hold and had to.
    broken: Option<(Moment, String)>,
    /// How long it had been owed when the stretch began.
    owed_before: u64,
    /// How it was in the last moment, and what was measured then.
    at_end: Option<(Option<bool>, Moment, String)>,
    /// Moments at which it was looked at.
    looks: u64,
}

#[derive(Clone, Debug)]
enum Stretch {
    Ahead,
    Goes(Box<Mark>),
    Over(u64),
}

impl Expectations {
    /// Those of this scenario, in their order.
    pub(crate) fn of(scenario: &Scenario) -> Self {
        let scale = scenario.cluster.scale();
        let expected = |(at, expectation)| Expected::of(at + 1, expectation, scenario, scale);
        Self {
            tally: Tally::of(scenario),
            all: scenario.expectations.iter().enumerate().filter_map(expected).collect(),
            ..Self::none()
        }
    }

    /// None.
    pub(crate) fn none() -> Self {
        Self {
            tally: Tally::new(ClusterWish::default().scale()),
            tolerable_since: None,
            tolerable_micros: 0,
            all: Vec::new(),
        }
    }

    /// Takes the next event of the journal, without gaps.
    pub(crate) fn observe(&mut self, numbered: &Numbered) {
        if self.all.is_empty() {
            return;
        }
        if let Event::Step { number, .. } = numbered.event {
            self.step(Moment::of(numbered), number);
        }
        self.tally.observe(numbered);
        self.owe(numbered);
        // These change nothing that a condition looks at, but for counts that only grow.
        if matches!(numbered.event, Event::Message(_) | Event::Traffic { .. }) {
            return;
        }
        let now = Moment::of(numbered);
        let owed_now = self.owed_now(now.at_micros);
        let tolerable_for = self.tolerable_since.map(|since| now.at_micros.saturating_sub(since));
        for expected in &mut self.all {
            expected.look(now, &self.tally, owed_now, tolerable_for);
        }
    }

    /// What is made of each.
    pub(crate) fn results(&self) -> Vec<CheckResult> {
        self.all.iter().map(|expected| expected.result(&self.tally)).collect()
    }

    /// Another step begins: some stretches end, some begin.
    fn step(&mut self, now: Moment, number: u32) {
        // Up to now, everything was as the last event left it.
        self.tally.state.at_micros = now.at_micros;
        let owed = self.owed_now(now.at_micros);
        for expected in &mut self.all {
            let (first, behind) = expected.steps;
            if matches!(expected.stretch, Stretch::Goes(_)) && number >= behind {
                expected.end(now, &self.tally);
            }
            if matches!(expected.stretch, Stretch::Ahead) && (first..behind).contains(&number) {
                expected.stretch = Stretch::Goes(Box::new(self.tally.mark()));
                expected.owed_before = owed;
                if expected.when == When::AtStart {
                    expected.end(now, &self.tally);
                }
            }
        }
    }

    fn owe(&mut self, numbered: &Numbered) {
        let changes = matches!(
            numbered.event,
            Event::RunStarted { .. }
                | Event::Process { .. }
                | Event::LinkChanged { .. }
                | Event::FaultBegan { .. }
                | Event::FaultEnded { .. }
                | Event::Status { .. }
        );
        if !changes {
            return;
        }
        match (is_tolerable(&self.tally), self.tolerable_since) {
            (true, None) => self.tolerable_since = Some(numbered.at_micros),
            (false, Some(since)) => {
                self.tolerable_micros += numbered.at_micros.saturating_sub(since);
                self.tolerable_since = None;
            }
            _ => {}
        }
    }

    fn owed_now(&self, at_micros: u64) -> u64 {
        self.tolerable_micros
            + self.tolerable_since.map_or(0, |since| at_micros.saturating_sub(since))
    }
}

impl Expected {
    fn of(number: usize, from: &Expectation, scenario: &Scenario, scale: Scale) -> Option<Self> {
        // One without a condition, or with two, is refused when the file is read.
        let (when, condition) = from.wish()?;
        let micros =
            |span: Span| u64::try_from(span.duration(scale).as_micros()).unwrap_or(u64::MAX);
        Some(Self {
            name: from.name(number),
            say: from.say.clone(),
            when,
            condition: condition.clone(),
            within: from.within.map(micros),
            lasts: from.lasts.map(micros),
            is_owed_always: from.owed_when == Owed::Always,
            steps: stretch(from, scenario),
            stretch: Stretch::Ahead,
            held: None,
            holds_since: None,
            waited: 0,
            broken: None,
            owed_before: 0,
            at_end: None,
            looks: 0,
        })
    }

    /// Looks at the state behind an event.
    fn look(&mut self, now: Moment, tally: &Tally, owed_now: u64, tolerable_for: Option<u64>) {
        let Stretch::Goes(mark) = &self.stretch else { return };
        if matches!(self.when, When::AtStart | When::AtEnd) || self.broken.is_some() {
            return;
        }
        // For some time after it is owed again, it need not be there yet.
        let grace = self.within.unwrap_or_default();
        let is_owed = self.is_owed_always || tolerable_for.is_some_and(|time| time >= grace);
        let is_so = holds(&self.condition, tally, mark);
        self.looks += u64::from(is_owed);
        if is_so {
            if self.held.is_none() {
                self.held = Some(now);
                self.waited = match self.is_owed_always {
                    true => now.at_micros.saturating_sub(mark.at_micros),
                    false => owed_now.saturating_sub(self.owed_before),
                };
            }
            self.holds_since.get_or_insert(now);
        }
        let lasted = |since: Moment, at: Moment| at.at_micros.saturating_sub(since.at_micros);
        let broken = match self.when {
            When::Always => !is_so && is_owed,
            When::Never => is_so && is_owed,
            When::Stays => match (is_so, self.holds_since, self.lasts) {
                (true, ..) | (false, None, _) => false,
                (false, Some(since), Some(lasts)) => lasted(since, now) < lasts,
                (false, Some(_), None) => true,
            },
            When::Eventually | When::Sometimes | When::AtStart | When::AtEnd => false,
        };
        if broken {
            let told = told(&self.condition, tally, mark);
            self.broken = Some((now, told));
        }
        // Once it has lasted long enough, what comes later does not matter.
        let is_over = self
            .lasts
            .is_some_and(|lasts| self.holds_since.is_some_and(|since| lasted(since, now) >= lasts));
        if !is_so && !is_over {
            self.holds_since = None;
        }
    }

    /// The stretch ends: how are things in its last moment?
    fn end(&mut self, now: Moment, tally: &Tally) {
        let Stretch::Goes(mark) = &self.stretch else { return };
        let is_so = match measurable(&self.condition, tally, mark) {
            true => Some(holds(&self.condition, tally, mark)),
            false => None,
        };
        self.at_end = Some((is_so, now, told(&self.condition, tally, mark)));
        self.stretch = Stretch::Over(now.at_micros.saturating_sub(mark.at_micros));
    }

    fn result(&self, tally: &Tally) -> CheckResult {
        let engine = EngineKind::of(&tally.state.engine);
        let mut silence = needs(&self.condition).into_iter().filter_map(|of| engine.silence(of));
        if let Some(silence) = silence.next() {
            return Finding::unknown(silence).of(&self.name, &self.say);
        }
        // A stretch that goes on is judged as if it ended now.
        let mut so_far = self.clone();
        let now = Moment { seq: tally.state.seq, at_micros: tally.state.at_micros };
        so_far.end(now, tally);
        so_far.finding(matches!(self.stretch, Stretch::Goes(_))).of(&self.name, &self.say)
    }

    fn finding(&self, goes_on: bool) -> Finding {
        let condition = &self.condition;
        let (Stretch::Over(length), Some((at_end, end, told))) = (&self.stretch, &self.at_end)
        else {
            return Finding::unknown("the run never came to the step that is meant");
        };
        if let Some((moment, told)) = &self.broken {
            let at = seconds(moment.at_micros);
            let because = match self.when {
                When::Never => format!("`{condition}` at {at}{told}"),
                When::Stays => format!("`{condition}` held, and not any more at {at}{told}"),
                _ => format!("not `{condition}` at {at}{told}"),
            };
            return Finding::invalid(because, [moment.seq]);
        }
        let stretch = seconds(*length);
        match self.when {
            When::Always | When::Never if self.looks == 0 => {
                Finding::unknown(format!("in {stretch} it was never owed"))
            }
            When::Always => Finding::valid(format!("`{condition}` for {stretch}")),
            When::Never => Finding::valid(format!("never `{condition}` in {stretch}")),
            When::Eventually => match (self.held, self.within) {
                (Some(held), Some(within)) if self.waited > within => Finding::invalid(
                    format!(
                        "`{condition}` only after {}, {} were allowed",
                        seconds(self.waited),
                        seconds(within)
                    ),
                    [held.seq],
                ),
                (Some(_), _) => {
                    Finding::valid(format!("`{condition}` after {}", seconds(self.waited)))
                }
                (None, _) if goes_on => Finding::unknown(format!("not yet `{condition}`{told}")),
                (None, _) => {
                    Finding::invalid(format!("never `{condition}` in {stretch}{told}"), [end.seq])
                }
            },
            When::Sometimes => match self.held {
                Some(held) => {
                    Finding::valid(format!("`{condition}` at {}", seconds(held.at_micros)))
                }
                None => Finding::unknown(format!(
                    "never `{condition}` in {stretch}{told}: the run proves nothing"
                )),
            },
            When::Stays => self.stayed(*end, told),
            When::AtStart | When::AtEnd => match at_end {
                Some(true) => Finding::valid(format!("`{condition}`{told}")),
                Some(false) => {
                    let at = seconds(end.at_micros);
                    Finding::invalid(format!("not `{condition}` at {at}{told}"), [end.seq])
                }
                None => Finding::unknown(format!("`{condition}`: nothing was there to measure")),
            },
        }
    }

    fn stayed(&self, end: Moment, told: &str) -> Finding {
        let condition = &self.condition;
        let Some(since) = self.holds_since else {
            return Finding::invalid(format!("never `{condition}`{told}"), [end.seq]);
        };
        let lasted = end.at_micros.saturating_sub(since.at_micros);
        match self.lasts {
            Some(lasts) if lasted < lasts => Finding::unknown(format!(
                "`{condition}` for {} when it ended, {} would tell",
                seconds(lasted),
                seconds(lasts)
            )),
            _ => Finding::valid(format!(
                "`{condition}` from {} on, for {}",
                seconds(since.at_micros),
                seconds(lasted)
            )),
        }
    }
}

/// The number of the first step of an expectation's stretch, and of the first behind it.
fn stretch(of: &Expectation, scenario: &Scenario) -> (u32, u32) {
    let behind = u32::try_from(scenario.steps.len()).unwrap_or(u32::MAX - 1) + 1;
    let number = |name: &str| {
        if name == THE_END {
            return Some(behind);
        }
        let at = scenario.steps.iter().position(|step| step.name.as_deref() == Some(name))?;
        u32::try_from(at + 1).ok()
    };
    if let Some(first) = of.during.as_deref().and_then(number) {
        return (first, if first == behind { u32::MAX } else { first + 1 });
    }
    let first = of.from.as_deref().and_then(number).unwrap_or(1);
    let until = of.until.as_deref().and_then(number).unwrap_or(behind);
    (first, if first == behind { u32::MAX } else { until })
}

/// What the quantities of a condition were: `, elections were 3`.
fn told(condition: &Condition, tally: &Tally, mark: &Mark) -> String {
    match condition {
        Condition::Compare(comparison) => {
            let quantity = &comparison.quantity;
            match measure(quantity, tally, mark) {
                Some(value) => format!("; {quantity}: {}", amount(quantity, value)),
                None => String::new(),
            }
        }
        Condition::Not(condition) => told(condition, tally, mark),
        Condition::Both(one, other) => {
            format!("{}{}", told(one, tally, mark), told(other, tally, mark))
        }
        _ => String::new(),
    }
}

fn amount(quantity: &Quantity, value: u64) -> String {
    use lab_protocol::scenario::Unit;
    match quantity.unit() {
        Unit::Count => value.to_string(),
        Unit::Time => seconds(value),
        Unit::Share => format!("{}.{} %", value / 10, value % 10),
    }
}

/// Whether all that a condition measures can be measured.
fn measurable(condition: &Condition, tally: &Tally, mark: &Mark) -> bool {
    match condition {
        Condition::Compare(comparison) => measure(&comparison.quantity, tally, mark).is_some(),
        Condition::Not(condition) => measurable(condition, tally, mark),
        Condition::Both(one, other) => {
            measurable(one, tally, mark) && measurable(other, tally, mark)
        }
        _ => true,
    }
}

/// What members have to tell for a condition.
fn needs(condition: &Condition) -> Vec<Account> {
    match condition {
        Condition::Compare(comparison) => comparison.quantity.needs().into_iter().collect(),
        Condition::Probed(_) | Condition::Replicating(_) | Condition::FedASnapshot(_) => {
            vec![Account::Progress]
        }
        Condition::Not(condition) => needs(condition),
        Condition::Both(one, other) => [needs(one), needs(other)].concat(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use lab_protocol::Judgement;
    use lab_protocol::Judgement::{Invalid, Unknown, Valid};

    use super::*;
    use crate::script::Script;

    /// A scenario with the steps `calm`, `cut` and `healed`, and one expectation.
    fn scenario(expectation: &str) -> Scenario {
        let step = |name: &str| format!("[[step]]\nsay = \"{name}\"\nname = \"{name}\"\n");
        let steps: String = ["calm", "cut", "healed"].map(step).concat();
        let text = format!(
            "title = \"t\"\nabout = \"a\"\n{steps}[[expect]]\nsay = \"it holds\"\n{expectation}\n"
        );
        toml::from_str(&text).unwrap_or_else(|error| panic!("{error}"))
    }

    #[track_caller]
    fn check(expectation: &str, script: &Script, judgement: Judgement, has: &str) {
        let mut expectations = Expectations::of(&scenario(expectation));
        for event in &script.events {
            expectations.observe(event);
        }
        let [result] = &expectations.results()[..] else { panic!("one is expected") };
        assert_eq!(result.judgement, judgement, "{expectation}: {}", result.because);
        assert!(result.because.contains(has), "{expectation}: {}", result.because);
    }

    /// Three members of which m1 leads, is cut off and resigns after 1.5 s; then m2 leads.
    fn run() -> Script {
        let calm =
            Script::new(3).up(&[1, 2, 3]).step(1).leads(1, 2).put(1, 1, "a", "1").ok(1, 2, None);
        let cut = calm.wait(500).step(2).cut(1, 2).cut(1, 3).put(2, 1, "a", "2").wait(1_500);
        let elected = cut.leads(2, 3).info(2).put(3, 2, "a", "3").ok(3, 3, None).wait(1_000);
        elected.step(3).heal(1, 2).heal(1, 3).wait(200).put(4, 2, "a", "4").ok(4, 4, None).step(4)
    }

    #[test]
    fn what_is_counted_is_counted_from_the_stretch_on() {
        for (expectation, judgement, has) in [
            ("at_end = \"elections = 2\"", Valid, "elections: 2"),
            ("at_end = \"elections = 1\"\nduring = \"cut\"", Valid, "elections: 1"),
            ("at_end = \"elections = 0\"\nfrom = \"healed\"", Valid, "elections: 0"),
            ("at_end = \"elections >= 3\"", Invalid, "elections: 2"),
            ("at_end = \"acked = 2\"\nfrom = \"calm\"\nuntil = \"healed\"", Valid, "acked: 2"),
            ("at_end = \"gap in 1500ms..2500ms\"\nduring = \"cut\"", Valid, "gap: 1."),
            ("at_end = \"availability of writes = 50%\"\nduring = \"cut\"", Valid, "50.0 %"),
            ("at_end = \"availability of reads > 50%\"", Unknown, "nothing was there"),
            ("at_end = \"max of writes < 1s\"", Valid, "max of writes"),
            ("at_start = \"elections = 0\"\nduring = \"healed\"", Valid, ""),
        ] {
            check(expectation, &run(), judgement, has);
        }
    }

    #[test]
    fn each_time_has_its_own_meaning() {
        for (expectation, judgement, has) in [
            ("always = \"up = 3\"", Valid, "for "),
            ("always = \"elections <= 1\"", Invalid, "not `elections <= 1` at 2."),
            ("never = \"elections >= 2\"\nduring = \"healed\"", Valid, "never"),
            ("never = \"elections >= 1\"\nduring = \"cut\"", Invalid, "at 2."),
            (
                "eventually = \"elections >= 1\"\nduring = \"cut\"\nwithin = \"2ET\"",
                Valid,
                "after 1.",
            ),
            (
                "eventually = \"elections >= 1\"\nduring = \"cut\"\nwithin = \"1ET\"",
                Invalid,
                "only after 1.",
            ),
            ("eventually = \"elections >= 9\"", Invalid, "never"),
            ("sometimes = \"refused >= 1\"", Unknown, "proves nothing"),
            ("sometimes = \"unknown >= 1\"", Valid, "at 2."),
            ("stays = \"elections = 1\"", Invalid, "not any more"),
            ("stays = \"elections >= 1\"\nduring = \"cut\"\nfor = \"900ms\"", Valid, "for 1."),
            ("stays = \"elections >= 1\"\nduring = \"cut\"\nfor = \"2s\"", Unknown, "would tell"),
            ("stays = \"elections >= 9\"", Invalid, "never"),
        ] {
            check(expectation, &run(), judgement, has);
        }
    }

    #[test]
    fn what_is_owed_while_failures_are_tolerable_is_not_owed_else() {
        let gone = Script::new(3).up(&[1, 2, 3]).step(1).down(2).down(3).wait(5_000);
        let back = gone.up(&[2]).wait(800).leads(2, 3).step(4);
        let owed = "\nowed_when = \"tolerable\"";
        let soon =
            |within: &str| format!("eventually = \"elections >= 1\"\nwithin = \"{within}\"{owed}");
        check(&soon("1ET"), &back, Valid, "after 0.8");
        check(&soon("500ms"), &back, Invalid, "only after 0.8");
        check("always = \"up >= 2\"\nowed_when = \"tolerable\"", &back, Valid, "");
        check("always = \"up >= 2\"", &back, Invalid, "up: 1");
        let never = Script::new(3).step(1).wait(100).step(4);
        check("always = \"up >= 2\"\nowed_when = \"tolerable\"", &never, Unknown, "never owed");
    }

    #[test]
    fn a_stretch_that_never_began_proves_nothing() {
        let short = Script::new(3).up(&[1, 2, 3]).step(1);
        check("always = \"up = 3\"\nduring = \"cut\"", &short, Unknown, "never came");
        check("eventually = \"elections >= 1\"", &short, Unknown, "not yet");
    }

    #[test]
    fn an_engine_that_tells_nothing_leaves_what_it_would_have_to_tell_unknown() {
        let mut script = run();
        for event in &mut script.events {
            if let Event::RunStarted { engine, .. } = &mut event.event {
                *engine = "etcd 3.4.23".into();
            }
        }
        check("at_end = \"truncated = 0\"", &script, Unknown, "does not tell");
        check("at_end = \"acked = 3\"", &script, Valid, "");
    }
}
