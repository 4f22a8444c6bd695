//! The page: verdict, charts, commands; one file without script that stands by itself.

use std::fmt::Write as _;

use lab_protocol::recording::About;
use lab_protocol::{By, Judgement, Score, Verdict};

use super::charts;
use super::figures::Figures;
use super::svg::escape;

const STYLE: &str = include_str!("report.css");

/// What the page tells.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// What was performed.
    pub title: &'a str,
    /// What ran.
    pub about: &'a About,
    /// What the judges said.
    pub verdict: &'a Verdict,
    /// What a drill was worth.
    pub score: Option<&'a Score>,
    /// What happened.
    pub figures: &'a Figures,
    /// Whatever more there is to tell, between the charts and the commands.
    pub more: &'a [Section],
}

/// A part of the page: a heading and what is below it, as HTML.
#[derive(Clone, Debug)]
pub struct Section {
    /// The heading, as text.
    pub heading: String,
    /// What is below it; whoever makes it escapes it.
    pub html: String,
}

/// The word and the sign of a judgement: colour is never the only sign.
fn judged(judgement: Judgement) -> (&'static str, &'static str) {
    match judgement {
        Judgement::Valid => ("valid", "✓"),
        Judgement::Unknown => ("unknown", "?"),
        Judgement::Invalid => ("invalid", "✗"),
    }
}

/// The page as text.
pub fn page(page: Page<'_>) -> String {
    let Page { title, about, verdict, score, figures, more } = page;
    let mut html = String::new();
    let (word, sign) = judged(verdict.judgement);
    let name = escape(&verdict.scenario);
    push(
        &mut html,
        format_args!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\"><title>{name}: {word}</title>\
             <style>{STYLE}</style></head><body><main>\n<h1>{}</h1>\n\
             <p class=\"verdict {word}\"><b>{sign} {word}</b> {name}</p>\n",
            escape(title)
        ),
    );
    facts(&mut html, about, figures);
    if let Some(score) = score {
        scored(&mut html, score);
    }
    checks(&mut html, verdict);
    push(&mut html, format_args!("<h2>What happened</h2>\n{}\n", charts::timeline(figures)));
    let [terms, commits] = charts::progress(figures);
    for (heading, chart) in [
        ("Operations a second", charts::operations(figures)),
        ("Latency", charts::latency(figures)),
        ("Terms", terms),
        ("Commit index", commits),
    ] {
        push(&mut html, format_args!("<h2>{heading}</h2>\n{}\n", chart.draw()));
    }
    for Section { heading, html: below } in more {
        push(&mut html, format_args!("<h2>{}</h2>\n{below}\n", escape(heading)));
    }
    steps(&mut html, figures);
    commands(&mut html, figures);
    html.push_str("</main></body></html>\n");
    html
}

fn push(html: &mut String, arguments: std::fmt::Arguments<'_>) {
    html.write_fmt(arguments).expect("a string takes anything");
}

fn facts(html: &mut String, about: &About, figures: &Figures) {
    let all = figures.buckets.iter().fold((0, 0, 0), |(ok, fail, info), bucket| {
        (ok + bucket.ok, fail + bucket.fail, info + bucket.info)
    });
    let rows = [
        ("run", about.run.clone()),
        ("seed", about.seed.to_string()),
        ("members", format!("{} × {}", about.members.len(), about.engine)),
        ("lab", about.version.clone()),
        ("lasted", format!("{:.1} s", figures.end as f64 / 1e6)),
        ("operations", format!("{} ok, {} fail, {} info", all.0, all.1, all.2)),
    ];
    html.push_str("<dl>");
    for (name, value) in rows {
        push(html, format_args!("<div><dt>{name}</dt><dd>{}</dd></div>", escape(&value)));
    }
    html.push_str("</dl>\n");
}

