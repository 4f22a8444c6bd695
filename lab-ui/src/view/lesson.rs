//! The card of a lesson: what it begins with, what is asked, and once it has run what was so.

use std::rc::Rc;

use lab_protocol::{
    Command, Grade, Guess, LessonState, MemberNo, Prediction, Question, QuestionKind, Revealed,
};
use web_sys::HtmlInputElement;
use yew::prelude::*;

use super::Action;

/// What the card shows.
#[derive(Clone, PartialEq, Properties)]
pub struct LessonProps {
    /// The lesson.
    pub lesson: Rc<LessonState>,
    /// The members that can be predicted.
    pub members: Vec<MemberNo>,
    /// Why no prediction is accepted, or nothing.
    pub closed: Option<&'static str>,
    /// What a person wants.
    pub on_action: Callback<Action>,
}

/// How sure somebody is who says nothing of it, in percent.
const SURE: u8 = 50;

/// What is predicted so far; nothing is `None`.
type Draft = Vec<(Option<Prediction>, u8)>;

/// A draft with a change in it.
fn changed(draft: &UseStateHandle<Draft>, change: impl FnOnce(&mut Draft)) {
    let mut next = (**draft).clone();
    change(&mut next);
    draft.set(next);
}

/// The card.
#[component]
pub fn Lesson(props: &LessonProps) -> Html {
    let LessonProps { lesson, members, closed, on_action } = props;
    let questions = &lesson.brief.questions;
    let count = questions.len();
    let draft: UseStateHandle<Draft> = use_state(|| vec![(None, SURE); count]);
    let body = match (&lesson.guesses, &lesson.reveal) {
        (None, _) => {
            let open = closed.is_none();
            let whole = draft.len() == count && draft.iter().all(|(made, _)| made.is_some());
            let commit = |may: bool, skip: bool| {
                let guesses = draft.iter().map(|(made, sure)| Guess {
                    prediction: made.filter(|_| !skip).unwrap_or(Prediction::Skipped),
                    confidence_percent: *sure,
                });
                let command = Command::Predict { guesses: guesses.collect() };
                match may {
                    true => on_action.reform(move |_: MouseEvent| Action::Ask(command.clone())),
                    false => Callback::noop(),
                }
            };
            let asked = questions.iter().enumerate();
            let asked = asked.map(|(place, question)| ask(place, question, members, &draft));
            html! {
                <>
                    {for asked}
                    <div class="drill-acts">
                        <button type="button" class="button strong" onclick={commit(open && whole, false)}
                            aria-disabled={(!(open && whole)).to_string()} data-lesson="predict">
                            {"Predict, and run"}
                        </button>
                        <button type="button" class="button" onclick={commit(open, true)}
                            aria-disabled={(!open).to_string()} data-lesson="skip">{"Skip"}</button>
                    </div>
                </>
            }
        }
        (Some(guesses), None) => html! {
            <>
                <p role="status">{"It runs. Watch what happens."}</p>
                <ol class="predicted">
                    {for questions.iter().zip(guesses).map(|(question, guess)| html! {
                        <li>{question.ask.clone()}<b>{guess.prediction.words(&question.kind)}</b></li>
                    })}
                </ol>
            </>
        },
        (Some(_), Some(reveal)) => html! {
            <div role="status">
                {for questions.iter().zip(&reveal.answers).map(|(question, answer)| told(question, answer))}
                <h2>{"Why"}</h2>
                <p>{reveal.explain.clone()}</p>
                <h2>{"Many believe"}</h2>
                <p>{reveal.misconception.clone()}</p>
            </div>
        },
    };
    html! {
        <section class="card drill lesson" aria-label="The lesson">
            <div>
                <p class="drill-id">{"Lesson"}</p>
                <h1>{lesson.brief.title.clone()}</h1>
                <p>{lesson.brief.hook.clone()}</p>
            </div>
            {body}
        </section>
    }
}

/// One question, and how sure somebody is.
fn ask(
    place: usize,
    question: &Question,
    members: &[MemberNo],
    draft: &UseStateHandle<Draft>,
) -> Html {
    let Some((made, sure)) = draft.get(place).copied() else { return Html::default() };
    let answers = |prediction, words: String| {
        let draft = draft.clone();
        let onchange = move |_: Event| {
            changed(&draft, |draft| draft[place].0 = Some(prediction));
        };
        html! {
            <label>
                <input type="radio" name={question.id.clone()} {onchange}
                    checked={made == Some(prediction)} data-answer={words.clone()} />
                {format!(" {words}")}
            </label>
        }
    };
    let field = match &question.kind {
        QuestionKind::Choice(choices) => {
            let choices = (0..).zip(choices);
            html! { <>{for choices.map(|(at, words)| answers(Prediction::Choice(at), words.clone()))}</> }
        }
        QuestionKind::Member => {
            let somebody = members.iter().map(|member| Some(*member)).chain([None]);
            let answer = |member: Option<MemberNo>| {
                let words = member.map_or("nobody".to_owned(), |member| member.to_string());
                answers(Prediction::Member(member), words)
            };
            html! { <div class="choice">{for somebody.map(answer)}</div> }
        }
        QuestionKind::Number(unit) => {
            let draft = draft.clone();
            let oninput = move |event: InputEvent| {
                let field = event.target_dyn_into::<HtmlInputElement>();
                let number = field.map_or(f64::NAN, |field| field.value_as_number());
                let thousandths = (number * 1_000.0) as i64;
                let made = (number >= 0.0).then_some(Prediction::Thousandths(thousandths));
                changed(&draft, |draft| draft[place].0 = made);
            };
            html! {
                <label>
                    <input type="number" min="0" step="any" class="field" {oninput}
                        data-answer={question.id.clone()} />
                    {format!(" {unit}")}
                </label>
            }
        }
    };
    let confide = {
        let draft = draft.clone();
        move |event: InputEvent| {
            let field = event.target_dyn_into::<HtmlInputElement>();
            let percent = field.and_then(|field| field.value().parse().ok()).unwrap_or(SURE);
            changed(&draft, |draft| draft[place].1 = percent.min(100));
        }
    };
    html! {
        <fieldset key={question.id.clone()} data-question={question.id.clone()}>
            <legend>{question.ask.clone()}</legend>
            {field}
            <label class="sure">
                {"How sure?"}
                <input type="range" min="0" max="100" step="10" value={sure.to_string()} oninput={confide} />
                <output>{format!("{sure} %")}</output>
            </label>
        </fieldset>
    }
}

/// What was predicted, what was so, and how near that is.
fn told(question: &Question, answer: &Revealed) -> Html {
    let (word, class) = match answer.grade {
        Grade::Right => ("right", "holds"),
        Grade::Close => ("close", "unknown"),
        Grade::Wrong => ("wrong", "fault"),
        Grade::Skipped => ("skipped", "unknown"),
        Grade::Unknown => ("the run does not tell", "unknown"),
    };
    let kind = &question.kind;
    let said = match answer.guess.prediction {
        Prediction::Skipped => String::new(),
        prediction => format!(
            "You said {}, {} % sure. ",
            prediction.words(kind),
            answer.guess.confidence_percent
        ),
    };
    let was = answer.was.map(|was| format!("It was {}.", was.words(kind))).unwrap_or_default();
    html! {
        <div class="revealed" data-revealed={question.id.clone()} data-grade={word}>
            <p><b>{question.ask.clone()}</b></p>
            <p>{said}<b>{was}</b>{" "}<span {class}>{word}</span></p>
            <p class="sub">{format!("Measured: {}.", answer.because)}</p>
        </div>
    }
}
