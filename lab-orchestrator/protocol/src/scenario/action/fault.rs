//! The sentences of faults: what a scenario does to links, disks, clocks, timers and files.
//!
//! Its grammar is in `words/faults.txt`.

use super::super::{Span, Target};
use super::{LinkWord, count, link, named};
use crate::{Damage, HeldOrder, Kinds, Mangling, MemberFile};

/// A target, and the name it is given.
pub type Named = (Target, Option<String>);

/// What is done.
#[expect(missing_docs, reason = "the module's grammar and the fields' names say it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultVerb {
    Hold { link: LinkWord },
    Refuse { link: LinkWord },
    HalfOpen { link: LinkWord },
    Throttle { link: LinkWord, bytes_per_second: u32 },
    Mangle { link: LinkWord, how: Mangling, percent: u8, only: Kinds },
    Flap { link: LinkWord, up: Span, down: Span },
    Reset { link: LinkWord },
    Shape(Shape),
    HeldMessages { order: HeldOrder, link: LinkWord, only: Kinds, times: Option<u32> },
    Starve { who: Named, percent: u8 },
    KeepRestarting { who: Named, up: Span, down: Span },
    SlowDisk { who: Named, by: Span },
    StickDisk { who: Named },
    FailDisk { who: Named },
    FillDisk { who: Named },
    LockDisk { who: Named },
    DriftClock { who: Named, permille: u32 },
    FreezeClock { who: Named },
    JumpClock { who: Named, millis: i64 },
    Tick { target: Target, ticks: u32 },
    Timers { ticks: u32, apart: u32 },
    Campaign { target: Target },
    Lift { target: Target },
    DamageFile { target: Target, file: MemberFile, damage: Damage },
    LosePower { who: Named },
    CrashAt { who: Named, failpoint: String },
}

/// A network's shape: who hears whom.
#[expect(missing_docs, reason = "the module's grammar and the fields' names say it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Two halves that do not hear each other, drawn from the seed.
    Halves,
    /// Each hears a majority, no two the same.
    Ring,
    /// Each hears its neighbours by number.
    Chain,
    /// Two halves, and one that hears both.
    Bridge { over: Target },
    /// Only this one hears the others and is heard.
    Star { around: Target },
    /// Nobody hears it.
    Mute { target: Target },
    /// It hears nobody.
    Deafen { target: Target },
}

/// The first words, for error messages.
pub(super) const ALLOWED: &str = "hold, refuse, half-open, throttle, drop, duplicate, reorder, \
    flap, reset, halves, ring, chain, bridge, star, mute, deafen, release, discard, double, starve, \
    keep restarting, slow disk, stick disk, fail disk, fill disk, lock disk, drift clock, freeze \
    clock, jump clock, tick, timers, campaign, lift, flip bit, truncate, lose power";

