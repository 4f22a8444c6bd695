//! What the workload asks and when: a pure function of the spec and the seed.

use std::time::Duration;

use lab_protocol::{Call, WorkloadSpec};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// An operation that is to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// When, counted from the start of the workload.
    pub after: Duration,
    /// Which client asks: a number below the count of clients given to [`Generator::new`].
    pub client: usize,
    /// What it asks.
    pub call: Call,
}

/// An endless stream of operations, ascending in time; empty for an idle spec.
///
/// Puts and reads keep an exact beat each, so a strip of their rates is flat as long as the
/// cluster is well. Keys and clients are drawn from the seed. Every value is unique in the run:
/// it holds the number of the workload and of the put.
#[derive(Clone, Debug)]
pub struct Generator {
    spec: WorkloadSpec,
    clients: usize,
    /// How many workloads ran before this one in the run.
    workload: u32,
    draws: ChaCha8Rng,
    puts: u64,
    reads: u64,
}

impl Generator {
    /// The stream of the run's `workload`-th workload for so many clients.
    pub fn new(spec: WorkloadSpec, seed: u64, workload: u32, clients: usize) -> Self {
        let draws = ChaCha8Rng::seed_from_u64(seed ^ (u64::from(workload) << 32));
        Self { spec, clients, workload, draws, puts: 0, reads: 0 }
    }

    fn key(&mut self) -> String {
        let key = self.draws.random_range(0..self.spec.keys.max(1));
        format!("w/{key:04}")
    }

    fn value(&self) -> String {
        let mut value = format!("{}.{}.", self.workload, self.puts);
        let wanted = self.spec.value_bytes as usize;
        while value.len() < wanted {
            value.push('x');
        }
        value
    }
}

/// When the `number`-th beat of so many a second falls, counted from 0.
fn beat(number: u64, per_second: u32) -> Option<Duration> {
    let micros = number.checked_mul(1_000_000)?.checked_div(u64::from(per_second))?;
    Some(Duration::from_micros(micros))
}

impl Iterator for Generator {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        if self.clients == 0 {
            return None;
        }
        let put_at = beat(self.puts, self.spec.puts_per_second);
        // Reads fall between the puts.
        let read_at = beat(self.reads, self.spec.reads_per_second)
            .map(|at| at + Duration::from_micros(500_000 / u64::from(self.spec.reads_per_second)));
        let (after, is_put) = match (put_at, read_at) {
            (None, None) => return None,
            (Some(put), None) => (put, true),
            (None, Some(read)) => (read, false),
            (Some(put), Some(read)) if put <= read => (put, true),
            (Some(_), Some(read)) => (read, false),
        };
        let client = self.draws.random_range(0..self.clients);
        let key = self.key();
        let call = if is_put {
            self.puts += 1;
            Call::Put { key, value: self.value() }
        } else {
            self.reads += 1;
            Call::Get { key, serializable: self.spec.serializable_reads }
        };
        Some(Planned { after, client, call })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn spec(puts: u32, reads: u32) -> WorkloadSpec {
        WorkloadSpec { puts_per_second: puts, reads_per_second: reads, ..WorkloadSpec::default() }
    }

    #[test]
    fn an_idle_spec_or_no_clients_give_nothing() {
        assert_eq!(Generator::new(WorkloadSpec::idle(), 1, 0, 3).next(), None);
        assert_eq!(Generator::new(spec(5, 5), 1, 0, 0).next(), None);
    }

    #[test]
    fn rates_are_kept_and_time_never_falls() {
        for (puts, reads) in [(50, 50), (3, 0), (0, 7), (200, 10)] {
            let one_second: Vec<_> = Generator::new(spec(puts, reads), 9, 0, 4)
                .take_while(|planned| planned.after < Duration::from_secs(1))
                .collect();
            assert!(one_second.windows(2).all(|two| two[0].after <= two[1].after));
            let written = one_second.iter().filter(|planned| planned.call.is_write()).count();
            assert_eq!(written, puts as usize);
            assert_eq!(one_second.len() - written, reads as usize);
            assert!(one_second.iter().all(|planned| planned.client < 4));
        }
    }

    #[test]
    fn the_seed_decides_and_values_are_unique_across_workloads() {
        let stream = |seed, workload| -> Vec<_> {
            Generator::new(spec(50, 50), seed, workload, 4).take(200).collect()
        };
        assert_eq!(stream(7, 0), stream(7, 0));
        assert_ne!(stream(7, 0), stream(8, 0));
        let values: Vec<_> = [stream(7, 0), stream(7, 1)]
            .into_iter()
            .flatten()
            .filter_map(|planned| match planned.call {
                Call::Put { value, .. } => Some(value),
                _ => None,
            })
            .collect();
        assert_eq!(values.iter().collect::<BTreeSet<_>>().len(), values.len());
        assert!(values.iter().all(|value| value.len() == 64));
    }
}
