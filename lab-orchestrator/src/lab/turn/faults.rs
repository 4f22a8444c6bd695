//! What the loop does for faults that last, and for those that come and go.

use std::path::PathBuf;
use std::time::Duration;

use lab_protocol::{
    ClockMove, Command, CommandId, Damage, Event, Fault, LinkCondition, MemberFile, MemberNo,
    Process,
};
use tokio::time::{Instant, timeout};

use super::{Await, Loop, blocking};
use crate::engine::control::{self, Order as ControlOrder};
use crate::engine::strace::{self, Tracers};
use crate::supervisor::Order;

/// A member that does not answer in this time is paused or starved; what it was told it does when
/// it runs again.
const ANSWER: Duration = Duration::from_secs(2);

/// At the end nobody is waited for longer.
const LAST_ANSWER: Duration = Duration::from_millis(300);

/// A fault that acts, and what of it is due when.
#[derive(Debug)]
struct Lasting {
    fault: Fault,
    until: Option<Instant>,
    /// The next turn of one that comes and goes.
    turn_at: Option<Instant>,
    /// Whether the last turn brought it.
    is_bad: bool,
}

/// All faults that act, and commands that undo something later.
#[derive(Debug, Default)]
pub(super) struct Faults {
    lasting: Vec<Lasting>,
    later: Vec<(Instant, Command)>,
    /// What touches the disks of members without a control socket.
    tracers: Option<Tracers>,
}

/// What came of telling a member something, or of having a fault act on it otherwise.
#[derive(Debug)]
pub(super) struct Heeded {
    /// For which command; 0 for none.
    id: CommandId,
    member: MemberNo,
    how: Result<(), String>,
    /// What is said then.
    then: Option<Event>,
    /// Faults that do not act if it failed, though they were said to.
    vain: Vec<Fault>,
}

impl Faults {
    /// When something is due next.
    pub(super) fn due_at(&self) -> Option<Instant> {
        let lasting = self.lasting.iter().flat_map(|one| one.until.into_iter().chain(one.turn_at));
        lasting.chain(self.later.iter().map(|(at, _)| *at)).min()
    }

    /// Orders for a member's start: the faults of its disk and its clocks.
    fn orders_of(&self, member: MemberNo) -> Vec<ControlOrder> {
        let own = self.lasting.iter().map(|one| one.fault);
        own.filter(|fault| fault.member() == Some(member)).filter_map(control::begins).collect()
    }

    /// The faults of a member's disk, where strace injects them.
    fn of_disk(&self, member: MemberNo) -> Vec<Fault> {
        let own = self.lasting.iter().map(|one| one.fault);
        own.filter(|fault| fault.member() == Some(member) && strace::can(*fault)).collect()
    }
}

impl Loop {
    /// Injects a fault; what must be seen before that is done.
    pub(super) async fn inject(
        &mut self,
        id: CommandId,
        fault: Fault,
        millis: Option<u64>,
    ) -> Result<Option<Await>, String> {
        let until = millis.map(|millis| Instant::now() + Duration::from_millis(millis));
        let until_micros =
            millis.map(|millis| self.parts.clock.now_micros() + millis.saturating_mul(1_000));
        let began = Event::FaultBegan { fault, until_micros };
        let order = control::begins(fault);
        let by_strace = order.is_some() && !self.takes_orders();
        if by_strace && !strace::can(fault) {
            return Err(format!(
                "{} has no control socket, and this cannot be done to it from outside",
                self.parts.engine_version
            ));
        }
        self.forget(fault).await;
        let turns = matches!(fault, Fault::Restarting { .. } | Fault::Flapping { .. });
        let turn_at = turns.then(Instant::now);
        self.faults.lasting.push(Lasting { fault, until, turn_at, is_bad: false });
        match (fault, order) {
            (_, Some(_)) if by_strace => {
                let member = fault.member().expect("a disk is a member's");
                self.touch_disk(id, member, Some(began), Vec::new());
                return Ok(Some(Await::Heeded(id, member)));
            }
            (_, Some(order)) => {
                let member = fault.member().expect("a disk or a clock is a member's");
                if self.running().contains(&member) {
                    self.tell_member(id, member, order, Some(began));
                    return Ok(Some(Await::Heeded(id, member)));
                }
            }
            (Fault::Starved { member, percent }, None) => {
                let percent = Some(percent);
                self.parts.supervisor.order(Order::Starve { member, percent }).await;
            }
            (_, None) => {}
        }
        self.append(began);
        Ok(None)
    }

