//! What is to be done, what was done, and the report.

use std::fmt::Write as _;
use std::time::Duration;

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::changes::Change;
use super::points::{Point, Stage};

/// How often a failpoint may be tried in vain before it is given up.
const TRIES: u32 = 6;

/// How a member ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Crash,
    /// The power is lost; what survives comes from this seed.
    PowerLoss(u64),
}

/// One blow to deal.
#[derive(Clone, Debug)]
pub(super) struct Blow {
    /// Where; an index into the points.
    pub(super) at: usize,
    pub(super) how: How,
    /// A loss of power at every member at once, at no failpoint.
    pub(super) everywhere: bool,
}

/// What happened at one failpoint.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    crashes: u32,
    power_losses: u32,
    in_vain: u32,
    /// Some cluster is about it because nobody ended there yet.
    missing_dealt: bool,
}

/// What came of the changes of one kind.
#[derive(Clone, Copy, Debug, Default)]
struct Changes {
    acknowledged: u32,
    /// Refused, or whoever was asked ended.
    otherwise: u32,
    /// A member ended meanwhile.
    crashes: u32,
    power_losses: u32,
}

/// The books of the whole run, shared by all clusters.
#[derive(Debug)]
pub(super) struct Ledger {
    points: Vec<Point>,
    tallies: Vec<Tally>,
    /// Rounds of changes of the members: wanted, and dealt.
    rounds: (u32, u32),
    changes: [Changes; Change::NAMES.len()],
    /// Losses of power at no failpoint.
    power_losses_elsewhere: u32,
    wanted: (u32, u32),
    /// Dealt and not yet counted.
    open: (u32, u32),
    bag: Vec<usize>,
    draws: ChaCha8Rng,
    pub(super) acked: u64,
    pub(super) unknown: u64,
    pub(super) judged: u32,
    pub(super) lives: u32,
}

impl Ledger {
    /// Nothing was done yet; so many crashes and losses of power are wanted.
    pub(super) fn new(points: Vec<Point>, crashes: u32, power_losses: u32, seed: u64) -> Self {
        Self {
            tallies: vec![Tally::default(); points.len()],
            points,
            rounds: (0, 0),
            changes: Default::default(),
            power_losses_elsewhere: 0,
            wanted: (crashes, power_losses),
            open: (0, 0),
            bag: Vec::new(),
            draws: ChaCha8Rng::seed_from_u64(seed),
            acked: 0,
            unknown: 0,
            judged: 0,
            lives: 0,
        }
    }

    /// Only so many changes of the members are wanted.
    pub(super) fn of_changes(points: Vec<Point>, rounds: u32, seed: u64) -> Self {
        Self { rounds: (rounds, 0), ..Self::new(points, 0, 0, seed) }
    }

    /// Whether the members are changed, and nothing else is done.
    pub(super) fn changes_members(&self) -> bool {
        self.rounds.0 > 0
    }

    /// Whether there is another change to make.
    pub(super) fn deal_change(&mut self) -> bool {
        let (wanted, dealt) = &mut self.rounds;
        let left = dealt < wanted;
        *dealt += u32::from(left);
        left
    }

    /// A failpoint on the way of a change, from the proposal to the disk.
    pub(super) fn of_change(&mut self) -> usize {
        let on_the_way = |at: &usize| matches!(self.points[*at].stage, Stage::Run | Stage::Change);
        let all: Vec<usize> = (0..self.points.len()).filter(on_the_way).collect();
        // The few that nothing but a change leads past are as frequent as all the others.
        let alone: Vec<usize> =
            all.iter().copied().filter(|at| self.is_of_changes_alone(*at)).collect();
        let some = if !alone.is_empty() && self.draws.random() { &alone } else { &all };
        some[self.draws.random_range(0..some.len())]
    }

    pub(super) fn is_of_changes_alone(&self, at: usize) -> bool {
        self.points[at].stage == Stage::Change
    }

    /// A change was asked for, and a member ended in that way; a round in which none did is dealt
    /// again.
    pub(super) fn count_change(&mut self, change: Change, at: usize, done: bool, how: Option<How>) {
        let changes = &mut self.changes[change.kind()];
        match done {
            true => changes.acknowledged += 1,
            false => changes.otherwise += 1,
        }
        match how {
            Some(How::Crash) => {
                changes.crashes += 1;
                self.tallies[at].crashes += 1;
            }
            Some(How::PowerLoss(_)) => {
                changes.power_losses += 1;
                self.tallies[at].power_losses += 1;
            }
            // Nobody came by: the round is dealt again.
            None => self.rounds.1 -= 1,
        }
    }

    pub(super) fn point(&self, at: usize) -> &Point {
        &self.points[at]
    }

    /// The failpoints of a first start, in the program's order.
    pub(super) fn first_starts(&self) -> Vec<usize> {
        let of_first = |at: &usize| self.points[*at].stage == Stage::FirstStart;
        (0..self.points.len()).filter(of_first).collect()
    }

