//! What is told of a restore, and of a drill.

use node_protocol::ClusterId;

use super::{Story, Tone};
use crate::{LabState, MemberNo, Score};

impl Story {
    /// A member began in a cluster that was restored; told once.
    pub(super) fn restored(
        &mut self,
        state: &LabState,
        at_micros: u64,
        member: MemberNo,
        (cluster, revision): (ClusterId, i64),
    ) {
        let known = state.members.get(&member).and_then(|known| known.id);
        if known.is_none_or(|(_, known)| known != cluster) {
            let text = format!(
                "{member} was restored: it is a new member of the new cluster {cluster}, which \
                 began with what was written up to revision {revision}."
            );
            self.line(at_micros, Tone::Asked, text);
        }
    }

    /// A drill was scored.
    pub(super) fn scored(&mut self, at_micros: u64, score: &Score) {
        let (tone, text) = match score.won {
            true => (Tone::Holds, format!("The drill is won, with {} points.", score.points)),
            false => (Tone::Fault, "The drill is lost.".to_owned()),
        };
        self.line(at_micros, tone, text);
    }
}
