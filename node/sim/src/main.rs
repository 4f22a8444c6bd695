//! `cargo sim`: lifetimes of whole clusters, one after another, until time is up or one is broken.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use lab_protocol::Numbered;
use node::training::Planted;
use node_sim::{Action, CALLS, MEASURES, Outcome, Plan, Settings, Tally, Total, run, shrink};

/// Lives lifetimes of whole clusters with faults, and judges each.
///
/// A seed decides everything: `--seed S` lives one lifetime again, the same bit for bit.
#[derive(Parser)]
struct Arguments {
    /// Live only the lifetime of this seed, and tell what went wrong in it.
    #[arg(long, conflicts_with_all = ["minutes", "lifetimes"])]
    seed: Option<u64>,
    /// Go on for so many minutes, such as 0.5 or 30.
    #[arg(long, default_value = "1", value_parser = minutes)]
    minutes: Duration,
    /// End after so many lifetimes, however long they take.
    #[arg(long)]
    lifetimes: Option<u64>,
    /// Begin with this seed and count up.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Also print every event of the lifetime (with --seed).
    #[arg(long, requires = "seed")]
    events: bool,
    /// Members of each cluster.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=9))]
    members: u8,
    /// Plant this bug; it is caught when a rule is broken (exit code 1).
    #[cfg(feature = "training")]
    #[arg(long = "break", value_enum)]
    planted: Option<node::training::Break>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Panics of the code under test are caught and told as what they are.
    std::panic::set_hook(Box::new(|_| {}));
    #[cfg(feature = "training")]
    let planted = Planted::new(arguments.planted);
    #[cfg(not(feature = "training"))]
    let planted = Planted::default();
    let settings = Settings { members: usize::from(arguments.members), planted };
    match arguments.seed {
        Some(seed) => one(seed, settings, arguments.events),
        None => many(&arguments, settings),
    }
}