    /// Takes a fault off.
    pub(super) async fn lift(&mut self, id: CommandId, fault: Fault) -> Option<Await> {
        self.forget(fault).await;
        let ended = Event::FaultEnded { fault };
        let Some(order) = control::ends(fault) else {
            if let Fault::Starved { member, .. } = fault {
                self.parts.supervisor.order(Order::Starve { member, percent: None }).await;
            }
            self.append(ended);
            return None;
        };
        let member = fault.member().expect("a disk or a clock is a member's");
        if self.running().contains(&member) {
            match self.takes_orders() {
                true => self.tell_member(id, member, order, Some(ended)),
                false => self.touch_disk(id, member, Some(ended), Vec::new()),
            }
            return Some(Await::Heeded(id, member));
        }
        self.append(ended);
        None
    }

    /// Has the disk of a member without a control socket suffer from the faults that it has now;
    /// of a process that does not run it is only seen whether that will be possible.
    fn touch_disk(
        &mut self,
        id: CommandId,
        member: MemberNo,
        then: Option<Event>,
        vain: Vec<Fault>,
    ) {
        let faults = self.faults.of_disk(member);
        let pid = self.journal.with_state(|state| match state.members.get(&member)?.process {
            Process::Up { pid } | Process::Paused { pid } => Some(pid),
            Process::Planned | Process::Down { .. } => None,
        });
        let tracers = self.faults.tracers.get_or_insert_with(Tracers::start);
        let touched = pid.map(|pid| tracers.set(member, pid, faults));
        self.heeding.spawn(async move {
            let how = match touched {
                Some(touched) => touched.await,
                None => strace::installed().await,
            };
            Heeded { id, member, how, then, vain }
        });
    }

    /// A process runs: what its disk suffers from goes on.
    pub(super) fn touch_disk_again(&mut self, member: MemberNo) {
        let faults = self.faults.of_disk(member);
        if !faults.is_empty() && !self.takes_orders() {
            self.touch_disk(CommandId(0), member, None, faults);
        }
    }

    /// Stops to care for a fault; what came and went is left as it was before.
    async fn forget(&mut self, fault: Fault) {
        let place = self.faults.lasting.iter().position(|one| fault.replaces(one.fault));
        let Some(place) = place else { return };
        let gone = self.faults.lasting.remove(place);
        match gone.fault {
            Fault::Flapping { link, .. } if gone.is_bad => {
                self.parts.fabric.set(link, LinkCondition::Open);
            }
            Fault::Restarting { member, .. }
                if gone.is_bad && !self.running().contains(&member) =>
            {
                self.start_or_say(member).await;
            }
            _ => {}
        }
    }

    /// Undoes something later.
    pub(super) fn later(&mut self, millis: u64, commands: Vec<Command>) {
        let at = Instant::now() + Duration::from_millis(millis);
        self.faults.later.extend(commands.into_iter().map(|command| (at, command)));
    }

    /// Whether members of this lab have a control socket.
    fn takes_orders(&self) -> bool {
        self.parts.engine.takes_orders()
    }

    /// Tells a member something at its control socket; `then` is said when it has heard.
    pub(super) fn tell_member(
        &mut self,
        id: CommandId,
        member: MemberNo,
        order: ControlOrder,
        then: Option<Event>,
    ) {
        let socket = self.parts.directory.control_socket(member);
        self.heeding.spawn(async move {
            let heard = match control::give_early(&socket, &order, ANSWER).await {
                // It is done when the member runs again.
                Err(error) if error.kind() == std::io::ErrorKind::TimedOut => Ok(()),
                given => given.map_err(|error| format!("{member} was not told `{order}`: {error}")),
            };
            Heeded { id, member, how: heard, then, vain: Vec::new() }
        });
    }

