//! The loop that paints: once a frame while something moves, straight from the store.

use std::cell::RefCell;
use std::rc::Rc;

use lab_protocol::{Link, MemberNo};
use wasm_bindgen::{JsCast as _, closure::Closure};
use web_sys::{HtmlCanvasElement, HtmlElement};
use yew::prelude::*;

use super::Action;
use crate::{
    feed::page_millis,
    model::Store,
    paint::Surface,
    scene::{
        Picture, Point, Theme,
        geometry::{ARC, RingLayout},
        hit::{self, OnRing},
        labels::Labels,
        log_lanes::{self, LanesView},
        ring::{self, RingView},
        tape::{self, TapeView},
    },
};

/// The tape changes by a pixel each 25 ms at most; drawing it each third frame is enough.
const TAPE_EACH: u32 = 3;

/// The lanes move by whole entries, so each second frame is enough; they are mostly text, which is
/// the dearest to paint.
const LANES_EACH: u32 = 2;

/// What a person looks at, read by each frame.
#[derive(Clone, Debug)]
pub struct Gaze {
    /// The member that is selected.
    pub selected: Option<MemberNo>,
    /// The link under the pointer or the focus.
    pub link: Option<Link>,
    /// The entry under the pointer.
    pub entry: Option<(MemberNo, u64)>,
    /// The theme.
    pub theme: Theme,
    /// The tape ends at this time; `None` follows.
    pub tape_until: Option<u64>,
    /// How much time the tape shows.
    pub tape_span_micros: u64,
    /// The newest entry in words.
    pub newest: String,
}

impl Default for Gaze {
    fn default() -> Self {
        Self {
            selected: None,
            link: None,
            entry: None,
            theme: Theme::Light,
            tape_until: None,
            tape_span_micros: 30_000_000,
            newest: String::new(),
        }
    }
}

/// What the pointer does over the canvases.
#[derive(Clone, PartialEq)]
pub struct Pointing {
    /// A click on the ring.
    pub click: Callback<MouseEvent>,
    /// Over the ring.
    pub over_ring: Callback<PointerEvent>,
    /// Away from it.
    pub off_ring: Callback<PointerEvent>,
    /// Over the lanes.
    pub over_log: Callback<PointerEvent>,
    /// Away from them.
    pub off_log: Callback<PointerEvent>,
}

/// The three canvases and the loop.
pub struct Frames {
    inner: Rc<RefCell<Inner>>,
}

struct Inner {
    store: Rc<RefCell<Store>>,
    gaze: Rc<RefCell<Gaze>>,
    ring: Surface,
    log: Surface,
    tape: Surface,
    layout: RingLayout,
    labels: Labels,
    picture: Picture,
    frame: u32,
    told: Option<crate::model::flights::Account>,
    told_gap: Option<u64>,
    asked: Option<i32>,
    step: Option<Closure<dyn FnMut()>>,
}

impl std::fmt::Debug for Frames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Frames")
    }
}

impl Frames {
    /// Takes hold of the canvases and begins; `None` when they are not there.
    pub fn start(store: Rc<RefCell<Store>>, gaze: Rc<RefCell<Gaze>>) -> Option<Self> {
        let surface = |id| Surface::new(element(id)?.dyn_into::<HtmlCanvasElement>().ok()?);
        let inner = Inner {
            store,
            gaze,
            ring: surface("ring")?,
            log: surface("log")?,
            tape: surface("tape")?,
            layout: RingLayout::default(),
            labels: Labels::default(),
            picture: Picture::default(),
            frame: 0,
            told: None,
            told_gap: None,
            asked: None,
            step: None,
        };
        let inner = Rc::new(RefCell::new(inner));
        let weak = Rc::downgrade(&inner);
        let step = Closure::<dyn FnMut()>::new(move || {
            if let Some(inner) = weak.upgrade() {
                let mut inner = inner.borrow_mut();
                inner.asked = None;
                inner.draw();
                if inner.store.borrow().moves() {
                    inner.ask();
                }
            }
        });
        inner.borrow_mut().step = Some(step);
        let frames = Self { inner };
        frames.wake();
        Some(frames)
    }

    /// Looks at the sizes again and draws at least one more frame.
    pub fn wake(&self) {
        let mut inner = self.inner.borrow_mut();
        inner.measure();
        inner.ask();
    }

