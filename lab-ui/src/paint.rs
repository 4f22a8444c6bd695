//! Paints a [`Picture`] on a canvas: the only place that touches one.
//!
//! Marks of one look in a row become one path; the context's state is set only when it changes.

use wasm_bindgen::{JsCast as _, intern};
use web_sys::{CanvasRenderingContext2d, HtmlCanvasElement};

use crate::scene::{
    Colour, Mark, Picture, Point, Theme,
    geometry::{cos, sin},
    picture::{Align, Dash, Face, Look, Shape},
};

/// One canvas and what is known of it.
#[derive(Debug)]
pub struct Surface {
    canvas: HtmlCanvasElement,
    context: CanvasRenderingContext2d,
    /// Size in CSS pixels.
    size: (f32, f32),
    scale: f64,
    solid: js_sys::Array,
    pattern: js_sys::Array,
    last: Last,
}

/// What the context was last set to.
#[derive(Debug, Default)]
struct Last {
    face: Option<Face>,
    fill: Option<&'static str>,
    stroke: Option<&'static str>,
    align: Option<Align>,
    alpha: Option<f32>,
    dash: Option<Dash>,
}

impl Surface {
    /// Takes hold of a canvas; `None` when the browser gives no context for it.
    pub fn new(canvas: HtmlCanvasElement) -> Option<Self> {
        let context = canvas.get_context("2d").ok()??;
        let context = context.dyn_into::<CanvasRenderingContext2d>().ok()?;
        Some(Self {
            canvas,
            context,
            size: (0.0, 0.0),
            scale: 0.0,
            solid: js_sys::Array::new(),
            pattern: js_sys::Array::of2(&0.into(), &0.into()),
            last: Last::default(),
        })
    }

    /// Its canvas.
    pub fn canvas(&self) -> &HtmlCanvasElement {
        &self.canvas
    }

    /// Its size in CSS pixels.
    pub fn size(&self) -> (f32, f32) {
        self.size
    }

    /// Fits the bitmap to the element; says whether the size changed.
    pub fn measure(&mut self, scale: f64) -> bool {
        let (width, height) = (self.canvas.client_width(), self.canvas.client_height());
        let size = (width as f32, height as f32);
        if size == self.size && scale == self.scale {
            return false;
        }
        self.size = size;
        self.scale = scale;
        self.canvas.set_width((f64::from(width) * scale).round().max(1.0) as u32);
        self.canvas.set_height((f64::from(height) * scale).round().max(1.0) as u32);
        self.last = Last::default();
        true
    }

    /// Paints the picture on an empty canvas.
    pub fn paint(&mut self, picture: &Picture, theme: Theme) {
        let (width, height) = (f64::from(self.size.0), f64::from(self.size.1));
        self.context.set_transform(self.scale, 0.0, 0.0, self.scale, 0.0, 0.0).ok(); // Numbers cannot fail.
        self.context.clear_rect(0.0, 0.0, width, height);
        let mut path: Option<Look> = None;
        for mark in &picture.marks {
            match mark {
                Mark::Shape(shape, look) => {
                    // Shapes with a filling and a line may cover each other: one path each.
                    let joins =
                        path == Some(*look) && !(look.fill.is_some() && look.line.is_some());
                    if !joins {
                        self.finish(path.take(), theme);
                        self.context.begin_path();
                        path = Some(*look);
                    }
                    self.trace(*shape);
                }
                Mark::Text { at, letters, face, colour, align, alpha } => {
                    self.finish(path.take(), theme);
                    self.alpha(*alpha);
                    self.fill(colour.css(theme));
                    self.face(*face);
                    self.align(*align);
                    let (x, y) = (f64::from(at.x), f64::from(at.y));
                    self.context.fill_text(letters.as_str(), x, y).ok(); // Nor can this.
                }
            }
        }
        self.finish(path, theme);
    }

    fn finish(&mut self, look: Option<Look>, theme: Theme) {
        let Some(look) = look else { return };
        self.alpha(look.alpha());
        if let Some(colour) = look.fill {
            self.fill(colour.css(theme));
            self.context.fill();
        }
        if let Some(pen) = look.line {
            self.stroke(pen.colour, theme);
            self.context.set_line_width(f64::from(pen.width));
            self.dash(pen.dash);
            self.context.stroke();
        }
    }

