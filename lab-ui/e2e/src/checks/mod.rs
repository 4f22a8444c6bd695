//! The checks, one thing each, and the table they are run from.

mod drill;
mod faults;
mod frames;
mod injected;
mod lesson;
mod looks;
mod members;
mod recovery;
mod replayed;
mod security;
mod step;
mod workload;

use anyhow::Result;
use futures_util::future::BoxFuture;

use crate::Surroundings;

/// One check.
pub(crate) struct Check {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// What it shows, for people.
    pub(crate) shows: &'static str,
    /// Performs it.
    pub(crate) run: for<'a> fn(&'a Surroundings) -> BoxFuture<'a, Result<()>>,
}

/// Every check, in the order in which they run.
pub(crate) const CHECKS: [Check; 22] = [
    Check {
        name: "leader",
        shows: "the page shows one leader and two followers",
        run: |surroundings| Box::pin(faults::leader(surroundings)),
    },
    Check {
        name: "seats",
        shows: "no two members' buttons are ever on the same spot, also while the page comes up",
        run: |surroundings| Box::pin(faults::seats(surroundings)),
    },
    Check {
        name: "crash",
        shows: "a click kills the leader, another leader is shown, restart brings it back",
        run: |surroundings| Box::pin(faults::crash(surroundings)),
    },
    Check {
        name: "keyboard",
        shows: "the same by keyboard alone",
        run: |surroundings| Box::pin(faults::keyboard(surroundings)),
    },
    Check {
        name: "cut",
        shows: "a click cuts a link, it is shown cut and messages die there, a click heals it",
        run: |surroundings| Box::pin(faults::cut(surroundings)),
    },
    Check {
        name: "isolate",
        shows: "the leader alone loses office, undo brings it back as a follower",
        run: |surroundings| Box::pin(faults::isolate(surroundings)),
    },
    Check {
        name: "partition",
        shows: "the network split by the editor, another leader, and healed",
        run: |surroundings| Box::pin(faults::split(surroundings)),
    },
    Check {
        name: "members",
        shows: "a learner added, promoted, made leader, a member removed; the quorum follows",
        run: |surroundings| Box::pin(members::pointer(surroundings)),
    },
    Check {
        name: "members-keys",
        shows: "the same by keyboard alone",
        run: |surroundings| Box::pin(members::keyboard(surroundings)),
    },
    Check {
        name: "recovery",
        shows: "two disks destroyed, a snapshot restored by typed lines: new identities, lost writes",
        run: |surroundings| Box::pin(recovery::recovery(surroundings)),
    },
    Check {
        name: "drill",
        shows: "a drill under fog: a hint, three typed lines, won, and the fog lifts",
        run: |surroundings| Box::pin(drill::drill(surroundings)),
    },
    Check {
        name: "injected",
        shows: "every fault of disks, clocks, processes and messages is injected, shown and taken off",
        run: |surroundings| Box::pin(injected::injected(surroundings)),
    },
    Check {
        name: "step",
        shows: "time stands still: one tick and one held message are granted, and nothing else happens",
        run: |surroundings| Box::pin(step::step(surroundings)),
    },
    Check {
        name: "lesson",
        shows: "predictions of a lesson are graded by what its run did, whichever way it went",
        run: |surroundings| Box::pin(lesson::lesson(surroundings)),
    },
    Check {
        name: "reload",
        shows: "a reload in the middle of a fault loses nothing",
        run: |surroundings| Box::pin(faults::reload(surroundings)),
    },
    Check {
        name: "replayed",
        shows: "a recorded run, shown again, comes to what the page told live, word for word",
        run: |surroundings| Box::pin(replayed::replayed(surroundings)),
    },
    Check {
        name: "gap",
        shows: "the election's gap on the strip equals the journal's within 50 ms",
        run: |surroundings| Box::pin(workload::gap(surroundings)),
    },
    Check {
        name: "accounting",
        shows: "every message is drawn, counted or left out, and none twice",
        run: |surroundings| Box::pin(workload::accounting(surroundings)),
    },
    Check {
        name: "frames",
        shows: "frame intervals and script time over 30 s under the default workload",
        run: |surroundings| Box::pin(frames::frames(surroundings)),
    },
    Check {
        name: "looks",
        shows: "light, dark and small: pictures, no violation that axe finds, nothing cut off",
        run: |surroundings| Box::pin(looks::looks(surroundings)),
    },
    Check {
        name: "book",
        shows: "the book opens under the lab's security policy without a complaint",
        run: |surroundings| Box::pin(looks::book(surroundings)),
    },
    Check {
        name: "security",
        shows: "a second origin, a rebound Host and a socket without token get nothing",
        run: |surroundings| Box::pin(security::security(surroundings)),
    },
];
