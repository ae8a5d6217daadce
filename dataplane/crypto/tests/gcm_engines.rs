//! AES-GCM on every engine against the aes-gcm crate: every length, every place in memory, in place and apart, forged and mixed.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use aes::Aes192;
use aes::cipher::consts::U12;
use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm, KeyInit};
use culvert_crypto::{AesKey, Engine, OpenContext, OpenOp, SealContext, SealOp, Suite};

/// Bytes that differ from place to place and from seed to seed.
fn bytes(seed: usize, len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| ((i + 1) * 167 + seed * 59 + (i >> 8) * 13).to_le_bytes()[0])
        .collect()
}

/// One packet as the oracle seals it.
struct Packet {
    suite: Suite,
    key: Vec<u8>,
    aad: Vec<u8>,
    iv: [u8; 16],
    plaintext: Vec<u8>,
    sealed: Vec<u8>,
}

impl Packet {
    fn new(key: AesKey, len: usize, aad_len: usize) -> Self {
        let suite = Suite::AesGcm(key);
        let (key, aad) = (bytes(len, suite.key_len()), bytes(len + 1, aad_len));
        let mut iv = [0; 16];
        iv[..8].copy_from_slice(&bytes(len + 2, 8));
        let plaintext = bytes(len + 3, len);
        let sealed = oracle(&key, &iv[..8], &aad, &plaintext);
        Self {
            suite,
            key,
            aad,
            iv,
            plaintext,
            sealed,
        }
    }

    fn contexts(&self, engine: Engine) -> (SealContext, OpenContext) {
        (
            SealContext::new(engine, self.suite, &self.key).unwrap(),
            OpenContext::new(engine, self.suite, &self.key).unwrap(),
        )
    }

    /// Seals and opens, apart and in place, with source and destination so many bytes behind a boundary of 64.
    fn check(&self, engine: Engine, source_at: usize, destination_at: usize) {
        let note = format!(
            "{} {:?} {}",
            engine.name(),
            self.suite,
            self.plaintext.len()
        );
        let (seal, open) = self.contexts(engine);
        let (len, sealed_len) = (self.plaintext.len(), self.sealed.len());

        let source = Framed::holding(source_at, &self.plaintext);
        let mut destination = Framed::new(destination_at, sealed_len);
        let op = SealOp::new(
            &seal,
            &self.aad,
            self.iv,
            source.get(),
            destination.get_mut(),
        );
        engine.seal_burst(&mut [op.unwrap()]);
        assert_eq!(destination.checked(), self.sealed, "seal {note}");

        let mut place = Framed::new(destination_at, sealed_len);
        place.get_mut()[8..8 + len].copy_from_slice(&self.plaintext);
        let op = SealOp::in_place(&seal, &self.aad, self.iv, place.get_mut());
        engine.seal_burst(&mut [op.unwrap()]);
        assert_eq!(place.checked(), self.sealed, "seal in place {note}");

        let source = Framed::holding(source_at, &self.sealed);
        let mut destination = Framed::new(destination_at, len);
        let op = OpenOp::new(&open, &self.aad, source.get(), destination.get_mut());
        assert_eq!(engine.open_burst(&mut [op.unwrap()]).bits(), 1, "{note}");
        assert_eq!(destination.checked(), self.plaintext, "open {note}");

        let mut place = Framed::holding(destination_at, &self.sealed);
        let op = OpenOp::in_place(&open, &self.aad, place.get_mut()).unwrap();
        assert_eq!(engine.open_burst(&mut [op]).bits(), 1, "{note}");
        let (iv, rest) = self.sealed.split_at(8);
        let around = [iv, &self.plaintext, &rest[len..]].concat();
        assert_eq!(place.checked(), around, "open in place {note}");
    }

    /// The packet with this sealed payload and these additional data is refused and leaves zeros, apart and in place.
    fn refused(&self, engine: Engine, aad: &[u8], sealed: &[u8]) {
        let note = format!(
            "{} {:?} {}",
            engine.name(),
            self.suite,
            self.plaintext.len()
        );
        let (_, open) = self.contexts(engine);
        let len = self.plaintext.len();

        let mut destination = Framed::new(len % 64, len);
        let op = OpenOp::new(&open, aad, sealed, destination.get_mut()).unwrap();
        assert_eq!(engine.open_burst(&mut [op]).bits(), 0, "{note}");
        assert_eq!(destination.checked(), vec![0; len], "{note}");

        let mut place = Framed::holding(len % 64, sealed);
        let op = OpenOp::in_place(&open, aad, place.get_mut()).unwrap();
        assert_eq!(engine.open_burst(&mut [op]).bits(), 0, "{note}");
        assert_eq!(place.checked()[8..8 + len], vec![0; len], "{note}");
    }
}

