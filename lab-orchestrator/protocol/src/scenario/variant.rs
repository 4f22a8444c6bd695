//! Twins: the same scenario in a cluster that differs in one thing.

use serde::{Deserialize, Serialize};

use super::{Scenario, Span, WorkloadWish};

/// What is different in a twin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Variant {
    /// What it is called, such as `no pre-vote`.
    pub name: String,
    /// So many members.
    pub members: Option<u8>,
    /// Another ET.
    pub election_timeout: Option<Span>,
    /// Another time between heartbeats.
    pub heartbeat: Option<Span>,
    /// Another RTT.
    pub round_trip: Option<Span>,
    /// Snapshots after so many entries.
    pub snapshot_count: Option<u64>,
    /// Whether a change of the members that could cost the quorum is refused.
    pub strict_reconfig_check: Option<bool>,
    /// A planted bug.
    pub bug: Option<String>,
    /// Further flags of the members, behind those of the scenario.
    pub flags: Vec<String>,
    /// Why this twin is not for real etcd, if it is not.
    pub not_on_etcd: Option<String>,
    /// Another workload.
    pub workload: Option<WorkloadWish>,
    /// Checks and expectations, by name, that have to come out invalid, instead of the scenario's.
    pub violated: Option<Vec<String>>,
}

impl Scenario {
    /// The scenario as this variant has it: nothing of another is left in it.
    pub fn with(&self, variant: &Variant) -> Self {
        let Variant {
            name,
            members,
            election_timeout,
            heartbeat,
            round_trip,
            snapshot_count,
            strict_reconfig_check,
            bug,
            flags,
            not_on_etcd,
            workload,
            violated,
        } = variant;
        let mut twin = self.clone();
        let cluster = &mut twin.cluster;
        set(&mut cluster.members, *members);
        set(&mut cluster.election_timeout, *election_timeout);
        set(&mut cluster.heartbeat, *heartbeat);
        set(&mut cluster.round_trip, *round_trip);
        set(&mut cluster.strict_reconfig_check, *strict_reconfig_check);
        cluster.snapshot_count = snapshot_count.or(cluster.snapshot_count);
        cluster.bug = bug.clone().or(cluster.bug.take());
        cluster.flags.extend(flags.iter().cloned());
        twin.not_on_etcd = not_on_etcd.clone().or(twin.not_on_etcd.take());
        twin.workload = workload.clone().or(twin.workload.take());
        set(&mut twin.violated, violated.clone());
        let has = |only: &[String]| only.is_empty() || only.contains(name);
        twin.steps.retain(|step| has(&step.only));
        twin.expectations.retain(|expectation| has(&expectation.only));
        twin.variants.clear();
        twin
    }

    /// The scenario without what brings a fault or changes the cluster: only what clients ask, and
    /// the passing of time, is left.
    pub fn without_faults(&self) -> Self {
        let mut calm = self.clone();
        for step in &mut calm.steps {
            let lists = step.together.iter_mut().chain(step.one_of.iter_mut());
            let mix = step.mix.iter_mut().map(|mix| &mut mix.of);
            for list in lists.chain([&mut step.actions]).chain(mix) {
                list.retain(|action| action.verb().is_harmless());
            }
            step.together.retain(|list| !list.is_empty());
            step.one_of.retain(|list| !list.is_empty());
            step.mix.take_if(|mix| mix.of.is_empty());
        }
        calm
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}