fn one(seed: u64, settings: Settings, events: bool) -> ExitCode {
    let outcome = run(seed, settings);
    if events {
        for Numbered { seq, at_micros, event } in &outcome.journal {
            println!("{seq:>6} {:>10.6} s  {event:?}", *at_micros as f64 / 1e6);
        }
    }
    println!("seed {seed}: what was planned");
    for (at, action) in &outcome.plan.actions {
        println!("  {:>9.6} s  {action:?}", *at as f64 / 1e6);
    }
    println!("what happened\n{}", words(&outcome.tally));
    for (kind, count) in &outcome.tally.faults {
        println!("  {count:>8} {kind}");
    }
    println!("trace {:016x}, {} events", outcome.trace, outcome.journal.len());
    for why in &outcome.violations {
        println!("BROKEN  {why}");
    }
    if outcome.violations.is_empty() {
        println!("every rule holds");
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Lives lifetimes on all cores; ends at the first that is broken.
fn many(arguments: &Arguments, settings: Settings) -> ExitCode {
    let began = Instant::now();
    let until = began + arguments.minutes;
    let next = AtomicU64::new(arguments.from);
    let end = arguments.lifetimes.map(|count| arguments.from.saturating_add(count));
    let stop = AtomicBool::new(false);
    let total = Mutex::new(Total::default());
    let broken: Mutex<Option<Outcome>> = Mutex::new(None);
    let told = Mutex::new(Told(began));
    let worker = || {
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if end.map_or_else(|| Instant::now() >= until, |end| seed >= end) {
                return;
            }
            let outcome = run(seed, settings);
            let mut total = total.lock().expect("nobody panics while holding it");
            total.add(&outcome.tally);
            let held = outcome.violations.is_empty();
            if held && told.lock().expect("nobody panics while holding it").is_due() {
                let (lived, seconds) = (total.lifetimes, began.elapsed().as_secs());
                eprintln!("{lived} lifetimes in {seconds} s, every rule held");
            }
            drop(total);
            if !held {
                stop.store(true, Ordering::Relaxed);
                let mut broken = broken.lock().expect("nobody panics while holding it");
                if broken.as_ref().is_none_or(|other| other.seed > outcome.seed) {
                    *broken = Some(outcome);
                }
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(worker);
        }
    });
    let total = total.into_inner().expect("nobody panics while holding it");
    println!(
        "{} lifetimes in {:.1} s on {cores} cores ({:.0} a minute)\n{}",
        total.lifetimes,
        began.elapsed().as_secs_f64(),
        total.lifetimes as f64 * 60.0 / began.elapsed().as_secs_f64(),
        words(&total.sum)
    );
    for (kind, count) in &total.sum.faults {
        let with = total.lifetimes_with.get(kind).copied().unwrap_or_default();
        println!("  {count:>8} {kind} in {with} lifetimes");
    }
    let medians = MEASURES.iter().zip(total.medians());
    let medians: Vec<_> = medians.map(|((name, _), count)| format!("{count} {name}")).collect();
    println!("  a median lifetime has {}", medians.join(", "));
    match broken.into_inner().expect("nobody panics while holding it") {
        None => {
            println!("zero violations");
            match too_little(&total) {
                None => ExitCode::SUCCESS,
                Some(what) => {
                    println!("too little: {what}");
                    ExitCode::FAILURE
                }
            }
        }
        Some(outcome) => {
            for why in &outcome.violations {
                println!("BROKEN  seed {}: {why}", outcome.seed);
            }
            println!("        again: cargo sim --seed {}", outcome.seed);
            println!("looking for the faults that are needed …");
            let short = shrink(outcome, settings);
            println!("short: {}", short.violation().unwrap_or_default());
            println!("as a test: run_plan({}, {}, settings)", short.seed, rust(&short.plan));
            ExitCode::FAILURE
        }
    }
}

/// When a person was last told how far it has come.
struct Told(Instant);

impl Told {
    fn is_due(&mut self) -> bool {
        const EACH: Duration = Duration::from_secs(10);
        let due = self.0.elapsed() >= EACH;
        if due {
            self.0 = Instant::now();
        }
        due
    }
}

/// Reads `--minutes`.
fn minutes(text: &str) -> Result<Duration, String> {
    let minutes: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    match minutes {
        0.0..=10_080.0 => Ok(Duration::from_secs_f64(minutes * 60.0)),
        _ => Err("expected 0 to 10080, a week".to_owned()),
    }
}

/// A plan as it is written in a test.
fn rust(plan: &Plan) -> String {
    let actions = plan.actions.iter().map(|(at, action)| format!("({at}, Action::{action:?})"));
    let actions = actions.collect::<Vec<_>>().join(", ");
    let Plan { members, joiners, election_ticks, message_bytes, .. } = plan;
    format!(
        "Plan {{ members: {members}, joiners: {joiners}, election_ticks: {election_ticks}, message_bytes: \
         {message_bytes}, actions: vec![{actions}] }}"
    )
}

/// What hardly happened: then nothing is known of it. Few lifetimes tell nothing.
fn too_little(total: &Total) -> Option<String> {
    const FEW: u64 = 100;
    if total.lifetimes < FEW {
        return None;
    }
    let acted = |kind: &&str| total.lifetimes_with.get(*kind).copied().unwrap_or(0);
    let rare = Action::KINDS.into_iter().find(|kind| acted(kind) * 100 < total.lifetimes);
    if let Some(kind) = rare {
        return Some(format!("`{kind}` acted in fewer than 1 % of these lifetimes"));
    }
    let rare = CALLS.into_iter().find(|call| acted(call) * 2 < total.lifetimes);
    if let Some(call) = rare {
        return Some(format!("no {call} was acknowledged in more than half of these lifetimes"));
    }
    let mut medians = MEASURES.iter().zip(total.medians());
    let ((name, least), count) = medians.find(|((_, least), count)| count < least)?;
    Some(format!("the median lifetime has {count} {name}, and should have {least}"))
}

fn words(tally: &Tally) -> String {
    let Tally { simulated_micros, asked, acknowledged, unknown, elections, crashes, .. } = tally;
    let Tally { messages, snapshots, truncations, answered, .. } = tally;
    let Tally { watched, resumed, overtaken, .. } = tally;
    let answered: Vec<_> = answered.iter().map(|(call, count)| format!("{call} {count}")).collect();
    format!(
        "  {:.0} simulated seconds, {messages} messages, {asked} operations ({acknowledged} \
         acknowledged, {unknown} unknown)\n  acknowledged: {}\n  {watched} events watched, \
         {resumed} watches resumed, {overtaken} overtaken by a compaction\n  {elections} elections, \
         {crashes} crashes, {snapshots} snapshots installed, {truncations} logs truncated",
        *simulated_micros as f64 / 1e6,
        answered.join(", ")
    )
}