/// IV ‖ ciphertext ‖ ICV by the aes-gcm crate.
fn oracle(key: &[u8], iv: &[u8], aad: &[u8], msg: &[u8]) -> Vec<u8> {
    let (key, salt) = key.split_at(key.len() - 4);
    let nonce: [u8; 12] = [salt, iv].concat().try_into().unwrap();
    let payload = Payload { msg, aad };
    let sealed = match key.len() {
        16 => Aes128Gcm::new_from_slice(key)
            .unwrap()
            .encrypt(&nonce.into(), payload),
        24 => AesGcm::<Aes192, U12>::new_from_slice(key)
            .unwrap()
            .encrypt(&nonce.into(), payload),
        _ => Aes256Gcm::new_from_slice(key)
            .unwrap()
            .encrypt(&nonce.into(), payload),
    };
    [iv, &sealed.unwrap()].concat()
}

/// Bytes at a chosen distance from a boundary of 64, with others around them that must not change.
struct Framed {
    buffer: Vec<u8>,
    at: usize,
    len: usize,
}

impl Framed {
    fn new(behind: usize, len: usize) -> Self {
        let buffer = vec![0xee; len + 256];
        let boundary = buffer.as_ptr().align_offset(64);
        let at = boundary + 64 + behind;
        Self { buffer, at, len }
    }

    fn holding(behind: usize, bytes: &[u8]) -> Self {
        let mut framed = Self::new(behind, bytes.len());
        framed.get_mut().copy_from_slice(bytes);
        framed
    }

    fn get(&self) -> &[u8] {
        &self.buffer[self.at..self.at + self.len]
    }

    fn get_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.at..self.at + self.len]
    }

    /// The bytes, after a look at those around.
    fn checked(&self) -> &[u8] {
        let (before, behind) = (&self.buffer[..self.at], &self.buffer[self.at + self.len..]);
        assert!(
            before.iter().chain(behind).all(|byte| *byte == 0xee),
            "bytes around the op's changed"
        );
        self.get()
    }
}

#[test]
fn every_length_to_2100() {
    for len in 0..=2_100 {
        let packet = Packet::new(AesKey::ALL[len % 3], len, [8, 12][len / 3 % 2]);
        for engine in Engine::available() {
            packet.check(engine, len * 7 % 64, len * 11 % 64);
        }
    }
}

#[test]
fn every_length_to_600_with_every_key_length() {
    for len in 0..=600 {
        for key in AesKey::ALL {
            let packet = Packet::new(key, len, 8);
            for engine in Engine::available() {
                packet.check(engine, 0, 0);
            }
        }
    }
}

#[test]
fn the_longest_text() {
    for (len, open_fits) in [(65_535 - 24, true), (65_535, false)] {
        let packet = Packet::new(AesKey::Bits128, len, 8);
        for engine in Engine::available() {
            if open_fits {
                packet.check(engine, 3, 5);
            }
            let (seal, _) = packet.contexts(engine);
            let mut sealed = vec![0; packet.sealed.len()];
            let op = SealOp::new(
                &seal,
                &packet.aad,
                packet.iv,
                &packet.plaintext,
                &mut sealed,
            );
            engine.seal_burst(&mut [op.unwrap()]);
            assert_eq!(sealed, packet.sealed, "{}", engine.name());
        }
    }
}

#[test]
fn every_place_of_source_and_destination() {
    for len in [1, 15, 16, 60, 64, 239, 240, 300] {
        let packet = Packet::new(AesKey::Bits128, len, 8);
        for engine in Engine::available() {
            for source_at in 0..64 {
                for destination_at in 0..64 {
                    packet.check(engine, source_at, destination_at);
                }
            }
        }
    }
}

#[test]
fn every_length_of_additional_data_to_100() {
    for aad_len in 0..=100 {
        for len in [0, 5, 64, 250] {
            let packet = Packet::new(AesKey::Bits256, len, aad_len);
            for engine in Engine::available() {
                packet.check(engine, 0, 8);
            }
        }
    }
}

#[test]
fn forged_packets_are_refused_and_leave_zeros() {
    for len in [0, 1, 16, 64, 255, 256, 576, 1_420] {
        let packet = Packet::new(AesKey::Bits128, len, 8);
        for engine in Engine::available() {
            for place in 0..packet.sealed.len() {
                let mut sealed = packet.sealed.clone();
                sealed[place] ^= 1 << (place % 8);
                packet.refused(engine, &packet.aad, &sealed);
            }
            for place in 0..8 {
                let mut aad = packet.aad.clone();
                aad[place] ^= 0x80;
                packet.refused(engine, &aad, &packet.sealed);
            }
            packet.refused(engine, &packet.aad[..7], &packet.sealed);
        }
    }
}

#[test]
fn a_context_of_one_engine_serves_every_other() {
    let packet = Packet::new(AesKey::Bits256, 333, 12);
    for maker in Engine::available() {
        let (seal, open) = packet.contexts(maker);
        for engine in Engine::available() {
            let mut sealed = vec![0; packet.sealed.len()];
            let op = SealOp::new(
                &seal,
                &packet.aad,
                packet.iv,
                &packet.plaintext,
                &mut sealed,
            );
            engine.seal_burst(&mut [op.unwrap()]);
            assert_eq!(sealed, packet.sealed);
            let op = OpenOp::in_place(&open, &packet.aad, &mut sealed).unwrap();
            assert_eq!(engine.open_burst(&mut [op]).bits(), 1);
            assert_eq!(sealed[8..8 + 333], packet.plaintext);
        }
    }
}
