//! The root: owns the store and what a person looks at, and hands summaries down.

use std::cell::RefCell;
use std::rc::Rc;

use lab_protocol::{
    Command, Link, LinkCondition, MemberNo,
    terminal::{LineEnd, TerminalLine},
};
use wasm_bindgen::{JsCast as _, closure::Closure};
use web_sys::{Element, KeyboardEvent, Window};
use yew::prelude::*;

use crate::{
    feed::{Feed, page_millis},
    model::{Connection, Store, Summary},
    scene::Theme,
    view::{
        Action, Deed, Deeds,
        break_panel::{BreakPanel, PartitionEditor},
        clients::Clients,
        drill::Drill,
        faults::Faults,
        frames::{self, Frames, Gaze, Pointing},
        lesson::Lesson,
        marks::told,
        right::Right,
        stage::Stage,
        states::NoSession,
        step::Step,
        tape_bar::TapeBar,
        top::Top,
    },
};

/// How often the panels look at the store.
const TICK_MILLIS: i32 = 100;

/// Where the theme is remembered.
const THEME_KEY: &str = "raftlab.theme";

/// The page.
pub struct App {
    store: Rc<RefCell<Store>>,
    gaze: Rc<RefCell<Gaze>>,
    frames: Rc<RefCell<Option<Frames>>>,
    feed: Option<Feed>,
    summary: Rc<Summary>,
    version: u64,
    pointing: Pointing,
    listeners: Vec<Listener>,
    /// Media queries that are listened to; a list that is dropped is silent.
    preferences: Vec<web_sys::MediaQueryList>,
    editing: bool,
    deeds: Deeds,
    /// A deed whose button is given the focus when the panel is drawn.
    wanted: Option<Deed>,
    drawer: bool,
    terminal: bool,
    /// Whether the recovery is shown, once a person chose.
    recovering: Option<bool>,
    typing: Typing,
    embed: bool,
    /// A drill has ended since the page was drawn.
    told_end: bool,
    back_micros: u64,
    held: bool,
    shown: TapeShown,
    renamed_micros: u64,
    spoken: u64,
    speech: String,
}

/// Lines that are still to be typed, one after the other.
#[derive(Debug, Default)]
struct Typing {
    /// Those that wait, the last one first.
    lines: Vec<String>,
    /// The one that was typed last, and the newest line before it.
    typed: Option<(u64, String)>,
}

/// What the tape's bar shows of the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct TapeShown {
    now_deciseconds: u64,
    oldest_micros: u64,
}

/// What happens to the page.
#[derive(Debug)]
pub enum Msg {
    /// A tenth of a second has passed.
    Tick,
    /// Something a person wants.
    Act(Action),
    /// A key was pressed.
    Key(KeyboardEvent),
    /// The page can be seen again, or no longer.
    Visible(bool),
    /// The system prefers another theme, or less motion, than before.
    Preferences,
}

/// Asks whether the system prefers a dark page.
const DARK: &str = "(prefers-color-scheme: dark)";

/// Asks whether the system prefers little motion.
const STILL: &str = "(prefers-reduced-motion: reduce)";

/// A callback of the document or a timer, held as long as the page.
struct Listener {
    _closure: Closure<dyn FnMut(web_sys::Event)>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("App")
    }
}

impl Component for App {
    type Message = Msg;
    type Properties = ();

    fn create(ctx: &Context<Self>) -> Self {
        let store = Rc::new(RefCell::new(Store::default()));
        let gaze = Rc::new(RefCell::new(Gaze::default()));
        let frames = Rc::new(RefCell::new(None));
        let act = ctx.link().callback(Msg::Act);
        let pointing = frames::pointing(&frames, &gaze, &act);
        Self {
            store,
            gaze,
            frames,
            feed: None,
            summary: Rc::new(Summary::default()),
            version: 0,
            pointing,
            listeners: Vec::new(),
            preferences: Vec::new(),
            editing: false,
            deeds: Deeds::default(),
            wanted: None,
            drawer: false,
            terminal: false,
            recovering: None,
            typing: Typing::default(),
            embed: false,
            told_end: false,
            back_micros: 0,
            held: false,
            shown: TapeShown::default(),
            renamed_micros: 0,
            spoken: 0,
            speech: String::new(),
        }
    }

