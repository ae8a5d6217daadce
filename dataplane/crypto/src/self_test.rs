//! Known answers that are asked for before the first packet: an engine that is wrong must not serve.
//!
//! One short packet of each suite is sealed and opened, and one of 1,424 bytes, of which the ICV is compared: it covers every byte.

use std::fmt;

use crate::context::{OpenContext, SealContext};
use crate::engine::Engine;
use crate::op::{OpenOp, SealOp};
use crate::suite::Suite;

/// An engine gave a wrong answer: the process must refuse to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelfTestFailed {
    /// The engine.
    pub engine: Engine,
    /// The suite that it got wrong.
    pub suite: Suite,
}

impl fmt::Display for SelfTestFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "self-test of {:?} failed on the {} engine",
            self.suite,
            self.engine.name()
        )
    }
}

impl std::error::Error for SelfTestFailed {}

/// Checks every suite on `engine`; takes less than a millisecond in a release build.
///
/// # Errors
/// [`SelfTestFailed`] naming the first suite with a wrong answer.
pub fn self_test(engine: Engine) -> Result<(), SelfTestFailed> {
    check(engine, &KNOWN)
}

/// Bytes of the long packet: 89 blocks, so that a rest is left whether 4, 8 or 16 are worked at once.
const LONG_LEN: usize = 1_424;

/// One packet and its answers, in hex.
#[derive(Clone, Copy)]
struct Known {
    suite: Suite,
    /// Key material as the suite counts it.
    key: &'static str,
    aad: &'static str,
    iv: &'static str,
    plaintext: &'static str,
    /// Ciphertext and ICV.
    sealed: &'static str,
    /// ICV of the long packet: byte n is n mod 251; the rest is the same.
    long_icv: &'static str,
    /// IV of sequence number 1.
    first_iv: &'static str,
}

