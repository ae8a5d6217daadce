//! Random frames that reach every branch: mostly sound headers of interest, each field wrong now and then, cut anywhere.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::frames::{CLIENT, NO_CLIENT, OURS_V4, OURS_V6};
use crate::kernel::SHORTEST;

/// SplitMix64: the same frames from the same seed on every machine.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `end` − 1.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    fn bytes<const LEN: usize>(&mut self) -> [u8; LEN] {
        [(); LEN].map(|()| self.byte())
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

/// Replaces `frame` with a new one of at least 14 bytes.
pub(crate) fn fill(random: &mut Random, frame: &mut Vec<u8>) {
    frame.clear();
    frame.extend(random.bytes::<12>());
    for _ in 0..random.pick(&[0, 0, 0, 1, 1, 2, 2, 3]) {
        frame.extend(random.pick(&[0x8100_u16, 0x88A8]).to_be_bytes());
        frame.extend(random.bytes::<2>());
    }
    match random.below(20) {
        0..=10 => ipv4(random, frame),
        11..=18 => ipv6(random, frame),
        _ => frame.extend(random.bytes::<40>()),
    }
    if random.one_in(4) {
        let len = SHORTEST + usize::try_from(random.below(frame.len() as u64 - 13)).unwrap();
        frame.truncate(len);
    }
    if random.one_in(50) {
        let at = usize::try_from(random.below(frame.len() as u64)).unwrap();
        frame[at] ^= 1 << random.below(8);
    }
}

fn ipv4(random: &mut Random, frame: &mut Vec<u8>) {
    frame.extend([0x08, 0x00]);
    let words = random.pick(&[5, 5, 5, 6, 10, 15]);
    let version_len = if random.one_in(20) {
        random.byte()
    } else {
        0x40 | words
    };
    frame.extend([version_len, random.byte()]);
    frame.extend(random.bytes::<4>());
    let offset = random.byte();
    frame.extend(random.pick(&[
        [0, 0],
        [0, 0],
        [0x40, 0],
        [0x80, 0],
        [0x20, 0],
        [0, offset],
        [0x20, offset],
        [0x1F, 0xFF],
        [offset, 0],
    ]));
    frame.extend([
        random.byte(),
        protocol(random),
        random.byte(),
        random.byte(),
    ]);
    frame.extend(random.bytes::<4>());
    let anyone = Ipv4Addr::from(random.bytes::<4>());
    frame.extend(
        random
            .pick(&[OURS_V4, OURS_V4, OURS_V4, CLIENT, CLIENT, NO_CLIENT, anyone])
            .octets(),
    );
    for _ in 5..words {
        frame.extend(random.bytes::<4>());
    }
    ports(random, frame);
}

fn ipv6(random: &mut Random, frame: &mut Vec<u8>) {
    frame.extend([0x86, 0xDD]);
    let version = if random.one_in(20) {
        random.byte()
    } else {
        0x60
    };
    frame.push(version);
    frame.extend(random.bytes::<5>());
    let count = random.pick(&[0, 0, 1, 1, 2, 3, 5, 7, 8, 9, 10]);
    let mut next = next_header(random, count);
    frame.extend([next, random.byte()]);
    frame.extend(random.bytes::<16>());
    let anyone = Ipv6Addr::from(random.bytes::<16>());
    let to = random.pick(&[
        OURS_V6,
        OURS_V6,
        OURS_V6,
        OURS_V6,
        OURS_V4.to_ipv6_mapped(),
        anyone,
    ]);
    frame.extend(to.octets());
    for left in (0..count).rev() {
        let fragment = next == 44;
        next = next_header(random, left);
        let units = if fragment {
            random.byte()
        } else {
            random.pick(&[0, 0, 0, 1, 2, 31])
        };
        let word = random.pick(&[
            [0, 0],
            [0, 0],
            [0, 0],
            [0, 6],
            [0, 1],
            [0, 8],
            [1, 0],
            [0xFF, 0xF9],
        ]);
        frame.extend([next, units, word[0], word[1]]);
        frame.extend(random.bytes::<4>());
        if !fragment {
            frame.resize(frame.len() + 8 * usize::from(units), 0x5A);
        }
    }
    ports(random, frame);
}

/// An extension header while some are left to come, but not always; then a protocol.
fn next_header(random: &mut Random, left: usize) -> u8 {
    if left > 0 && !random.one_in(30) {
        random.pick(&[0, 43, 60, 60, 60, 44])
    } else {
        protocol(random)
    }
}

fn protocol(random: &mut Random) -> u8 {
    let any = random.byte();
    random.pick(&[17, 17, 17, 17, 17, 50, 50, 6, 51, any])
}

fn ports(random: &mut Random, frame: &mut Vec<u8>) {
    frame.extend(random.bytes::<2>());
    let any = u16::from_be_bytes(random.bytes());
    frame.extend(
        random
            .pick(&[
                500,
                500,
                4500,
                4500,
                1701,
                1701,
                53,
                1701_u16.swap_bytes(),
                any,
            ])
            .to_be_bytes(),
    );
    frame.extend(random.bytes::<8>());
}