    fn update(&mut self, _ctx: &Context<Self>, msg: Msg) -> bool {
        match msg {
            Msg::Tick => self.tick(),
            Msg::Act(action) => self.act(action),
            Msg::Key(event) => self.key(&event),
            Msg::Visible(visible) => {
                if let (true, Some(feed)) = (visible, &self.feed) {
                    feed.resync();
                }
                false
            }
            Msg::Preferences => {
                self.follow_preferences();
                true
            }
        }
    }

    fn view(&self, ctx: &Context<Self>) -> Html {
        if self.summary.connection == Connection::NoSession {
            return html! { <NoSession /> };
        }
        let act = ctx.link().callback(Msg::Act);
        let summary = &self.summary;
        let gaze = self.gaze.borrow();
        let selected = gaze.selected;
        let closed = self.closed();
        let members = summary.taking_part();
        let class = classes!(
            "lab",
            self.drawer.then_some("drawer"),
            self.embed.then_some("embed"),
            summary.is_fogged().then_some("fogged"),
        );
        let leader = summary.leader.map(|(no, _)| no);
        let recovering = self.recovering.unwrap_or(true) && !summary.recovery.is_empty();
        html! {
            <div {class}>
                <Top run={summary.run.clone()} drill={summary.drill.clone()} cluster={summary.cluster} theme={gaze.theme}
                    connection={summary.connection} may_command={summary.may_command}
                    drawer={self.drawer} terminal={self.terminal} on_action={act.clone()} />
                <aside class="left" aria-label="What to do">
                    if let Some(lesson) = summary.lesson.clone() {
                        <Lesson {lesson} members={members.clone()} closed={self.unheard()}
                            on_action={act.clone()} />
                    }
                    if let Some(drill) = summary.drill.clone() {
                        <Drill {drill} {closed} on_action={act.clone()} />
                    }
                    if !summary.is_fogged() {
                        <Now leader={summary.leader} known={summary.known} lost={summary.quorum.lost}
                            faults={summary.faults} />
                    }
                    <BreakPanel members={summary.members.clone()} {selected} {closed}
                        faults={summary.faults} editing={self.editing} deeds={self.deeds}
                        refused={summary.refused.clone()} on_action={act.clone()} />
                    if self.deeds == Deeds::Break {
                        <Faults members={members.clone()} {selected} {closed}
                            active={summary.active.clone()} on_action={act.clone()} />
                        if !summary.is_fogged() {
                            <Step step={summary.step.clone()} workload={summary.workload.clone()}
                                {closed} on_action={act.clone()} />
                        }
                    }
                    if self.editing {
                        <PartitionEditor members={members.clone()} {leader} {closed}
                            on_action={act.clone()} />
                    } else {
                        <Clients {members} workload={summary.workload.clone()}
                            results={summary.results.clone()} {closed} on_action={act.clone()} />
                    }
                </aside>
                <Stage summary={summary.clone()} {selected} terminal={self.terminal} {recovering}
                    {closed} pointing={self.pointing.clone()} on_action={act.clone()} />
                <Right summary={summary.clone()} {selected} {closed} on_action={act.clone()} />
                <TapeBar label={summary.tape_label.clone()} back_micros={self.back_micros}
                    now_deciseconds={self.shown.now_deciseconds} held={self.held}
                    connection={summary.connection}
                    oldest_micros={self.shown.oldest_micros} live={summary.may_command}
                    span_seconds={gaze.tape_span_micros / 1_000_000} on_action={act} />
                <p class="seen-by-readers" aria-live="polite" id="speech">{self.speech.clone()}</p>
            </div>
        }
    }