    /// Crashes and losses of power done so far.
    pub(super) fn done(&self) -> (u32, u32) {
        let crashes = self.tallies.iter().map(|tally| tally.crashes).sum();
        let power_losses: u32 = self.tallies.iter().map(|tally| tally.power_losses).sum();
        (crashes, power_losses + self.power_losses_elsewhere)
    }

    /// The next blow for a cluster of so many members, to be counted or given back; `None` when
    /// all is done or under way.
    pub(super) fn deal(&mut self, members: u8) -> Option<Blow> {
        let done = self.done();
        let left = |wanted: u32, done: u32, open: u32| wanted.saturating_sub(done + open);
        let crashes = left(self.wanted.0, done.0, self.open.0);
        let losses = left(self.wanted.1, done.1, self.open.1);
        if crashes + losses == 0 {
            // Every failpoint has to be seen, even if that takes more than was wanted.
            return self.deal_missing();
        }
        let at = self.draw();
        let how = self.draw_how(crashes, losses);
        let everywhere = how != How::Crash
            && losses >= u32::from(members)
            && self.draws.random_ratio(1, 3 * u32::from(members));
        self.opened(how, if everywhere { u32::from(members) } else { 1 });
        Some(Blow { at, how, everywhere })
    }

    fn deal_missing(&mut self) -> Option<Blow> {
        let missing = (0..self.points.len()).find(|at| self.is_missing(*at))?;
        self.tallies[missing].missing_dealt = true;
        self.opened(How::Crash, 1);
        Some(Blow { at: missing, how: How::Crash, everywhere: false })
    }

    fn is_missing(&self, at: usize) -> bool {
        if self.changes_members() {
            return false;
        }
        let Tally { crashes, power_losses, in_vain, missing_dealt } = self.tallies[at];
        crashes + power_losses == 0
            && in_vain < TRIES
            && !missing_dealt
            && self.points[at].stage != Stage::FirstStart
    }

    /// How a member ends at a first start: losses of power as seldom as they are wanted.
    pub(super) fn first_start(&mut self) -> How {
        let (crashes, losses) = self.wanted;
        let how = self.draw_how(crashes.max(1), losses);
        self.opened(how, 1);
        how
    }

    fn draw(&mut self) -> usize {
        if self.bag.is_empty() {
            let points = &self.points;
            self.bag =
                (0..points.len()).filter(|at| points[*at].stage != Stage::FirstStart).collect();
            self.bag.shuffle(&mut self.draws);
        }
        self.bag.pop().expect("the program has failpoints that a running member comes by")
    }

    fn draw_how(&mut self, crashes: u32, losses: u32) -> How {
        if self.draws.random_range(0..crashes + losses) < crashes {
            How::Crash
        } else {
            How::PowerLoss(self.draws.random_range(1..u64::MAX))
        }
    }

    fn opened(&mut self, how: How, count: u32) {
        match how {
            How::Crash => self.open.0 += count,
            How::PowerLoss(_) => self.open.1 += count,
        }
    }

    fn closed(&mut self, how: How, count: u32) {
        match how {
            How::Crash => self.open.0 -= count,
            How::PowerLoss(_) => self.open.1 -= count,
        }
    }

    /// A member ended at this failpoint, as it was dealt.
    pub(super) fn count(&mut self, at: usize, how: How) {
        self.closed(how, 1);
        match how {
            How::Crash => self.tallies[at].crashes += 1,
            How::PowerLoss(_) => self.tallies[at].power_losses += 1,
        }
    }

    /// A failpoint that a running member comes by many times a second.
    pub(super) fn any_running(&mut self) -> usize {
        let running: Vec<usize> =
            (0..self.points.len()).filter(|at| self.points[*at].stage == Stage::Run).collect();
        running[self.draws.random_range(0..running.len())]
    }

    /// Whether a new cluster would find something to do.
    pub(super) fn has_work(&self) -> bool {
        let (done, open, wanted) = (self.done(), self.open, self.wanted);
        if self.changes_members() {
            return self.rounds.1 < self.rounds.0;
        }
        done.0 + open.0 < wanted.0
            || done.1 + open.1 < wanted.1
            || (0..self.points.len()).any(|at| self.is_missing(at))
    }

    /// A member crashed at this failpoint on the way to another blow: it counts beside what was
    /// dealt.
    pub(super) fn count_beside(&mut self, at: usize) {
        self.tallies[at].crashes += 1;
    }

    /// So many members lost their power at once, as it was dealt.
    pub(super) fn count_everywhere(&mut self, members: u8, how: How) {
        self.closed(how, u32::from(members));
        self.power_losses_elsewhere += u32::from(members);
    }

    /// Nobody came by this failpoint.
    pub(super) fn in_vain(&mut self, at: usize, how: How) {
        self.closed(how, 1);
        self.tallies[at].in_vain += 1;
        self.tallies[at].missing_dealt = false;
    }

