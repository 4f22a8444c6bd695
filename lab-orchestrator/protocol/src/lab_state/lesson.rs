//! The lesson that somebody takes: the fold of its events.

use serde::{Deserialize, Serialize};

use crate::{Command, CommandId, Event, Guess, LessonBrief, LessonEvent, Reveal};

/// A lesson that is taken, or was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LessonState {
    /// What was asked.
    pub brief: LessonBrief,
    /// What is predicted by a command that is not granted yet.
    asked: Option<(CommandId, Vec<Guess>)>,
    /// What was predicted, in the order of the questions.
    pub guesses: Option<Vec<Guess>>,
    /// Since when it runs.
    pub began_at_micros: Option<u64>,
    /// What was so.
    pub reveal: Option<Reveal>,
}

impl LessonState {
    /// Folds an event into the lesson that is taken, if one is.
    pub(super) fn observe(lesson: &mut Option<Self>, at_micros: u64, event: &Event) {
        if let Event::Lesson(LessonEvent::Opened(brief)) = event {
            *lesson = Some(Self {
                brief: brief.as_ref().clone(),
                asked: None,
                guesses: None,
                began_at_micros: None,
                reveal: None,
            });
        }
        let Some(lesson) = lesson else { return };
        match event {
            Event::Asked { id, command: Command::Predict { guesses }, .. } => {
                lesson.asked = Some((*id, guesses.clone()));
            }
            Event::Done { id } => {
                if let Some((_, guesses)) = lesson.asked.take_if(|(asked, _)| asked == id) {
                    lesson.guesses = Some(guesses);
                }
            }
            Event::Lesson(LessonEvent::Began) => lesson.began_at_micros = Some(at_micros),
            Event::Lesson(LessonEvent::Revealed(reveal)) => {
                lesson.reveal = Some(reveal.as_ref().clone());
            }
            _ => {}
        }
    }

    /// Why these guesses cannot be taken, if they cannot.
    ///
    /// # Errors
    ///
    /// They are too late, too many or too few, or answer other questions.
    pub fn takes(&self, guesses: &[Guess]) -> Result<(), String> {
        if self.guesses.is_some() {
            return Err("the predictions are made; the run shows what they are worth".to_owned());
        }
        let questions = &self.brief.questions;
        if guesses.len() != questions.len() {
            return Err(format!("there are {} questions; answer or skip each", questions.len()));
        }
        for (question, guess) in questions.iter().zip(guesses) {
            if !guess.prediction.answers(&question.kind) || guess.confidence_percent > 100 {
                return Err(format!("that is no answer to `{}`: {}", question.id, question.ask));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{By, Prediction, Question, QuestionKind};

    #[test]
    fn predictions_count_once_they_are_granted() {
        let mut lesson = None;
        let kind = QuestionKind::Member;
        let questions = vec![Question { id: "who".into(), ask: "Who leads?".into(), kind }];
        let brief = LessonBrief { title: "t".into(), hook: "h".into(), questions };
        let opened = Event::Lesson(LessonEvent::Opened(Box::new(brief)));
        LessonState::observe(&mut lesson, 1, &opened);
        let guess = |prediction| Guess { prediction, confidence_percent: 50 };
        let open = lesson.clone().expect("open");
        assert!(open.takes(&[]).is_err());
        assert!(open.takes(&[guess(Prediction::Choice(0))]).expect_err("no").contains("`who`"));
        let guesses = vec![guess(Prediction::Member(None))];
        assert_eq!(open.takes(&guesses), Ok(()));
        let asked = |id, guesses: &Vec<Guess>| Event::Asked {
            id: CommandId(id),
            by: By::Page,
            command: Command::Predict { guesses: guesses.clone() },
        };
        LessonState::observe(&mut lesson, 2, &asked(1, &vec![]));
        LessonState::observe(&mut lesson, 3, &asked(2, &guesses));
        LessonState::observe(&mut lesson, 3, &Event::Done { id: CommandId(2) });
        let made = lesson.expect("open");
        assert_eq!(made.guesses.as_deref(), Some(&guesses[..]));
        assert!(made.takes(&guesses).is_err(), "only once");
    }
}
