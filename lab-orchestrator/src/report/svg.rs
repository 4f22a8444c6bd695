//! The few shapes of a chart, as SVG text that takes its colours from the page.

use std::fmt::Write as _;

/// Width of every chart, in the page's own units; it is scaled to the window.
pub(super) const WIDTH: f64 = 1_000.0;

/// Left of the plot: room for the names of lanes and figures.
pub(super) const LEFT: f64 = 64.0;

const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A line through the points; a point without a figure leaves a hole.
    Line,
    /// Bars from the bottom, on top of the bars of the series before.
    Stacked,
}

/// One series of a chart.
#[derive(Clone, Debug)]
pub struct Series {
    /// What it is, in the legend.
    pub name: String,
    /// The page's class for its colour: `ok`, `fail`, `info`, `one`, `two`, `three`.
    pub class: &'static str,
    /// How it is drawn.
    pub style: Style,
    /// Time in seconds and figure; NaN where there is none.
    pub points: Vec<(f64, f64)>,
}

/// A chart over time.
#[derive(Clone, Debug)]
pub struct Chart {
    /// What it shows, for who cannot see it.
    pub title: String,
    /// The unit of the figures, such as `ms`.
    pub unit: &'static str,
    /// What is drawn.
    pub series: Vec<Series>,
    /// Where it ends, seconds.
    pub seconds: f64,
    /// Marks along time, such as a step's beginning: seconds and word.
    pub marks: Vec<(f64, String)>,
    /// Whether figures span decades.
    pub decades: bool,
    /// Height of the plot.
    pub height: f64,
}

/// Text that is safe inside the page.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

/// Where a second is, from the left.
pub(super) fn across(second: f64, seconds: f64) -> f64 {
    LEFT + (second / seconds.max(0.001)).clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
}

/// A step between figures of an axis that people count by, for about so many of them.
pub(super) fn step(most: f64, about: f64) -> f64 {
    let rough = (most / about).max(f64::MIN_POSITIVE);
    let decade = 10f64.powf(rough.log10().floor());
    let wanted = rough / decade;
    let nice = [1.0, 2.0, 5.0, 10.0].into_iter().find(|nice| *nice >= wanted).unwrap_or(10.0);
    nice * decade
}

/// The axis of time, and the marks on it, for a plot that ends at `bottom`.
pub(super) fn time_axis(svg: &mut String, seconds: f64, bottom: f64, marks: &[(f64, String)]) {
    let step = step(seconds, 10.0);
    let mut at = 0.0;
    while at <= seconds {
        let x = across(at, seconds);
        let label = if step >= 1.0 { format!("{at:.0} s") } else { format!("{at:.1} s") };
        write!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\"/>\
             <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            bottom + 15.0
        )
        .expect("a string takes anything");
        at += step;
    }
    for (at, word) in marks {
        let x = across(*at, seconds);
        write!(
            svg,
            "<g><title>{}</title><line class=\"mark\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" \
             y2=\"{bottom:.1}\"/></g>",
            escape(word)
        )
        .expect("a string takes anything");
    }
}

/// The opening of a chart of this height, and its title.
pub(super) fn open(title: &str, height: f64) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{}\">",
        escape(title)
    )
}

impl Chart {
    /// The chart as SVG.
    pub fn draw(&self) -> String {
        let bottom = TOP + self.height;
        let mut svg = open(&self.title, bottom + BOTTOM);
        time_axis(&mut svg, self.seconds, bottom, &self.marks);
        let scale = Scale::of(self, bottom);
        scale.axis(&mut svg, self.unit);
        let mut below: Vec<f64> = Vec::new();
        for series in &self.series {
            match series.style {
                Style::Line => self.line(&mut svg, series, &scale),
                Style::Stacked => self.bars(&mut svg, series, &scale, &mut below),
            }
        }
        svg.push_str("</svg>");
        self.legend(&mut svg);
        svg
    }

    fn line(&self, svg: &mut String, series: &Series, scale: &Scale) {
        let holes = |(_, figure): &(f64, f64)| !figure.is_finite();
        for piece in series.points.split(holes).filter(|piece| !piece.is_empty()) {
            let mut path = String::new();
            for (second, figure) in piece {
                let (x, y) = (across(*second, self.seconds), scale.up(*figure));
                write!(path, "{}{x:.1} {y:.1}", if path.is_empty() { 'M' } else { 'L' })
                    .expect("a string takes anything");
            }
            if let [(second, figure)] = piece {
                let (x, y) = (across(*second, self.seconds), scale.up(*figure));
                write!(svg, "<circle class=\"dot {}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2\"/>", {
                    series.class
                })
                .expect("a string takes anything");
            } else {
                write!(svg, "<path class=\"line {}\" d=\"{path}\"/>", series.class)
                    .expect("a string takes anything");
            }
        }
    }

