//! What is known of each lease, and whether it ended when it should.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::rule::Rule;

/// What a lease may live beyond its time when all is quiet: the election timeout (1 s) that a new
/// leader adds, the half second between two looks for what has run out, and a slow machine.
pub(super) const ALLOWANCE: Duration = Duration::from_secs(6);

/// A request that gave the lease its full time, answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Granted {
    pub(super) sent: Duration,
    pub(super) answered: Duration,
}

/// Somebody learnt that the lease is gone.
#[derive(Clone, Debug)]
pub(super) struct Sighting {
    pub(super) who: String,
    /// The key whose end was seen, and the revision; `None` when the lease itself was asked for.
    pub(super) key: Option<(String, i64)>,
    pub(super) at: Duration,
}

/// One lease. Times count from the beginning of the run.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    pub(super) ttl: Duration,
    pub(super) keys: Vec<String>,
    /// The grant first, then every keep-alive that was answered.
    pub(super) granted: Vec<Granted>,
    pub(super) gone: Vec<Sighting>,
}

impl Lease {
    /// Before this it must not be seen gone, by what was answered until `at`.
    fn lives_until(&self, at: Duration) -> Duration {
        let known = self.granted.iter().filter(|granted| granted.answered <= at);
        known.map(|granted| granted.sent + self.ttl).max().unwrap_or_default()
    }

    /// When the last of its keys was first seen gone; `None` while one is not.
    fn gone_at(&self) -> Option<Duration> {
        let of = |key: &String| {
            let seen =
                self.gone.iter().filter(|seen| seen.key.as_ref().is_some_and(|k| k.0 == *key));
            seen.map(|seen| seen.at).min()
        };
        self.keys.iter().map(of).collect::<Option<Vec<_>>>()?.into_iter().max()
    }
}

/// All leases by id.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    pub(super) leases: BTreeMap<i64, Lease>,
    /// When the last change of leader was over and nothing was kept alive any more.
    pub(super) quiet: Option<Duration>,
    /// What the cluster still had when all should have been gone: leases and keys.
    pub(super) left: Option<(usize, i64)>,
}

impl Book {
    /// Whether every key of every lease was seen gone.
    pub(super) fn all_gone(&self) -> bool {
        self.leases.values().all(|lease| lease.gone_at().is_some())
    }

    /// When, at the latest, all have to be gone.
    pub(super) fn ends(&self, quiet: Duration) -> Duration {
        let each = self.leases.values().map(|lease| quiet + lease.ttl + ALLOWANCE);
        each.max().unwrap_or(quiet)
    }

