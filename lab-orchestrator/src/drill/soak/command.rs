//! The command: a lab, windows one after the other, the report.

use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use lab_check::Enough;
use lab_protocol::{CheckResult, Judgement, Verdict};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::time::Instant;

use super::super::perform::{Signalled, draw_seed, signalled};
use super::super::report::{print_verdict, wants_json};
use super::super::runner::Trouble;
use super::super::teller::Teller;
use super::super::{NodeChoice, Outcome, Runner};
use super::book::{self, Book, Shared};
use super::judge::{self, Window};
use super::measure::Measures;
use super::nemesis::Nemesis;
use super::told::{self, Soaked};
use crate::lab::{Lab, LabPlan};
use crate::record::{self, Recorder};
use crate::report::{self, Page, REPORT_FILE, line};
use crate::workload;

/// What a window needs to prove anything.
const ENOUGH: Enough = Enough { operations: 200, of_each_kind: 5 };

/// Flags of every member: snapshots are taken several times in a window.
const MEMBER_FLAGS: [&str; 1] = ["--snapshot-count=5000"];

/// A shorter window proves little: its settling takes a quarter of a minute.
const SHORTEST_WINDOW: Duration = Duration::from_secs(20);

/// Deal every fault that a cluster gets over, for a given time, and judge it window by window.
#[derive(Clone, Debug, Args)]
pub struct SoakArgs {
    /// How long.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub minutes: u32,
    /// Members of the cluster.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(3..=7))]
    pub members: u8,
    /// Seconds of a window, before it settles and is judged.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(20..=3600))]
    pub window: u32,
    /// Errands that clients begin a second.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(10..=500))]
    pub rate: u32,
    /// Never replace a member.
    #[arg(long)]
    pub same_members: bool,
    /// Use the training program, whose disk can lose its power.
    #[arg(long)]
    pub training: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub node: NodeChoice,
    /// Where every random choice comes from; without it one is drawn.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Where the run is recorded, in a folder of its own; made if it is missing.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
    /// The recording of the journal grows no larger; what comes later is judged all the same.
    #[arg(long, value_name = "MEBIBYTES", default_value_t = 512)]
    pub record: u64,
    /// Print the result as JSON (also when the output is not a terminal).
    #[arg(long)]
    pub json: bool,
}

/// Does it, tells how far it has come, and prints what came of it. Stops at the first window that is
/// invalid.
///
/// Errors: the lab failed, or somebody ended it; then what was judged so far is printed.
pub async fn soak(args: SoakArgs) -> Result<Outcome> {
    let seed = args.seed.unwrap_or_else(draw_seed);
    let program = match args.training {
        true => args.node.training()?,
        false => args.node.program()?,
    };
    let mut node_args: Vec<OsString> = args.node.node_args.clone();
    node_args.extend(MEMBER_FLAGS.iter().map(OsString::from));
    let plan = LabPlan {
        members: Some(args.members),
        node_args,
        power: args.training,
        clients: Some(workload::make_clients()),
        ..LabPlan::of(program, seed)
    };
    eprintln!("soak: {} minutes, {} members, seed {seed}", args.minutes, args.members);
    let lab = Lab::start(plan).await.context("start the lab")?;
    let handle = lab.handle().clone();
    handle.journal().follow(0).ready().await.ok(); // The first event is there.
    let name = handle.journal().with_state(|state| state.run.clone());
    let run = args.runs.join(format!("soak-{name}"));
    let recorder = Recorder::start(handle.journal(), &run, args.record << 20)
        .with_context(|| format!("record the run in {}", run.display()))?;
    let shared: Shared = std::rc::Rc::new(std::cell::RefCell::new(Book::default()));
    let mut done = Done::default();
    let cut_short = {
        let following = book::follow(handle.journal().follow(0), shared.clone());
        let mut say = |_: &str| {};
        let runner = Runner::new(handle.clone(), Vec::new().into(), seed, &mut say);
        let draws = ChaCha8Rng::seed_from_u64(seed);
        let how = (args.rate, args.training, !args.same_members);
        let nemesis = Nemesis::new(&lab, runner, shared.clone(), draws, how);
        let soaking = windows(nemesis, &args, &run, &mut done);
        tokio::select! {
            // The journal ends with the lab, and not before.
            followed = following => {
                followed.context("follow the journal")?;
                anyhow::bail!("go on: the lab has ended");
            }
            soaked = soaking => {
                soaked?;
                false
            }
            () = signalled() => true,
        }
    };
    if record::save_outputs(&handle, &run).is_err() {
        eprintln!("soak: the members' output could not be saved");
    }
    lab.shutdown().await;
    recorder.finish().await.context("record the run")?;
    let soaked = done.soaked(&args, seed, run, cut_short);
    write(&soaked, &done.measures, &shared.borrow_mut())?;
    print(&soaked, args.json)?;
    if cut_short {
        return Err(Signalled.into());
    }
    Ok(soaked.verdict.judgement.into())
}

