//! Counting probes: what was sent, what came, in which order and how late.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::probe::Probe;

/// Sequence numbers of one client in one direction, over all runs.
#[derive(Clone, Debug, Default)]
pub struct Flow {
    sent: u64,
    highest: u64,
    /// Bit n: `highest` − n has come.
    seen: u128,
}

/// How a probe came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// After all that were sent before it and have come.
    InOrder,
    /// After one that was sent later.
    Reordered,
    /// Again.
    Duplicate,
    /// So late that it cannot be told from a duplicate.
    TooLate,
}

impl Flow {
    /// The sequence number of the next probe.
    pub const fn next(&mut self) -> u64 {
        self.sent += 1;
        self.sent
    }

    /// Notes a received sequence number.
    pub fn receive(&mut self, sequence: u64) -> Arrival {
        if sequence > self.highest {
            let distance = u32::try_from(sequence - self.highest).unwrap_or(u32::MAX);
            self.seen = self.seen.checked_shl(distance).unwrap_or(0) | 1;
            self.highest = sequence;
            return Arrival::InOrder;
        }
        let Some(bit) = u32::try_from(self.highest - sequence)
            .ok()
            .and_then(|back| 1_u128.checked_shl(back))
        else {
            return Arrival::TooLate;
        };
        let arrival = if self.seen & bit == 0 {
            Arrival::Reordered
        } else {
            Arrival::Duplicate
        };
        self.seen |= bit;
        arrival
    }
}

/// What one direction of one run came to.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Probes handed to the kernel.
    pub sent: u64,
    /// Different probes received.
    pub received: u64,
    /// Probes received again.
    pub duplicates: u64,
    /// Probes received after one that was sent later; they count as received too.
    pub reordered: u64,
    /// Time from handing to the kernel to taking from the kernel, in nanoseconds.
    pub latency: Histogram<u64>,
}

/// Latencies above this count as this.
const HIGHEST: Duration = Duration::from_secs(10);
const SIGNIFICANT_DIGITS: u8 = 3;

impl Tally {
    /// One with nothing in it.
    pub fn new() -> Self {
        let highest = u64::try_from(HIGHEST.as_nanos()).unwrap_or(u64::MAX);
        let latency = Histogram::new_with_max(highest, SIGNIFICANT_DIGITS);
        Self {
            sent: 0,
            received: 0,
            duplicates: 0,
            reordered: 0,
            latency: latency
                .expect("three digits up to ten seconds are within the histogram's limits"),
        }
    }

    /// Notes a probe that came.
    pub fn note(&mut self, probe: &Probe, arrival: Arrival, now_ns: u64) {
        match arrival {
            Arrival::InOrder => self.received += 1,
            Arrival::Reordered => {
                self.received += 1;
                self.reordered += 1;
            }
            Arrival::Duplicate | Arrival::TooLate => {
                self.duplicates += 1;
                return;
            }
        }
        self.latency
            .saturating_record(now_ns.saturating_sub(probe.sent_ns));
    }

    /// Probes that have not come.
    pub const fn missing(&self) -> u64 {
        self.sent.saturating_sub(self.received)
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_told_within_128_packets() {
        let mut flow = Flow::default();
        assert_eq!(flow.receive(1), Arrival::InOrder);
        assert_eq!(flow.receive(1), Arrival::Duplicate);
        assert_eq!(flow.receive(4), Arrival::InOrder);
        assert_eq!(flow.receive(2), Arrival::Reordered);
        assert_eq!(flow.receive(2), Arrival::Duplicate);
        assert_eq!(flow.receive(500), Arrival::InOrder);
        assert_eq!(flow.receive(373), Arrival::Reordered);
        assert_eq!(flow.receive(372), Arrival::TooLate);
        assert_eq!(flow.receive(u64::MAX), Arrival::InOrder);
    }

    #[test]
    fn a_duplicate_makes_up_for_no_loss() {
        let mut tally = Tally::new();
        let probe = Probe {
            run: 0,
            direction: crate::load::probe::Direction::Up,
            client: 0,
            sequence: 1,
            sent_ns: 1_000,
        };
        tally.sent = 2;
        tally.note(&probe, Arrival::InOrder, 3_000);
        tally.note(&probe, Arrival::Duplicate, 3_000);
        assert_eq!(
            (tally.received, tally.duplicates, tally.missing()),
            (1, 1, 1)
        );
        assert!((1_990..2_010).contains(&tally.latency.max()));
    }
}
