//! Every engine against two libraries, over random packets: aes-gcm and ring for AES-GCM, RustCrypto's CBC and ring's HMAC for the rest.
//!
//! `CULVERT_CRYPTO_CASES` sets the number of packets, 40,000 unless told; `CULVERT_CRYPTO_SEED` the seed, which a failure prints.
#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test that is wrong may panic, and says how to repeat it"
)]

use aes::cipher::consts::U12;
use aes::cipher::{BlockModeEncrypt, KeyIvInit, block_padding::NoPadding};
use aes::{Aes128, Aes192, Aes256};
use aes_gcm::aead::AeadInOut;
use aes_gcm::{AesGcm, KeyInit};
use culvert_crypto::{
    AesKey, BURST, Engine, Integrity, OpenContext, OpenOp, SealContext, SealOp, Suite,
};
use des::TdesEde3;
use ring::aead;
use ring::hmac;

/// Longest plaintext in most packets; one in 64 is up to the longest frame.
const LONG: u64 = 2_101;
const LONGEST: u64 = 9_200;

/// A sequence of numbers that looks random: xorshift64*, Vigna 2014.
struct Random(u64);

impl Random {
    const fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Below `bound`.
    fn below(&mut self, bound: u64) -> usize {
        usize::try_from((self.next() >> 16) % bound).unwrap()
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend(self.next().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

/// One packet and where its buffers begin.
struct Case {
    suite: Suite,
    key: Vec<u8>,
    aad: Vec<u8>,
    sequence: u64,
    plaintext: Vec<u8>,
    offset: usize,
    is_in_place: bool,
    is_forged: bool,
}

impl Case {
    fn random(random: &mut Random, suite: Suite) -> Self {
        let most = if random.below(64) == 0 { LONGEST } else { LONG };
        let step = match suite {
            Suite::AesGcm(_) => 1,
            Suite::AesCbcHmac(..) | Suite::TripleDesHmac(_) => suite.alignment(),
        };
        let len = random.below(most) / step * step;
        Self {
            suite,
            key: random.bytes(suite.key_len()),
            aad: {
                let len = [8, 12][random.below(2)];
                random.bytes(len)
            },
            sequence: random.next(),
            plaintext: random.bytes(if step == 1 { len } else { len.max(step) }),
            offset: random.below(64),
            is_in_place: random.below(2) == 0,
            is_forged: random.below(8) == 0,
        }
    }

    /// IV ‖ ciphertext ‖ ICV as the libraries make it; where two make it, they agree.
    fn expected(&self, iv: [u8; 16]) -> Vec<u8> {
        let (key, rest) = self.key.split_at(self.suite.cipher_key_len());
        match self.suite {
            Suite::AesGcm(len) => self.gcm(
                len,
                key,
                [rest, &iv[..8]].concat().try_into().unwrap(),
                &iv[..8],
            ),
            Suite::AesCbcHmac(len, integrity) => {
                let ciphertext = match len {
                    AesKey::Bits128 => cbc_encrypted::<Aes128>(key, &iv, &self.plaintext),
                    AesKey::Bits192 => cbc_encrypted::<Aes192>(key, &iv, &self.plaintext),
                    AesKey::Bits256 => cbc_encrypted::<Aes256>(key, &iv, &self.plaintext),
                };
                self.with_icv(integrity, rest, &[&iv[..], &ciphertext].concat())
            }
            Suite::TripleDesHmac(integrity) => {
                let ciphertext = cbc_encrypted::<TdesEde3>(key, &iv[..8], &self.plaintext);
                self.with_icv(integrity, rest, &[&iv[..8], &ciphertext].concat())
            }
        }
    }

    fn gcm(&self, len: AesKey, key: &[u8], nonce: [u8; 12], iv: &[u8]) -> Vec<u8> {
        let seal = |cipher: &dyn Fn(&mut [u8]) -> Vec<u8>| {
            let mut text = self.plaintext.clone();
            let tag = cipher(&mut text);
            [iv, &text, &tag].concat()
        };
        let (nonce_ref, aad) = (&nonce.into(), &self.aad[..]);
        let of = |text: &mut [u8]| -> Vec<u8> {
            match len {
                AesKey::Bits128 => AesGcm::<Aes128, U12>::new_from_slice(key)
                    .unwrap()
                    .encrypt_inout_detached(nonce_ref, aad, text.into())
                    .unwrap()
                    .to_vec(),
                AesKey::Bits192 => AesGcm::<Aes192, U12>::new_from_slice(key)
                    .unwrap()
                    .encrypt_inout_detached(nonce_ref, aad, text.into())
                    .unwrap()
                    .to_vec(),
                AesKey::Bits256 => AesGcm::<Aes256, U12>::new_from_slice(key)
                    .unwrap()
                    .encrypt_inout_detached(nonce_ref, aad, text.into())
                    .unwrap()
                    .to_vec(),
            }
        };
        let first = seal(&of);
        let algorithm = match len {
            AesKey::Bits128 => &aead::AES_128_GCM,
            // ring has no AES-192.
            AesKey::Bits192 => return first,
            AesKey::Bits256 => &aead::AES_256_GCM,
        };
        let second = seal(&|text| {
            let key = aead::LessSafeKey::new(aead::UnboundKey::new(algorithm, key).unwrap());
            let nonce = aead::Nonce::assume_unique_for_key(nonce);
            key.seal_in_place_separate_tag(nonce, aead::Aad::from(aad), text)
                .unwrap()
                .as_ref()
                .to_vec()
        });
        assert_eq!(first, second, "the libraries disagree");
        first
    }

    /// Appends the ICV (RFC 4303 §3.3.2.1; with extended sequence numbers the high half comes last, §2.2.1).
    fn with_icv(&self, integrity: Integrity, key: &[u8], sealed: &[u8]) -> Vec<u8> {
        let algorithm = match integrity {
            Integrity::Sha1_96 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Integrity::Sha256_128 | Integrity::Sha256_96 => hmac::HMAC_SHA256,
            Integrity::Sha384_192 => hmac::HMAC_SHA384,
            Integrity::Sha512_256 => hmac::HMAC_SHA512,
        };
        let (spi, rest) = self.aad.split_at(4);
        let (high, low) = rest.split_at(rest.len() - 4);
        let tag = hmac::sign(
            &hmac::Key::new(algorithm, key),
            &[spi, low, sealed, high].concat(),
        );
        [sealed, &tag.as_ref()[..integrity.icv_len()]].concat()
    }
}

fn cbc_encrypted<C>(key: &[u8], iv: &[u8], plaintext: &[u8]) -> Vec<u8>
where
    cbc::Encryptor<C>: KeyIvInit + BlockModeEncrypt,
    C: aes::cipher::BlockCipherEncrypt,
{
    let cipher = cbc::Encryptor::<C>::new_from_slices(key, iv).unwrap();
    let mut text = plaintext.to_vec();
    cipher
        .encrypt_padded::<NoPadding>(&mut text, plaintext.len())
        .unwrap();
    text
}

/// A burst on one engine: every op's result is the libraries', and what is forged is refused and leaves zeros.
fn check(engine: Engine, cases: &[Case]) {
    let contexts: Vec<_> = cases
        .iter()
        .map(|case| {
            let seal = SealContext::new(engine, case.suite, &case.key).unwrap();
            (
                seal,
                OpenContext::new(engine, case.suite, &case.key).unwrap(),
            )
        })
        .collect();
    let expected: Vec<_> = cases
        .iter()
        .zip(&contexts)
        .map(|(case, (seal, _))| case.expected(seal.iv(case.sequence)))
        .collect();
    let mut sealed = sealed_by(engine, cases, &contexts);
    for ((case, sealed), expected) in cases.iter().zip(&mut sealed).zip(&expected) {
        assert_eq!(
            &sealed[case.offset..],
            expected,
            "{} {:?} {}",
            engine.name(),
            case.suite,
            case.plaintext.len()
        );
        if case.is_forged {
            let place = case.offset + case.sequence as usize % expected.len();
            sealed[place] ^= 1 << (case.sequence % 8);
        }
    }
    check_opened(engine, cases, &contexts, &mut sealed);
}

/// What the engine seals, each at its offset of its buffer.
fn sealed_by(
    engine: Engine,
    cases: &[Case],
    contexts: &[(SealContext, OpenContext)],
) -> Vec<Vec<u8>> {
    let mut sealed: Vec<Vec<u8>> = cases
        .iter()
        .map(|case| {
            let mut buffer = vec![0xEE; case.offset + case.suite.sealed_len(case.plaintext.len())];
            let start = case.offset + case.suite.iv_len();
            if case.is_in_place {
                buffer[start..start + case.plaintext.len()].copy_from_slice(&case.plaintext);
            }
            buffer
        })
        .collect();
    let mut ops: Vec<_> = cases
        .iter()
        .zip(contexts)
        .zip(&mut sealed)
        .map(|((case, (context, _)), buffer)| {
            let (iv, buffer) = (context.iv(case.sequence), &mut buffer[case.offset..]);
            if case.is_in_place {
                SealOp::in_place(context, &case.aad, iv, buffer).unwrap()
            } else {
                SealOp::new(context, &case.aad, iv, &case.plaintext, buffer).unwrap()
            }
        })
        .collect();
    engine.seal_burst(&mut ops);
    sealed
}

fn check_opened(
    engine: Engine,
    cases: &[Case],
    contexts: &[(SealContext, OpenContext)],
    sealed: &mut [Vec<u8>],
) {
    let mut opened: Vec<_> = cases
        .iter()
        .map(|case| vec![0xEE; case.plaintext.len()])
        .collect();
    let mut ops: Vec<_> = cases
        .iter()
        .zip(contexts)
        .zip(sealed.iter_mut().zip(&mut opened))
        .map(|((case, (_, context)), (sealed, opened))| {
            let sealed = &mut sealed[case.offset..];
            if case.is_in_place {
                OpenOp::in_place(context, &case.aad, sealed).unwrap()
            } else {
                OpenOp::new(context, &case.aad, sealed, opened).unwrap()
            }
        })
        .collect();
    let verified = engine.open_burst(&mut ops);
    for (at, (case, (sealed, opened))) in cases.iter().zip(sealed.iter().zip(&opened)).enumerate() {
        let start = case.offset + case.suite.iv_len();
        let got = if case.is_in_place {
            &sealed[start..start + case.plaintext.len()]
        } else {
            opened
        };
        let what = format!(
            "{} {:?} {}",
            engine.name(),
            case.suite,
            case.plaintext.len()
        );
        assert_eq!(verified.contains(at), !case.is_forged, "{what}");
        if case.is_forged {
            assert!(got.iter().all(|byte| *byte == 0), "{what}");
        } else {
            assert_eq!(got, case.plaintext, "{what}");
        }
    }
}

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |value| value.parse().unwrap())
}

/// Bursts of one suite and key material of its own in each packet, and of all suites mixed.
#[test]
fn random_packets_of_every_suite_come_out_as_the_libraries_make_them() {
    let wanted = setting("CULVERT_CRYPTO_CASES", 40_000);
    let seed = setting("CULVERT_CRYPTO_SEED", 0x9E37_79B9_7F4A_7C15);
    println!("seed {seed}");
    let mut random = Random(seed | 1);
    let mut done = 0;
    while done < wanted {
        let count = 1 + random.below(BURST as u64);
        let gcm_only = random.below(2) == 0;
        let alone = Suite::ALL[random.below(if gcm_only { 3 } else { 23 })];
        let is_mixed = random.below(2) == 0;
        let cases: Vec<_> = (0..count)
            .map(|_| {
                let suite = if is_mixed {
                    Suite::ALL[random.below(if gcm_only { 3 } else { 23 })]
                } else {
                    alone
                };
                Case::random(&mut random, suite)
            })
            .collect();
        Engine::available().for_each(|engine| check(engine, &cases));
        done += count as u64;
    }
    println!("{done} packets on each engine");
}
