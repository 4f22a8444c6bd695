//! What a soak tells: lines for a terminal, a record for programs, parts of the page.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use lab_protocol::{Judgement, Verdict};
use serde::Serialize;

use super::super::report::judgement_word;
use super::judge::Window;
use super::measure::{Growth, Kind, LAB, Measures};
use crate::report::{Chart, Section, Series, Style};

/// Colours of lines, by the page's classes.
const CLASSES: [&str; 6] = ["one", "two", "ok", "info", "fail", "three"];

/// Everything that a soak came to.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Soaked {
    pub(super) members: u8,
    pub(super) seed: u64,
    pub(super) seconds: f64,
    /// Where it is recorded.
    pub(super) run: PathBuf,
    /// Whether somebody ended it before its time.
    pub(super) cut_short: bool,
    /// How often each kind of blow was dealt.
    pub(super) blows: BTreeMap<&'static str, u32>,
    /// Members that were replaced.
    pub(super) replaced: u32,
    pub(super) windows: Vec<Window>,
    pub(super) growths: Vec<Growth>,
    pub(super) verdict: Verdict,
}

impl Soaked {
    /// The table of windows, blows and growth.
    pub(super) fn text(&self) -> String {
        let mut text = String::from("  window  seconds  blows  judged\n");
        for Window { number, seconds, blows, verdict } in &self.windows {
            let word = judgement_word(verdict.judgement);
            writeln!(text, "  {number:>6}  {seconds:>7.0}  {blows:>5}  {word}").expect("a string");
        }
        let blows: u32 = self.blows.values().sum();
        let kinds = self.blows.len();
        writeln!(text, "\n  {blows} blows of {kinds} kinds, {} members replaced\n", self.replaced)
            .expect("a string");
        writeln!(
            text,
            "  {:<11}{:<6}{:>9}{:>9}{:>9}{:>12}",
            "", "", "first", "most", "last", "an hour"
        )
        .expect("a string");
        for growth in &self.growths {
            let Growth { kind, of, first, most, last, per_hour, .. } = growth;
            let (word, unit) = (kind.word(), kind.unit());
            writeln!(
                text,
                "  {word:<11}{of:<6}{first:>9.1}{most:>9.1}{last:>9.1}{per_hour:>+12.1} {unit}"
            )
            .expect("a string");
        }
        text
    }
}

/// The parts of the page beside what every run has.
pub(super) fn sections(soaked: &Soaked, measures: &Measures) -> Vec<Section> {
    let mut html = String::from(
        "<table><thead><tr><th>window</th><th>seconds</th><th>blows</th><th>judged</th>\
         </tr></thead><tbody>",
    );
    for Window { number, seconds, blows, verdict } in &soaked.windows {
        let word = judgement_word(verdict.judgement);
        write!(
            html,
            "<tr><td>{number}</td><td>{seconds:.0}</td><td>{blows}</td>\
             <td class=\"{word}\">{word}</td></tr>"
        )
        .expect("a string");
    }
    html.push_str("</tbody></table>");
    let mut sections = vec![Section { heading: "Windows".into(), html }];

    let mut html = String::from("<p>");
    for (kind, count) in &soaked.blows {
        write!(html, "{kind} × {count}; ").expect("a string");
    }
    write!(html, "members replaced × {}</p>", soaked.replaced).expect("a string");
    sections.push(Section { heading: "Blows".into(), html });

    for kind in Kind::ALL {
        let lines = measures.figures.iter().filter(|((of, _), _)| *of == kind);
        let series: Vec<_> = lines
            .zip(CLASSES.into_iter().cycle())
            .map(|(((_, whose), points), class)| Series {
                name: if *whose == LAB { "lab".into() } else { whose.to_string() },
                class,
                style: Style::Line,
                points: points.clone(),
            })
            .collect();
        if series.is_empty() {
            continue;
        }
        let mut html = Chart {
            title: format!("{} over time", kind.word()),
            unit: kind.unit(),
            series,
            seconds: soaked.seconds,
            marks: vec![],
            decades: false,
            height: 120.0,
        }
        .draw();
        html.push_str(
            "<table><thead><tr><th>of</th><th>first</th><th>most</th><th>last</th>\
             <th>an hour</th></tr></thead><tbody>",
        );
        for growth in soaked.growths.iter().filter(|growth| growth.kind == kind) {
            let Growth { of, first, most, last, per_hour, .. } = growth;
            write!(
                html,
                "<tr><td>{of}</td><td>{first:.1}</td><td>{most:.1}</td><td>{last:.1}</td>\
                 <td>{per_hour:+.1} {}</td></tr>",
                kind.unit()
            )
            .expect("a string");
        }
        html.push_str("</tbody></table>");
        let mut heading = kind.word().to_owned();
        heading[..1].make_ascii_uppercase();
        sections.push(Section { heading, html });
    }
    sections
}

/// How far it has come, in one line.
pub(super) fn progress(seconds: f64, of_seconds: f64, window: u32, windows: &[Window]) -> String {
    const WIDE: usize = 24;
    let part = (seconds / of_seconds).clamp(0.0, 1.0);
    let full = (part * WIDE as f64) as usize;
    let bar: String = (0..WIDE).map(|at| if at < full { '█' } else { '░' }).collect();
    let valid = windows.iter().filter(|one| one.verdict.judgement == Judgement::Valid).count();
    format!(
        "soak {bar} {:.0} % of {:.0} min, window {window}, {valid} of {} valid",
        part * 100.0,
        of_seconds / 60.0,
        windows.len()
    )
}
