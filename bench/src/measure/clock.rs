//! One clock for both nanoseconds and cycles: the time-stamp counter.

use std::time::{Duration, Instant};

/// A number of ticks of the time-stamp counter.
pub type Cycles = u64;

/// The time-stamp counter and its rate.
#[derive(Clone, Debug)]
pub struct Clock {
    counter: quanta::Clock,
    hertz: f64,
}

/// How long the counter is compared with the system's clock.
const CALIBRATION: Duration = Duration::from_millis(100);
/// What is read instead where no time-stamp counter can be used ticks once a nanosecond.
const SYSTEM_CLOCK_HERTZ: f64 = 1e9;

impl Clock {
    /// Finds the counter's rate, which takes 0.1 s.
    pub fn new() -> Self {
        let counter = quanta::Clock::new();
        let (began, first) = (Instant::now(), counter.raw());
        while began.elapsed() < CALIBRATION {
            std::hint::spin_loop();
        }
        let (elapsed, last) = (began.elapsed(), counter.raw());
        let hertz = as_f64(last.wrapping_sub(first)) / elapsed.as_secs_f64();
        Self { counter, hertz }
    }

    /// Ticks until now.
    pub fn now(&self) -> Cycles {
        self.counter.raw()
    }

    /// Ticks per second; `None` if this CPU has no counter of constant rate and the system's clock is read instead.
    pub fn tsc_hertz(&self) -> Option<f64> {
        let is_system_clock = (self.hertz / SYSTEM_CLOCK_HERTZ - 1.0).abs() < 1e-3;
        (!is_system_clock).then_some(self.hertz)
    }

    /// Nanoseconds that `cycles` take.
    pub fn nanoseconds(&self, cycles: f64) -> f64 {
        cycles * 1e9 / self.hertz
    }

    /// Cycles that pass in `duration`.
    pub fn cycles(&self, duration: Duration) -> f64 {
        duration.as_secs_f64() * self.hertz
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// A count as a number to calculate with; exact below 2^53, which is a month of cycles.
pub(crate) const fn as_f64(count: u64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of one run are far below 2^53"
    )]
    {
        count as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_cycles_is_a_second_of_nanoseconds() {
        let clock = Clock::new();
        let cycles = clock.cycles(Duration::from_secs(1));
        assert!((clock.nanoseconds(cycles) - 1e9).abs() < 1.0);
    }

    #[test]
    fn the_counter_runs_at_the_rate_found() {
        let clock = Clock::new();
        let (began, first) = (Instant::now(), clock.now());
        std::thread::sleep(Duration::from_millis(50));
        let (last, elapsed) = (clock.now(), began.elapsed());
        let ratio = clock.nanoseconds(as_f64(last - first)) / (elapsed.as_secs_f64() * 1e9);
        assert!((0.9..1.1).contains(&ratio), "{ratio}");
    }
}