    /// What the rules say; `wanted` leases were to be held.
    pub(super) fn judge(&self, wanted: u64) -> Vec<Rule> {
        let mut early = Rule::new(
            "none_ends_early",
            "a lease is not gone before its time since the last request for it that was answered",
            "sightings of an end",
            wanted,
        );
        let mut together = Rule::new(
            "keys_go_together",
            "all keys of a lease go in one revision",
            "leases",
            wanted,
        );
        let mut late = Rule::new(
            "all_end_when_quiet",
            "when no leader changes and nothing is kept alive, each lease ends after its time",
            "leases",
            wanted,
        );
        let Some(quiet) = self.quiet else {
            late.cannot_tell("the cluster did not become quiet".into());
            return vec![early, together, late];
        };
        let (mut after_quiet, mut longest) = (0, Duration::ZERO);
        for (id, lease) in &self.leases {
            for seen in &lease.gone {
                let until = lease.lives_until(seen.at);
                early.judge(seen.at >= until, || {
                    let what = seen.key.as_ref().map_or_else(
                        || "it is unknown".to_owned(),
                        |(key, revision)| format!("{key} is deleted at revision {revision}"),
                    );
                    format!(
                        "lease {id:x} of {} s: {} learnt at {:.2} s that {what}, {:.2} s too early",
                        lease.ttl.as_secs(),
                        seen.who,
                        seen.at.as_secs_f64(),
                        (until - seen.at).as_secs_f64()
                    )
                });
            }
            let revisions: BTreeSet<_> =
                lease.gone.iter().filter_map(|seen| Some(seen.key.as_ref()?.1)).collect();
            together.judge(revisions.len() <= 1, || {
                format!("the keys of lease {id:x} went at revisions {revisions:?}")
            });
            let gone = lease.gone_at();
            let allowed = quiet + lease.ttl + ALLOWANCE;
            late.judge(gone.is_some_and(|gone| gone <= allowed), || {
                let gone = gone.map_or("not at all".to_owned(), |gone| {
                    format!("{:.1} s after quiet", gone.saturating_sub(quiet).as_secs_f64())
                });
                format!("lease {id:x} of {} s ended {gone}", lease.ttl.as_secs())
            });
            if let Some(gone) = gone.filter(|gone| *gone > quiet) {
                after_quiet += 1;
                longest = longest.max(gone.saturating_sub(quiet + lease.ttl));
            }
        }
        late.note(format!(
            "{after_quiet} ended after quiet, at most {:.1} s beyond their time ({} s are allowed)",
            longest.as_secs_f64(),
            ALLOWANCE.as_secs()
        ));
        let kept = self.leases.values().map(|lease| lease.granted.len().saturating_sub(1));
        early.note(format!("{} keep-alives answered", kept.sum::<usize>()));
        match self.left {
            Some((0, 0)) => {}
            Some((leases, keys)) => {
                late.judge(false, || {
                    format!("at the end {leases} leases and {keys} keys are left")
                });
            }
            None => late.cannot_tell("what is left at the end was not read".into()),
        }
        vec![early, together, late]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(f64) -> Duration = Duration::from_secs_f64;

    fn gone(key: &str, revision: i64, at: f64) -> Sighting {
        Sighting { who: "watcher".into(), key: Some((key.into(), revision)), at: S(at) }
    }

    /// A lease of 5 s, granted at 1, kept alive at 3, gone at 8.2; quiet from 4 on.
    fn sound() -> Book {
        let granted = |sent, answered| Granted { sent: S(sent), answered: S(answered) };
        let lease = Lease {
            ttl: S(5.0),
            keys: vec!["a".into(), "b".into()],
            granted: vec![granted(1.0, 1.1), granted(3.0, 3.5)],
            gone: vec![gone("a", 9, 8.2), gone("b", 9, 8.2)],
        };
        Book { leases: [(7, lease)].into(), quiet: Some(S(4.0)), left: Some((0, 0)) }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Book), broken: &[&str]) {
        let mut book = sound();
        change(&mut book);
        let rules = book.judge(1);
        let found: Vec<_> = rules.iter().filter(|rule| rule.is_broken()).map(Rule::name).collect();
        assert_eq!(found, broken, "{rules:?}");
    }

    fn lease(book: &mut Book) -> &mut Lease {
        book.leases.get_mut(&7).expect("it is there")
    }

    #[test]
    fn a_lease_that_ends_in_time_is_fine() {
        check(|_| {}, &[]);
    }

    #[test]
    fn a_key_that_goes_too_early_is_found() {
        check(|book| lease(book).gone[0].at = S(7.9), &["none_ends_early"]);
    }

    #[test]
    fn a_lease_that_is_called_unknown_too_early_is_found() {
        let seen = Sighting { who: "keeper".into(), key: None, at: S(6.0) };
        check(|book| lease(book).gone.push(seen), &["none_ends_early"]);
    }

    #[test]
    fn a_keep_alive_counts_only_from_its_answer_on() {
        // Gone at 6.1, which is right for the grant at 1, and the answer to the later request came
        // after that.
        let change = |book: &mut Book| {
            let lease = lease(book);
            lease.granted[1] = Granted { sent: S(3.0), answered: S(6.5) };
            lease.gone.iter_mut().for_each(|seen| seen.at = S(6.1));
        };
        check(change, &[]);
    }

    #[test]
    fn a_lease_that_lives_on_is_found() {
        check(|book| lease(book).gone[1].at = S(15.1), &["all_end_when_quiet"]);
        check(|book| drop(lease(book).gone.pop()), &["all_end_when_quiet"]);
        check(|book| book.left = Some((1, 2)), &["all_end_when_quiet"]);
    }

    #[test]
    fn keys_that_go_one_by_one_are_found() {
        check(|book| lease(book).gone[1] = gone("b", 10, 8.3), &["keys_go_together"]);
    }
}