    /// The member or link at a point of the ring.
    pub fn on_ring(&self, pointer: Point) -> Option<OnRing> {
        let inner = self.inner.borrow();
        let store = inner.store.borrow();
        hit::on_ring(store.state.as_ref()?, &inner.layout, pointer)
    }

    /// The entry at a point of the lanes.
    pub fn in_log(&self, pointer: Point) -> Option<(MemberNo, u64)> {
        let inner = self.inner.borrow();
        let store = inner.store.borrow();
        let state = store.state.as_ref()?;
        let size = inner.log.size();
        let view = LanesView { state, lens: &store.lens, size, hovered: None, newest: "" };
        log_lanes::entry_at(&view, pointer)
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        let mut inner = self.inner.borrow_mut();
        if let (Some(window), Some(asked)) = (web_sys::window(), inner.asked.take()) {
            window.cancel_animation_frame(asked).ok(); // Only an unknown number is refused.
        }
        inner.step = None;
    }
}

impl Inner {
    /// Asks the browser for a frame, unless one is on its way.
    fn ask(&mut self) {
        if self.asked.is_some() {
            return;
        }
        let (Some(window), Some(step)) = (web_sys::window(), &self.step) else { return };
        self.asked = window.request_animation_frame(step.as_ref().unchecked_ref()).ok();
    }

    fn measure(&mut self) {
        let scale = web_sys::window().map_or(1.0, |window| window.device_pixel_ratio()).min(2.0);
        let store = self.store.borrow();
        let members: Vec<_> =
            store.state.iter().flat_map(|state| state.members.keys().copied()).collect();
        if let (Some(stage), Some(log)) = (element("stage"), element("log-box")) {
            let height = log_lanes::height(members.len(), stage.client_height() as f32);
            let narrow = stage.client_width() < 700 && stage.client_height() as f32 > height * 4.0;
            let height = if narrow { 200.0_f32.max(height) } else { height };
            set(&log, "height", &pixels(height));
        }
        let resized = self.ring.measure(scale);
        self.log.measure(scale);
        self.tape.measure(scale);
        let seated = self.layout.seats.iter().map(|(no, ..)| *no);
        let (width, height) = self.ring.size();
        // A ring that is not shown has no size, and keeps its seats.
        if width > 0.0 && (resized || !seated.eq(members.iter().copied())) {
            self.layout = RingLayout::new(&members, width, height);
        }
        drop(store);
        self.seat_buttons();
    }

    /// Puts the members' buttons over their circles.
    fn seat_buttons(&self) {
        let Some(document) = web_sys::window().and_then(|window| window.document()) else { return };
        for (no, centre, _) in &self.layout.seats {
            let found = document.query_selector(&format!("#ring-box [data-member='{no}']"));
            let Some(button) = found.ok().flatten().and_then(|it| it.dyn_into().ok()) else {
                continue;
            };
            let button: HtmlElement = button;
            // As large as the circle and its arc, and never over a neighbour's.
            let width = 2.0 * (self.layout.radius + ARC - 1.0);
            set(&button, "width", &pixels(width));
            set(&button, "left", &pixels(centre.x));
            set(&button, "top", &pixels(centre.y));
            set(&button, "visibility", "visible");
        }
    }

    fn draw(&mut self) {
        let page = page_millis();
        let store_cell = Rc::clone(&self.store);
        store_cell.borrow_mut().advance(page);
        let store = store_cell.borrow();
        let gaze = self.gaze.borrow();
        let Some(state) = store.state.as_ref() else { return };
        let now_micros = store.clock.now(page);
        let view = RingView {
            state,
            flights: &store.flights,
            layout: &self.layout,
            now_micros,
            shown_micros: store.clock.shown(page),
            selected: gaze.selected,
            hovered: gaze.link,
        };
        if self.ring.size().0 > 0.0 {
            ring::draw(&view, &mut self.labels, &mut self.picture);
            self.ring.paint(&self.picture, gaze.theme);
        }
        let due = |each: u32| self.frame.is_multiple_of(each) || !store.moves();
        if due(LANES_EACH) && self.log.size().0 > 0.0 {
            let view = LanesView {
                state,
                lens: &store.lens,
                size: self.log.size(),
                hovered: gaze.entry,
                newest: &gaze.newest,
            };
            log_lanes::draw(&view, &mut self.labels, &mut self.picture);
            self.log.paint(&self.picture, gaze.theme);
        }
        if due(TAPE_EACH) {
            let view = TapeView {
                state,
                now_micros,
                until_micros: gaze.tape_until.unwrap_or(now_micros),
                span_micros: gaze.tape_span_micros,
                size: self.tape.size(),
            };
            tape::draw(&view, &mut self.labels, &mut self.picture);
            self.tape.paint(&self.picture, gaze.theme);
        }
        self.frame = self.frame.wrapping_add(1);
        let account = store.flights.account;
        if self.told != Some(account) {
            self.told = Some(account);
            let canvas = self.ring.canvas();
            for (name, sum) in [
                ("data-drawn", account.drawn),
                ("data-counted", account.counted),
                ("data-unsent", account.unsent),
                ("data-lost", account.lost),
                ("data-sent", account.sent),
            ] {
                canvas.set_attribute(name, &sum.to_string()).ok(); // The names are valid.
            }
        }
        let gap = state.tape.gaps.back().map(|gap| gap.micros() / 1_000);
        if self.told_gap != gap {
            self.told_gap = gap;
            let text = gap.map(|millis| millis.to_string()).unwrap_or_default();
            self.tape.canvas().set_attribute("data-gap-millis", &text).ok(); // So is this one.
        }
    }
}