    /// A member has heard.
    pub(super) fn heeded(&mut self, heeded: Heeded) {
        let Heeded { id, member, mut how, then, vain } = heeded;
        let is_lasting = matches!(then, Some(Event::FaultBegan { .. } | Event::FaultEnded { .. }));
        if is_lasting && !self.running().contains(&member) {
            // It ended meanwhile: its next start has what lasts, and nothing else.
            how = Ok(());
        }
        match (&how, then) {
            (Ok(()), Some(event)) => self.append(event),
            // It never began, so it does not begin with the next process either.
            (Err(_), Some(Event::FaultBegan { fault, .. })) => {
                self.faults.lasting.retain(|one| one.fault != fault);
            }
            (Err(why), None) if !vain.is_empty() => {
                for fault in vain {
                    let text = format!("This is so no longer: {fault}. It began anew, and {why}.");
                    self.append(Event::Note { text });
                    self.faults.lasting.retain(|one| one.fault != fault);
                    self.append(Event::FaultEnded { fault });
                }
            }
            (Ok(()), None) | (Err(_), _) => {}
        }
        for (pending, how) in self.underway.met(Await::Heeded(id, member), &how) {
            self.settled(pending.id, pending.reply, how);
        }
    }

    /// Does what is due: turns of faults that come and go, ends of those that last. The commands
    /// that are due are for whoever carries commands out.
    pub(super) async fn faults_due(&mut self) -> Vec<Command> {
        let now = Instant::now();
        let over = |one: &Lasting| one.until.is_some_and(|until| until <= now);
        let mut due: Vec<_> = (self.faults.lasting.iter().filter(|one| over(one)))
            .map(|one| Command::Lift { fault: one.fault })
            .collect();
        for one in &mut self.faults.lasting {
            // Lifting is a command; it is asked for once.
            one.until = one.until.filter(|until| *until > now);
        }
        self.faults.later.retain(|(at, command)| {
            let is_due = *at <= now;
            if is_due {
                due.push(command.clone());
            }
            !is_due
        });
        let turning: Vec<_> = (0..self.faults.lasting.len())
            .filter(|place| self.faults.lasting[*place].turn_at.is_some_and(|at| at <= now))
            .collect();
        for place in turning {
            self.turn_of(place, now).await;
        }
        due
    }

    async fn turn_of(&mut self, place: usize, now: Instant) {
        let one = &mut self.faults.lasting[place];
        one.is_bad = !one.is_bad;
        let (fault, is_bad) = (one.fault, one.is_bad);
        if let Fault::Flapping { up_millis, down_millis, .. }
        | Fault::Restarting { up_millis, down_millis, .. } = fault
        {
            let millis = if is_bad { down_millis } else { up_millis };
            one.turn_at = Some(now + Duration::from_millis(u64::from(millis)));
        }
        match fault {
            Fault::Flapping { link, .. } => {
                let condition = if is_bad { LinkCondition::Cut } else { LinkCondition::Open };
                self.parts.fabric.set(link, condition);
            }
            Fault::Restarting { member, .. } => {
                let runs = self.running().contains(&member);
                match (is_bad, runs) {
                    (true, true) => self.parts.supervisor.order(Order::Crash(member)).await,
                    (false, false) => self.start_or_say(member).await,
                    (true, false) | (false, true) => {}
                }
            }
            _ => {}
        }
    }

    async fn start_or_say(&mut self, member: MemberNo) {
        if let Err(why) = self.start(member).await {
            self.append(Event::Note { text: why });
        }
    }

    /// Before a member starts: what its disk and its clocks suffer from is left for it.
    pub(super) async fn leave_faults(&mut self, member: MemberNo) -> Result<(), String> {
        let orders = self.faults.orders_of(member);
        if orders.is_empty() || !self.takes_orders() {
            return Ok(());
        }
        let socket = self.parts.directory.control_socket(member);
        let left =
            blocking(move || orders.iter().try_for_each(|order| control::leave(&socket, order)));
        left.await.map_err(|error| format!("{member}'s faults could not be left for it: {error}"))
    }

    /// A process runs: what starves it goes on.
    pub(super) async fn starve_again(&mut self, member: MemberNo) {
        let starved = self.faults.lasting.iter().find_map(|one| match one.fault {
            Fault::Starved { member: of, percent } if of == member => Some(percent),
            _ => None,
        });
        if let Some(percent) = starved {
            let percent = Some(percent);
            self.parts.supervisor.order(Order::Starve { member, percent }).await;
        }
    }

