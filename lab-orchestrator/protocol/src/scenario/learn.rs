//! What makes a scenario a lesson: questions before the run, which the run itself answers.
//!
//! ```text
//!  hook ─► predict, predict, … ─► the run ─► what was so, by measures of its journal ─► explain
//! ```
//!
//! A file never says what the answer is. It says what is *measured*, and a choice says of which
//! measured numbers it is true; so a run that takes the rarer path is judged by what it did.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::nearest;
use crate::{LessonBrief, Question, QuestionKind};

/// The part of a scenario that makes it a lesson.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Learn {
    /// What it begins with, in a sentence or two.
    pub hook: String,
    /// What somebody is asked before anything runs.
    pub predict: Vec<Predict>,
    /// Why it is as it was.
    pub explain: String,
    /// What many believe, and what is wrong with it.
    pub misconception: String,
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Predict {
    /// Its name, once in a lesson.
    pub id: String,
    /// The question.
    pub ask: String,
    /// What of the run answers it.
    pub measure: Measure,
    /// The first and the last step that are measured, from 1; the whole run when left out.
    #[serde(default)]
    pub steps: Option<(u32, u32)>,
    /// What can be chosen.
    #[serde(default)]
    pub choices: Vec<Choice>,
    /// How near a number has to be.
    #[serde(default)]
    pub number: Option<NumberWish>,
}

/// One choice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// What it says.
    pub say: String,
    /// Of which measured numbers it is true.
    pub when: Range,
}

/// A number that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NumberWish {
    /// How far from what was measured a right answer may be, in the measure's unit.
    #[serde(default)]
    pub tolerance: Thousandths,
}

/// A number to a thousandth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "f64", into = "f64")]
pub struct Thousandths(pub i64);

impl TryFrom<f64> for Thousandths {
    type Error = String;

    fn try_from(number: f64) -> Result<Self, String> {
        match (0.0..=1e9).contains(&number) {
            true => Ok(Self((number * 1_000.0).round() as i64)),
            false => Err(format!("a tolerance is a number from 0 on, not {number}")),
        }
    }
}

impl From<Thousandths> for f64 {
    fn from(number: Thousandths) -> Self {
        number.0 as f64 / 1_000.0
    }
}

/// Whole numbers from one to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct Range {
    text: String,
    from: i64,
    to: i64,
}

impl Range {
    /// Whether a number is in it.
    pub fn has(&self, number: i64) -> bool {
        (self.from..=self.to).contains(&number)
    }
}

impl TryFrom<String> for Range {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number = |word: &str| word.trim().parse::<u32>().ok().map(i64::from);
        let range = match text.trim() {
            "no" => Some((0, 0)),
            "yes" => Some((1, i64::MAX)),
            words => number(words)
                .map(|only| (only, only))
                .or_else(|| Some((number(words.strip_suffix("or more")?)?, i64::MAX)))
                .or_else(|| Some((0, number(words.strip_prefix("at most")?)?)))
                .or_else(|| {
                    let (from, to) = words.split_once(" to ")?;
                    Some((number(from)?, number(to)?))
                }),
        };
        match range.filter(|(from, to)| from <= to) {
            Some((from, to)) => Ok(Self { text, from, to }),
            None => Err(format!(
                "in `{text}`: say a number, `3 or more`, `at most 3`, `2 to 4`, `yes` or `no`"
            )),
        }
    }
}

impl From<Range> for String {
    fn from(range: Range) -> Self {
        range.text
    }
}

/// What kind of answer a measure gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gives {
    /// A member, or nobody.
    Member,
    /// A number of these.
    Number(&'static str),
    /// 1 for yes, 0 for no.
    YesOrNo,
}