/// A sentence of a fault, by its first word; `None` if it is none.
pub(super) fn verb(first: &str, rest: &str) -> Option<Result<FaultVerb, String>> {
    Some(match (first, rest) {
        ("hold", _) => link(rest).map(|link| FaultVerb::Hold { link }),
        ("refuse", _) => link(rest).map(|link| FaultVerb::Refuse { link }),
        ("half-open", _) => link(rest).map(|link| FaultVerb::HalfOpen { link }),
        ("reset", _) => link(rest).map(|link| FaultVerb::Reset { link }),
        ("throttle", _) => throttle(rest),
        ("drop", _) => mangle(Mangling::Drop, rest),
        ("duplicate", _) => mangle(Mangling::Duplicate, rest),
        ("reorder", _) => mangle(Mangling::Reorder, rest),
        ("flap", _) => turns(rest)
            .and_then(|(what, up, down)| Ok(FaultVerb::Flap { link: link(what)?, up, down })),
        ("halves", "") => Ok(FaultVerb::Shape(Shape::Halves)),
        ("ring", "") => Ok(FaultVerb::Shape(Shape::Ring)),
        ("chain", "") => Ok(FaultVerb::Shape(Shape::Chain)),
        ("bridge", _) => {
            shape(rest, "over ", "write `bridge over m3`", |over| Shape::Bridge { over })
        }
        ("star", _) => {
            shape(rest, "around ", "write `star around m1`", |around| Shape::Star { around })
        }
        ("mute", _) => shape(rest, "", "", |target| Shape::Mute { target }),
        ("deafen", _) => shape(rest, "", "", |target| Shape::Deafen { target }),
        ("release", _) => held(HeldOrder::Release, rest),
        ("discard", _) => held(HeldOrder::Drop, rest),
        ("double", _) => held(HeldOrder::Duplicate, rest),
        ("starve", _) => rated(rest, "write `starve m2 to 20%`").and_then(|(who, percent)| {
            let percent = u8::try_from(percent).ok().filter(|percent| (1..=90).contains(percent));
            let percent = percent.ok_or("a starved process runs 1 to 90 percent of the time")?;
            Ok(FaultVerb::Starve { who, percent })
        }),
        ("keep", _) => keep(rest),
        ("slow", _) => disk(rest).and_then(|rest| {
            let (who, by) = rest.rsplit_once(" by ").ok_or("write `slow disk m2 by 100ms`")?;
            Ok(FaultVerb::SlowDisk { who: named(who)?, by: by.trim().parse()? })
        }),
        ("stick", _) => disk(rest).and_then(|who| Ok(FaultVerb::StickDisk { who: named(who)? })),
        ("fail", _) => disk(rest).and_then(|who| Ok(FaultVerb::FailDisk { who: named(who)? })),
        ("fill", _) => disk(rest).and_then(|who| Ok(FaultVerb::FillDisk { who: named(who)? })),
        ("lock", _) => disk(rest).and_then(|who| Ok(FaultVerb::LockDisk { who: named(who)? })),
        ("drift", _) => clock(rest).and_then(|rest| {
            let (who, percent) = rated(rest, "write `drift clock m2 to 150%`")?;
            match (1..=1_000).contains(&percent) {
                true => Ok(FaultVerb::DriftClock { who, permille: percent * 10 }),
                false => Err("a clock drifts to 1 to 1000 percent of its rate".into()),
            }
        }),
        ("freeze", _) => {
            clock(rest).and_then(|who| Ok(FaultVerb::FreezeClock { who: named(who)? }))
        }
        ("jump", _) => clock(rest).and_then(jump),
        ("tick", _) => {
            let (target, ticks) = rest.rsplit_once(' ').unwrap_or((rest, "1"));
            match count(ticks, 10_000) {
                Ok(ticks) => target.parse().map(|target| FaultVerb::Tick { target, ticks }),
                Err(_) => rest.parse().map(|target| FaultVerb::Tick { target, ticks: 1 }),
            }
        }
        ("timers", _) => timers(rest),
        ("campaign", _) => rest.parse().map(|target| FaultVerb::Campaign { target }),
        ("lift", _) => rest.parse().map(|target| FaultVerb::Lift { target }),
        ("flip", _) => damage(rest.strip_prefix("bit in ").unwrap_or_default(), Damage::BitFlip),
        ("truncate", _) => damage(rest, Damage::Truncate),
        ("lose", _) => match rest.strip_prefix("power ") {
            Some(who) => named(who).map(|who| FaultVerb::LosePower { who }),
            None => Err("write `lose power m2`".into()),
        },
        ("crash", _) if rest.contains(" at ") => {
            let (who, failpoint) = rest.split_once(" at ").expect("it is there");
            named(who).map(|who| FaultVerb::CrashAt { who, failpoint: failpoint.trim().to_owned() })
        }
        _ => return None,
    })
}

fn disk(rest: &str) -> Result<&str, String> {
    let usage = "write `slow disk m2 by 100ms`, or stick, fail, fill or lock `disk m2`";
    rest.strip_prefix("disk ").ok_or_else(|| usage.to_owned())
}

fn clock(rest: &str) -> Result<&str, String> {
    let usage = "write `drift clock m2 to 150%`, `freeze clock m2` or `jump clock m2 by 1s`";
    rest.strip_prefix("clock ").ok_or_else(|| usage.to_owned())
}

fn throttle(rest: &str) -> Result<FaultVerb, String> {
    let usage = "write `throttle m1>m2 to 2000 bytes`, which pass in a second";
    let (of, bytes) = rest.rsplit_once(" to ").ok_or(usage)?;
    let bytes = bytes.trim().strip_suffix(" bytes").ok_or(usage)?;
    Ok(FaultVerb::Throttle { link: link(of)?, bytes_per_second: count(bytes, 1_000_000_000)? })
}