    fn bars(&self, svg: &mut String, series: &Series, scale: &Scale, below: &mut Vec<f64>) {
        below.resize(below.len().max(series.points.len()), 0.0);
        let gap = series.points.get(1).map_or(self.seconds, |(second, _)| {
            second - series.points.first().map_or(0.0, |(second, _)| *second)
        });
        let mut path = String::new();
        for ((second, figure), below) in series.points.iter().zip(below) {
            if *figure <= 0.0 {
                continue;
            }
            let (left, right) =
                (across(*second, self.seconds), across(*second + gap, self.seconds));
            let (low, high) = (scale.up(*below), scale.up(*below + figure));
            *below += figure;
            write!(path, "M{left:.1} {low:.1}V{high:.1}H{right:.1}V{low:.1}Z")
                .expect("a string takes anything");
        }
        write!(svg, "<path class=\"bar {}\" d=\"{path}\"/>", series.class)
            .expect("a string takes anything");
    }

    fn legend(&self, svg: &mut String) {
        svg.push_str("<p class=\"legend\">");
        for series in &self.series {
            write!(svg, "<span><i class=\"{}\"></i>{}</span> ", series.class, {
                escape(&series.name)
            })
            .expect("a string takes anything");
        }
        svg.push_str("</p>");
    }
}

/// From figures to places.
struct Scale {
    least: f64,
    most: f64,
    bottom: f64,
    height: f64,
    decades: bool,
}

impl Scale {
    fn of(chart: &Chart, bottom: f64) -> Self {
        let mut stacked: Vec<f64> = Vec::new();
        let mut most = 0.0f64;
        let mut least = f64::INFINITY;
        for series in &chart.series {
            for (place, (_, figure)) in series.points.iter().enumerate() {
                if !figure.is_finite() {
                    continue;
                }
                least = least.min(*figure);
                most = match series.style {
                    Style::Line => most.max(*figure),
                    Style::Stacked => {
                        stacked.resize(stacked.len().max(place + 1), 0.0);
                        stacked[place] += figure;
                        most.max(stacked[place])
                    }
                };
            }
        }
        let decades = chart.decades && most > 0.0;
        let least = if decades { 10f64.powf(least.max(0.01).log10().floor()) } else { 0.0 };
        let most = match decades {
            true => 10f64.powf(most.log10().ceil()).max(least * 10.0),
            false => most.max(1.0) * 1.05,
        };
        Self { least, most, bottom, height: chart.height, decades }
    }

    fn up(&self, figure: f64) -> f64 {
        let part = match self.decades {
            true => {
                (figure.max(self.least) / self.least).log10() / (self.most / self.least).log10()
            }
            false => figure / self.most,
        };
        self.bottom - part.clamp(0.0, 1.0) * self.height
    }

    fn axis(&self, svg: &mut String, unit: &str) {
        let mut figures = Vec::new();
        if self.decades {
            let mut figure = self.least;
            while figure <= self.most * 1.001 {
                figures.push(figure);
                figure *= 10.0;
            }
        } else {
            let step = step(self.most, 4.0);
            let mut figure = 0.0;
            while figure <= self.most {
                figures.push(figure);
                figure += step;
            }
        }
        for figure in figures {
            let y = self.up(figure);
            write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{} {unit}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0,
                short(figure)
            )
            .expect("a string takes anything");
        }
    }
}

/// A figure in few letters: `1.5k`, `20`, `0.1`.
pub(super) fn short(figure: f64) -> String {
    let trimmed = |figure: f64, unit: &str| {
        let text = if figure >= 10.0 { format!("{figure:.0}") } else { format!("{figure:.2}") };
        let text = match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
            false => text,
        };
        format!("{text}{unit}")
    };
    match figure {
        0.0 => "0".into(),
        1_000_000_000.0.. => trimmed(figure / 1e9, "G"),
        1_000_000.0.. => trimmed(figure / 1e6, "M"),
        1_000.0.. => trimmed(figure / 1e3, "k"),
        _ => trimmed(figure, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_count_as_people_do() {
        for (most, about, expected) in [(100.0, 4.0, 50.0), (7.0, 4.0, 2.0), (0.3, 10.0, 0.05)] {
            assert!((step(most, about) - expected).abs() < 1e-9, "{most}");
        }
        for (figure, text) in
            [(0.0, "0"), (0.1, "0.1"), (20.0, "20"), (1_500.0, "1.5k"), (2e6, "2M"), (2.5, "2.5")]
        {
            assert_eq!(short(figure), text);
        }
    }

    #[test]
    fn a_chart_has_its_series_and_holes_in_its_lines() {
        let series = |name: &str, style, points: &[(f64, f64)]| Series {
            name: name.into(),
            class: "one",
            style,
            points: points.to_vec(),
        };
        let chart = Chart {
            title: "a <b>".into(),
            unit: "ms",
            series: vec![
                series("bars", Style::Stacked, &[(0.0, 2.0), (1.0, 3.0)]),
                series("line", Style::Line, &[(0.0, 1.0), (1.0, 2.0), (2.0, f64::NAN), (3.0, 9.0)]),
            ],
            seconds: 4.0,
            marks: vec![(1.0, "step 1".into())],
            decades: false,
            height: 100.0,
        };
        let svg = chart.draw();
        assert!(svg.contains("aria-label=\"a &lt;b&gt;\"") && svg.contains("step 1"));
        assert_eq!(
            (svg.matches("class=\"line one\"").count(), svg.matches("<circle").count()),
            (1, 1)
        );
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        let empty = Chart { series: vec![], decades: true, ..chart };
        assert!(!empty.draw().contains("NaN"));
    }
}
