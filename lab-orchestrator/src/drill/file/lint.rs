//! What is allowed in a scenario and still odd: what nobody would write on purpose.

use std::collections::BTreeSet;

use lab_protocol::Shares;
use lab_protocol::scenario::{
    Action, Condition, Expectation, FaultVerb, Scenario, Span, Step, Target, Verb, When,
};

/// A thing that is odd: its kind, the words it is about, and why.
pub(super) struct Lint {
    pub(super) kind: &'static str,
    pub(super) words: String,
    pub(super) why: String,
}

/// Kinds of lints, which a scenario may allow.
pub(super) const KINDS: [&str; 5] =
    ["unhealed", "unused-name", "cannot-fail", "cannot-hold", "too-short"];

/// Everything that is odd in a scenario and not allowed by it.
pub(super) fn lints(scenario: &Scenario) -> Vec<Lint> {
    let mut found = unhealed(scenario);
    found.extend(unused_names(scenario));
    found.extend(cannot_fail(scenario));
    found.extend(cannot_hold(scenario));
    found.extend(too_short(scenario));
    found.retain(|lint| !scenario.allow.iter().any(|allowed| allowed == lint.kind));
    found
}

fn sentences(steps: &[Step]) -> impl Iterator<Item = &Action> {
    steps.iter().flat_map(|step| {
        let lists = step.one_of.iter().chain(&step.together).flatten();
        let mix = step.mix.iter().flat_map(|mix| &mix.of);
        step.actions.iter().chain(lists).chain(mix)
    })
}

/// Every sentence of the file, those of a drill's ways too.
fn all_sentences(scenario: &Scenario) -> impl Iterator<Item = &Action> {
    let drill = scenario.drill.iter().flat_map(|drill| {
        let other = drill.other.iter().map(|other| &other.steps);
        let wrong = drill.wrong.iter().map(|wrong| &wrong.steps);
        [&drill.solution, &drill.after].into_iter().chain(other).chain(wrong)
    });
    sentences(&scenario.steps).chain(drill.flat_map(|steps| sentences(steps)))
}

/// What a sentence breaks that another can mend: the kind of what, and where.
fn breaks(verb: &Verb) -> Option<(&'static str, String, Option<&String>)> {
    let of = |kind, target: &Target, name| Some((kind, target.to_string(), name));
    match verb {
        Verb::Crash { target, name } | Verb::Stop { target, name } => {
            of("process", target, name.as_ref())
        }
        Verb::Pause { target, name } => of("pause", target, name.as_ref()),
        Verb::Isolate { .. } | Verb::Partition { .. } => Some(("links", String::new(), None)),
        Verb::Cut { .. } => Some(("links", String::new(), None)),
        Verb::Fault(fault) => match fault {
            FaultVerb::Hold { .. }
            | FaultVerb::Refuse { .. }
            | FaultVerb::HalfOpen { .. }
            | FaultVerb::Mangle { .. }
            | FaultVerb::Shape(_) => Some(("links", String::new(), None)),
            FaultVerb::StickDisk { who }
            | FaultVerb::FailDisk { who }
            | FaultVerb::FillDisk { who }
            | FaultVerb::LockDisk { who }
            | FaultVerb::FreezeClock { who }
            | FaultVerb::KeepRestarting { who, .. } => of("fault", &who.0, who.1.as_ref()),
            _ => None,
        },
        _ => None,
    }
}

fn mends(verb: &Verb, kind: &str) -> bool {
    match verb {
        Verb::UndoFaults | Verb::StartOver => true,
        Verb::Restart { .. } => kind == "process" || kind == "fault",
        Verb::Resume { .. } => kind == "pause",
        Verb::Heal { .. } | Verb::Partition { .. } => kind == "links",
        Verb::Fault(FaultVerb::Lift { .. }) => kind == "fault" || kind == "process",
        // Whoever types a line may start a member.
        Verb::Type { line, .. } => line.contains("raft-node") && kind == "process",
        Verb::Members { .. } | Verb::Wipe { .. } => kind == "process",
        _ => false,
    }
}

/// Faults that last until the end, where everything is undone: nobody sees then how clients fare
/// once it is over.
fn unhealed(scenario: &Scenario) -> Vec<Lint> {
    // A drill is left to somebody.
    if scenario.drill.is_some() {
        return Vec::new();
    }
    let all: Vec<_> = sentences(&scenario.steps).collect();
    let unhealed = |(at, action): (usize, &&Action)| {
        let (kind, ..) = breaks(action.verb())?;
        let later = all[at + 1..].iter().any(|later| mends(later.verb(), kind));
        (!later).then(|| Lint {
            kind: "unhealed",
            words: action.text().to_owned(),
            why: "it is never healed before the end: mend it in a step, or say `for TIME`".into(),
        })
    };
    all.iter().enumerate().filter_map(unhealed).collect()
}