    fn rendered(&mut self, ctx: &Context<Self>, first_render: bool) {
        if first_render {
            self.begin(ctx);
        }
        if let Some(deed) = self.wanted.take() {
            focus(&format!("[data-deed='{}']", deed.name(None)));
        }
        if std::mem::take(&mut self.told_end) {
            show(".drill-end");
        }
        let held = self.frames.borrow().is_some();
        match self.summary.connection == Connection::NoSession {
            // Its canvases are gone.
            true => drop(self.frames.borrow_mut().take()),
            false if !held => {
                let frames = Frames::start(Rc::clone(&self.store), Rc::clone(&self.gaze));
                *self.frames.borrow_mut() = frames;
            }
            false => {}
        }
    }
}

impl App {
    /// Reads the surroundings and begins to listen.
    fn begin(&mut self, ctx: &Context<Self>) {
        let Some(window) = web_sys::window() else { return };
        let search = window.location().search().unwrap_or_default();
        self.embed = search.contains("embed=1");
        self.follow_preferences();
        self.feed = Some(Feed::start(Rc::clone(&self.store)));
        let link = ctx.link().clone();
        let tick = Closure::new(move |_: web_sys::Event| link.send_message(Msg::Tick));
        window
            .set_interval_with_callback_and_timeout_and_arguments_0(
                tick.as_ref().unchecked_ref(),
                TICK_MILLIS,
            )
            .ok(); // Only a window that is going away refuses.
        self.listeners.push(Listener { _closure: tick });
        let Some(document) = window.document() else { return };
        let link = ctx.link().clone();
        let key = Closure::new(move |event: web_sys::Event| {
            if let Ok(event) = event.dyn_into::<KeyboardEvent>() {
                link.send_message(Msg::Key(event));
            }
        });
        let listening = key.as_ref().unchecked_ref();
        document.add_event_listener_with_callback("keydown", listening).ok(); // Never refused.
        self.listeners.push(Listener { _closure: key });
        let link = ctx.link().clone();
        let seen = document.clone();
        let visible = Closure::new(move |_: web_sys::Event| {
            link.send_message(Msg::Visible(!seen.hidden()));
        });
        let listening = visible.as_ref().unchecked_ref();
        document.add_event_listener_with_callback("visibilitychange", listening).ok(); // As above.
        self.listeners.push(Listener { _closure: visible });
        let link = ctx.link().clone();
        let changed = Closure::new(move |_: web_sys::Event| link.send_message(Msg::Preferences));
        for query in [DARK, STILL] {
            if let Ok(Some(list)) = window.match_media(query) {
                let listening = changed.as_ref().unchecked_ref();
                list.add_event_listener_with_callback("change", listening).ok(); // As above.
                self.preferences.push(list);
            }
        }
        self.listeners.push(Listener { _closure: changed });
    }

    /// Theme and motion as the person or the system wants them now.
    fn follow_preferences(&self) {
        let Some(window) = web_sys::window() else { return };
        self.gaze.borrow_mut().theme = theme_of(&window);
        self.store.borrow_mut().flights.still = asks(&window, STILL);
    }

