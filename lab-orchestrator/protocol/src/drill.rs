//! A drill as a person plays it: what they are told, and what becomes of it.

use serde::{Deserialize, Serialize};

use crate::Judgement;
use crate::scenario::Fog;

/// What happens to a drill that a person plays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DrillEvent {
    /// What is to be played; first, something happens to the cluster.
    Told(Box<DrillBrief>),
    /// It has happened: it is the person's turn.
    Opened,
    /// A hint that was asked for.
    Hinted {
        /// Counted from 1.
        number: u32,
        /// The hint.
        text: String,
    },
    /// What the checks say now; told when it changes, at most once a second.
    Goals(Vec<Goal>),
}

/// What a person is told before they play.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillBrief {
    /// Its name in the catalogue, such as `DR-02`.
    pub id: String,
    /// What it is called.
    pub title: String,
    /// What there is to do.
    pub brief: String,
    /// What they are shown meanwhile.
    pub fog: Fog,
    /// How long they have.
    pub millis: u64,
    /// How many hints there are.
    pub hints: u32,
    /// What a hint costs.
    pub hint_points: u32,
}

/// One thing that counts, and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goal {
    /// The check, such as `members_equal`.
    pub check: String,
    /// What it guards, in one sentence.
    pub guards: String,
    /// What it says now; unknown is *not yet*.
    pub judgement: Judgement,
    /// Why.
    pub because: String,
}