/// What was done so far; it outlives a soak that is ended from outside.
#[derive(Default)]
struct Done {
    windows: Vec<Window>,
    measures: Measures,
    blows: std::collections::BTreeMap<&'static str, u32>,
    replaced: u32,
    seconds: f64,
}

impl Done {
    fn take(&mut self, nemesis: &Nemesis<'_>) {
        self.measures = nemesis.measures.clone();
        self.blows = nemesis.dealt.clone();
        self.replaced = nemesis.replaced;
        self.seconds = nemesis.began.elapsed().as_secs_f64();
    }

    fn soaked(&self, args: &SoakArgs, seed: u64, run: PathBuf, cut_short: bool) -> Soaked {
        Soaked {
            members: args.members,
            seed,
            seconds: self.seconds,
            run,
            cut_short,
            blows: self.blows.clone(),
            replaced: self.replaced,
            windows: self.windows.clone(),
            growths: self.measures.growths(),
            verdict: judge::verdict(&self.windows, self.measures.checks()),
        }
    }
}

async fn windows(
    mut nemesis: Nemesis<'_>,
    args: &SoakArgs,
    run: &Path,
    done: &mut Done,
) -> Result<()> {
    let whole = Duration::from_secs(u64::from(args.minutes) * 60);
    let ends = Instant::now() + whole;
    let teller = Teller::new();
    lab_or(nemesis.form().await).context("form the cluster")?;
    for number in 1.. {
        let left = ends.saturating_duration_since(Instant::now());
        if number > 1 && left < SHORTEST_WINDOW {
            break;
        }
        let length = Duration::from_secs(u64::from(args.window)).min(left);
        let began = Instant::now();
        let before: u32 = nemesis.dealt.values().sum();
        let verdict = {
            let window = window(&mut nemesis, length, number, run);
            tokio::pin!(window);
            let mut ticks = tokio::time::interval(teller.every());
            loop {
                tokio::select! {
                    verdict = &mut window => break verdict?,
                    _ = ticks.tick() => {
                        let gone = (whole - ends.saturating_duration_since(Instant::now())).as_secs_f64();
                        teller.tell(&told::progress(gone, whole.as_secs_f64(), number, &done.windows));
                    }
                }
            }
        };
        let dealt: u32 = nemesis.dealt.values().sum();
        let (judgement, seconds) = (verdict.judgement, began.elapsed().as_secs_f64());
        done.windows.push(Window { number, seconds, blows: dealt - before, verdict });
        done.take(&nemesis);
        if judgement == Judgement::Invalid {
            break;
        }
        match nemesis.clear().await {
            Ok(()) => {}
            Err(Trouble::Lab(error)) => return Err(error.into()),
            Err(Trouble::Impossible(why) | Trouble::Broken(why)) => {
                teller.end();
                eprintln!("soak: window {} cannot begin: {why}", number + 1);
                break;
            }
        }
    }
    teller.end();
    Ok(())
}