/// ICVs of AES-CBC and of the long packets: pyca/cryptography 48.0.0 and Python's hmac.
const KNOWN: [Known; 6] = [
    // draft-mcgrew-gcm-test-01 §4, case 2.
    Known {
        suite: Suite::AesGcm128,
        key: "feffe9928665731c6d6a8f9467308308cafebabe",
        aad: "0000a5f80000000a",
        iv: "facedbaddecaf888",
        plaintext: "4500003e698f000080114dccc0a80102c0a801010a980035002a2343b2d00100000100000000\
            0000037369700963796265726369747902646b00000100010001",
        sealed: "deb22cd9b07c72c16e3a65beeb8df304a5a5897d33ae530f1ba76d5d114d2a5c3de81827c10e\
            9a4f51330d0eec416642cfbb85a5b47e48a4ec3b9ba95d918bd183b70d3aa8bc6ee4c309e9d8\
            5a41ad4a",
        long_icv: "d619afdd86cd396557cb1af9dec1f13d",
        first_iv: "0000000000000001",
    },
    // draft-mcgrew-gcm-test-01 §4, case 3.
    Known {
        suite: Suite::AesGcm256,
        key: "abbccddef00112233445566778899aababbccddef00112233445566778899aab11223344",
        aad: "4a2cbfe300000002",
        iv: "0102030405060708",
        plaintext: "4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee0000000007002400020bf\
            0000020405b40101040201020201",
        sealed: "ff425c9b724599df7a3bcd510194e00d6a78107f1b0b1cbf06efae9d65a5d763748a63798577\
            1d347f0545659f14e99def842d8eb335f4eecfdbf831824b4c4915956c96",
        long_icv: "de4d8adda097a156ec95e8a50146e14c",
        first_iv: "0000000000000001",
    },
    // RFC 3602 §4 case 3, ICV added.
    Known {
        suite: Suite::AesCbc128HmacSha1,
        key: "6c3ea0477630ce21a2ce334aa746c2cd0102030405060708090a0b0c0d0e0f1011121314",
        aad: "0000432100000001",
        iv: "c782dc4c098c66cbd9cd27d825682c81",
        plaintext: "5468697320697320612034382d62797465206d657373616765202865786163746c7920332041\
            455320626c6f636b7329",
        sealed: "d0a02b3836451753d493665d33f0e8862dea54cdb293abc7506939276772f8d5021c19216bad\
            525c8579695d83ba2684da58ad19eb33bfac84dcdab6",
        long_icv: "b6a7fb906a4a3d12a22c1acc",
        first_iv: "0038f885d1d62d39368fed99583f9c6f",
    },
    // NIST CAVS CBCMMT256 count 2, ICV added.
    Known {
        suite: Suite::AesCbc256HmacSha1,
        key: "fe8901fecd3ccd2ec5fdc7c7a0b50519c245b42d611a5ef9e90268d59f3edf33010203040506\
            0708090a0b0c0d0e0f1011121314",
        aad: "0000432100000001",
        iv: "bd416cb3b9892228d8f1df575692e4d0",
        plaintext: "8d3aa196ec3d7c9b5bb122e7fe77fb1295a6da75abe5d3a510194d3a8a4157d5c89d40619716\
            619859da3ec9b247ced9",
        sealed: "608e82c7ab04007adb22e389a44797fed7de090c8c03ca8a2c5acd9e84df37fbc58ce8edb293\
            e98f02b640d6d1d7246434437311e8b5505ebabb7388",
        long_icv: "115f52faa5678d6d7e512036",
        first_iv: "a4d903ae4d27e23673c2036f3c441a56",
    },
    // RFC 3602 §4 case 3, ICV added.
    Known {
        suite: Suite::AesCbc128HmacSha256,
        key: "6c3ea0477630ce21a2ce334aa746c2cd0102030405060708090a0b0c0d0e0f10111213141516\
            1718191a1b1c1d1e1f20",
        aad: "0000432100000001",
        iv: "c782dc4c098c66cbd9cd27d825682c81",
        plaintext: "5468697320697320612034382d62797465206d657373616765202865786163746c7920332041\
            455320626c6f636b7329",
        sealed: "d0a02b3836451753d493665d33f0e8862dea54cdb293abc7506939276772f8d5021c19216bad\
            525c8579695d83ba2684d6a14f7eb46a2a1f4d16ea6777e7767a",
        long_icv: "074dd71d9c12d23352c606a36f9cc115",
        first_iv: "0038f885d1d62d39368fed99583f9c6f",
    },
    // NIST CAVS CBCMMT256 count 2, ICV added.
    Known {
        suite: Suite::AesCbc256HmacSha256,
        key: "fe8901fecd3ccd2ec5fdc7c7a0b50519c245b42d611a5ef9e90268d59f3edf33010203040506\
            0708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20",
        aad: "0000432100000001",
        iv: "bd416cb3b9892228d8f1df575692e4d0",
        plaintext: "8d3aa196ec3d7c9b5bb122e7fe77fb1295a6da75abe5d3a510194d3a8a4157d5c89d40619716\
            619859da3ec9b247ced9",
        sealed: "608e82c7ab04007adb22e389a44797fed7de090c8c03ca8a2c5acd9e84df37fbc58ce8edb293\
            e98f02b640d6d1d72464397b0171603ebb2458da337118bcb180",
        long_icv: "69f274e46590c723ec3b2be3223a0eca",
        first_iv: "a4d903ae4d27e23673c2036f3c441a56",
    },
];

fn check(engine: Engine, answers: &[Known]) -> Result<(), SelfTestFailed> {
    answers.iter().try_for_each(|known| {
        let failed = SelfTestFailed {
            engine,
            suite: known.suite,
        };
        known
            .holds(engine)
            .unwrap_or(false)
            .then_some(())
            .ok_or(failed)
    })
}