fn kinds(word: &str) -> Result<Kinds, String> {
    Kinds::of_word(word.trim()).ok_or_else(|| {
        let words = Kinds::WORDS.join(", ");
        format!("`{}` is no kind of message; kinds are {words}", word.trim())
    })
}

fn mangle(how: Mangling, rest: &str) -> Result<FaultVerb, String> {
    let usage = || format!("write `{how} 30% of append on m1>m2`");
    let (percent, rest) = rest.split_once("% of ").ok_or_else(usage)?;
    let (kind, on) = rest.split_once(" on ").ok_or_else(usage)?;
    let percent = u8::try_from(count(percent.trim(), 100)?).map_err(|_| usage())?;
    if percent == 0 {
        return Err(format!("{usage}, with 1% at least", usage = usage()));
    }
    Ok(FaultVerb::Mangle { link: link(on)?, how, percent, only: kinds(kind)? })
}

fn held(order: HeldOrder, rest: &str) -> Result<FaultVerb, String> {
    let usage = "write `release vote on m1>m2 times 1`; without `times` all of them are meant";
    let (kind, on) = rest.split_once(" on ").ok_or(usage)?;
    let (on, times) = match on.split_once(" times ") {
        Some((on, times)) => (on, Some(count(times.trim(), 10_000)?)),
        None => (on, None),
    };
    Ok(FaultVerb::HeldMessages { order, link: link(on)?, only: kinds(kind)?, times })
}

/// `X up TIME down TIME`.
fn turns(rest: &str) -> Result<(&str, Span, Span), String> {
    let usage = "say how long each turn takes: `up 500ms down 200ms`";
    let (what, times) = rest.split_once(" up ").ok_or(usage)?;
    let (up, down) = times.split_once(" down ").ok_or(usage)?;
    Ok((what, up.trim().parse()?, down.trim().parse()?))
}

fn keep(rest: &str) -> Result<FaultVerb, String> {
    let usage = "write `keep restarting m2 up 2s down 1s`";
    let (who, up, down) = turns(rest.strip_prefix("restarting ").ok_or(usage)?)?;
    Ok(FaultVerb::KeepRestarting { who: named(who)?, up, down })
}

/// `TARGET [as NAME] to N%`, or with the name at the end.
fn rated(rest: &str, usage: &str) -> Result<(Named, u32), String> {
    let (who, percent) = rest.split_once(" to ").ok_or(usage)?;
    let (percent, name) = match percent.split_once(" as ") {
        Some((percent, name)) => (percent, format!(" as {name}")),
        None => (percent, String::new()),
    };
    let percent = percent.trim().strip_suffix('%').ok_or(usage)?;
    Ok((named(&format!("{who}{name}"))?, count(percent, 1_000)?))
}

fn jump(rest: &str) -> Result<FaultVerb, String> {
    let (who, by) = rest.rsplit_once(" by ").ok_or("write `jump clock m2 by -1s`")?;
    let (back, by) = match by.trim().strip_prefix('-') {
        Some(by) => (true, by),
        None => (false, by.trim()),
    };
    let millis = match by.parse()? {
        Span::Millis(millis) => i64::try_from(millis).unwrap_or(i64::MAX),
        _ => return Err("a clock jumps by a fixed time, such as 1s".into()),
    };
    Ok(FaultVerb::JumpClock { who: named(who)?, millis: if back { -millis } else { millis } })
}

fn timers(rest: &str) -> Result<FaultVerb, String> {
    match rest.split_whitespace().collect::<Vec<_>>().as_slice() {
        [ticks] => Ok(FaultVerb::Timers { ticks: count(ticks, 10_000)?, apart: 0 }),
        [ticks, "apart", apart] => {
            Ok(FaultVerb::Timers { ticks: count(ticks, 10_000)?, apart: count(apart, 10_000)? })
        }
        _ => Err("write `timers 15`, or `timers 15 apart 5`; `timers 0` has them drawn".into()),
    }
}

fn damage(rest: &str, damage: Damage) -> Result<FaultVerb, String> {
    let usage = "write `flip bit in log of m2` or `truncate state of m2`; files are log, state and \
                 snapshot";
    let (file, target) = rest.split_once(" of ").ok_or(usage)?;
    let file = match file.trim() {
        "log" => MemberFile::Log,
        "state" => MemberFile::State,
        "snapshot" => MemberFile::Snapshot,
        _ => return Err(usage.into()),
    };
    Ok(FaultVerb::DamageFile { target: target.parse()?, file, damage })
}

