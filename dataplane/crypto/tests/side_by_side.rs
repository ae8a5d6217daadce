//! Bursts of packets with different keys, suites and lengths: every engine gives, byte for byte, what the portable engine gives packet by
//! packet, and touches no byte besides.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use culvert_crypto::{AesKey, BURST, Engine, Integrity, Iv, OpenContext, OpenOp, SealContext};
use culvert_crypto::{SealOp, Suite};

/// What stands around each buffer, and must stand there afterwards.
const GUARD: u8 = 0xee;
/// Bytes of guard on each side.
const GUARD_LEN: usize = 64;

/// Numbers that look random and are the same each time (xorshift, Marsaglia 2003).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// A packet to seal and to open.
struct Packet {
    suite: Suite,
    key: Vec<u8>,
    aad: Vec<u8>,
    iv: Iv,
    plaintext: Vec<u8>,
    is_in_place: bool,
    /// Bytes between a multiple of 64 and its buffers.
    offsets: [usize; 2],
}

impl Packet {
    fn new(numbers: &mut Numbers, suite: Suite, len: usize) -> Self {
        let sequence = numbers.next();
        let iv = match numbers.below(3) {
            0 => Iv::Bytes(std::array::from_fn(|_| numbers.next().to_le_bytes()[0])),
            _ => Iv::Sequence(sequence),
        };
        let aad_len = numbers.pick(&[8, 12]);
        Self {
            suite,
            key: numbers.bytes(suite.key_len()),
            aad: numbers.bytes(aad_len),
            iv,
            plaintext: numbers.bytes(len),
            is_in_place: numbers.below(2) == 0,
            offsets: [numbers.below(64), numbers.below(64)],
        }
    }

    /// What it becomes, by the portable engine alone.
    fn sealed(&self) -> Vec<u8> {
        let context = SealContext::new(Engine::PORTABLE, self.suite, &self.key).unwrap();
        let iv = match self.iv {
            Iv::Bytes(iv) => iv,
            Iv::Sequence(number) => context.iv(number),
        };
        let mut sealed = vec![0; self.suite.sealed_len(self.plaintext.len())];
        let op = SealOp::new(&context, &self.aad, iv, &self.plaintext, &mut sealed).unwrap();
        Engine::PORTABLE.seal_burst(&mut [op]);
        sealed
    }
}

/// A buffer at a chosen alignment with a guard on both sides.
struct Guarded {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl Guarded {
    fn new(len: usize, offset: usize) -> Self {
        let memory = vec![GUARD; len + 64 + offset + 2 * GUARD_LEN];
        let start = memory.as_ptr().align_offset(64) + GUARD_LEN + offset;
        Self { memory, start, len }
    }

    fn holding(bytes: &[u8], offset: usize) -> Self {
        let mut buffer = Self::new(bytes.len(), offset);
        buffer.bytes().copy_from_slice(bytes);
        buffer
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..][..self.len]
    }

    /// The bytes, once it is sure that nothing else was written.
    fn checked(&self) -> &[u8] {
        let (before, rest) = self.memory.split_at(self.start);
        let (bytes, after) = rest.split_at(self.len);
        assert!(before.iter().chain(after).all(|byte| *byte == GUARD));
        bytes
    }
}

/// Seals all in one burst; each must be as from the portable engine.
fn check_seal(engine: Engine, packets: &[Packet], expected: &[Vec<u8>]) {
    let contexts: Vec<_> = packets
        .iter()
        .map(|packet| SealContext::new(engine, packet.suite, &packet.key).unwrap())
        .collect();
    let mut buffers: Vec<_> = packets
        .iter()
        .map(|packet| {
            let source = Guarded::holding(&packet.plaintext, packet.offsets[0]);
            let mut sealed = Guarded::new(
                packet.suite.sealed_len(packet.plaintext.len()),
                packet.offsets[1],
            );
            if packet.is_in_place {
                sealed.bytes()[packet.suite.iv_len()..][..packet.plaintext.len()]
                    .copy_from_slice(&packet.plaintext);
            }
            (source, sealed)
        })
        .collect();
    let mut ops: Vec<_> = packets
        .iter()
        .zip(&contexts)
        .zip(&mut buffers)
        .map(|((packet, context), (source, sealed))| {
            let (aad, iv) = (&packet.aad, packet.iv);
            if packet.is_in_place {
                SealOp::in_place(context, aad, iv, sealed.bytes()).unwrap()
            } else {
                SealOp::new(context, aad, iv, source.bytes(), sealed.bytes()).unwrap()
            }
        })
        .collect();
    engine.seal_burst(&mut ops);
    for ((packet, (source, sealed)), expected) in packets.iter().zip(&buffers).zip(expected) {
        assert_eq!(sealed.checked(), expected, "{engine:?} {:?}", packet.suite);
        assert_eq!(source.checked(), packet.plaintext);
    }
}