impl Known {
    /// Whether every answer comes out; `None` if lengths do not even fit.
    fn holds(&self, engine: Engine) -> Option<bool> {
        let key = unhex(self.key)?;
        let seal_context = SealContext::new(self.suite, &key).ok()?;
        let open_context = OpenContext::new(self.suite, &key).ok()?;
        let (aad, iv) = (unhex(self.aad)?, unhex(self.iv)?);
        let plaintext = unhex(self.plaintext)?;
        let known = [iv.clone(), unhex(self.sealed)?].concat();
        let sealed = seal(engine, &seal_context, &aad, &iv, &plaintext)?;

        let long: Vec<u8> = (0..251).cycle().take(LONG_LEN).collect();
        let long_sealed = seal(engine, &seal_context, &aad, &iv, &long)?;

        let mut forged = known.clone();
        *forged.last_mut()? ^= 1;

        Some(
            sealed == known
                && open(engine, &open_context, &aad, &known)? == Some(plaintext)
                && open(engine, &open_context, &aad, &forged)?.is_none()
                && long_sealed.ends_with(&unhex(self.long_icv)?)
                && open(engine, &open_context, &aad, &long_sealed)? == Some(long)
                && seal_context.iv(1).starts_with(&unhex(self.first_iv)?),
        )
    }
}

fn seal(
    engine: Engine,
    context: &SealContext,
    aad: &[u8],
    iv: &[u8],
    plaintext: &[u8],
) -> Option<Vec<u8>> {
    let mut padded_iv = [0; 16];
    padded_iv.get_mut(..iv.len())?.copy_from_slice(iv);
    let mut sealed = vec![0; context.suite().sealed_len(plaintext.len())];
    let op = SealOp::new(context, aad, padded_iv, plaintext, &mut sealed).ok()?;
    engine.seal_burst(&mut [op]);
    Some(sealed)
}

/// The plaintext, or `Some(None)` if the ICV is wrong.
fn open(
    engine: Engine,
    context: &OpenContext,
    aad: &[u8],
    sealed: &[u8],
) -> Option<Option<Vec<u8>>> {
    let mut plaintext = vec![0; context.suite().opened_len(sealed.len())?];
    let op = OpenOp::new(context, aad, sealed, &mut plaintext).ok()?;
    let verified = engine.open_burst(&mut [op]).contains(0);
    Some(verified.then_some(plaintext))
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.as_bytes();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_engine_passes() {
        for engine in Engine::available() {
            assert_eq!(self_test(engine), Ok(()));
        }
    }

    #[test]
    fn every_suite_is_asked_for() {
        assert_eq!(KNOWN.map(|known| known.suite), Suite::ALL);
    }

    /// The same digits with one bit of the last one flipped.
    fn corrupted(digits: &str) -> &'static str {
        let (head, last) = digits.split_at(digits.len() - 1);
        let last = u8::from_str_radix(last, 16).unwrap() ^ 1;
        format!("{head}{last:x}").leak()
    }

    #[test]
    fn a_corrupted_answer_is_detected_and_named() {
        let corruptions: [fn(&mut Known); 7] = [
            |known| known.key = corrupted(known.key),
            |known| known.aad = corrupted(known.aad),
            |known| known.iv = corrupted(known.iv),
            |known| known.plaintext = corrupted(known.plaintext),
            |known| known.sealed = corrupted(known.sealed),
            |known| known.long_icv = corrupted(known.long_icv),
            |known| known.first_iv = corrupted(known.first_iv),
        ];
        for engine in Engine::available() {
            for (n, suite) in Suite::ALL.into_iter().enumerate() {
                for corrupt in corruptions {
                    let mut known = KNOWN;
                    corrupt(&mut known[n]);
                    let failed = SelfTestFailed { engine, suite };
                    assert_eq!(check(engine, &known), Err(failed));
                }
            }
        }
    }

    #[test]
    fn the_failure_names_suite_and_engine() {
        let failed = SelfTestFailed {
            engine: Engine::PORTABLE,
            suite: Suite::AesGcm256,
        };
        assert_eq!(
            failed.to_string(),
            "self-test of AesGcm256 failed on the portable engine"
        );
    }
}