fn shape(
    rest: &str,
    word: &str,
    usage: &str,
    make: fn(Target) -> Shape,
) -> Result<FaultVerb, String> {
    let target = rest.strip_prefix(word).ok_or(usage)?;
    Ok(FaultVerb::Shape(make(target.parse()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemberNo;

    fn read(text: &str) -> Result<FaultVerb, String> {
        let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
        verb(first, rest).unwrap_or_else(|| panic!("{text} is none"))
    }

    #[test]
    fn sentences_become_faults() {
        let m = |number| Target::Member(MemberNo(number));
        let link = || LinkWord { from: m(1), to: m(2), both: false };
        for (text, expected) in [
            ("hold m1>m2", FaultVerb::Hold { link: link() }),
            (
                "throttle m1>m2 to 2000 bytes",
                FaultVerb::Throttle { link: link(), bytes_per_second: 2_000 },
            ),
            (
                "drop 30% of append on m1>m2",
                FaultVerb::Mangle {
                    link: link(),
                    how: Mangling::Drop,
                    percent: 30,
                    only: Kinds::Appends,
                },
            ),
            (
                "flap m1>m2 up 2s down 500ms",
                FaultVerb::Flap { link: link(), up: Span::Millis(2_000), down: Span::Millis(500) },
            ),
            ("bridge over m2", FaultVerb::Shape(Shape::Bridge { over: m(2) })),
            ("ring", FaultVerb::Shape(Shape::Ring)),
            ("mute leader", FaultVerb::Shape(Shape::Mute { target: Target::Leader })),
            (
                "release vote on m1>m2 times 1",
                FaultVerb::HeldMessages {
                    order: HeldOrder::Release,
                    link: link(),
                    only: Kinds::Votes,
                    times: Some(1),
                },
            ),
            (
                "starve leader to 20% as poor",
                FaultVerb::Starve { who: (Target::Leader, Some("poor".into())), percent: 20 },
            ),
            (
                "keep restarting m1 up 2s down 1s",
                FaultVerb::KeepRestarting {
                    who: (m(1), None),
                    up: Span::Millis(2_000),
                    down: Span::Millis(1_000),
                },
            ),
            (
                "slow disk leader as slow by 100ms",
                FaultVerb::SlowDisk {
                    who: (Target::Leader, Some("slow".into())),
                    by: Span::Millis(100),
                },
            ),
            ("stick disk m1", FaultVerb::StickDisk { who: (m(1), None) }),
            (
                "drift clock m1 to 150%",
                FaultVerb::DriftClock { who: (m(1), None), permille: 1_500 },
            ),
            ("jump clock m1 by -1s", FaultVerb::JumpClock { who: (m(1), None), millis: -1_000 }),
            ("tick m1 3", FaultVerb::Tick { target: m(1), ticks: 3 }),
            ("tick all", FaultVerb::Tick { target: Target::All, ticks: 1 }),
            ("timers 15 apart 5", FaultVerb::Timers { ticks: 15, apart: 5 }),
            (
                "flip bit in log of m1",
                FaultVerb::DamageFile {
                    target: m(1),
                    file: MemberFile::Log,
                    damage: Damage::BitFlip,
                },
            ),
            (
                "crash m1 at log-written",
                FaultVerb::CrashAt { who: (m(1), None), failpoint: "log-written".into() },
            ),
        ] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
        assert!(verb("crash", "m1").is_none() && verb("dance", "m1").is_none());
    }

    #[test]
    fn wrong_sentences_say_how_they_are_written() {
        for (text, needle) in [
            ("hold m1 m2", "m1>m2"),
            ("throttle m1>m2 to slow", "2000 bytes"),
            ("drop some append on m1>m2", "drop 30% of append"),
            ("drop 0% of any on m1>m2", "1% at least"),
            ("drop 10% of mail on m1>m2", "kinds are any, append"),
            ("flap m1>m2", "up 500ms"),
            ("starve m1 to 99%", "1 to 90"),
            ("slow m1", "slow disk m2 by"),
            ("jump clock m1 by 2ET", "fixed time"),
            ("timers soon or late", "timers 15"),
            ("flip bit in mail of m1", "files are log"),
            ("bridge m3", "bridge over"),
            ("lose m1", "lose power"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(needle), "{text}: {error}");
        }
    }
}
