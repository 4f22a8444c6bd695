//! The training program's own orders at the control socket ([`crate::control`]): to end at a
//! failpoint, or to lose its power.
//!
//! ```text
//!   crash-at NAME HITS             end as by SIGKILL the HITS-th time the process comes by NAME
//!   lose-power-at NAME HITS SEED   the same, and lose the power with it
//!   lose-power SEED                lose the power now
//!   disarm                         forget what was asked and has not happened
//!   hits                           how often the process came by each failpoint
//! ```
//!
//! After `hits` the answer has `NAME=COUNT` for each failpoint. SEED and HITS are at least 1.

use std::fmt::Write as _;
use std::num::NonZeroU64;

use crate::failpoint::armed::{self, End, UnknownFailpoint};
use crate::failpoint::{Failpoint, TABLE};

/// One thing that can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// End there, the so-manieth time.
    EndAt(Failpoint, NonZeroU64, End),
    /// Lose the power now.
    LosePower(NonZeroU64),
    /// Forget all ends.
    Disarm,
    /// Tell the counts.
    Hits,
}

/// Why a line is no order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum OrderError {
    /// It has too many or too few words.
    #[error(
        "`{0}` is not an order; orders are: crash-at NAME HITS, lose-power-at NAME HITS SEED, \
         lose-power SEED, disarm, hits"
    )]
    Unknown(String),
    /// No such failpoint.
    #[error(transparent)]
    Failpoint(#[from] UnknownFailpoint),
    /// A count or a seed is not one.
    #[error("`{0}` is not a whole number from 1 on")]
    Number(String),
}

/// The first words of the orders here.
const WORDS: [&str; 5] = ["crash-at", "lose-power-at", "lose-power", "disarm", "hits"];

/// Carries an order out, if it is one of these; what is answered.
pub fn extra(words: &[&str]) -> Option<Result<String, String>> {
    let first = words.first()?;
    if !WORDS.contains(first) {
        return None;
    }
    Some(order(words).map(Order::carry_out).map_err(|error| error.to_string()))
}

fn order(words: &[&str]) -> Result<Order, OrderError> {
    let number = |word: &str| word.parse().map_err(|_| OrderError::Number(word.to_owned()));
    Ok(match words {
        ["crash-at", name, hits] => Order::EndAt(name.parse()?, number(hits)?, End::Crash),
        ["lose-power-at", name, hits, seed] => {
            Order::EndAt(name.parse()?, number(hits)?, End::PowerLoss(number(seed)?))
        }
        ["lose-power", seed] => Order::LosePower(number(seed)?),
        ["disarm"] => Order::Disarm,
        ["hits"] => Order::Hits,
        _ => return Err(OrderError::Unknown(words.join(" "))),
    })
}

impl Order {
    /// Carries it out; what is answered.
    fn carry_out(self) -> String {
        let mut answer = "ok".to_owned();
        match self {
            Self::EndAt(point, hits, end) => armed::arm(point, hits, end),
            Self::LosePower(seed) => armed::end("none", End::PowerLoss(seed)),
            Self::Disarm => armed::disarm(),
            Self::Hits => {
                for row in TABLE {
                    // Writing to a text cannot fail.
                    write!(answer, " {}={}", row.name, row.point.hits()).ok();
                }
            }
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_and_everything_else_is_refused() {
        let two = NonZeroU64::new(2).expect("two");
        let point = Failpoint::LogWritten;
        for (line, expected) in [
            ("crash-at log-written 2", Ok(Order::EndAt(point, two, End::Crash))),
            ("lose-power-at log-written 2 2", Ok(Order::EndAt(point, two, End::PowerLoss(two)))),
            ("lose-power 2", Ok(Order::LosePower(two))),
            ("disarm", Ok(Order::Disarm)),
            ("hits", Ok(Order::Hits)),
            ("crash-at log-written 0", Err("`0` is not a whole number")),
            ("crash-at log-written -1", Err("`-1` is not a whole number")),
            ("crash-at nowhere 1", Err("no failpoint `nowhere`")),
            ("crash-at log-written", Err("`crash-at log-written` is not an order")),
            ("lose-power", Err("is not an order")),
            ("hits please", Err("is not an order")),
        ] {
            let words: Vec<_> = line.split_whitespace().collect();
            match (order(&words), expected) {
                (Ok(order), Ok(expected)) => assert_eq!(order, expected, "{line}"),
                (Err(error), Err(needle)) => {
                    assert!(error.to_string().contains(needle), "{line}: {error}");
                }
                (got, expected) => panic!("{line}: {got:?} instead of {expected:?}"),
            }
        }
        assert!(extra(&["slow-syncs", "1"]).is_none() && extra(&[]).is_none());
        assert!(extra(&["hits"]).is_some_and(|said| said.is_ok_and(|said| said.contains('='))));
    }
}
