//! Exact percentiles of all samples.

use serde::Serialize;

/// What one client, or many, measured: latencies in microseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples {
    micros: Vec<u32>,
    /// Calls that gave no answer, or an error.
    pub(super) errors: u64,
}

/// One case on one side in one round.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figures {
    /// Answers a second.
    pub(super) per_second: f64,
    /// Half of all answers came within so many milliseconds.
    pub(super) p50_millis: f64,
    /// 99 of 100 answers came within so many milliseconds.
    pub(super) p99_millis: f64,
    /// The slowest answer, milliseconds.
    pub(super) max_millis: f64,
    /// Answers.
    pub(super) answers: usize,
    /// Calls that gave no answer, or an error.
    pub(super) errors: u64,
    /// Cores that the members kept busy, of this machine's; `None` where they cannot be seen.
    pub(super) member_cores: Option<f64>,
    /// Cores that this program kept busy.
    pub(super) client_cores: Option<f64>,
    /// Cores that nobody kept busy; what is missing to all cores went to other programs.
    pub(super) idle_cores: Option<f64>,
}

impl Samples {
    pub(super) fn with_capacity(samples: usize) -> Self {
        Self { micros: Vec::with_capacity(samples), errors: 0 }
    }

    pub(super) fn add(&mut self, took: std::time::Duration) {
        self.micros.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.micros.extend(other.micros);
        self.errors += other.errors;
    }

    /// The figures of samples taken in so many seconds.
    pub(super) fn figures(mut self, seconds: f64) -> Figures {
        self.micros.sort_unstable();
        let millis = |share: f64| percentile(&self.micros, share).unwrap_or(f64::NAN) / 1000.0;
        Figures {
            per_second: self.micros.len() as f64 / seconds,
            p50_millis: millis(0.5),
            p99_millis: millis(0.99),
            max_millis: millis(1.0),
            answers: self.micros.len(),
            errors: self.errors,
            member_cores: None,
            client_cores: None,
            idle_cores: None,
        }
    }
}

/// The smallest sample that at least this share of all samples does not exceed.
///
/// `sorted` ascends; `share` is above 0 and at most 1. `None` without samples.
fn percentile(sorted: &[u32], share: f64) -> Option<f64> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).map(|micros| f64::from(*micros))
}

/// The middle of some figures; the mean of the two middle ones for an even count.
pub(super) fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut figures: Vec<_> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => figures[odd / 2],
        even => f64::midpoint(figures[even / 2 - 1], figures[even / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples_that_were_taken() {
        let sorted: Vec<_> = (1..=100).collect();
        for (share, expected) in [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0), (0.001, 1.0)] {
            assert_eq!(percentile(&sorted, share), Some(expected));
        }
        assert_eq!(percentile(&[7], 0.5), Some(7.0));
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median([]).is_nan());
    }
}
