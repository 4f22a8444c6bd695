//! The lab's time, as well as the page can know it.

/// Events are drawn this much after they happened. The lab sends a batch each 33 ms; the delay
/// spreads a batch over the frames until the next one and covers a late one.
const DELAY_MICROS: u64 = 80_000;

/// Part of the distance by which a late sample pulls the clock back, so that it follows drift and
/// the pace of a replay.
const PULL: f64 = 0.02;

/// Maps the page's clock (milliseconds since it loaded) to the lab's (microseconds of the run).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Clock {
    offset_micros: Option<f64>,
    stopped_at: Option<u64>,
}

impl Clock {
    /// Takes a sample: at `page_millis` a frame arrived that left the lab at `lab_micros`.
    ///
    /// The sample that travelled fastest tells the truth, so an early one is believed at once and
    /// a late one a little.
    pub fn hear(&mut self, page_millis: f64, lab_micros: u64) {
        let sample = lab_micros as f64 - page_millis * 1_000.0;
        self.stopped_at = None;
        self.offset_micros = Some(match self.offset_micros {
            Some(offset) if sample <= offset && offset - sample < 2e6 => {
                offset + (sample - offset) * PULL
            }
            _ => sample,
        });
    }

    /// Forgets everything: another run, or the same one after a sleep.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// The lab's time stands still from now on, because nothing is heard from it.
    pub fn stop(&mut self, page_millis: f64) {
        self.stopped_at = Some(self.now(page_millis));
    }

    /// The lab's time; 0 before the first sample.
    pub fn now(&self, page_millis: f64) -> u64 {
        match (self.stopped_at, self.offset_micros) {
            (Some(stopped), _) => stopped,
            (None, Some(offset)) => (page_millis * 1_000.0 + offset).max(0.0) as u64,
            (None, None) => 0,
        }
    }

    /// The time up to which messages are drawn: a little in the past.
    pub fn shown(&self, page_millis: f64) -> u64 {
        self.now(page_millis).saturating_sub(DELAY_MICROS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_sample_is_believed() {
        let mut clock = Clock::default();
        assert_eq!(clock.now(5.0), 0);
        clock.hear(100.0, 1_000_000);
        assert_eq!(clock.now(100.0), 1_000_000);
        clock.hear(200.0, 1_110_000);
        assert_eq!(clock.now(200.0), 1_110_000, "an early sample moves the clock at once");
        clock.hear(300.0, 1_200_000);
        assert!((1_209_000..1_210_000).contains(&clock.now(300.0)), "a late one hardly");
    }

    #[test]
    fn a_stopped_clock_stands_until_something_is_heard() {
        let mut clock = Clock::default();
        clock.hear(0.0, 500_000);
        clock.stop(100.0);
        assert_eq!(clock.now(5_000.0), 600_000);
        assert_eq!(clock.shown(5_000.0), 520_000);
        clock.hear(6_000.0, 900_000);
        assert_eq!(clock.now(6_000.0), 900_000, "far behind is another time, not a late sample");
    }
}