/// The callbacks of the pointer, as actions.
pub fn pointing(
    frames: &Rc<RefCell<Option<Frames>>>,
    gaze: &Rc<RefCell<Gaze>>,
    act: &Callback<Action>,
) -> Pointing {
    let click = {
        let (frames, act) = (Rc::clone(frames), act.clone());
        Callback::from(move |event: MouseEvent| {
            let pointer = Point::new(event.offset_x() as f32, event.offset_y() as f32);
            match frames.borrow().as_ref().and_then(|frames| frames.on_ring(pointer)) {
                Some(OnRing::Link(link)) => act.emit(Action::Toggle(link)),
                Some(OnRing::Member(no)) => act.emit(Action::Select(no)),
                None => {}
            }
        })
    };
    let over_ring = {
        let (frames, gaze) = (Rc::clone(frames), Rc::clone(gaze));
        Callback::from(move |event: PointerEvent| {
            let pointer = Point::new(event.offset_x() as f32, event.offset_y() as f32);
            let on = frames.borrow().as_ref().and_then(|frames| frames.on_ring(pointer));
            let link = match on {
                Some(OnRing::Link(link)) => Some(link),
                Some(OnRing::Member(_)) | None => None,
            };
            point_at_link(link.is_some());
            gaze.borrow_mut().link = link;
        })
    };
    let off_ring = {
        let gaze = Rc::clone(gaze);
        Callback::from(move |_: PointerEvent| {
            point_at_link(false);
            gaze.borrow_mut().link = None;
        })
    };
    let over_log = {
        let (frames, gaze) = (Rc::clone(frames), Rc::clone(gaze));
        Callback::from(move |event: PointerEvent| {
            let pointer = Point::new(event.offset_x() as f32, event.offset_y() as f32);
            let entry = frames.borrow().as_ref().and_then(|frames| frames.in_log(pointer));
            gaze.borrow_mut().entry = entry;
        })
    };
    let off_log = {
        let gaze = Rc::clone(gaze);
        Callback::from(move |_: PointerEvent| gaze.borrow_mut().entry = None)
    };
    Pointing { click, over_ring, off_ring, over_log, off_log }
}

fn point_at_link(on: bool) {
    if let Some(ring) = element("ring-box") {
        ring.class_list().toggle_with_force("on-link", on).ok(); // The class's name is valid.
    }
}

fn element(id: &str) -> Option<HtmlElement> {
    web_sys::window()?.document()?.get_element_by_id(id)?.dyn_into().ok()
}

/// Sets a style by the object model: the content security policy admits no style attributes.
/// A length as CSS has it, to a tenth of a pixel.
///
/// Here and elsewhere on the page no broken number is formatted by the standard library: that alone
/// is five thousand bytes.
fn pixels(length: f32) -> String {
    let tenths = (length * 10.0).round_ties_even() as i32;
    let sign = if tenths < 0 { "-" } else { "" };
    format!("{sign}{}.{}px", tenths.abs() / 10, tenths.abs() % 10)
}

fn set(element: &HtmlElement, property: &str, value: &str) {
    let style = element.style();
    if style.get_property_value(property).is_ok_and(|now| now == value) {
        return;
    }
    style.set_property(property, value).ok(); // A value that is not understood is ignored.
}