    /// Why no command is accepted now but predictions.
    fn closed(&self) -> Option<&'static str> {
        let lesson = self.summary.lesson.as_ref();
        let asks = lesson.is_some_and(|lesson| lesson.guesses.is_none());
        self.unheard().or(asks.then_some("the lesson asks first: predict, or skip"))
    }

    /// Why nothing that is asked reaches the lab.
    fn unheard(&self) -> Option<&'static str> {
        match (self.summary.connection, self.summary.may_command) {
            (Connection::Live, true) => None,
            (Connection::Live, false) => Some("this is a recording: nothing can be changed"),
            (Connection::Connecting, _) => Some("the lab has not answered yet"),
            (Connection::Lost | Connection::NoSession, _) => Some("the lab is not heard"),
        }
    }

    /// Looks at the store; says whether a panel must be drawn again.
    fn tick(&mut self) -> bool {
        let store = self.store.borrow();
        let now = store.clock.now(page_millis());
        let oldest = store.state.as_ref().map_or(0, |state| {
            now.saturating_sub(state.tape.first_bucket * lab_protocol::tape::BUCKET_MICROS)
        });
        let mut changed = false;
        if store.version != self.version {
            self.version = store.version;
            let summary = Summary::of(&store, &self.summary);
            if *self.summary != summary {
                // A drill is played with typed lines: they are there as soon as it is.
                self.terminal |= summary.drill.is_some() && self.summary.drill.is_none();
                let ended = |summary: &Summary| {
                    summary.drill.as_ref().is_some_and(|drill| drill.end.is_some())
                };
                self.told_end |= ended(&summary) && !ended(&self.summary);
                self.summary = Rc::new(summary);
                changed = true;
            }
        }
        let mut gaze = self.gaze.borrow_mut();
        let known = |no: &MemberNo| self.summary.member(*no).is_some();
        if !gaze.selected.as_ref().is_some_and(known) {
            gaze.selected = store.first_choice();
            changed |= gaze.selected.is_some();
        }
        // Twice a second: a text that changes more often cannot be read.
        if gaze.newest != self.summary.newest_entry && now >= self.renamed_micros + 500_000 {
            gaze.newest.clone_from(&self.summary.newest_entry);
            self.renamed_micros = now;
        }
        if now < self.renamed_micros {
            self.renamed_micros = 0;
        }
        if let Some(until) = gaze.tape_until {
            self.back_micros = now.saturating_sub(until);
        }
        let shown =
            TapeShown { now_deciseconds: now / 100_000, oldest_micros: oldest / 100_000 * 100_000 };
        changed |= shown != self.shown;
        self.shown = shown;
        drop((store, gaze));
        changed |= self.speak();
        self.type_on();
        if let Some(frames) = self.frames.borrow().as_ref() {
            frames.wake();
        }
        changed
    }

    /// Puts the newest lines into the live region, all that came since the last time as one text,
    /// and no more often than each 1.5 s: a line may still gain words, and nobody wants to be
    /// interrupted ten times a second.
    fn speak(&mut self) -> bool {
        const REST_MICROS: u64 = 1_500_000;
        let now = self.shown.now_deciseconds * 100_000;
        let Some(last) = self.summary.story.last() else { return false };
        if last.number == self.spoken || now.saturating_sub(last.at_micros) < REST_MICROS {
            return false;
        }
        let fresh = self.summary.story.iter().rev().take_while(|line| line.number > self.spoken);
        let mut texts: Vec<_> = fresh.take(4).map(|line| line.text.as_str()).collect();
        texts.reverse();
        self.speech = texts.join(" ");
        self.spoken = last.number;
        true
    }

    /// Types the next line that waits, when the one before it has ended well. A person would stop
    /// at the first one that did not.
    fn type_on(&mut self) {
        if let Some((before, line)) = &self.typing.typed {
            let lines = self.summary.terminal.iter().rev();
            let mine = |typed: &&TerminalLine| typed.id.0 > *before && typed.line == *line;
            let Some(end) = lines.take_while(|typed| typed.id.0 > *before).find(mine) else {
                return;
            };
            match &end.end {
                None => return,
                Some(LineEnd::Done) => {}
                Some(LineEnd::Said(said)) if said.code == 0 => {}
                Some(LineEnd::Said(_) | LineEnd::Refused(_)) => self.typing.lines.clear(),
            }
            self.typing.typed = None;
        }
        if let Some(line) = self.typing.lines.pop() {
            let before = self.summary.terminal.last().map_or(0, |line| line.id.0);
            self.typing.typed = Some((before, line.clone()));
            self.act(Action::Ask(Command::Type { line }));
        }
    }

    fn act(&mut self, action: Action) -> bool {
        match action {
            Action::Ask(command) => {
                let closed = match command {
                    Command::Predict { .. } => self.unheard(),
                    _ => self.closed(),
                };
                if let (None, Some(feed)) = (closed, &self.feed) {
                    feed.ask(command);
                }
                false
            }
            Action::Select(no) => {
                self.gaze.borrow_mut().selected = Some(no);
                true
            }
            Action::Hover(link) => {
                self.gaze.borrow_mut().link = link;
                false
            }
            Action::Toggle(link) => {
                let command = self.toggle(link);
                self.act(Action::Ask(command))
            }
            Action::EditPartition(open) => {
                self.editing = open;
                true
            }
            Action::Show(deeds) => {
                self.deeds = deeds;
                true
            }
            Action::ToggleTheme => {
                self.toggle_theme();
                true
            }
            Action::ToggleDrawer => {
                self.drawer = !self.drawer;
                true
            }
            Action::LookBack(back_micros) => {
                self.look_back(back_micros);
                true
            }
            Action::HoldTape(hold) => {
                if hold {
                    self.held = true;
                    let now = self.store.borrow().clock.now(page_millis());
                    self.gaze.borrow_mut().tape_until = Some(now);
                } else {
                    self.look_back(0);
                }
                true
            }
            Action::Type(lines) => {
                if self.closed().is_none() {
                    self.terminal = true;
                    if let [line] = lines.as_slice() {
                        self.act(Action::Ask(Command::Type { line: line.clone() }));
                    } else {
                        let mut lines = lines;
                        lines.reverse();
                        self.typing = Typing { lines, typed: None };
                        self.type_on();
                    }
                }
                true
            }
            Action::ShowTerminal(open) => {
                self.terminal = open;
                if !open {
                    focus("#open-terminal");
                }
                true
            }
            Action::ShowRecovery(shown) => {
                self.recovering = Some(shown);
                true
            }
            Action::TapeSpan(seconds) => {
                self.gaze.borrow_mut().tape_span_micros = seconds * 1_000_000;
                true
            }
        }
    }

    fn look_back(&mut self, back_micros: u64) {
        self.back_micros = back_micros;
        self.held = back_micros > 0;
        let now = self.store.borrow().clock.now(page_millis());
        self.gaze.borrow_mut().tape_until = self.held.then(|| now.saturating_sub(back_micros));
    }

    /// Cut what is open, heal what is not.
    fn toggle(&self, link: Link) -> Command {
        let known = self.summary.links.iter().find(|known| known.link == link);
        match known.map_or(LinkCondition::Open, |known| known.condition) {
            LinkCondition::Open => Command::Cut { link },
            _ => Command::Heal { link },
        }
    }

    fn toggle_theme(&mut self) {
        let mut gaze = self.gaze.borrow_mut();
        let (theme, name) = match gaze.theme {
            Theme::Light => (Theme::Dark, "dark"),
            Theme::Dark => (Theme::Light, "light"),
        };
        gaze.theme = theme;
        let Some(window) = web_sys::window() else { return };
        let root = window.document().and_then(|document| document.document_element());
        if let Some(root) = root {
            root.set_attribute("data-theme", name).ok(); // The name is valid.
        }
        if let Ok(Some(storage)) = window.local_storage() {
            storage.set_item(THEME_KEY, name).ok(); // Forbidden or full: then it is not remembered.
        }
    }

    fn key(&mut self, event: &KeyboardEvent) -> bool {
        if event.ctrl_key() || event.meta_key() || event.alt_key() || event.repeat() {
            return false;
        }
        let target = event.target().and_then(|target| target.dyn_into::<Element>().ok());
        let tag = target.as_ref().map(Element::tag_name).unwrap_or_default();
        let typing = matches!(tag.as_str(), "INPUT" | "SELECT" | "TEXTAREA");
        if typing {
            return false;
        }
        let key = event.key();
        match key.as_str() {
            "ArrowLeft" | "ArrowUp" => self.go_round(target.as_ref(), event, false),
            "ArrowRight" | "ArrowDown" => self.go_round(target.as_ref(), event, true),
            " " if tag != "BUTTON" && tag != "SUMMARY" => {
                event.prevent_default();
                self.act(Action::HoldTape(!self.held))
            }
            "/" => {
                event.prevent_default();
                self.act(Action::ShowTerminal(true))
            }
            "Escape" if self.terminal => self.act(Action::ShowTerminal(false)),
            "Escape" if self.editing => self.act(Action::EditPartition(false)),
            _ => {
                let upper = key.to_ascii_uppercase();
                let deed = Deed::all().find(|deed| deed.key() == upper);
                deed.is_some_and(|deed| self.do_deed(deed))
            }
        }
    }

    fn do_deed(&mut self, deed: Deed) -> bool {
        let turned = self.deeds != deed.among();
        self.deeds = deed.among();
        if deed.is_asked_twice() {
            // The key leads to the button, which asks again. It may have to be drawn first.
            self.wanted = Some(deed);
            return true;
        }
        let selected = self.gaze.borrow().selected;
        let member = selected.and_then(|no| self.summary.member(no));
        match deed.command(member) {
            Ok(Some(command)) => self.act(Action::Ask(command)) || turned,
            Ok(None) => self.act(Action::EditPartition(!self.editing)),
            // Why not is written under the buttons.
            Err(_) => turned,
        }
    }

    /// Arrow keys go from member to member, in the order of the ring.
    fn go_round(&mut self, target: Option<&Element>, event: &KeyboardEvent, forward: bool) -> bool {
        let on_member = target.is_some_and(|target| target.has_attribute("data-member"));
        if !on_member {
            return false;
        }
        event.prevent_default();
        let members = &self.summary.members;
        let selected = self.gaze.borrow().selected;
        let place = members.iter().position(|member| Some(member.no) == selected).unwrap_or(0);
        let count = members.len().max(1);
        let next = if forward { place + 1 } else { place + count - 1 } % count;
        let Some(no) = members.get(next).map(|member| member.no) else { return false };
        let on_ring = target.is_some_and(|target| target.class_list().contains("ring-member"));
        let place = if on_ring { "#ring-box" } else { ".chips" };
        focus(&format!("{place} [data-member='{no}']"));
        self.act(Action::Select(no))
    }
}

