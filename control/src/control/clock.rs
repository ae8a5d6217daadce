//! The clock and the randomness that the machines are given.

use std::time::Duration;

use culvert_proto::time::Time;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use rustix::time::{ClockId, clock_gettime};

use crate::failure::Failure;

/// Fresh entropy is mixed in this often.
const RESEED_EVERY: Duration = Duration::from_secs(60);

/// Now, on a clock that goes on while the machine sleeps and that a restarted process finds where it was.
pub fn now() -> Time {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let micros = u64::try_from(time.tv_nsec / 1_000).unwrap_or(0);
    Time::from_micros(seconds.saturating_mul(1_000_000).saturating_add(micros))
}

/// Random numbers, seeded by the kernel again and again.
pub struct Entropy {
    rng: ChaCha20Rng,
    seeded: Time,
}

impl Entropy {
    /// Seeds from the kernel.
    ///
    /// # Errors
    /// The kernel gives no randomness.
    pub fn new(now: Time) -> Result<Self, Failure> {
        Ok(Self {
            rng: seed()?,
            seeded: now,
        })
    }

    /// The generator, seeded again if it is time.
    pub fn rng(&mut self, now: Time) -> &mut ChaCha20Rng {
        if now.since(self.seeded) >= RESEED_EVERY {
            // Without fresh entropy the old seed is as good as it was.
            if let Ok(rng) = seed() {
                self.rng = rng;
            }
            self.seeded = now;
        }
        &mut self.rng
    }
}

fn seed() -> Result<ChaCha20Rng, Failure> {
    let mut seed = zeroize::Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice())
        .map_err(|error| Failure::Internal(format!("no randomness: {error}")))?;
    Ok(ChaCha20Rng::from_seed(*seed))
}

#[cfg(test)]
mod tests {
    use rand_core::Rng;

    use super::*;

    #[test]
    fn the_clock_does_not_go_back() {
        let earlier = now();
        assert!(now() >= earlier && earlier > Time::ZERO);
    }

    #[test]
    fn two_generators_differ_and_one_changes_its_course_when_seeded_again() {
        let (mut a, mut b) = (
            Entropy::new(Time::ZERO).unwrap(),
            Entropy::new(Time::ZERO).unwrap(),
        );
        assert_ne!(a.rng(Time::ZERO).next_u64(), b.rng(Time::ZERO).next_u64());
        let mut unseeded = a.rng.clone();
        let later = Time::ZERO + RESEED_EVERY;
        assert_ne!(a.rng(later).next_u64(), unseeded.next_u64());
    }
}
