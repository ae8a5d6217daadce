//! Published answers, and random packets against the `hmac`, `sha1` and `sha2` crates, at every width.

use hmac::digest::block_api::EagerHash;
use hmac::{Hmac, KeyInit, Mac as _};

use super::{Hash, Mac, Midstates, Sha1, Sha256, Sha384, Sha512, Width, authenticate, kernels};

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

/// A way to authenticate a burst.
type Way<H> = fn(&mut [Mac<'_, H>]);

/// What is chosen at every width, and every kernel that this CPU has, whether it would be chosen or not.
fn ways<H: Hash>(kernels: Vec<(&'static str, Way<H>)>) -> Vec<(&'static str, Way<H>)> {
    let chosen: [(&str, Way<H>); 3] = [
        ("128 bits", |macs| authenticate(Width::Bits128, macs)),
        ("256 bits", |macs| authenticate(Width::Bits256, macs)),
        ("512 bits", |macs| authenticate(Width::Bits512, macs)),
    ];
    chosen.into_iter().chain(kernels).collect()
}

/// Compares bursts of these lengths, worked in every way.
fn compare<H: Hash, D: EagerHash>(random: &mut Random, ways: &[(&str, Way<H>)], lengths: &[usize]) {
    let packets: Vec<Packet<H>> = lengths
        .iter()
        .map(|&len| Packet::random(random, len))
        .collect();
    let expected: Vec<Vec<u8>> = packets.iter().map(Packet::expected::<D>).collect();
    for (name, authenticate) in ways {
        let mut macs: Vec<_> = packets.iter().map(Packet::mac).collect();
        authenticate(&mut macs);
        for (n, (mac, expected)) in macs.iter().zip(&expected).enumerate() {
            let digest = &mac.digest[..H::DIGEST_LEN];
            assert_eq!(digest, expected, "{name}, {n} of {lengths:?}");
        }
    }
}

fn every_length<H: Hash, D: EagerHash>(kernels: Vec<(&'static str, Way<H>)>) {
    let ways = ways(kernels);
    let mut random = Random(0x1234_5678_9abc_def1);
    let lengths: Vec<usize> = (0..=2_100).collect();
    for burst in lengths.chunks(61) {
        compare::<H, D>(&mut random, &ways, burst);
    }
}

fn every_count<H: Hash, D: EagerHash>(kernels: Vec<(&'static str, Way<H>)>) {
    let ways = ways(kernels);
    let mut random = Random(0x0fed_cba9_8765_4321);
    for count in 0..=66 {
        let len = random.below(1_500);
        compare::<H, D>(&mut random, &ways, &vec![len; count]);
        let mixed: Vec<usize> = (0..count).map(|_| random.below(1_500)).collect();
        compare::<H, D>(&mut random, &ways, &mixed);
        let imix: Vec<usize> = (0..count)
            .map(|_| [80, 592, 1_436][random.below(3)])
            .collect();
        compare::<H, D>(&mut random, &ways, &imix);
    }
    compare::<H, D>(&mut random, &ways, &[9_216, 16, 65_535, 0, 1_424]);
}

macro_rules! differential {
    ($module:ident, $hash:ty, $reference:ty, $kernels:path) => {
        mod $module {
            use super::*;

            #[test]
            fn every_length_as_the_reference() {
                every_length::<$hash, $reference>($kernels());
            }

            #[test]
            fn every_count_of_equal_and_mixed_lengths_as_the_reference() {
                every_count::<$hash, $reference>($kernels());
            }
        }
    };
}

differential!(with_sha1, Sha1, sha1::Sha1, kernels::each::sha1);
differential!(with_sha256, Sha256, sha2::Sha256, kernels::each::sha256);
differential!(with_sha384, Sha384, sha2::Sha384, kernels::each::sha512);
differential!(with_sha512, Sha512, sha2::Sha512, kernels::each::sha512);

/// HMAC of eight bytes and the rest of a message, worked alone and as one of twenty packets.
fn answers<H: Hash>(key: &[u8], message: &[u8]) -> Vec<String> {
    let midstates = Midstates::<H>::new(key).unwrap();
    let (head, text) = message.split_first_chunk().unwrap();
    let mut answers = Vec::new();
    for width in [Width::Bits128, Width::Bits256, Width::Bits512] {
        for count in [1, 20] {
            let mut macs: Vec<_> = (0..count)
                .map(|_| Mac {
                    midstates: &midstates,
                    head,
                    text,
                    tail: &[],
                    digest: [0; 64],
                })
                .collect();
            authenticate(width, &mut macs);
            answers.extend(
                macs.iter()
                    .map(|mac| hex::encode(&mac.digest[..H::DIGEST_LEN])),
            );
        }
    }
    answers.dedup();
    answers
}

/// RFC 2202 §3 and RFC 4231 §4, those with a message of eight bytes or more and a key that fits a block.
#[test]
fn published_answers() {
    let long = [0xdd; 50];
    assert_eq!(
        answers::<Sha1>(&[0x0b; 20], b"Hi There"),
        ["b617318655057264e28bc0b6fb378c8ef146be00"]
    );
    assert_eq!(
        answers::<Sha1>(b"Jefe", b"what do ya want for nothing?"),
        ["effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"]
    );
    assert_eq!(
        answers::<Sha1>(&[0xaa; 20], &long),
        ["125d7342b9ac11cd91a39af48aa17b4f63f175d3"]
    );
    assert_eq!(
        answers::<Sha256>(&[0x0b; 20], b"Hi There"),
        ["b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"]
    );
    assert_eq!(
        answers::<Sha256>(&[0xaa; 20], &long),
        ["773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"]
    );
    assert_eq!(
        answers::<Sha384>(&[0x0b; 20], b"Hi There"),
        [
            "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59c\
          faea9ea9076ede7f4af152e8b2fa9cb6"
        ]
    );
    assert_eq!(
        answers::<Sha384>(&[0xaa; 20], &long),
        [
            "88062608d3e6ad8a0aa2ace014c8a86f0aa635d947ac9febe83ef4e55966144b\
          2a5ab39dc13814b94e3ab6e101a34f27"
        ]
    );
    assert_eq!(
        answers::<Sha512>(&[0x0b; 20], b"Hi There"),
        [
            "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde\
          daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854"
        ]
    );
    assert_eq!(
        answers::<Sha512>(&[0xaa; 20], &long),
        [
            "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39\
          bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb"
        ]
    );
}

#[test]
fn a_key_longer_than_a_block_is_refused() {
    assert!(Midstates::<Sha1>::new(&[0; 65]).is_none());
    assert!(Midstates::<Sha256>::new(&[0; 65]).is_none());
    assert!(Midstates::<Sha512>::new(&[0; 129]).is_none());
    assert!(Midstates::<Sha384>::new(&[0; 128]).is_some());
}
