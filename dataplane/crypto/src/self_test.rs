//! Known answers that are asked for before the first packet: an engine that is wrong must not serve.
//!
//! One short packet of each suite is sealed and opened, and one of 1,424 bytes, of which the ICV is compared: it covers every byte.

mod answers;

use std::fmt;

use crate::context::{OpenContext, SealContext};
use crate::engine::Engine;
use crate::op::{OpenOp, SealOp};
use crate::suite::Suite;
use answers::{Known, known, long_plaintext};

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

/// Checks every suite on `engine`; takes a few milliseconds in a release build.
///
/// # Errors
/// [`SelfTestFailed`] naming the first suite with a wrong answer.
pub fn self_test(engine: Engine) -> Result<(), SelfTestFailed> {
    let missing = SelfTestFailed {
        engine,
        suite: Suite::ALL[0],
    };
    check(engine, &known().ok_or(missing)?)
}

/// Bytes of the long packet: 89 blocks, so that a rest is left whether 4, 8 or 16 are worked at once.
const LONG_LEN: usize = 1_424;

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
        let seal_context = SealContext::new(engine, self.suite, &self.key).ok()?;
        let open_context = OpenContext::new(engine, self.suite, &self.key).ok()?;
        let sealing = |text: &[u8]| seal(engine, &seal_context, &self.aad, &self.iv, text);
        let opening = |sealed: &[u8]| open(engine, &open_context, &self.aad, sealed);

        let known = [&self.iv[..], &self.sealed].concat();
        let mut forged = known.clone();
        *forged.last_mut()? ^= 1;
        let long = long_plaintext();
        let long_sealed = sealing(&long)?;

        Some(
            sealing(&self.plaintext)? == known
                && opening(&known)?.as_ref() == Some(&self.plaintext)
                && opening(&forged)?.is_none()
                && long_sealed.ends_with(&self.long_icv)
                && opening(&long_sealed)? == Some(long)
                && seal_context.iv(1).starts_with(&self.first_iv),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::AesKey;

    #[test]
    fn every_engine_passes() {
        for engine in Engine::available() {
            assert_eq!(self_test(engine), Ok(()));
        }
    }

    #[test]
    fn every_suite_is_asked_for() {
        let suites: Vec<_> = known().unwrap().iter().map(|known| known.suite).collect();
        assert_eq!(suites, Suite::ALL);
    }

    #[test]
    fn a_corrupted_answer_is_detected_and_named() {
        let corruptions: [fn(&mut Known) -> &mut Vec<u8>; 7] = [
            |known| &mut known.key,
            |known| &mut known.aad,
            |known| &mut known.iv,
            |known| &mut known.plaintext,
            |known| &mut known.sealed,
            |known| &mut known.long_icv,
            |known| &mut known.first_iv,
        ];
        let good = known().unwrap();
        for engine in Engine::available() {
            for (n, suite) in Suite::ALL.into_iter().enumerate() {
                for place in corruptions {
                    let mut known = good.clone();
                    // Not the last bit of a byte, which is no key bit of Triple DES.
                    *place(&mut known[n]).last_mut().unwrap() ^= 2;
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
            suite: Suite::AesGcm(AesKey::Bits256),
        };
        assert_eq!(
            failed.to_string(),
            "self-test of AesGcm(Bits256) failed on the portable engine"
        );
    }
}
