//! Which part of the log the lanes show: a window that slides and never flickers.
//!
//! One cell is one entry as long as entries come slowly enough to follow; above that a cell
//! stands for 2, 5, 10, … entries, so that the lanes move by a few cells a second at any rate.

/// More cells a second than this cannot be followed by eye.
const FAST_CELLS_PER_SECOND: f64 = 5.0;

/// Below this the next finer scale is used again.
const SLOW_CELLS_PER_SECOND: f64 = 1.2;

/// The scale rests so long after a change.
const REST_MILLIS: f64 = 1_500.0;

/// The rate is an average over about this time: a burst, such as the writes that waited for a new
/// leader, must not change the scale.
const RATE_MILLIS: f64 = 1_600.0;

/// How fast the window follows, as the time in which two thirds of the way are done.
const FOLLOW_MILLIS: f64 = 140.0;

/// More entries than this between two frames are another state.
const JUMP: u64 = 400;

/// The window over the log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lens {
    /// Entries a cell stands for: 1, 2, 5, 10, 20, …
    pub scale: u64,
    /// Right edge of the newest cell, in cells of the present scale.
    pub end_cells: f64,
    /// Entries a second, smoothed.
    pub rate: f64,
    last: Option<(f64, u64)>,
    rests_until: f64,
}

impl Default for Lens {
    fn default() -> Self {
        Self { scale: 1, end_cells: 0.0, rate: 0.0, last: None, rests_until: 0.0 }
    }
}

impl Lens {
    /// Moves the window to `newest`, the highest index of any log. Without `motion` it jumps.
    pub fn follow(&mut self, newest: u64, page_millis: f64, motion: bool) {
        let Some((then, before)) = self.last else {
            self.last = Some((page_millis, newest));
            self.end_cells = self.target(newest);
            return;
        };
        let passed = (page_millis - then).clamp(0.0, 1_000.0);
        if passed <= 0.0 {
            return;
        }
        if before == 0 || newest.abs_diff(before) > JUMP {
            // Another state arrived: where it stands says nothing about how fast it goes.
            *self = Self { scale: self.scale, ..Self::default() };
            self.last = Some((page_millis, newest));
            self.end_cells = self.target(newest);
            return;
        }
        let came = newest.saturating_sub(before) as f64 * 1_000.0 / passed;
        let weight = 1.0 - (-passed / RATE_MILLIS).exp();
        self.rate += (came - self.rate) * weight;
        self.last = Some((page_millis, newest));
        self.rescale(newest, page_millis);
        let target = self.target(newest);
        let gap = target - self.end_cells;
        if !motion || !(0.0..40.0).contains(&gap) {
            self.end_cells = target;
        } else {
            self.end_cells += gap * (1.0 - (-passed / FOLLOW_MILLIS).exp());
        }
    }

    /// Whether the window still moves.
    pub fn moves(&self, newest: u64) -> bool {
        (self.target(newest) - self.end_cells).abs() > 0.005 || self.rate > 0.05
    }

    fn target(&self, newest: u64) -> f64 {
        newest.div_ceil(self.scale) as f64
    }

    fn rescale(&mut self, newest: u64, page_millis: f64) {
        if page_millis < self.rests_until {
            return;
        }
        let cells = self.rate / self.scale as f64;
        let scale = if cells > FAST_CELLS_PER_SECOND {
            coarser(self.scale)
        } else if cells < SLOW_CELLS_PER_SECOND && self.scale > 1 {
            finer(self.scale)
        } else {
            return;
        };
        // A jump of the rate is followed at once; only then a rest.
        let settled = {
            let cells = self.rate / scale as f64;
            (SLOW_CELLS_PER_SECOND..=FAST_CELLS_PER_SECOND).contains(&cells) || scale == 1
        };
        self.scale = scale;
        self.end_cells = self.target(newest);
        if settled {
            self.rests_until = page_millis + REST_MILLIS;
        } else {
            self.rescale(newest, page_millis);
        }
    }
}

fn coarser(scale: u64) -> u64 {
    match leading(scale) {
        2 => scale / 2 * 5,
        _ => scale * 2,
    }
}

fn finer(scale: u64) -> u64 {
    match leading(scale) {
        5 => scale / 5 * 2,
        _ => (scale / 2).max(1),
    }
}

fn leading(mut number: u64) -> u64 {
    while number >= 10 {
        number /= 10;
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_one_two_five() {
        let mut scale = 1;
        let mut seen = vec![scale];
        for _ in 0..6 {
            scale = coarser(scale);
            seen.push(scale);
        }
        assert_eq!(seen, [1, 2, 5, 10, 20, 50, 100]);
        assert_eq!(finer(100), 50);
        assert_eq!(finer(50), 20);
        assert_eq!(finer(20), 10);
        assert_eq!(finer(1), 1);
    }

    #[test]
    fn at_fifty_entries_a_second_the_lanes_move_a_few_cells_a_second() {
        let mut lens = Lens::default();
        let mut page_millis = 0.0;
        for frame in 0..600u64 {
            page_millis = frame as f64 * 16.7;
            lens.follow(frame * 50 / 60, page_millis, true);
        }
        assert!((10..=50).contains(&lens.scale), "scale {}", lens.scale);
        let newest = 500;
        for frame in 0..400u64 {
            lens.follow(newest, page_millis + frame as f64 * 16.7, true);
        }
        assert_eq!(lens.scale, 1, "at rest every entry has its cell again");
        assert!((lens.end_cells - newest as f64).abs() < 0.01);
    }

    #[test]
    fn without_motion_the_window_jumps() {
        let mut lens = Lens::default();
        lens.follow(5, 0.0, false);
        lens.follow(6, 16.0, false);
        assert_eq!(lens.end_cells, 6.0);
    }
}
