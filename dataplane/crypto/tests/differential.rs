//! Every engine against ciphers and hashes put together by hand from single AES blocks and whole digests: no mode, no GHASH and no HMAC of a
//! library is shared with what is tested.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use aes::{Aes128Enc, Aes192Enc, Aes256Enc};
use culvert_crypto::{Engine, Integrity, OpenContext, OpenOp, SealContext, SealOp, Suite};
use des::TdesEde3;
use proptest::collection::vec;
use proptest::prelude::*;
use sha1::{Digest, Sha1};
use sha2::{Sha256, Sha384, Sha512};

/// One packet, and where in its buffers it lies.
#[derive(Clone, Debug)]
struct Packet {
    suite: Suite,
    key: Vec<u8>,
    aad: Vec<u8>,
    sequence: u64,
    plaintext: Vec<u8>,
    offset: usize,
}

impl Packet {
    /// A packet whose bytes are drawn from a simple sequence.
    fn of_len(suite: Suite, len: usize) -> Self {
        let bytes =
            |seed: usize| move |i: usize| (i * 167 + seed * 59 + (i >> 8) * 13).to_le_bytes()[0];
        Self {
            suite,
            key: (0..suite.key_len()).map(bytes(len)).collect(),
            aad: (0..[8, 12][len / 16 % 2]).map(bytes(len + 1)).collect(),
            sequence: len as u64 * 0x1_0000_0001,
            plaintext: (0..len).map(bytes(len + 2)).collect(),
            offset: len % 64,
        }
    }

    /// IV ‖ ciphertext ‖ ICV as `engine` makes it; bytes around the destination stay as they are.
    fn sealed(&self, engine: Engine) -> Vec<u8> {
        let context = SealContext::new(engine, self.suite, &self.key).unwrap();
        let len = self.suite.sealed_len(self.plaintext.len());
        guarded(self.offset, len, |destination| {
            let iv = context.iv(self.sequence);
            let op = SealOp::new(&context, &self.aad, iv, &self.plaintext, destination).unwrap();
            engine.seal_burst(&mut [op]);
        })
    }

    /// Plaintext as `engine` opens `sealed`, and whether it verified.
    fn opened(&self, engine: Engine, aad: &[u8], sealed: &[u8]) -> (bool, Vec<u8>) {
        let context = OpenContext::new(engine, self.suite, &self.key).unwrap();
        let len = self.suite.opened_len(sealed.len()).unwrap();
        let mut verified = false;
        let plaintext = guarded(self.offset, len, |destination| {
            let op = OpenOp::new(&context, aad, sealed, destination).unwrap();
            verified = engine.open_burst(&mut [op]).contains(0);
        });
        (verified, plaintext)
    }

    /// Seals and opens on every engine and compares with what comes out by hand.
    fn check(&self) {
        let expected = by_hand(self);
        for engine in Engine::available() {
            assert_eq!(
                self.sealed(engine),
                expected,
                "{} {:?}",
                engine.name(),
                self.suite
            );
            let (verified, plaintext) = self.opened(engine, &self.aad, &expected);
            assert!(verified, "{} {:?}", engine.name(), self.suite);
            assert_eq!(
                plaintext,
                self.plaintext,
                "{} {:?}",
                engine.name(),
                self.suite
            );
        }
    }

    /// A forged packet is refused by every engine and leaves only zeros.
    fn refused(&self, aad: &[u8], sealed: &[u8]) {
        for engine in Engine::available() {
            let (verified, plaintext) = self.opened(engine, aad, sealed);
            assert!(!verified, "{} {:?}", engine.name(), self.suite);
            assert!(
                plaintext.iter().all(|byte| *byte == 0),
                "{} {:?}",
                engine.name(),
                self.suite
            );
        }
    }
}

/// Lets `write` fill `len` bytes at `offset` of a larger buffer and checks that it touches no others.
fn guarded(offset: usize, len: usize, write: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut buffer = vec![0xee; offset + len + 64];
    write(&mut buffer[offset..offset + len]);
    let around = buffer[..offset].iter().chain(&buffer[offset + len..]);
    assert!(
        around.copied().all(|byte| byte == 0xee),
        "bytes around the destination changed"
    );
    buffer[offset..offset + len].to_vec()
}

const fn is_gcm(suite: Suite) -> bool {
    matches!(suite, Suite::AesGcm(_))
}

/// One AES block.
fn aes_block(key: &[u8], block: [u8; 16]) -> [u8; 16] {
    let mut block = Array(block);
    match key.len() {
        16 => Aes128Enc::new_from_slice(key)
            .unwrap()
            .encrypt_block(&mut block),
        24 => Aes192Enc::new_from_slice(key)
            .unwrap()
            .encrypt_block(&mut block),
        _ => Aes256Enc::new_from_slice(key)
            .unwrap()
            .encrypt_block(&mut block),
    }
    block.0
}

