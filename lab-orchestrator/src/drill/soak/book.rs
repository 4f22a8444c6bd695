//! The book: a reader of the journal that keeps what the present window needs, and what is drawn.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use lab_check::{Check, Enough, Prologue, checks_of_window};
use lab_protocol::recording::About;
use lab_protocol::{CheckResult, Command, Event, MemberNo, Numbered, ReadBack};

use crate::journal::{FollowError, Follower};
use crate::report::Figures;

/// Events that are taken at a time, so that others come to run between.
const BATCH: usize = 4_096;

/// What was read so far.
#[derive(Default)]
pub(super) struct Book {
    /// The last event.
    pub(super) seq: u64,
    pub(super) about: Option<About>,
    pub(super) figures: Figures,
    /// The last reading of all keys, by each member that answered.
    pub(super) read: BTreeMap<MemberNo, ReadBack>,
    prologue: Prologue,
    checks: Vec<Box<dyn Check>>,
    /// The operations of this window and what was read back, to be kept should it fail.
    pub(super) kept: Vec<Arc<Numbered>>,
}

/// Shared by who reads and who asks, which are one task.
pub(super) type Shared = Rc<RefCell<Book>>;

impl Book {
    /// A window begins: with the last reading, unless it is the first.
    pub(super) fn begin_window(&mut self, enough: Enough) {
        // All that answered read the same, or the window before would have failed.
        let beginning = self.read.values().next();
        self.checks = checks_of_window(&self.prologue, beginning, enough);
        self.kept.clear();
    }

    /// The window ends: what its checks make of it.
    pub(super) fn end_window(&mut self) -> Vec<CheckResult> {
        let checks = std::mem::take(&mut self.checks);
        checks.iter().map(|check| check.verdict()).collect()
    }

    fn take(&mut self, numbered: &Arc<Numbered>) {
        self.seq = numbered.seq;
        if let Some(about) = About::of(&numbered.event) {
            self.about = Some(about);
        }
        match &numbered.event {
            // Who was removed meanwhile is not read again.
            Event::Asked { command: Command::ReadBack, .. } => self.read.clear(),
            Event::ReadBack(read) if read.failed.is_empty() => {
                self.read.insert(read.member, read.as_ref().clone());
            }
            _ => {}
        }
        self.figures.observe(numbered);
        self.checks.iter_mut().for_each(|check| check.observe(numbered));
        self.prologue.observe(numbered);
        let kept = matches!(
            numbered.event,
            Event::Invoked { .. } | Event::Returned { .. } | Event::ReadBack(_)
        );
        if kept && !self.checks.is_empty() {
            self.kept.push(numbered.clone());
        }
    }
}

/// Reads the journal until it ends.
///
/// Errors: the journal was faster.
pub(super) async fn follow(mut follower: Follower, book: Shared) -> Result<(), FollowError> {
    loop {
        match follower.ready().await {
            Ok(()) => {}
            Err(FollowError::Ended) => return Ok(()),
            Err(error) => return Err(error),
        }
        let events = follower.take(BATCH)?;
        {
            let mut book = book.borrow_mut();
            events.iter().for_each(|event| book.take(event));
        }
        tokio::task::yield_now().await;
    }
}
