//! The whole way of a packet through a worker, in memory: no kernel, no device, everything else as it is in use.
//!
//! A rotation is 4,096 packets of clients in random order. They are written into frames (and sealed with fresh sequence numbers, for
//! the replay check is on), and then the worker's turns over them are timed, and nothing else.

mod gateway;
mod packet;
mod rotation;

use std::time::Instant;

use culvert_crypto::Suite;
use culvert_dataplane::api::Encapsulation;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::failure::Failure;
use gateway::{Gateway, ROTATION};

/// Which way packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// From clients to the network: opened.
    Up,
    /// From the network to clients: sealed.
    Down,
}

/// Lengths of inner packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// All alike, in bytes.
    Bytes(usize),
    /// Seven of 64, four of 576 and one of 1,420 bytes in twelve packets.
    Imix,
}

impl Length {
    fn of(self, number: usize) -> usize {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Imix => match number % 12 {
                0..7 => 64,
                7..11 => 576,
                _ => 1_420,
            },
        }
    }
}

/// Clients in an order that has nothing to do with memory.
struct Order {
    clients: Vec<u32>,
    next: usize,
}

impl Order {
    fn new(clients: u32) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut order: Vec<u32> = (0..clients).collect();
        for last in (1..order.len()).rev() {
            let other = usize::try_from(random.next_u64() % (last as u64 + 1)).unwrap_or(0);
            order.swap(last, other);
        }
        Self {
            clients: order,
            next: 0,
        }
    }

    fn take(&mut self) -> u32 {
        self.next = (self.next + 1) % self.clients.len();
        self.clients[self.next]
    }
}

/// Runs one rotation and returns nanoseconds per packet.
fn rotate(
    gateway: &mut Gateway,
    order: &mut Order,
    path: Path,
    length: Length,
) -> Result<f64, Failure> {
    // An idle turn lets the ports take frames to fill.
    gateway.turn();
    for number in 0..ROTATION {
        let (client, len) = (order.take(), length.of(number));
        let is_loaded = match path {
            Path::Up => gateway.load_up(client, len),
            Path::Down => gateway.load_down(client, len),
        };
        if !is_loaded {
            return Err(Failure::Gateway("the port ran out of frames".into()));
        }
    }
    let before = gateway.sent_and_dropped();
    let loader = match path {
        Path::Up => gateway.outer.clone(),
        Path::Down => gateway.core.clone(),
    };
    let start = Instant::now();
    while loader.waiting() > 0 {
        gateway.turn();
    }
    let time = start.elapsed();
    gateway.listen();
    let after = gateway.sent_and_dropped();
    if (after.0 - before.0, after.1 - before.1) != (ROTATION as u64, 0) {
        return Err(Failure::Gateway(format!(
            "of {ROTATION} packets {} were sent and {} dropped",
            after.0 - before.0,
            after.1 - before.1
        )));
    }
    #[expect(clippy::cast_precision_loss, reason = "a rotation is short")]
    Ok(time.as_nanos() as f64 / ROTATION as f64)
}

pub fn trial(filter: &str) -> Result<(), Failure> {
    let suites = [
        ("gcm", Suite::AesGcm(culvert_crypto::AesKey::Bits128)),
        (
            "cbc",
            Suite::AesCbcHmac(
                culvert_crypto::AesKey::Bits256,
                culvert_crypto::Integrity::Sha1_96,
            ),
        ),
    ];
    for (name, suite) in suites {
        for clients in [1_u32, 4_000, 100_000] {
            if !filter.is_empty() && !format!("{name}-{clients}-").starts_with(filter) {
                continue;
            }
            let start = Instant::now();
            let mut gateway = Gateway::new(suite, Encapsulation::Esp, clients)?;
            eprintln!("installed {clients} in {:?}", start.elapsed());
            let mut order = Order::new(clients);
            for path in [Path::Up, Path::Down] {
                for batch in [64, 8, 1] {
                    if batch != 64 && clients != 4_000 {
                        continue;
                    }
                    gateway.outer.set_batch(batch);
                    gateway.core.set_batch(batch);
                    for length in [
                        Length::Bytes(64),
                        Length::Bytes(576),
                        Length::Bytes(1_420),
                        Length::Imix,
                    ] {
                        if std::env::var("ONLY").is_ok_and(|only| {
                            !format!("{path:?} {length:?} b{batch}").contains(&only)
                        }) {
                            continue;
                        }
                        let warm = (clients as usize).div_ceil(ROTATION).max(3);
                        for _ in 0..warm {
                            rotate(&mut gateway, &mut order, path, length)?;
                        }
                        let mut times = Vec::new();
                        for _ in 0..std::env::var("ROUNDS").map_or(25, |n| n.parse().unwrap()) {
                            times.push(rotate(&mut gateway, &mut order, path, length)?);
                        }
                        times.sort_by(f64::total_cmp);
                        println!(
                            "{path:?} {name} {clients} {length:?} b{batch}: min {:.1} median {:.1} ns = {:.0} cycles",
                            times[0],
                            times[times.len() / 2],
                            times[times.len() / 2] * 2.6
                        );
                    }
                }
            }
        }
    }
    Ok(())
}