fn unused_names(scenario: &Scenario) -> Vec<Lint> {
    let texts = all_sentences(scenario).map(|action| action.text().to_owned());
    let steps = scenario.steps.iter();
    let waits = steps.filter_map(|step| Some(step.wait_until.as_ref()?.to_string()));
    let drill = scenario.drill.iter().flat_map(|drill| {
        let other = drill.other.iter().map(|other| &other.steps);
        let wrong = drill.wrong.iter().map(|wrong| &wrong.steps);
        [&drill.solution, &drill.after].into_iter().chain(other).chain(wrong).flatten()
    });
    let later = drill.filter_map(|step| Some(step.wait_until.as_ref()?.to_string()));
    let expected = scenario.expectations.iter().filter_map(Expectation::wish);
    let expected = expected.map(|(_, condition)| condition.to_string());
    let all: Vec<String> = texts.chain(waits).chain(later).chain(expected).collect();
    let words = |text: &str, name: &str| {
        let part = |letter: char| !(letter.is_ascii_alphanumeric() || letter == '_');
        text.split(part).filter(|word| *word == name).count()
    };
    let mut seen = BTreeSet::new();
    let named = all_sentences(scenario).filter_map(|action| {
        let (_, name) = action.text().split_once(" as ")?;
        let name = name.split_whitespace().next()?.to_owned();
        // Of a name that is given again, the later one may be meant.
        (seen.insert(name.clone())).then(|| (action.text().to_owned(), name))
    });
    let unused = |(text, name): &(String, String)| {
        all.iter().map(|text| words(text, name)).sum::<usize>() <= words(text, name)
    };
    let lint = |(words, name): (String, String)| Lint {
        kind: "unused-name",
        words,
        why: format!("nothing means `{name}` later; leave ` as {name}` out"),
    };
    named.filter(unused).map(lint).collect()
}

fn is_idle(condition: &Condition) -> bool {
    match condition {
        Condition::Compare(comparison) => comparison.bound.is_idle(),
        Condition::Acked(0) | Condition::Backups(0) => true,
        Condition::Not(condition) => is_idle(condition),
        Condition::Both(one, other) => is_idle(one) || is_idle(other),
        _ => false,
    }
}

fn cannot_fail(scenario: &Scenario) -> Vec<Lint> {
    let lint = |words: String, why: &str| Lint { kind: "cannot-fail", words, why: why.into() };
    let expected = scenario.expectations.iter().filter_map(|of| Some((of, of.wish()?)));
    let mut found: Vec<_> = expected
        .filter(|(_, (when, condition))| {
            // What can only grow is never less than nothing.
            is_idle(condition) && *when != When::Never
        })
        .map(|(_, (_, condition))| {
            lint(condition.to_string(), "every run fulfils it: it proves nothing")
        })
        .collect();
    let waits = scenario.steps.iter().filter_map(|step| step.wait_until.as_ref());
    found.extend(
        waits.filter(|condition| is_idle(condition)).map(|condition| {
            lint(condition.to_string(), "it holds at once: nothing is waited for")
        }),
    );
    if scenario.checks.acked_not_lost.is_some_and(|of| of.at_least == 0) {
        found.push(lint("acked_not_lost".into(), "with `at_least = 0` an idle run is valid"));
    }
    if scenario.checks.linearizable.is_some_and(|of| of.at_least == 0) {
        found.push(lint("linearizable".into(), "with `at_least = 0` an idle run is valid"));
    }
    found
}

/// Checks of things that nobody does in the scenario.
fn cannot_hold(scenario: &Scenario) -> Vec<Lint> {
    // What somebody does in a drill is their affair.
    if scenario.drill.is_some() {
        return Vec::new();
    }
    let does = |wanted: fn(&Verb) -> bool| {
        all_sentences(scenario).any(|action| match action.verb() {
            Verb::For { verb, .. } => wanted(verb),
            verb => wanted(verb),
        })
    };
    let lint = |check: &str, why: &str| Lint {
        kind: "cannot-hold",
        words: check.to_owned(),
        why: format!("{why}: the run will never tell"),
    };
    let checks = &scenario.checks;
    let works = scenario.workload.is_some() || does(|verb| matches!(verb, Verb::Workload { .. }));
    let writes = works || does(|verb| matches!(verb, Verb::Put { .. } | Verb::Type { .. }));
    let errands = scenario.workload.iter().filter(|workload| workload.rate > 0);
    let shares: Vec<_> = errands.map(|of| of.mix.unwrap_or(Shares::EVERYTHING)).collect();
    let leases = does(|verb| matches!(verb, Verb::LeaseGrant { .. }))
        || shares.iter().any(|shares| shares.lease > 0);
    let mut found = Vec::new();
    if !writes && (checks.acked_not_lost.is_some() || checks.linearizable.is_some()) {
        found.push(lint("[checks]", "nobody writes in this scenario"));
    }
    if !leases && (checks.lease_not_early.is_some() || checks.lease_extended.is_some()) {
        found.push(lint("[checks]", "nobody is granted a lease (`lease m1 ttl 10s as mine`)"));
    }
    let watches = scenario.workload.as_ref().is_some_and(|workload| workload.watches > 0)
        || shares.iter().any(|shares| shares.watch > 0);
    if !watches && checks.watch_guarantees.is_some() {
        found.push(lint("[checks]", "nobody watches (`watches = 3` in [workload])"));
    }
    found
}

/// Waits for elections that are over before any election can be.
fn too_short(scenario: &Scenario) -> Vec<Lint> {
    let scale = scenario.cluster.scale();
    let short = |span: &Span| span.duration(scale) < scale.election_timeout;
    let elects = |condition: &Condition| {
        matches!(condition, Condition::NewLeader | Condition::Lead(_) | Condition::Leader)
    };
    let lint = |condition: &Condition, within: Span| Lint {
        kind: "too-short",
        words: condition.to_string(),
        why: format!("{within} is less than an election timeout: nobody can be elected so soon"),
    };
    let waits = scenario.steps.iter().filter_map(|step| {
        let (condition, within) = (step.wait_until.as_ref()?, step.within?);
        (elects(condition) && short(&within)).then(|| lint(condition, within))
    });
    let expected = scenario.expectations.iter().filter_map(|of| {
        let ((when, condition), within) = (of.wish()?, of.within?);
        let soon = when == When::Eventually && elects(condition) && short(&within);
        soon.then(|| lint(condition, within))
    });
    waits.chain(expected).collect()
}
