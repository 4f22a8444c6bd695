//! The charts of a run: the timeline, what clients got, how long it took, terms and commit indexes.

use std::fmt::Write as _;

use super::figures::{Bucket, Figures, Span};
use super::svg::{Chart, Series, Style, across, escape, open, time_axis};

/// Height of one lane of the timeline.
const LANE: f64 = 30.0;

const TOP: f64 = 10.0;

/// Lanes of spans that overlap, at most.
const ROWS: usize = 6;

/// Narrower spans are still seen.
const NARROWEST: f64 = 1.5;

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

fn marks(figures: &Figures) -> Vec<(f64, String)> {
    let mark = |(at, number, text): &(u64, u32, String)| {
        (seconds(*at), format!("step {number}, {:.1} s: {text}", seconds(*at)))
    };
    figures.steps.iter().map(mark).collect()
}

/// Who led, and what was the matter with whom.
pub(super) fn timeline(figures: &Figures) -> String {
    let end = seconds(figures.end);
    let rows = rows_of(&figures.links);
    let links_height = 16.0 * rows.len().max(1) as f64 + 6.0;
    let bottom = TOP + LANE * figures.members.len() as f64 + links_height;
    let mut svg = open("Who led, and what was the matter with members and links", bottom + 24.0);
    time_axis(&mut svg, end, bottom, &marks(figures));
    for (lane, member) in (0u8..).zip(&figures.members) {
        let top = TOP + LANE * f64::from(lane);
        label(&mut svg, &member.to_string(), top + LANE / 2.0 + 4.0);
        let leaders = figures.leaders.get(member).map_or(&[][..], Vec::as_slice);
        for span in leaders {
            let words = format!("{member} leads, {}", span.what);
            bar(&mut svg, "leader", span, &words, figures.end, (top + 3.0, 12.0));
        }
        for (row, spans) in rows_of(figures.troubles.get(member).map_or(&[][..], Vec::as_slice))
            .into_iter()
            .enumerate()
        {
            // All rows of a member share the lower half of its lane.
            let height = 12.0 / (row + 1) as f64;
            for span in spans {
                let class = class_of(&span.what);
                bar(&mut svg, class, span, &span.what, figures.end, (top + 16.0, height));
            }
        }
    }
    let top = bottom - links_height;
    label(&mut svg, "links", top + 14.0);
    for (row, spans) in rows.into_iter().enumerate() {
        for span in spans {
            let place = (top + 4.0 + 16.0 * row as f64, 12.0);
            bar(&mut svg, "link", span, &span.what, figures.end, place);
        }
    }
    svg.push_str("</svg>");
    svg.push_str(
        "<p class=\"legend\"><span><i class=\"leader\"></i>leads</span> \
         <span><i class=\"down\"></i>process down or paused</span> \
         <span><i class=\"fault\"></i>disk, clock or processor disturbed</span> \
         <span><i class=\"link\"></i>links disturbed</span> \
         <span>dashed: a step begins; point at anything to read it</span></p>",
    );
    svg
}

fn class_of(what: &str) -> &'static str {
    let of_process = [" is down", " is paused"].iter().any(|word| what.ends_with(word));
    if of_process { "down" } else { "fault" }
}

/// Spans in rows such that none overlaps in its row; those beyond the last share it.
fn rows_of(spans: &[Span]) -> Vec<Vec<&Span>> {
    let mut rows: Vec<(u64, Vec<&Span>)> = Vec::new();
    for span in spans {
        let until = span.until.unwrap_or(u64::MAX);
        let place = rows.iter().position(|(end, _)| *end <= span.from);
        match place.or((rows.len() >= ROWS).then_some(ROWS - 1)) {
            Some(place) => {
                rows[place].0 = rows[place].0.max(until);
                rows[place].1.push(span);
            }
            None => rows.push((until, vec![span])),
        }
    }
    rows.into_iter().map(|(_, spans)| spans).collect()
}

fn label(svg: &mut String, word: &str, y: f64) {
    write!(svg, "<text class=\"lane\" x=\"4\" y=\"{y:.1}\">{}</text>", escape(word))
        .expect("a string takes anything");
}

