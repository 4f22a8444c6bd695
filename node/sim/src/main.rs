//! `cargo sim`: lifetimes of whole clusters, one after another, until time is up or one is broken.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use lab_protocol::Numbered;
use node::training::Planted;
use node_sim::{
    Action, CALLS, MEASURES, Outcome, PLAN_FILE, SaveError, SavedPlan, Settings, Tally, Total,
    record_plan, run, save, shrink,
};

/// A lifetime is mostly small things that live for a moment.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Lives lifetimes of whole clusters with faults, and judges each.
///
/// A seed decides everything: `--seed S` lives one lifetime again, the same bit for bit. When a
/// rule is broken, the faults that it does not need are left out and the short lifetime is saved:
/// as a plan, which `--plan FILE` lives again, and as a recording, which `raft-lab replay DIR`
/// shows on the page.
#[derive(Parser)]
#[command(after_help = EXAMPLES)]
struct Arguments {
    /// Live only the lifetime of this seed, and tell what went wrong in it.
    #[arg(long, group = "one", conflicts_with_all = ["minutes", "lifetimes", "from"])]
    seed: Option<u64>,
    /// Live only the lifetime of this saved plan.
    #[arg(
        long,
        value_name = "FILE",
        group = "one",
        conflicts_with_all = ["minutes", "lifetimes", "from", "members"]
    )]
    plan: Option<PathBuf>,
    /// Of the one lifetime, leave out the faults that its broken rule does not need.
    #[arg(long, requires = "one")]
    shrink: bool,
    /// Save the lifetime here: its plan, and a recording of it. What breaks a rule among many is
    /// always saved, without this in target/sim/seed-S.
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// Go on for so many minutes, such as 0.5 or 30.
    #[arg(long, default_value = "1", value_parser = minutes)]
    minutes: Duration,
    /// End after so many lifetimes, however long they take.
    #[arg(long)]
    lifetimes: Option<u64>,
    /// Begin with this seed and count up.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Also print every event of the one lifetime.
    #[arg(long, requires = "one")]
    events: bool,
    /// Members of each cluster.
    #[arg(long, default_value_t = DEFAULT_MEMBERS as u8, value_parser = clap::value_parser!(u8).range(2..=9))]
    members: u8,
    /// Plant this bug; it is caught when a rule is broken (exit code 1).
    #[cfg(feature = "training")]
    #[arg(long = "break", value_enum)]
    planted: Option<node::training::Break>,
}

const EXAMPLES: &str = "\
Examples:
  cargo sim --minutes 30                       many lifetimes, until one breaks a rule
  cargo sim --seed 17 --save /tmp/seed-17      one, to be watched: raft-lab replay /tmp/seed-17
  cargo sim --seed 17 --shrink --save /tmp/17  only the faults that its broken rule needs
  cargo sim --plan /tmp/17/plan.json           the same once more

A plan that is copied into node/sim/tests/plans is lived, and must hold every rule, in every
`cargo test -p node-sim`.";

/// Members of a cluster unless somebody says otherwise.
const DEFAULT_MEMBERS: usize = 3;

/// How the program ends when a lifetime could not be lived or saved.
const FAILED: u8 = 3;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Panics of the code under test are caught and told as what they are.
    std::panic::set_hook(Box::new(|_| {}));
    #[cfg(feature = "training")]
    let planted = Planted::new(arguments.planted);
    #[cfg(not(feature = "training"))]
    let planted = Planted::default();
    let settings = Settings { members: usize::from(arguments.members), planted };
    let done = match (arguments.seed, &arguments.plan) {
        (Some(seed), _) => one(run(seed, settings), &arguments, settings),
        (None, Some(file)) => {
            SavedPlan::read(file).and_then(|saved| one(saved.run(settings), &arguments, settings))
        }
        (None, None) => many(&arguments, settings),
    };
    done.unwrap_or_else(|error| {
        match std::error::Error::source(&error) {
            Some(source) => eprintln!("sim: {error}: {source}"),
            None => eprintln!("sim: {error}"),
        }
        ExitCode::from(FAILED)
    })
}

fn one(lived: Outcome, arguments: &Arguments, settings: Settings) -> Result<ExitCode, SaveError> {
    let outcome = if arguments.shrink { shrink(lived, settings) } else { lived };
    let seed = outcome.seed;
    if arguments.events {
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
    let holds = outcome.violations.is_empty();
    if holds {
        println!("every rule holds");
    }
    if let Some(dir) = &arguments.save {
        saved(outcome, dir, arguments, settings)?;
    }
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Lives a lifetime once more, to record it, and saves it; says what can be done with that.
fn saved(
    outcome: Outcome,
    dir: &Path,
    arguments: &Arguments,
    settings: Settings,
) -> Result<(), SaveError> {
    let broken = outcome.violation().is_some();
    save(&record_plan(outcome.seed, outcome.plan, settings), dir)?;
    let (plan, dir) = (dir.join(PLAN_FILE), dir.display());
    let plan = plan.display();
    println!("saved in {dir}");
    println!("  watch it    target/release/raft-lab replay {dir}");
    println!("  live it     cargo sim --plan {plan}{}", arguments.planted_in_words());
    if broken {
        println!("  keep it     cp {plan} node/sim/tests/plans/WHAT-BROKE.json");
    }
    Ok(())
}

/// Lives lifetimes on all cores; ends at the first that is broken.
fn many(arguments: &Arguments, settings: Settings) -> Result<ExitCode, SaveError> {
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
                None => Ok(ExitCode::SUCCESS),
                Some(what) => {
                    println!("too little: {what}");
                    Ok(ExitCode::FAILURE)
                }
            }
        }
        Some(outcome) => {
            for why in &outcome.violations {
                println!("BROKEN  seed {}: {why}", outcome.seed);
            }
            let members = match outcome.plan.members {
                DEFAULT_MEMBERS => String::new(),
                members => format!(" --members {members}"),
            };
            let bug = arguments.planted_in_words();
            println!("        again: cargo sim --seed {}{members}{bug}", outcome.seed);
            println!("looking for the faults that are needed …");
            let short = shrink(outcome, settings);
            for (at, action) in &short.plan.actions {
                println!("  {:>9.6} s  {action:?}", *at as f64 / 1e6);
            }
            println!("short: {}", short.violation().unwrap_or_default());
            let dir = arguments.save.clone().unwrap_or_else(|| shelf(short.seed));
            saved(short, &dir, arguments, settings)?;
            Ok(ExitCode::FAILURE)
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

impl Arguments {
    /// The planted bug as it is asked for, after a space; empty without one.
    fn planted_in_words(&self) -> String {
        #[cfg(feature = "training")]
        if let Some(bug) = self.planted.as_ref().and_then(clap::ValueEnum::to_possible_value) {
            return format!(" --break {}", bug.get_name());
        }
        String::new()
    }
}

/// Where a lifetime is saved that nobody gave a place to.
fn shelf(seed: u64) -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    let shelf = workspace.unwrap_or(Path::new("")).join(format!("target/sim/seed-{seed}"));
    let here = std::env::current_dir().unwrap_or_default();
    shelf.strip_prefix(here).map(Path::to_owned).unwrap_or(shelf)
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