/// One Triple DES block.
fn des_block(key: &[u8], block: [u8; 8]) -> [u8; 8] {
    let mut block = Array(block);
    TdesEde3::new_from_slice(key)
        .unwrap()
        .encrypt_block(&mut block);
    block.0
}

/// IV ‖ ciphertext ‖ ICV by hand.
fn by_hand(packet: &Packet) -> Vec<u8> {
    let (key, other_key) = packet.key.split_at(packet.suite.cipher_key_len());
    match packet.suite {
        Suite::AesGcm(_) => gcm(key, other_key, packet),
        Suite::AesCbcHmac(_, integrity) => {
            let mut iv = [0; 16];
            iv[8..].copy_from_slice(&packet.sequence.to_be_bytes());
            cbc_hmac(
                |block| aes_block(key, block),
                iv,
                integrity,
                other_key,
                packet,
            )
        }
        Suite::TripleDesHmac(integrity) => {
            let iv = packet.sequence.to_be_bytes();
            cbc_hmac(
                |block| des_block(key, block),
                iv,
                integrity,
                other_key,
                packet,
            )
        }
    }
}

/// NIST SP 800-38D §7.1 with the nonce of RFC 4106 §4.
fn gcm(key: &[u8], salt: &[u8], packet: &Packet) -> Vec<u8> {
    let iv = packet.sequence.to_be_bytes();
    let counter_block = |counter: u32| -> [u8; 16] {
        [salt, &iv, &counter.to_be_bytes()]
            .concat()
            .try_into()
            .unwrap()
    };
    let mut ciphertext = packet.plaintext.clone();
    for (counter, chunk) in (2..).zip(ciphertext.chunks_mut(16)) {
        xor(chunk, &aes_block(key, counter_block(counter)));
    }
    let lengths = ((packet.aad.len() as u128 * 8) << 64) | (ciphertext.len() as u128 * 8);
    let h = u128::from_be_bytes(aes_block(key, [0; 16]));
    let hash = [&packet.aad[..], &ciphertext]
        .iter()
        .flat_map(|part| part.chunks(16))
        .map(block)
        .chain([lengths])
        .fold(0, |hash, block| multiply(hash ^ block, h));
    let icv = hash ^ u128::from_be_bytes(aes_block(key, counter_block(1)));
    [&iv[..], &ciphertext, &icv.to_be_bytes()].concat()
}

/// A block, padded with zeros.
fn block(bytes: &[u8]) -> u128 {
    let mut padded = [0; 16];
    padded[..bytes.len()].copy_from_slice(bytes);
    u128::from_be_bytes(padded)
}

/// Product in GF(2¹²⁸), bit by bit (NIST SP 800-38D §6.3).
fn multiply(x: u128, y: u128) -> u128 {
    let (mut z, mut v) = (0, y);
    for bit in (0..128).rev() {
        if (x >> bit) & 1 == 1 {
            z ^= v;
        }
        v = (v >> 1) ^ if v & 1 == 1 { 0xe1 << 120 } else { 0 };
    }
    z
}

/// RFC 3602 or RFC 2451 with HMAC (RFC 2104) over header, IV, ciphertext and high half; the IV is `number` encrypted.
fn cbc_hmac<const N: usize>(
    encrypt: impl Fn([u8; N]) -> [u8; N],
    number: [u8; N],
    integrity: Integrity,
    integrity_key: &[u8],
    packet: &Packet,
) -> Vec<u8> {
    let iv = encrypt(number);
    let (mut previous, mut ciphertext) = (iv, Vec::new());
    for chunk in packet.plaintext.chunks(N) {
        xor(&mut previous, chunk);
        previous = encrypt(previous);
        ciphertext.extend(previous);
    }
    let (spi, rest) = packet.aad.split_at(4);
    let (high, low) = rest.split_at(rest.len() - 4);
    let covered = [spi, low, &iv, &ciphertext, high].concat();
    let mut icv = match integrity {
        Integrity::Sha1_96 => hmac::<Sha1, 64>(integrity_key, &covered),
        Integrity::Sha256_128 | Integrity::Sha256_96 => hmac::<Sha256, 64>(integrity_key, &covered),
        Integrity::Sha384_192 => hmac::<Sha384, 128>(integrity_key, &covered),
        Integrity::Sha512_256 => hmac::<Sha512, 128>(integrity_key, &covered),
    };
    icv.truncate(packet.suite.icv_len());
    [&iv[..], &ciphertext, &icv].concat()
}

/// HMAC of a hash with blocks of `N` bytes.
fn hmac<D: Digest, const N: usize>(key: &[u8], message: &[u8]) -> Vec<u8> {
    let pad = |byte: u8| {
        let mut pad = [byte; N];
        xor(&mut pad, key);
        pad
    };
    let inner = D::digest([&pad(0x36), message].concat());
    D::digest([&pad(0x5c)[..], &inner].concat()).to_vec()
}

fn xor(bytes: &mut [u8], with: &[u8]) {
    for (byte, other) in bytes.iter_mut().zip(with) {
        *byte ^= other;
    }
}

