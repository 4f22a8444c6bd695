//! Texts that are made once and drawn many times.

use std::collections::BTreeMap;
use std::rc::Rc;

use lab_protocol::MemberNo;

/// Texts kept before all are forgotten; a screen shows a few hundred.
const KEPT: usize = 4_096;

/// What a kept text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Number(u64),
    Term(u64),
    Member(u8),
    Rate(u32),
    Seconds(u64),
}

/// The store of texts.
#[derive(Debug, Default)]
pub struct Labels {
    kept: BTreeMap<Key, Rc<str>>,
}

impl Labels {
    /// A plain number.
    pub fn number(&mut self, number: u64) -> Rc<str> {
        self.keep(Key::Number(number), || number.to_string())
    }

    /// `term 8`.
    pub fn term(&mut self, term: u64) -> Rc<str> {
        self.keep(Key::Term(term), || format!("term {term}"))
    }

    /// `m1`.
    pub fn member(&mut self, no: MemberNo) -> Rc<str> {
        self.keep(Key::Member(no.0), || no.to_string())
    }

    /// `212/s`.
    pub fn rate(&mut self, per_second: u32) -> Rc<str> {
        self.keep(Key::Rate(per_second), || format!("{per_second}/s"))
    }

    /// `15 s` or `2:05`.
    pub fn seconds(&mut self, seconds: u64) -> Rc<str> {
        self.keep(Key::Seconds(seconds), || match seconds {
            0..60 => format!("{seconds} s"),
            60..3_600 => format!("{}:{:02}", seconds / 60, seconds % 60),
            _ => format!("{}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60),
        })
    }

    fn keep(&mut self, key: Key, make: impl FnOnce() -> String) -> Rc<str> {
        if self.kept.len() > KEPT {
            self.kept.clear();
        }
        Rc::clone(self.kept.entry(key).or_insert_with(|| make().into()))
    }
}
