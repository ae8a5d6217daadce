//! The highest rate at which a trial passes, by bisection.

/// Finds it between 0 and `reached`, which is what came through when more was offered than that.
///
/// `passes` tries a rate; a trial in so short a time may pass a little above what is reached in the long run, so the search goes
/// up to 1.1 × `reached`. Returns the highest rate that passed, 0 if none did.
pub(super) fn highest<E>(
    reached: f64,
    steps: usize,
    mut passes: impl FnMut(f64) -> Result<bool, E>,
) -> Result<f64, E> {
    let (mut low, mut high) = (0.6 * reached, 1.1 * reached);
    let mut best = 0.0;
    for _ in 0..steps {
        let rate = f64::midpoint(low, high);
        if passes(rate)? {
            (low, best) = (rate, rate);
        } else {
            high = rate;
            if best == 0.0 {
                low *= 0.7;
            }
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(limit: f64, reached: f64) -> f64 {
        highest(reached, 8, |rate| Ok::<_, ()>(rate <= limit)).unwrap()
    }

    #[test]
    fn the_limit_is_found_within_a_hundredth() {
        for limit in [0.65, 0.8, 1.0, 1.05] {
            let found = search(limit, 1.0);
            assert!(found <= limit && found > 0.99 * limit, "{limit}: {found}");
        }
    }

    #[test]
    fn a_limit_far_below_what_is_reached_is_found_roughly() {
        let found = search(0.4, 1.0);
        assert!(found <= 0.4 && found > 0.3, "{found}");
    }

    #[test]
    fn where_nothing_passes_the_rate_is_zero() {
        assert!(search(0.0, 1.0).abs() < f64::EPSILON);
    }
}
