//! How fast probes are sent.

use std::time::Duration;

/// How fast probes of one direction are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As fast as they come out at the other end: at most this many are on their way.
    Closed {
        /// Probes on their way.
        window: u64,
    },
    /// At a constant rate, whatever comes out.
    Open {
        /// Probes per second.
        per_second: u64,
    },
}

/// Sends due at one time are at most this many; a sender that falls further behind leaves the rest out.
const MAX_BURST: u64 = 64;

/// Keeps one direction to its pace.
#[derive(Clone, Copy, Debug)]
pub struct Pacer {
    pace: Pace,
    /// Sends that the open pace has granted.
    granted: u64,
    used: u64,
    /// Grants that came too late to be used.
    skipped: u64,
}

impl Pacer {
    /// Starts now.
    pub const fn new(pace: Pace) -> Self {
        Self {
            pace,
            granted: 0,
            used: 0,
            skipped: 0,
        }
    }

    /// How many probes may be sent `elapsed` after the start with `on_their_way` not yet arrived.
    pub fn due(&mut self, elapsed: Duration, on_their_way: u64) -> u64 {
        match self.pace {
            Pace::Closed { window } => window.saturating_sub(on_their_way).min(MAX_BURST),
            Pace::Open { per_second } => {
                let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
                self.granted = per_second.saturating_mul(micros) / 1_000_000;
                let open = self.granted.saturating_sub(self.used + self.skipped);
                self.skipped += open.saturating_sub(MAX_BURST);
                open.min(MAX_BURST)
            }
        }
    }

    /// Notes that `count` probes were sent.
    pub const fn sent(&mut self, count: u64) {
        self.used += count;
    }

    /// Sends that the sender was too slow for.
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_pace_grants_its_rate_and_no_bursts() {
        let mut pacer = Pacer::new(Pace::Open { per_second: 10_000 });
        assert_eq!(pacer.due(Duration::from_millis(1), 0), 10);
        pacer.sent(4);
        assert_eq!(pacer.due(Duration::from_millis(2), 1_000), 16);
        assert_eq!(pacer.due(Duration::from_millis(100), 0), 64);
        assert_eq!(pacer.skipped(), 1_000 - 4 - 64);
        pacer.sent(64);
        assert_eq!(pacer.due(Duration::from_millis(100), 0), 0);
    }

    #[test]
    fn a_closed_pace_waits_for_arrivals() {
        let mut pacer = Pacer::new(Pace::Closed { window: 20 });
        assert_eq!(pacer.due(Duration::ZERO, 5), 15);
        assert_eq!(pacer.due(Duration::ZERO, 20), 0);
        assert_eq!(pacer.due(Duration::ZERO, 30), 0);
    }
}