/// Opens all in one burst, those in `forged` with a wrong bit.
fn check_open(engine: Engine, packets: &[Packet], sealed: &[Vec<u8>], forged: u64) {
    let is_forged = |n: usize| (forged >> n) & 1 == 1;
    let contexts: Vec<_> = packets
        .iter()
        .map(|packet| OpenContext::new(engine, packet.suite, &packet.key).unwrap())
        .collect();
    let mut buffers: Vec<_> = packets
        .iter()
        .zip(sealed)
        .enumerate()
        .map(|(n, (packet, sealed))| {
            let mut source = Guarded::holding(sealed, packet.offsets[0]);
            if is_forged(n) {
                let at = (n * 37) % sealed.len();
                source.bytes()[at] ^= 1 << (n % 8);
            }
            (
                source,
                Guarded::new(packet.plaintext.len(), packet.offsets[1]),
            )
        })
        .collect();
    let mut ops: Vec<_> = packets
        .iter()
        .zip(&contexts)
        .zip(&mut buffers)
        .map(|((packet, context), (source, plaintext))| {
            if packet.is_in_place {
                OpenOp::in_place(context, &packet.aad, source.bytes()).unwrap()
            } else {
                OpenOp::new(context, &packet.aad, source.bytes(), plaintext.bytes()).unwrap()
            }
        })
        .collect();
    let opened = engine.open_burst(&mut ops);
    for (n, (packet, (source, apart))) in packets.iter().zip(&buffers).enumerate() {
        let plaintext = if packet.is_in_place {
            &source.checked()[packet.suite.iv_len()..][..packet.plaintext.len()]
        } else {
            apart.checked()
        };
        assert_eq!(opened.contains(n), !is_forged(n), "{engine:?} {n}");
        if is_forged(n) {
            assert!(plaintext.iter().all(|byte| *byte == 0));
        } else {
            assert_eq!(plaintext, packet.plaintext, "{engine:?} {:?}", packet.suite);
        }
    }
}

/// All engines, both ways.
fn check(packets: &[Packet], forged: u64) {
    let sealed: Vec<_> = packets.iter().map(Packet::sealed).collect();
    for engine in Engine::available() {
        check_seal(engine, packets, &sealed);
        check_open(engine, packets, &sealed, forged);
    }
}

/// Every suite of AES-CBC.
fn cbc_suites() -> Vec<Suite> {
    let suites = AesKey::ALL.map(|len| Integrity::ALL.map(|hash| Suite::AesCbcHmac(len, hash)));
    suites.concat()
}

#[test]
fn every_length_of_whole_blocks_to_2112_in_bursts_of_one_suite() {
    let mut numbers = Numbers(0x1234_5678_9abc_def1);
    for suite in cbc_suites() {
        let lens: Vec<usize> = (1..=132).map(|blocks| blocks * 16).collect();
        for lens in lens.chunks(BURST) {
            let packets: Vec<_> = lens
                .iter()
                .map(|len| Packet::new(&mut numbers, suite, *len))
                .collect();
            let forged = numbers.next() & numbers.next();
            check(&packets, forged);
        }
    }
}

#[test]
fn every_count_to_64_of_equal_length() {
    let mut numbers = Numbers(0x0dd0_5eed_0dd0_5eed);
    for count in 1..=BURST {
        let suite = numbers.pick(&cbc_suites());
        let len = (1 + numbers.below(40)) * 16;
        let packets: Vec<_> = (0..count)
            .map(|_| Packet::new(&mut numbers, suite, len))
            .collect();
        check(&packets, 1 << numbers.below(64));
    }
}

#[test]
fn every_count_to_64_of_mixed_suites_keys_and_lengths() {
    let mut numbers = Numbers(0xfeed_f00d_dead_beef);
    for count in 1..=BURST {
        for most in [4, 90, 132] {
            let packets: Vec<_> = (0..count)
                .map(|_| {
                    let suite = numbers.pick(&Suite::ALL);
                    let len = (1 + numbers.below(most)) * 16;
                    Packet::new(&mut numbers, suite, len)
                })
                .collect();
            let forged = numbers.next() & numbers.next();
            check(&packets, forged);
        }
    }
}

#[test]
fn every_alignment_of_source_and_destination() {
    let mut numbers = Numbers(0xa11a_11ed_0000_0001);
    let suites = cbc_suites();
    for offset in 0..64 {
        let packets: Vec<_> = (0..BURST)
            .map(|n| {
                let len = (1 + n % 21) * 16;
                let suite = suites[(n + offset) % suites.len()];
                let packet = Packet::new(&mut numbers, suite, len);
                let offsets = [offset, (offset + n) % 64];
                Packet { offsets, ..packet }
            })
            .collect();
        check(&packets, 0);
    }
}

#[test]
fn the_longest_packets_of_all() {
    let mut numbers = Numbers(0x1057_1057_1057_1057);
    let packets: Vec<_> = [65_424, 16, 9_200, 65_424, 32_768]
        .map(|len| Packet::new(&mut numbers, cbc_suites()[11], len))
        .into();
    check(&packets, 2);
}

#[test]
fn wrong_padding_is_no_matter_of_the_engine() {
    let mut numbers = Numbers(0xbad0_bad0_bad0_bad0);
    let packets: Vec<_> = cbc_suites()
        .into_iter()
        .map(|suite| {
            let packet = Packet::new(&mut numbers, suite, 64);
            let plaintext = vec![0xff; 64];
            Packet {
                plaintext,
                ..packet
            }
        })
        .collect();
    check(&packets, 0);
}

#[test]
fn a_sequence_number_makes_the_iv_that_the_context_tells() {
    let mut numbers = Numbers(0x5e9e_5e9e_5e9e_5e9e);
    for suite in Suite::ALL {
        let key = numbers.bytes(suite.key_len());
        for number in [0, 1, u64::from(u32::MAX), u64::MAX] {
            let portable = SealContext::new(Engine::PORTABLE, suite, &key).unwrap();
            for engine in Engine::available() {
                let context = SealContext::new(engine, suite, &key).unwrap();
                assert_eq!(context.iv(number), portable.iv(number));
            }
        }
    }
}