fn scored(html: &mut String, score: &Score) {
    let Score { won, points, harm, debrief } = score;
    let word = if *won { "won" } else { "lost" };
    push(html, format_args!("<h2>Score</h2>\n<p><b>{word}</b>, {points} of 100 points</p><ul>"));
    for (what, points) in harm {
        push(html, format_args!("<li>−{points}: {}</li>", escape(what)));
    }
    html.push_str("</ul>");
    for sentence in debrief {
        push(html, format_args!("<p>{}</p>", escape(sentence)));
    }
}

fn checks(html: &mut String, verdict: &Verdict) {
    html.push_str(
        "<h2>Checks</h2>\n<table><thead><tr><th>judged</th><th>check</th><th>because</th></tr>\
         </thead><tbody>\n",
    );
    for check in &verdict.checks {
        let (word, sign) = judged(check.judgement);
        push(
            html,
            format_args!(
                "<tr><td class=\"{word}\">{sign} {word}</td><td>{}<br><small>{}</small></td>\
                 <td>{}</td></tr>\n",
                escape(&check.check),
                escape(&check.guards),
                escape(&check.because)
            ),
        );
    }
    html.push_str("</tbody></table>\n");
}

fn steps(html: &mut String, figures: &Figures) {
    if figures.steps.is_empty() {
        return;
    }
    html.push_str("<h2>Steps</h2>\n<table><tbody>\n");
    for (at, number, text) in &figures.steps {
        push(
            html,
            format_args!(
                "<tr><td>{:.1} s</td><td>{number}</td><td>{}</td></tr>\n",
                *at as f64 / 1e6,
                escape(text)
            ),
        );
    }
    html.push_str("</tbody></table>\n");
}

fn commands(html: &mut String, figures: &Figures) {
    push(
        html,
        format_args!(
            "<h2>What was asked of the lab</h2>\n<details><summary>{} commands</summary><table>\
             <tbody>\n",
            figures.commands.len() + figures.more_commands
        ),
    );
    for (at, by, words, refused) in &figures.commands {
        let by = match by {
            By::Page => "a person",
            By::Drill => "the scenario",
            By::Call => "a program",
            By::Lab => "the lab",
        };
        let why = refused
            .as_ref()
            .map_or(String::new(), |why| format!(" <small>refused: {}</small>", escape(why)));
        push(
            html,
            format_args!(
                "<tr><td>{:.1} s</td><td>{by}</td><td>{}{why}</td></tr>\n",
                *at as f64 / 1e6,
                escape(words)
            ),
        );
    }
    html.push_str("</tbody></table></details>\n");
    if figures.more_commands > 0 {
        push(html, format_args!("<p>… and {} more</p>\n", figures.more_commands));
    }
}

#[cfg(test)]
mod tests {
    use lab_protocol::CheckResult;

    use super::*;

    #[test]
    fn the_page_stands_by_itself_and_says_why() {
        let about = About {
            schema: 1,
            run: "r <1>".into(),
            seed: 7,
            version: "0.1".into(),
            engine: "raft-node".into(),
            wall_millis: 0,
            members: vec![],
        };
        let check = CheckResult {
            check: "linearizable".into(),
            guards: "g".into(),
            judgement: Judgement::Invalid,
            because: "operation 17 <lost>".into(),
            evidence: vec![],
        };
        let verdict = Verdict::of("s", vec![check]);
        let figures = Figures::default();
        let more = [Section { heading: "More & more".into(), html: "<p>here</p>".into() }];
        let text = page(Page {
            title: "T",
            about: &about,
            verdict: &verdict,
            score: None,
            figures: &figures,
            more: &more,
        });
        for part in [
            "✗ invalid",
            "operation 17 &lt;lost&gt;",
            "r &lt;1&gt;",
            "More &amp; more",
            "<svg",
            "dark",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        for alien in ["<script", "href=", "src=", "url(", "http"] {
            assert!(!text.contains(alien), "{alien}");
        }
    }
}
