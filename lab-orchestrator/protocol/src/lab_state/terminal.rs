//! What was typed at the terminal, and what came of it.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::{Command, CommandId, Event, Said};

/// Lines that are remembered.
const LINES: usize = 100;

/// The terminal's lines, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Terminal {
    lines: VecDeque<TerminalLine>,
}

/// A line, and how far it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TerminalLine {
    /// The command that it is.
    pub id: CommandId,
    /// When it was typed, microseconds since the run began.
    pub at_micros: u64,
    /// As typed.
    pub line: String,
    /// What came of it; none while it goes on.
    pub end: Option<LineEnd>,
}

/// How a line ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum LineEnd {
    /// It was carried out.
    Said(Said),
    /// It cannot be, and why.
    Refused(String),
    /// It was carried out and says nothing: a member was started.
    Done,
}

impl Terminal {
    /// The lines, the oldest first.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = &TerminalLine> {
        self.lines.iter()
    }

    /// Folds an event in.
    pub(super) fn observe(&mut self, at_micros: u64, event: &Event) {
        match event {
            Event::Asked { id, command: Command::Type { line }, .. } => {
                if self.lines.len() == LINES {
                    self.lines.pop_front();
                }
                let line = line.clone();
                self.lines.push_back(TerminalLine { id: *id, at_micros, line, end: None });
            }
            Event::Said(said) => self.end(said.id, LineEnd::Said(said.as_ref().clone())),
            Event::Done { id } => self.end(*id, LineEnd::Done),
            Event::Refused { id, why } => self.end(*id, LineEnd::Refused(why.clone())),
            _ => {}
        }
    }

    fn end(&mut self, id: CommandId, end: LineEnd) {
        let open = |line: &&mut TerminalLine| line.id == id && line.end.is_none();
        if let Some(line) = self.lines.iter_mut().rev().find(open) {
            line.end = Some(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::By;

    #[test]
    fn lines_end_as_they_do_and_few_are_kept() {
        let mut terminal = Terminal::default();
        for id in 0..=LINES as u64 {
            let command = Command::Type { line: format!("line {id}") };
            terminal.observe(id, &Event::Asked { id: CommandId(id), by: By::Page, command });
        }
        assert_eq!(terminal.lines().count(), LINES);
        let said = Said { id: CommandId(7), out: "o".into(), errors: String::new(), code: 0 };
        terminal.observe(200, &Event::Said(Box::new(said.clone())));
        terminal.observe(201, &Event::Refused { id: CommandId(8), why: "w".into() });
        terminal.observe(202, &Event::Refused { id: CommandId(7), why: "too late".into() });
        let end =
            |id| terminal.lines().find(|line| line.id == CommandId(id)).expect("kept").end.clone();
        assert_eq!(end(7), Some(LineEnd::Said(said)));
        assert_eq!(end(8), Some(LineEnd::Refused("w".into())));
        assert_eq!(end(9), None);
        terminal.observe(203, &Event::Done { id: CommandId(9) });
        terminal.observe(203, &Event::Done { id: CommandId(7) });
        let end =
            |id| terminal.lines().find(|line| line.id == CommandId(id)).expect("kept").end.clone();
        assert_eq!(end(9), Some(LineEnd::Done), "a start says nothing");
        assert!(matches!(end(7), Some(LineEnd::Said(_))));
    }
}
