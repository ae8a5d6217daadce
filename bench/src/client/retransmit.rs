//! Sending a message again until it is answered.

use std::time::Duration;

use super::Time;

/// First interval; it doubles each time.
const FIRST: Duration = Duration::from_secs(1);
/// Longest interval.
const LONGEST: Duration = Duration::from_secs(8);
/// Times a message is sent in all.
const SENDINGS: u8 = 7;

/// A message that waits for its answer.
#[derive(Debug)]
pub(super) struct Retransmit<M> {
    /// The message as it was sent.
    pub(super) message: M,
    at: Time,
    interval: Duration,
    left: u8,
}

/// What a timer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Not yet.
    Later,
    /// Send again.
    Again,
    /// Give up.
    Never,
}

impl<M> Retransmit<M> {
    /// Starts when `message` has been sent once.
    pub(super) fn new(now: Time, message: M) -> Self {
        Self {
            message,
            at: now + FIRST,
            interval: FIRST,
            left: SENDINGS - 1,
        }
    }

    /// When to ask again.
    pub(super) const fn at(&self) -> Time {
        self.at
    }

    /// What is due at `now`; on `Again` the next time is set.
    pub(super) fn due(&mut self, now: Time) -> Due {
        if now < self.at {
            return Due::Later;
        }
        if self.left == 0 {
            return Due::Never;
        }
        self.left -= 1;
        self.interval = (self.interval * 2).min(LONGEST);
        self.at = now + self.interval;
        Due::Again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_double_and_end() {
        let mut timer = Retransmit::new(Time::ZERO, ());
        let mut sent = Vec::new();
        for half_seconds in 1.. {
            let now = Time::from_micros(500_000 * half_seconds);
            match timer.due(now) {
                Due::Later => {}
                Due::Again => sent.push(half_seconds / 2),
                Due::Never => break,
            }
        }
        assert_eq!(sent, [1, 3, 7, 15, 23, 31]);
    }
}