/// One window, judged; one that fails leaves its history.
async fn window(
    nemesis: &mut Nemesis<'_>,
    length: Duration,
    number: u32,
    run: &Path,
) -> Result<Verdict> {
    nemesis.book.borrow_mut().begin_window(ENOUGH);
    let before: u32 = nemesis.dealt.values().sum();
    let struck = match nemesis.strike(length).await {
        Ok(()) => nemesis.settle().await,
        // What could not be done says nothing of the rest, which is judged.
        Err(Trouble::Impossible(why)) => {
            let healed = match nemesis.heal().await {
                Ok(()) => nemesis.settle().await,
                other => other,
            };
            healed.and(Err(Trouble::Impossible(why)))
        }
        other => other,
    };
    let dealt: u32 = nemesis.dealt.values().sum();
    let claim = match struck {
        Ok(()) if dealt == before => Some((Judgement::Unknown, "no fault was dealt".to_owned())),
        Ok(()) => None,
        Err(Trouble::Lab(error)) => return Err(error.into()),
        Err(Trouble::Impossible(why)) => Some((Judgement::Unknown, why)),
        Err(Trouble::Broken(why)) => Some((Judgement::Invalid, why)),
    };
    let claim = claim.map(|(judgement, because)| CheckResult {
        check: "the window".into(),
        guards: "everything healed, the cluster becomes whole and quiet by itself".into(),
        judgement,
        because,
        evidence: vec![],
    });
    let mut checks: Vec<_> = claim.into_iter().collect();
    checks.extend(nemesis.book.borrow_mut().end_window());
    let verdict = Verdict::of(format!("window {number}"), checks);
    if verdict.judgement != Judgement::Valid {
        let path = run.join(format!("window-{number}.jsonl"));
        keep(&nemesis.book, &path).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(verdict)
}

/// Writes the operations of the present window down.
fn keep(book: &Shared, path: &Path) -> std::io::Result<()> {
    let book = book.borrow_mut();
    let mut file = std::io::BufWriter::new(fs::File::create(path)?);
    let mut open = std::collections::BTreeMap::new();
    for numbered in &book.kept {
        if let lab_protocol::Event::Invoked { op, client, call, .. } = &numbered.event {
            open.insert(op.0, (client.0, call));
        }
        if let Some(line) = line(numbered, |op| open.get(&op).copied()) {
            writeln!(file, "{line}")?;
        }
    }
    file.flush()
}

fn lab_or(result: Result<(), Trouble>) -> Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(Trouble::Impossible(why) | Trouble::Broken(why)) => Err(anyhow::anyhow!(why)),
        Err(Trouble::Lab(error)) => Err(error.into()),
    }
}

/// Writes what came of it into the run's folder.
fn write(soaked: &Soaked, measures: &Measures, book: &Book) -> Result<()> {
    let run = &soaked.run;
    record::save_verdict(&soaked.verdict, run).context("save the verdict")?;
    let text = serde_json::to_string_pretty(soaked).context("write the result")?;
    fs::write(run.join("soak.json"), text + "\n").context("save the result")?;
    let about = book.about.as_ref().context("find what ran: the journal does not begin")?;
    let title = format!("{:.0} minutes of every fault, {} members", soaked.seconds / 60.0, {
        soaked.members
    });
    let page = Page {
        title: &title,
        about,
        verdict: &soaked.verdict,
        score: None,
        figures: &book.figures,
        more: &told::sections(soaked, measures),
    };
    let path = run.join(REPORT_FILE);
    fs::write(&path, report::page(page)).with_context(|| format!("write {}", path.display()))
}

fn print(soaked: &Soaked, json: bool) -> Result<()> {
    if wants_json(json) {
        println!("{}", serde_json::to_string_pretty(soaked).context("write the result")?);
    } else {
        println!("{}", soaked.text());
        print_verdict(&soaked.verdict);
    }
    eprintln!("soak: seed {}, report: {}", soaked.seed, soaked.run.join(REPORT_FILE).display());
    Ok(())
}