fn bar(
    svg: &mut String,
    class: &str,
    span: &Span,
    words: &str,
    end: u64,
    (top, height): (f64, f64),
) {
    let until = span.until.unwrap_or(end);
    let (left, right) =
        (across(seconds(span.from), seconds(end)), across(seconds(until), seconds(end)));
    write!(
        svg,
        "<rect class=\"span {class}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" \
         height=\"{height:.1}\" rx=\"2\"><title>{}, {:.1} s to {:.1} s</title></rect>",
        (right - left).max(NARROWEST),
        escape(words),
        seconds(span.from),
        seconds(until)
    )
    .expect("a string takes anything");
    // A word where there is room for one.
    let short = words.rsplit(", ").next().unwrap_or(words);
    if class == "leader" && right - left > 8.0 * short.len() as f64 {
        write!(
            svg,
            "<text class=\"on\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            left + 4.0,
            top + height - 2.5,
            escape(short)
        )
        .expect("a string takes anything");
    }
}

fn points(figures: &Figures, figure: impl Fn(&Bucket) -> f64) -> Vec<(f64, f64)> {
    let width = seconds(figures.bucket_micros);
    figures.buckets.iter().enumerate().map(|(at, one)| (at as f64 * width, figure(one))).collect()
}

/// Operations a second: those that happened, failed, and are unknown.
pub(super) fn operations(figures: &Figures) -> Chart {
    let width = seconds(figures.bucket_micros);
    let bars = |name: &str, class, count: fn(&Bucket) -> u64| Series {
        name: name.to_owned(),
        class,
        style: Style::Stacked,
        points: points(figures, |bucket| count(bucket) as f64 / width),
    };
    Chart {
        title: "Operations a second, by how they ended".into(),
        unit: "/s",
        series: vec![
            bars("ok", "ok", |bucket| bucket.ok),
            bars("fail", "fail", |bucket| bucket.fail),
            bars("info: unknown", "info", |bucket| bucket.info),
        ],
        seconds: seconds(figures.end),
        marks: marks(figures),
        decades: false,
        height: 130.0,
    }
}

/// How long operations took that happened, by quantiles.
pub(super) fn latency(figures: &Figures) -> Chart {
    let quantile = |name: &str, class, permille: usize| Series {
        name: name.to_owned(),
        class,
        style: Style::Line,
        points: points(figures, |bucket| {
            let mut took = bucket.took.clone();
            if took.is_empty() {
                return f64::NAN;
            }
            took.sort_unstable();
            let place = (took.len() * permille).div_ceil(1000).max(1) - 1;
            took[place.min(took.len() - 1)] as f64 / 1000.0
        }),
    };
    Chart {
        title: "Latency of operations that happened".into(),
        unit: "ms",
        series: vec![
            quantile("p50", "one", 500),
            quantile("p99", "two", 990),
            quantile("slowest", "three", 1000),
        ],
        seconds: seconds(figures.end),
        marks: marks(figures),
        decades: true,
        height: 130.0,
    }
}

/// The highest term and the highest commit index that any member told.
pub(super) fn progress(figures: &Figures) -> [Chart; 2] {
    let steady = |figure: fn(&Bucket) -> u64| {
        let mut highest = 0;
        let width = seconds(figures.bucket_micros);
        let rising = figures.buckets.iter().enumerate().map(move |(at, bucket)| {
            highest = highest.max(figure(bucket));
            let figure = if highest == 0 { f64::NAN } else { highest as f64 };
            (at as f64 * width, figure)
        });
        rising.collect::<Vec<_>>()
    };
    let chart = |title: &str, class, points, height| Chart {
        title: title.into(),
        unit: "",
        series: vec![Series { name: title.into(), class, style: Style::Line, points }],
        seconds: seconds(figures.end),
        marks: marks(figures),
        decades: false,
        height,
    };
    [
        chart("Highest term", "two", steady(|bucket| bucket.term), 60.0),
        chart("Highest commit index", "one", steady(|bucket| bucket.commit), 90.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_that_overlap_get_rows_of_their_own() {
        let span = |from, until| Span { from, until: Some(until), what: String::new() };
        let spans = [span(0, 10), span(5, 20), span(10, 12), span(12, 13)];
        let rows: Vec<usize> = rows_of(&spans).iter().map(Vec::len).collect();
        assert_eq!(rows, [3, 1]);
        let open = vec![Span { from: 0, until: None, what: String::new() }; 20];
        assert_eq!(rows_of(&open).len(), ROWS);
    }
}