    /// Failpoints at which no process ever ended.
    pub(super) fn missed(&self) -> Vec<&str> {
        if self.changes_members() {
            return Vec::new();
        }
        let never = |tally: &Tally| tally.crashes + tally.power_losses == 0;
        let missed = self.points.iter().zip(&self.tallies).filter(|(_, tally)| never(tally));
        missed.map(|(point, _)| point.name.as_str()).collect()
    }

    /// How far it has come, in one line.
    pub(super) fn progress(&self, elapsed: Duration) -> String {
        if self.changes_members() {
            let ((wanted, dealt), (crashes, losses)) = (self.rounds, self.done());
            return format!(
                "{dealt}/{wanted} changes, {crashes} crashes, {losses} power losses, {} \
                 acknowledged, {} judged, {:.0} s",
                self.acked,
                self.judged,
                elapsed.as_secs_f64()
            );
        }
        let ((crashes, losses), (of_crashes, of_losses)) = (self.done(), self.wanted);
        let part = f64::from(crashes.min(of_crashes) + losses.min(of_losses))
            / f64::from((of_crashes + of_losses).max(1));
        let seconds = elapsed.as_secs_f64();
        let left = if part > 0.0 { seconds / part - seconds } else { 0.0 };
        format!(
            "{crashes}/{of_crashes} crashes, {losses}/{of_losses} power losses, {} acknowledged, \
             {} judged, {seconds:.0} s, about {left:.0} s left",
            self.acked, self.judged
        )
    }

    /// Every failpoint with its counts, and the sums.
    pub(super) fn report(&self, elapsed: Duration) -> String {
        let mut text = format!("{:<32}{:>8}{:>13}\n", "failpoint", "crashes", "power losses");
        let mut line = |name: &str, crashes: u32, losses: u32| {
            // Writing to a text cannot fail.
            writeln!(text, "{name:<32}{crashes:>8}{losses:>13}").ok();
        };
        for (point, tally) in self.points.iter().zip(&self.tallies) {
            line(&point.name, tally.crashes, tally.power_losses);
        }
        line("(all members at once)", 0, self.power_losses_elsewhere);
        let (crashes, losses) = self.done();
        line("in all", crashes, losses);
        if self.changes_members() {
            writeln!(
                text,
                "\n{:<32}{:>8}{:>13}{:>9}{:>14}",
                "change", "done", "not answered", "crashes", "power losses"
            )
            .ok();
            for (name, changes) in Change::NAMES.iter().zip(&self.changes) {
                let Changes { acknowledged, otherwise, crashes, power_losses } = changes;
                writeln!(
                    text,
                    "{name:<32}{acknowledged:>8}{otherwise:>13}{crashes:>9}{power_losses:>14}"
                )
                .ok();
            }
        }
        let Self { acked, unknown, judged, lives, .. } = self;
        write!(
            text,
            "{lives} clusters in turn, judged {judged} times, {acked} writes acknowledged, \
             {unknown} unknown, {:.0} s",
            elapsed.as_secs_f64()
        )
        .ok();
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(crashes: u32, losses: u32) -> Ledger {
        let point = |name: &str, stage| Point { name: name.into(), stage };
        let points = vec![
            point("a", Stage::Run),
            point("b", Stage::Start),
            point("first", Stage::FirstStart),
        ];
        Ledger::new(points, crashes, losses, 7)
    }

    #[test]
    fn as_many_are_dealt_as_are_wanted_and_what_is_given_back_is_dealt_again() {
        let mut ledger = ledger(5, 3);
        let mut crashes = 0;
        let mut failed_once = false;
        while let Some(blow) = ledger.deal(3) {
            assert!(ledger.point(blow.at).stage != Stage::FirstStart);
            if !failed_once {
                failed_once = true;
                ledger.in_vain(blow.at, blow.how);
                continue;
            }
            match (blow.everywhere, blow.how) {
                (true, how) => ledger.count_everywhere(3, how),
                (false, how) => ledger.count(blow.at, how),
            }
            crashes += u32::from(blow.how == How::Crash);
        }
        assert_eq!(ledger.done(), (5, 3));
        assert_eq!(crashes, 5);
        assert_eq!(ledger.missed(), ["first"]);
        assert!(ledger.report(Duration::from_secs(1)).contains("in all"));
    }

    #[test]
    fn a_failpoint_that_was_never_seen_is_dealt_until_it_is_given_up() {
        let mut ledger = ledger(0, 0);
        let mut dealt = 0;
        while let Some(blow) = ledger.deal(3) {
            dealt += 1;
            match ledger.point(blow.at).name.as_str() {
                "a" => ledger.count(blow.at, blow.how),
                _ => ledger.in_vain(blow.at, blow.how),
            }
        }
        assert_eq!(dealt, 1 + TRIES);
        assert_eq!(ledger.missed(), ["b", "first"]);
    }
}