macro_rules! measures {
    ($($(#[$doc:meta])* $name:ident $words:literal: $gives:expr,)*) => {
        /// What of a run's journal answers a question.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(try_from = "String", into = "String")]
        pub enum Measure {
            $($(#[$doc])* $name,)*
        }

        impl Measure {
            /// The words for each, as a scenario says them.
            pub const WORDS: &[&str] = &[$($words),*];

            /// Its words.
            pub fn words(self) -> &'static str {
                match self {
                    $(Self::$name => $words,)*
                }
            }

            /// What kind of answer it gives.
            pub fn gives(self) -> Gives {
                match self {
                    $(Self::$name => $gives,)*
                }
            }
        }

        impl TryFrom<String> for Measure {
            type Error = String;

            fn try_from(words: String) -> Result<Self, String> {
                match words.as_str() {
                    $($words => Ok(Self::$name),)*
                    _ => {
                        let known = Self::WORDS.join("`, `");
                        let near = match nearest(&words, Self::WORDS) {
                            Some(near) => format!("; did you mean `{near}`?"),
                            None => String::new(),
                        };
                        Err(format!("in `{words}`: nobody measures that; measures are `{known}`{near}"))
                    }
                }
            }
        }
    };
}

measures! {
    /// Who leads when everything is over.
    LeaderAtEnd "leader at the end": Gives::Member,
    /// Whether somebody else leads at the end than at the first step.
    LeaderChanged "leader changed": Gives::YesOrNo,
    /// By how much the highest term has risen.
    TermsRisen "terms risen": Gives::Number("terms"),
    /// How often somebody became leader.
    Elections "elections": Gives::Number("elections"),
    /// The most members that said they lead, at the same time.
    LeadersAtOnce "leaders at once": Gives::Number("members"),
    /// Members that run and know no leader, when the last of the steps ends.
    WithoutLeader "members without a leader": Gives::Number("members"),
    /// The longest time without an acknowledged write.
    LongestGap "longest gap": Gives::Number("election timeouts"),
    /// Acknowledged writes.
    WritesAcknowledged "writes acknowledged": Gives::Number("writes"),
    /// Writes that ended without a certain outcome.
    WritesUnknown "writes unknown": Gives::Number("writes"),
    /// Writes that were acknowledged and are gone at the end.
    WritesLost "writes lost": Gives::Number("writes"),
    /// Members that run at the end and are of the cluster that the run began with.
    OldIdentities "members of the old cluster": Gives::Number("members"),
}

impl From<Measure> for String {
    fn from(measure: Measure) -> Self {
        measure.words().to_owned()
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

impl Predict {
    /// How it is answered.
    pub fn kind(&self) -> QuestionKind {
        match (self.measure.gives(), self.number) {
            (Gives::Member, _) => QuestionKind::Member,
            (Gives::Number(unit), Some(_)) => QuestionKind::Number(unit.to_owned()),
            (Gives::Number(_) | Gives::YesOrNo, _) => {
                QuestionKind::Choice(self.choices.iter().map(|choice| choice.say.clone()).collect())
            }
        }
    }

    /// What does not fit together in it, of so many steps.
    fn complaint(&self, steps: usize) -> Option<String> {
        let (measure, gives) = (self.measure, self.measure.gives());
        let asks = (gives, self.choices.len(), self.number.is_some());
        let why = match asks {
            (Gives::Member, 0, false) | (Gives::Number(_), 0, true) => None,
            (Gives::Number(_) | Gives::YesOrNo, 2.., false) => None,
            (Gives::Member, ..) => {
                Some("is a member: it has neither `choices` nor a `number`".to_owned())
            }
            (Gives::YesOrNo, ..) => {
                Some("is yes or no: give at least two `choices`, and no `number`".to_owned())
            }
            (Gives::Number(_), ..) => {
                Some("is a number: give either a `number` or at least two `choices`".to_owned())
            }
        };
        if let Some(why) = why {
            return Some(format!("`{measure}` {why}"));
        }
        match self.steps {
            Some((from, to)) if from == 0 || from > to || to as usize > steps => Some(format!(
                "there are no steps {from} to {to}; steps are counted from 1 to {steps}"
            )),
            _ => None,
        }
    }
}

impl Learn {
    /// What somebody is told and asked.
    pub fn brief(&self, title: &str) -> LessonBrief {
        let question = |predict: &Predict| Question {
            id: predict.id.clone(),
            ask: predict.ask.clone(),
            kind: predict.kind(),
        };
        LessonBrief {
            title: title.to_owned(),
            hook: self.hook.clone(),
            questions: self.predict.iter().map(question).collect(),
        }
    }

    /// What does not fit together in it: the words it is about, and why.
    pub fn complaint(&self, steps: usize) -> Option<(String, String)> {
        if self.predict.is_empty() {
            let why = "a lesson asks something: give it at least one [[learn.predict]]";
            return Some(("[learn]".to_owned(), why.to_owned()));
        }
        for (place, predict) in self.predict.iter().enumerate() {
            if self.predict[..place].iter().any(|other| other.id == predict.id) {
                let why = "each question has a name of its own".to_owned();
                return Some((predict.id.clone(), why));
            }
            if let Some(why) = predict.complaint(steps) {
                return Some((predict.id.clone(), why));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn predict(text: &str) -> Predict {
        toml::from_str(&format!("id = \"i\"\nask = \"a\"\n{text}")).expect(text)
    }

    #[test]
    fn ranges_are_read() {
        for (text, inside, outside) in [
            ("0", 0, 1),
            ("3 or more", 4, 2),
            ("at most 3", 0, 4),
            ("2 to 4", 4, 5),
            ("yes", 1, 0),
            ("no", 0, 1),
        ] {
            let range = Range::try_from(text.to_owned()).expect(text);
            assert!(range.has(inside) && !range.has(outside), "{text}");
        }
        for text in ["", "some", "4 to 2", "-1", "more"] {
            assert!(Range::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_question_is_asked_as_its_measure_answers() {
        let who = predict("measure = \"leader at the end\"");
        assert_eq!((who.kind(), who.complaint(3)), (QuestionKind::Member, None));
        let gap =
            predict("measure = \"longest gap\"\nnumber = { tolerance = 0.5 }\nsteps = [2, 3]");
        assert_eq!(gap.kind(), QuestionKind::Number("election timeouts".into()));
        assert_eq!(gap.number.map(|number| number.tolerance), Some(Thousandths(500)));
        assert_eq!(gap.complaint(3), None);
        assert!(gap.complaint(2).expect("too few").contains("no steps 2 to 3"));
        let lost = predict(
            "measure = \"writes lost\"\n\
             choices = [{ say = \"none\", when = \"0\" }, { say = \"some\", when = \"1 or more\" }]",
        );
        assert_eq!(lost.kind(), QuestionKind::Choice(vec!["none".into(), "some".into()]));
        let nothing = predict("measure = \"writes lost\"");
        assert!(nothing.complaint(3).expect("no").contains("either a `number` or"));
        let both = predict("measure = \"leader at the end\"\nnumber = {}");
        assert!(both.complaint(3).expect("no").contains("is a member"));
    }

    #[test]
    fn what_nobody_measures_is_named() {
        let error = Measure::try_from("writes lots".to_owned()).expect_err("no");
        assert!(error.contains("did you mean `writes lost`?"), "{error}");
        for words in Measure::WORDS {
            assert_eq!(Measure::try_from((*words).to_owned()).expect(words).words(), *words);
        }
    }
}
