//! A lesson as somebody takes it: what they are asked, what they predict, and what was so.
//!
//! ```text
//!  Opened ── Command::Predict ──► Began ── the run ──► Revealed
//! ```
//!
//! What was so is computed from the run's own journal, never from the scenario's file.

use serde::{Deserialize, Serialize};

use crate::MemberNo;

/// What happens to a lesson.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LessonEvent {
    /// What it is about and what is asked; nothing runs before that was answered.
    Opened(Box<LessonBrief>),
    /// Every question was answered or skipped: the run begins.
    Began,
    /// The run has ended: what was predicted, what was so, and why.
    Revealed(Box<Reveal>),
}

/// What somebody is told before they predict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LessonBrief {
    /// What it is called.
    pub title: String,
    /// What it begins with.
    pub hook: String,
    /// The questions, in their order.
    pub questions: Vec<Question>,
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Its name in the scenario.
    pub id: String,
    /// The question.
    pub ask: String,
    /// How it is answered.
    pub kind: QuestionKind,
}

/// How a question is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum QuestionKind {
    /// By one of these.
    Choice(Vec<String>),
    /// By a number in this unit; empty for a plain number.
    Number(String),
    /// By a member, or nobody.
    Member,
}

/// What somebody predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Prediction {
    /// Nothing: the question was skipped.
    Skipped,
    /// The choice at this place, from 0.
    Choice(u32),
    /// So many thousandths of the unit.
    Thousandths(i64),
    /// This member, or nobody.
    Member(Option<MemberNo>),
}

impl Prediction {
    /// Whether it answers a question of this kind.
    pub fn answers(self, kind: &QuestionKind) -> bool {
        match (self, kind) {
            (Self::Skipped, _)
            | (Self::Thousandths(0..), QuestionKind::Number(_))
            | (Self::Member(_), QuestionKind::Member) => true,
            (Self::Choice(place), QuestionKind::Choice(choices)) => {
                (place as usize) < choices.len()
            }
            (Self::Choice(_) | Self::Thousandths(_) | Self::Member(_), _) => false,
        }
    }

    /// In words.
    pub fn words(self, kind: &QuestionKind) -> String {
        match (self, kind) {
            (Self::Choice(place), QuestionKind::Choice(choices)) => {
                choices.get(place as usize).cloned().unwrap_or_default()
            }
            (Self::Thousandths(thousandths), QuestionKind::Number(unit)) => {
                let number = decimal(thousandths);
                let unit = if number == "1" { unit.trim_end_matches('s') } else { unit };
                if unit.is_empty() { number } else { format!("{number} {unit}") }
            }
            (Self::Member(Some(member)), _) => member.to_string(),
            (Self::Member(None), _) => "nobody".to_owned(),
            (Self::Skipped | Self::Choice(_) | Self::Thousandths(_), _) => "skipped".to_owned(),
        }
    }
}

/// Thousandths as a number with a tenth, if it has one.
fn decimal(thousandths: i64) -> String {
    let tenths = (thousandths + 50).div_euclid(100);
    match tenths.rem_euclid(10) {
        0 => format!("{}", tenths.div_euclid(10)),
        tenth => format!("{}.{tenth}", tenths.div_euclid(10)),
    }
}

/// A prediction, and how sure somebody is of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guess {
    /// What they predict.
    pub prediction: Prediction,
    /// How sure they are, 0 to 100.
    pub confidence_percent: u8,
}

/// What was so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reveal {
    /// For each question, in their order.
    pub answers: Vec<Revealed>,
    /// Why.
    pub explain: String,
    /// What many believe, and what is wrong with it.
    pub misconception: String,
}

/// What was so of one question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revealed {
    /// The question's name.
    pub id: String,
    /// What was predicted.
    pub guess: Guess,
    /// What this run did; `None` if it does not tell.
    pub was: Option<Prediction>,
    /// What was counted, in words.
    pub because: String,
    /// The events it was seen in, by their numbers.
    pub evidence: Vec<u64>,
    /// How near the prediction was.
    pub grade: Grade,
}

/// How near a prediction was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grade {
    /// It was so, within the tolerance.
    Right,
    /// Within twice the tolerance.
    Close,
    /// It was otherwise.
    Wrong,
    /// Nothing was predicted.
    Skipped,
    /// The run does not tell.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prediction_answers_its_kind_of_question_only() {
        let choice = QuestionKind::Choice(vec!["none".into(), "some".into()]);
        let number = QuestionKind::Number("terms".into());
        assert!(Prediction::Choice(1).answers(&choice) && !Prediction::Choice(2).answers(&choice));
        assert!(!Prediction::Choice(0).answers(&number));
        assert!(Prediction::Thousandths(1_500).answers(&number));
        assert!(!Prediction::Thousandths(-1).answers(&number));
        assert!(Prediction::Member(None).answers(&QuestionKind::Member));
        assert!(Prediction::Skipped.answers(&choice));
        assert_eq!(Prediction::Thousandths(1_460).words(&number), "1.5 terms");
        assert_eq!(Prediction::Thousandths(2_000).words(&number), "2 terms");
        assert_eq!(Prediction::Thousandths(1_000).words(&number), "1 term");
        assert_eq!(Prediction::Choice(0).words(&choice), "none");
        assert_eq!(Prediction::Member(Some(MemberNo(2))).words(&QuestionKind::Member), "m2");
    }
}