    /// Takes everything off, at the end of the lab or of a cluster.
    pub(super) async fn end_faults(&mut self) {
        self.faults.later.clear();
        // Every process that a strace holds is let go.
        self.faults.tracers = None;
        while let Some(Lasting { fault, .. }) = self.faults.lasting.pop() {
            if let (Some(order), Some(member)) = (control::ends(fault), fault.member())
                && self.takes_orders()
            {
                let socket = self.parts.directory.control_socket(member);
                // Whoever does not answer is killed soon.
                timeout(LAST_ANSWER, control::give(&socket, &order, LAST_ANSWER)).await.ok();
            }
            if let Fault::Starved { member, .. } = fault {
                self.parts.supervisor.order(Order::Starve { member, percent: None }).await;
            }
            self.append(Event::FaultEnded { fault });
        }
        self.heeding.abort_all();
    }

    /// What a member that runs is told, and what is said then.
    pub(super) fn control(
        &mut self,
        id: CommandId,
        member: MemberNo,
        order: ControlOrder,
    ) -> Result<Option<Await>, String> {
        if !self.takes_orders() {
            let engine = &self.parts.engine_version;
            return Err(format!("{engine} has no control socket"));
        }
        let then = match &order {
            ControlOrder::ClockJump { millis } => {
                let how = ClockMove::Jumped { millis: *millis };
                Some(Event::ClockMoved { member, how })
            }
            ControlOrder::Tick { count } => {
                let how = ClockMove::Ticked { ticks: *count };
                Some(Event::ClockMoved { member, how })
            }
            ControlOrder::Timers { ticks } => Some(Event::TimersSet { member, ticks: *ticks }),
            _ => None,
        };
        self.tell_member(id, member, order, then);
        Ok(Some(Await::Heeded(id, member)))
    }

    /// Damages a file of a member that does not run.
    pub(super) async fn damage_member(
        &mut self,
        member: MemberNo,
        file: MemberFile,
        damage: Damage,
    ) -> Result<(), String> {
        let own = self.parts.directory.data_place(member);
        let data_dir = self.data_dirs.get(&member).cloned().unwrap_or(own);
        let files = self.parts.engine.files();
        let place = blocking(move || -> Result<PathBuf, String> {
            let path = files.find(&data_dir, file)?;
            spoil(&path, damage)
                .map_err(|error| format!("{} cannot be damaged: {error}", path.display()))?;
            Ok(path.strip_prefix(&data_dir).unwrap_or(&path).to_owned())
        });
        let path = place.await?.display().to_string();
        self.append(Event::FileDamaged { member, file, damage, path });
        Ok(())
    }

    /// The end of this process is asked for, though nobody sends it a signal.
    pub(super) fn expect_end(&mut self, member: MemberNo) {
        self.ending.insert(member);
    }
}

/// Bytes that a disk keeps, and loses, together.
const BLOCK: usize = 4096;

/// Damages what was written of a file: behind it there may be zeros in reserve. A bit is flipped in
/// each block, for some of them nobody reads any more.
fn spoil(path: &std::path::Path, damage: Damage) -> std::io::Result<()> {
    let mut bytes = std::fs::read(path)?;
    let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    if written == 0 {
        return Err(std::io::Error::other("nothing was written to it yet"));
    }
    match damage {
        Damage::BitFlip => {
            for block in bytes.chunks_mut(BLOCK) {
                let place = block.iter().rposition(|byte| *byte != 0).map_or(0, |last| last / 2);
                if block[place..].iter().any(|byte| *byte != 0) {
                    block[place] ^= 1;
                }
            }
        }
        Damage::Truncate => bytes.truncate(written - (written / 3).max(1)),
    }
    // In its place: who holds it open would not see another file of its name.
    std::fs::write(path, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_done_where_something_was_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        std::fs::write(&path, [7, 7, 7, 7, 7, 7, 0, 0, 0, 0]).expect("written");
        spoil(&path, Damage::BitFlip).expect("damaged");
        assert_eq!(std::fs::read(&path).expect("read"), [7, 7, 6, 7, 7, 7, 0, 0, 0, 0]);
        spoil(&path, Damage::Truncate).expect("damaged");
        assert_eq!(std::fs::read(&path).expect("read"), [7, 7, 6, 7]);
        std::fs::write(&path, [0; 4]).expect("written");
        assert!(spoil(&path, Damage::BitFlip).is_err());
    }
}
