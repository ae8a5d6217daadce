//! What is said of repetitions: least, median and 90th percentile.

use serde::{Deserialize, Serialize};

use super::clock::Clock;

/// Least, median and 90th percentile of repetitions, in the unit of the samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The least that nine in ten do not exceed.
    pub p90: f64,
}

impl Spread {
    /// The spread of `samples`; `None` if there is none.
    pub fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len();
        let upper = *sorted.get(count / 2)?;
        let lower = *sorted.get((count - 1) / 2)?;
        Some(Self {
            min: *sorted.first()?,
            median: f64::midpoint(lower, upper),
            p90: *sorted.get((count * 9).div_ceil(10) - 1)?,
        })
    }
}

/// What one item took, by one clock.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Median in nanoseconds.
    pub ns: f64,
    /// Median in cycles of the time-stamp counter.
    pub cycles: f64,
    /// The repetitions, in cycles.
    pub spread: Spread,
}

impl Timing {
    /// What `spread`, in cycles, means in both units.
    pub fn new(clock: &Clock, spread: Spread) -> Self {
        Self {
            ns: clock.nanoseconds(spread.median),
            cycles: spread.median,
            spread,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_nothing_there_is_no_spread() {
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn one_sample_is_all_three() {
        let spread = Spread::of(&[7.0]).unwrap();
        assert_eq!((spread.min, spread.median, spread.p90), (7.0, 7.0, 7.0));
    }

    #[test]
    fn order_does_not_matter_and_p90_is_a_sample() {
        let samples: Vec<f64> = [3.0, 1.0, 10.0, 2.0, 5.0, 4.0, 6.0, 8.0, 7.0, 9.0].to_vec();
        let spread = Spread::of(&samples).unwrap();
        assert_eq!((spread.min, spread.median, spread.p90), (1.0, 5.5, 9.0));
    }

    #[test]
    fn min_median_and_p90_are_ordered() {
        for count in 1..50_u32 {
            let samples: Vec<f64> = (0..count).map(|n| f64::from(n * 37 % 101)).collect();
            let spread = Spread::of(&samples).unwrap();
            assert!(spread.min <= spread.median && spread.median <= spread.p90);
        }
    }
}
