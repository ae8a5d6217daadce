//! Published answers, and random packets against the `hmac`, `sha1` and `sha2` crates, at every width.

use hmac::digest::block_api::EagerHash;
use hmac::{Hmac, KeyInit, Mac as _};

use super::{Hash, Mac, Midstates, Sha1, Sha256, Sha384, Sha512, Width, authenticate};

const WIDTHS: [Width; 3] = [Width::Bits128, Width::Bits256, Width::Bits512];

/// Bytes that look random; the same for the same seed (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 32).unwrap() % bound
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next().to_be_bytes()[0]).collect()
    }
}

/// One packet with its key.
struct Packet<H: Hash> {
    midstates: Midstates<H>,
    key: Vec<u8>,
    head: [u8; 8],
    text: Vec<u8>,
    tail: Vec<u8>,
}

impl<H: Hash> Packet<H> {
    fn random(random: &mut Random, len: usize) -> Self {
        let key_len = 1 + random.below(H::BLOCK_LEN);
        let tail_len = 4 * random.below(2);
        let key = random.bytes(key_len);
        Self {
            midstates: Midstates::new(&key).unwrap(),
            key,
            head: random.next().to_be_bytes(),
            text: random.bytes(len),
            tail: random.bytes(tail_len),
        }
    }

    fn mac(&self) -> Mac<'_, H> {
        Mac {
            midstates: &self.midstates,
            head: &self.head,
            text: &self.text,
            tail: &self.tail,
            digest: [0; 64],
        }
    }

    fn expected<D: EagerHash>(&self) -> Vec<u8> {
        let mut hmac = Hmac::<D>::new_from_slice(&self.key).unwrap();
        hmac.update(&self.head);
        hmac.update(&self.text);
        hmac.update(&self.tail);
        hmac.finalize().into_bytes().to_vec()
    }
}

/// Compares bursts of these lengths at every width.
fn compare<H: Hash, D: EagerHash>(random: &mut Random, lengths: &[usize]) {
    let packets: Vec<Packet<H>> = lengths
        .iter()
        .map(|&len| Packet::random(random, len))
        .collect();
    let expected: Vec<Vec<u8>> = packets.iter().map(Packet::expected::<D>).collect();
    for width in WIDTHS {
        let mut macs: Vec<_> = packets.iter().map(Packet::mac).collect();
        authenticate(width, &mut macs);
        for (n, (mac, expected)) in macs.iter().zip(&expected).enumerate() {
            let digest = &mac.digest[..H::DIGEST_LEN];
            assert_eq!(digest, expected, "{width:?}, {n} of {lengths:?}");
        }
    }
}

fn every_length<H: Hash, D: EagerHash>() {
    let mut random = Random(0x1234_5678_9abc_def1);
    let lengths: Vec<usize> = (0..=2_100).collect();
    for burst in lengths.chunks(61) {
        compare::<H, D>(&mut random, burst);
    }
}

fn every_count<H: Hash, D: EagerHash>() {
    let mut random = Random(0x0fed_cba9_8765_4321);
    for count in 0..=66 {
        let len = random.below(1_500);
        compare::<H, D>(&mut random, &vec![len; count]);
        let mixed: Vec<usize> = (0..count).map(|_| random.below(1_500)).collect();
        compare::<H, D>(&mut random, &mixed);
        let imix: Vec<usize> = (0..count)
            .map(|_| [80, 592, 1_436][random.below(3)])
            .collect();
        compare::<H, D>(&mut random, &imix);
    }
    compare::<H, D>(&mut random, &[9_216, 16, 65_535, 0, 1_424]);
}

macro_rules! differential {
    ($module:ident, $hash:ty, $reference:ty) => {
        mod $module {
            use super::*;

            #[test]
            fn every_length_as_the_reference() {
                every_length::<$hash, $reference>();
            }

            #[test]
            fn every_count_of_equal_and_mixed_lengths_as_the_reference() {
                every_count::<$hash, $reference>();
            }
        }
    };
}

differential!(with_sha1, Sha1, sha1::Sha1);
differential!(with_sha256, Sha256, sha2::Sha256);
differential!(with_sha384, Sha384, sha2::Sha384);
differential!(with_sha512, Sha512, sha2::Sha512);