#[test]
fn every_length_to_2100_seals_as_by_hand_and_opens_again() {
    for suite in Suite::ALL {
        let step = if is_gcm(suite) { 1 } else { suite.alignment() };
        for len in (0..=2_100).step_by(step).skip(usize::from(step > 1)) {
            Packet::of_len(suite, len).check();
        }
    }
}

#[test]
fn a_wrong_bit_anywhere_is_refused_and_the_destination_zeroed() {
    for suite in Suite::ALL {
        for len in [16, 48, 176] {
            let packet = Packet::of_len(suite, len);
            let sealed = packet.sealed(Engine::PORTABLE);
            for bit in 0..sealed.len() * 8 {
                let mut forged = sealed.clone();
                forged[bit / 8] ^= 1 << (bit % 8);
                packet.refused(&packet.aad, &forged);
            }
            for bit in 0..packet.aad.len() * 8 {
                let mut aad = packet.aad.clone();
                aad[bit / 8] ^= 1 << (bit % 8);
                packet.refused(&aad, &sealed);
            }
        }
    }
}

fn packets() -> impl Strategy<Value = Packet> {
    let suites = prop::sample::select(Suite::ALL.to_vec());
    (
        suites,
        1_usize..132,
        vec(any::<u8>(), 96),
        any::<(bool, [u8; 12], u64)>(),
        0_usize..64,
    )
        .prop_flat_map(|(suite, blocks, key, (extended, aad, sequence), offset)| {
            let len = if is_gcm(suite) {
                (blocks - 1) * 16..=blocks * 16
            } else {
                blocks * 16..=blocks * 16
            };
            vec(any::<u8>(), len).prop_map(move |plaintext| Packet {
                suite,
                key: key[..suite.key_len()].to_vec(),
                aad: aad[..if extended { 12 } else { 8 }].to_vec(),
                sequence,
                plaintext,
                offset,
            })
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_packets_seal_as_by_hand_and_open_again(packet in packets()) {
        packet.check();
    }

    #[test]
    fn a_random_change_is_refused(packet in packets(), place: prop::sample::Index, change in 1_u8..) {
        let sealed = packet.sealed(Engine::PORTABLE);
        let mut forged = sealed.clone();
        forged[place.index(sealed.len())] ^= change;
        packet.refused(&packet.aad, &forged);

        // A wrong AES key shows in the ICV of AES-GCM only; a wrong integrity key or salt in every ICV.
        let mut other = packet.clone();
        let first = if is_gcm(packet.suite) { 0 } else { packet.suite.cipher_key_len() };
        let place = first + place.index(other.key.len() - first);
        other.key[place] ^= change;
        other.refused(&packet.aad, &sealed);
    }

    #[test]
    fn a_burst_gives_what_its_ops_give_alone(packets in vec(packets(), 0..=64), wrong: u64) {
        for engine in Engine::available() {
            check_burst(engine, &packets, wrong);
        }
    }
}

/// Seals and opens `packets` in one burst each; bit n of `wrong` forges packet n.
fn check_burst(engine: Engine, packets: &[Packet], wrong: u64) {
    let contexts: Vec<_> = packets
        .iter()
        .map(|p| {
            let seal = SealContext::new(engine, p.suite, &p.key).unwrap();
            (seal, OpenContext::new(engine, p.suite, &p.key).unwrap())
        })
        .collect();
    let mut sealed: Vec<_> = packets
        .iter()
        .map(|p| vec![0xee; p.suite.sealed_len(p.plaintext.len())])
        .collect();
    let mut ops: Vec<_> = packets
        .iter()
        .zip(&contexts)
        .zip(&mut sealed)
        .map(|((p, (context, _)), out)| {
            SealOp::new(context, &p.aad, context.iv(p.sequence), &p.plaintext, out).unwrap()
        })
        .collect();
    engine.seal_burst(&mut ops);
    for (n, (packet, sealed)) in packets.iter().zip(&mut sealed).enumerate() {
        assert_eq!(*sealed, packet.sealed(engine));
        sealed[0] ^= u8::from((wrong >> n) & 1 == 1);
    }

    let mut opened: Vec<_> = packets
        .iter()
        .map(|p| vec![0xee; p.plaintext.len()])
        .collect();
    let mut ops: Vec<_> = packets
        .iter()
        .zip(&contexts)
        .zip(sealed.iter().zip(&mut opened))
        .map(|((p, (_, context)), (sealed, out))| {
            OpenOp::new(context, &p.aad, sealed, out).unwrap()
        })
        .collect();
    let verified = engine.open_burst(&mut ops);
    for (n, (packet, opened)) in packets.iter().zip(opened).enumerate() {
        let good = (wrong >> n) & 1 == 0;
        assert_eq!(verified.contains(n), good);
        assert_eq!(
            opened,
            if good {
                packet.plaintext.clone()
            } else {
                vec![0; opened.len()]
            }
        );
    }
    assert_eq!(verified.bits() >> 1 >> packets.len().saturating_sub(1), 0);
}
