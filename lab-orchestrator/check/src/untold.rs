//! A check of members that do not tell all that it lives from.
//!
//! Real etcd says nothing of its log: leaders of etcd may well only append to theirs, but a run in
//! which nobody told of an entry proves nothing of it. Such a check ends *unknown* and says what
//! was not told, unless what was told breaks the promise already.

use std::collections::BTreeSet;

use lab_protocol::node_protocol::ClusterId;
use lab_protocol::{Account, CheckResult, EngineKind, Event, Judgement, Numbered};

use crate::Check;

/// A check, and what its members have to tell for it.
pub(crate) struct Untold {
    inner: Box<dyn Check>,
    needs: Option<Account>,
    /// The engines of the run; a run that starts over has the same again.
    engine: Option<EngineKind>,
    /// The clusters that answered clients since the run began, or started over.
    clusters: BTreeSet<ClusterId>,
    /// Whether there ever were several at once.
    was_several: bool,
}

impl Untold {
    /// `inner` lives from this account of the members, beside what clients see.
    pub(crate) fn new(inner: Box<dyn Check>, needs: Option<Account>) -> Self {
        Self { inner, needs, engine: None, clusters: BTreeSet::new(), was_several: false }
    }

    /// What was not told; none if everything was that is needed.
    fn silence(&self) -> Option<String> {
        let engine = self.engine?;
        // Whether what one cluster had is owed by another depends on which came of which.
        let restores = || engine.silence(Account::Restores).filter(|_| self.was_several);
        self.needs.and_then(|needs| engine.silence(needs)).or_else(restores)
    }
}

impl Check for Untold {
    fn observe(&mut self, numbered: &Numbered) {
        match &numbered.event {
            Event::RunStarted { engine, .. } => {
                self.engine = Some(EngineKind::of(engine));
                self.clusters.clear();
            }
            Event::AnsweredBy { cluster, .. } => {
                self.clusters.insert(*cluster);
                self.was_several |= self.clusters.len() > 1;
            }
            _ => {}
        }
        self.inner.observe(numbered);
    }

    fn verdict(&self) -> CheckResult {
        let result = self.inner.verdict();
        let Some(silence) = self.silence() else { return result };
        // Whom a promise was broken to is known all the same, but not if it was another cluster's.
        if result.judgement == Judgement::Invalid && !self.was_several {
            return result;
        }
        CheckResult {
            judgement: Judgement::Unknown,
            because: silence,
            evidence: Vec::new(),
            check: result.check,
            guards: result.guards,
        }
    }
}

#[cfg(test)]
mod tests {
    use lab_protocol::node_protocol::ClusterId;
    use lab_protocol::{Event, OpId};

    use super::*;
    use crate::script::{Script, check};
    use crate::{ElectionSafety, LeaderAppendOnly};
    use lab_protocol::Judgement::{Invalid, Unknown, Valid};

    /// The script's members are of this engine.
    fn of(engine: &str, mut script: Script) -> Script {
        for numbered in &mut script.events {
            if let Event::RunStarted { engine: name, .. } = &mut numbered.event {
                *name = engine.to_owned();
            }
        }
        script
    }

    fn led() -> Script {
        Script::new(3).leads(1, 2).leads(2, 3)
    }

    #[test]
    fn what_is_not_told_is_unknown_unless_it_is_broken() {
        let elections = || Untold::new(Box::<ElectionSafety>::default(), Some(Account::Elections));
        let observed = EngineKind::observed("3.5.1");
        check(&mut elections(), led(), Valid, "2 elections");
        check(&mut elections(), of("etcd 3.4.23", led()), Valid, "2 elections");
        check(&mut elections(), of(&observed, led()), Unknown, "does not tell each change");
        check(&mut elections(), of(&observed, led().leads(3, 3)), Invalid, "both led in term 3");
        let mut log = Untold::new(Box::<LeaderAppendOnly>::default(), Some(Account::Log));
        check(&mut log, of("etcd 3.4.23", led()), Unknown, "etcd does not tell what is in its log");
    }

    #[test]
    fn nothing_is_said_across_clusters_whose_kinship_is_not_told() {
        let answered = |script: Script, cluster| {
            script.then(Event::AnsweredBy { op: OpId(cluster), cluster: ClusterId(cluster) })
        };
        let several = || answered(answered(led().leads(3, 3), 1), 2);
        let elections = || Untold::new(Box::<ElectionSafety>::default(), None);
        check(&mut elections(), several(), Invalid, "both led");
        let observed = EngineKind::observed("3.5.1");
        check(&mut elections(), of(&observed, several()), Unknown, "came of a snapshot");
        check(&mut elections(), of("etcd 3.4.23", several()), Invalid, "both led");
        let anew = answered(answered(led(), 1).started_over(3), 2);
        check(&mut elections(), of(&observed, anew), Valid, "2 elections");
    }
}
