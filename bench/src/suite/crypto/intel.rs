//! Intel's ipsec-mb, where it is installed.

use culvert_crypto::{AesKey, Integrity, Suite};
use culvert_ipsec_mb as intel;

use super::Contestant;
use super::traffic::{Direction, Layout, Traffic};

/// It alone, or nobody.
pub(super) fn contestant(traffic: &Traffic) -> Option<Contestant> {
    let work = traffic.work();
    let suite = suite(work.suite)?;
    let direction = match work.direction {
        Direction::Seal => intel::Direction::Seal,
        Direction::Open => intel::Direction::Open,
    };
    let mut manager = intel::Manager::new()?;
    let keys = traffic.keys.iter().map(Vec::as_slice);
    let keys = manager.expand(suite, direction, keys)?;
    Some(Contestant {
        name: "ipsec-mb".to_owned(),
        layout: Layout::Apart,
        burst: Box::new(move |jobs| {
            let jobs = jobs.iter_mut().map(|job| intel::Job {
                key: job.key,
                iv: job.iv,
                source: job.source,
                destination: job.destination,
            });
            manager.burst(&keys, jobs)
        }),
    })
}

/// The suite as the library's; `None` for Triple DES.
const fn suite(suite: Suite) -> Option<intel::Suite> {
    let (key, hash) = match suite {
        Suite::AesGcm(key) => (key, None),
        Suite::AesCbcHmac(key, Integrity::Sha1_96) => (key, Some(intel::Hash::Sha1)),
        Suite::AesCbcHmac(key, Integrity::Sha256_128) => (key, Some(intel::Hash::Sha256)),
        Suite::AesCbcHmac(key, Integrity::Sha384_192) => (key, Some(intel::Hash::Sha384)),
        Suite::AesCbcHmac(key, Integrity::Sha512_256) => (key, Some(intel::Hash::Sha512)),
        Suite::AesCbcHmac(_, Integrity::Sha256_96) | Suite::TripleDesHmac(_) => return None,
    };
    Some(intel::Suite {
        cipher_key_len: AesKey::len(key),
        hash,
    })
}