#[derive(Clone, PartialEq, Properties)]
struct NowProps {
    leader: Option<(MemberNo, u64)>,
    known: bool,
    lost: bool,
    faults: bool,
}

/// The one thing to look at, or to do, now.
#[component]
fn Now(props: &NowProps) -> Html {
    let NowProps { leader, known, lost, faults } = *props;
    let (question, sub) = match (known, leader, lost) {
        (false, ..) => ("Waiting for the lab".to_owned(), "Its processes are about to start."),
        (true, None, true) => (
            "No majority".to_owned(),
            "Writes wait and no election can succeed until enough members are up and hear each other.",
        ),
        (true, None, false) => (
            "No leader now".to_owned(),
            "The members wait for an election timeout, then one of them asks for votes.",
        ),
        (true, Some((no, term)), true) => (
            format!("{no} still says it leads in term {term}"),
            "It does not hear a majority. What it takes in now cannot be committed.",
        ),
        (true, Some((no, term)), false) if faults => (
            format!("{no} leads in term {term}"),
            "Something is broken, and the rest carries on. Break more, or undo all faults.",
        ),
        (true, Some((no, term)), false) => (
            format!("{no} leads in term {term}"),
            "Crash it, and see how long the others need to notice and to agree on a new one.",
        ),
    };
    html! {
        <section class="card now" aria-label="Now">
            <p class="question">{told(&question)}</p>
            <p class="sub">{sub}</p>
        </section>
    }
}

fn theme_of(window: &Window) -> Theme {
    let kept = window.local_storage().ok().flatten();
    let kept = kept.and_then(|storage| storage.get_item(THEME_KEY).ok().flatten());
    match kept.as_deref() {
        Some("dark") => Theme::Dark,
        Some("light") => Theme::Light,
        _ if asks(window, DARK) => Theme::Dark,
        _ => Theme::Light,
    }
}

fn asks(window: &Window, query: &str) -> bool {
    window.match_media(query).ok().flatten().is_some_and(|list| list.matches())
}

fn find(selector: &str) -> Option<web_sys::Element> {
    web_sys::window()?.document()?.query_selector(selector).ok().flatten()
}

/// Scrolls to an element.
fn show(selector: &str) {
    if let Some(element) = find(selector) {
        element.scroll_into_view();
    }
}

fn focus(selector: &str) {
    if let Some(element) = find(selector).and_then(|it| it.dyn_into::<web_sys::HtmlElement>().ok())
    {
        element.focus().ok(); // An element that cannot be focused stays as it is.
    }
}