    fn trace(&self, shape: Shape) {
        let context = &self.context;
        let move_to = |point: Point| context.move_to(point.x.into(), point.y.into());
        let line_to = |point: Point| context.line_to(point.x.into(), point.y.into());
        match shape {
            Shape::Line(from, to) => {
                move_to(from);
                line_to(to);
            }
            Shape::Curve(curve) => {
                move_to(curve.from);
                let (control, to) = (curve.control, curve.to);
                context.quadratic_curve_to(
                    control.x.into(),
                    control.y.into(),
                    to.x.into(),
                    to.y.into(),
                );
            }
            Shape::Circle(centre, radius) => {
                move_to(Point::new(centre.x + radius, centre.y));
                self.arc(centre, radius, 0.0, 1.0);
            }
            Shape::Arc(centre, radius, from, to) => {
                let start = (from - 0.25) * std::f32::consts::TAU;
                let first =
                    Point::new(centre.x + radius * cos(start), centre.y + radius * sin(start));
                move_to(first);
                self.arc(centre, radius, from - 0.25, to - 0.25);
            }
            Shape::Rect(corner, width, height, radius) => {
                let radius = f64::from(radius.min(width / 2.0).min(height / 2.0).max(0.0));
                context
                    .round_rect_with_f64(
                        corner.x.into(),
                        corner.y.into(),
                        width.into(),
                        height.into(),
                        radius,
                    )
                    .ok(); // The radius is not negative.
            }
            Shape::Diamond(centre, radius) => {
                move_to(Point::new(centre.x, centre.y - radius));
                line_to(Point::new(centre.x + radius, centre.y));
                line_to(Point::new(centre.x, centre.y + radius));
                line_to(Point::new(centre.x - radius, centre.y));
                context.close_path();
            }
            Shape::Arrow(tip, way, length) => {
                let half = length * 0.42;
                let back = Point::new(tip.x - way.x * length, tip.y - way.y * length);
                move_to(tip);
                line_to(Point::new(back.x - way.y * half, back.y + way.x * half));
                line_to(Point::new(back.x + way.y * half, back.y - way.x * half));
                context.close_path();
            }
            Shape::Cross(centre, half) => {
                move_to(Point::new(centre.x - half, centre.y - half));
                line_to(Point::new(centre.x + half, centre.y + half));
                move_to(Point::new(centre.x + half, centre.y - half));
                line_to(Point::new(centre.x - half, centre.y + half));
            }
            Shape::Plus(centre, half) => {
                move_to(Point::new(centre.x - half, centre.y));
                line_to(Point::new(centre.x + half, centre.y));
                move_to(Point::new(centre.x, centre.y - half));
                line_to(Point::new(centre.x, centre.y + half));
            }
            Shape::Minus(centre, half) => {
                move_to(Point::new(centre.x - half, centre.y));
                line_to(Point::new(centre.x + half, centre.y));
            }
            Shape::Hatch(corner, width, height) => self.hatch(corner, width, height),
        }
    }

    fn arc(&self, centre: Point, radius: f32, from: f32, to: f32) {
        let turn = f64::from(std::f32::consts::TAU);
        self.context
            .arc(
                centre.x.into(),
                centre.y.into(),
                radius.into(),
                f64::from(from) * turn,
                f64::from(to) * turn,
            )
            .ok(); // The radius is not negative.
    }

    /// Lines from the lower left to the upper right, eight pixels apart on the whole canvas, so
    /// that neighbouring cells make one surface.
    fn hatch(&self, corner: Point, width: f32, height: f32) {
        let (left, right) = (corner.x, corner.x + width);
        let (top, bottom) = (corner.y, corner.y + height);
        // On each line x + y is constant.
        let mut sum = ((left + top) / 8.0).ceil() * 8.0;
        while sum < right + bottom {
            let start = Point::new((sum - bottom).max(left), (sum - left).min(bottom));
            let end = Point::new((sum - top).min(right), (sum - right).max(top));
            self.context.move_to(start.x.into(), start.y.into());
            self.context.line_to(end.x.into(), end.y.into());
            sum += 8.0;
        }
    }

    fn alpha(&mut self, alpha: f32) {
        if self.last.alpha != Some(alpha) {
            self.context.set_global_alpha(f64::from(alpha.clamp(0.0, 1.0)));
            self.last.alpha = Some(alpha);
        }
    }

    fn fill(&mut self, css: &'static str) {
        if self.last.fill != Some(css) {
            self.context.set_fill_style_str(intern(css));
            self.last.fill = Some(css);
        }
    }

    fn stroke(&mut self, colour: Colour, theme: Theme) {
        let css = colour.css(theme);
        if self.last.stroke != Some(css) {
            self.context.set_stroke_style_str(intern(css));
            self.last.stroke = Some(css);
        }
    }

    fn dash(&mut self, dash: Dash) {
        if self.last.dash == Some(dash) {
            return;
        }
        let (on, off, moved) = match dash {
            Dash::Solid => {
                self.context.set_line_dash(&self.solid).ok(); // An empty pattern is allowed.
                self.last.dash = Some(dash);
                return;
            }
            Dash::Dashed(on, off) => (on, off, 0.0),
            Dash::Moving(on, off, moved) => (on, off, moved),
        };
        self.pattern.set(0, f64::from(on).into());
        self.pattern.set(1, f64::from(off).into());
        self.context.set_line_dash(&self.pattern).ok(); // So are two positive numbers.
        self.context.set_line_dash_offset(f64::from(moved));
        self.last.dash = Some(dash);
    }

    fn face(&mut self, face: Face) {
        if self.last.face == Some(face) {
            return;
        }
        let (weight, size, family) = match face {
            Face::Words(weight, size) => (weight, size, "Inter, system-ui, sans-serif"),
            Face::Facts(weight, size) => {
                (weight, size, "'JetBrains Mono', ui-monospace, monospace")
            }
        };
        let (whole, half) = (size.0 / 2, size.0 % 2 * 5);
        self.context.set_font(intern(&format!("{weight} {whole}.{half}px {family}")));
        self.last.face = Some(face);
    }

    fn align(&mut self, align: Align) {
        if self.last.align != Some(align) {
            self.context.set_text_align(match align {
                Align::Start => "left",
                Align::Middle => "center",
                Align::End => "right",
            });
            self.last.align = Some(align);
        }
    }
}
