//! AES-CBC with HMAC of other libraries: RustCrypto's aes, cbc and hmac together, and aws-lc-rs.

use aes::cipher::array::Array;
use aes::cipher::{
    BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit,
    KeyInit, consts::U16,
};
use aes::{Aes128Dec, Aes128Enc, Aes192Dec, Aes192Enc, Aes256Dec, Aes256Enc};
use aes_gcm::aead::inout::InOutBuf;
use aws_lc_rs::cipher as aws;
use aws_lc_rs::hmac as aws_hmac;
use culvert_crypto::{AesKey, Integrity, Suite};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq;

use super::traffic::{AAD_LEN, Direction, Job, Layout, Traffic};
use super::{Burst, Contestant, each};

const IV_LEN: usize = 16;
/// Where the ciphertext begins in a packet.
const TEXT: usize = AAD_LEN + IV_LEN;

/// All of them.
pub(super) fn contestants(traffic: &Traffic) -> Vec<Contestant> {
    let rust_crypto = rust_crypto(traffic).map(|burst| Contestant {
        name: "aes+cbc+hmac".to_owned(),
        layout: Layout::Apart,
        burst,
    });
    let aws = by_aws(traffic).map(|burst| Contestant {
        name: "aws-lc-rs".to_owned(),
        // Its CBC only overwrites.
        layout: Layout::Copied,
        burst,
    });
    [rust_crypto, aws].into_iter().flatten().collect()
}

/// Seals one packet with RustCrypto.
pub(super) fn seal_once(
    suite: Suite,
    key: &[u8],
    plaintext: &[u8],
    packet: &mut [u8],
) -> Option<()> {
    let mut iv = [0; IV_LEN];
    iv.copy_from_slice(packet.get(AAD_LEN..TEXT)?);
    let mut aad = [0; AAD_LEN];
    aad.copy_from_slice(&packet[..AAD_LEN]);
    let mut job = Job {
        key: 0,
        aad,
        iv,
        source: plaintext,
        destination: packet,
    };
    let mut burst = sealer(suite, &[key.to_vec()])?;
    burst(std::slice::from_mut(&mut job)).then_some(())
}

fn rust_crypto(traffic: &Traffic) -> Option<Burst> {
    let suite = traffic.work().suite;
    match traffic.work().direction {
        Direction::Seal => sealer(suite, &traffic.keys),
        Direction::Open => opener(suite, &traffic.keys),
    }
}

fn sealer(suite: Suite, keys: &[Vec<u8>]) -> Option<Burst> {
    let Suite::AesCbcHmac(key, integrity) = suite else {
        return None;
    };
    Some(match key {
        AesKey::Bits128 => sealer_with::<Aes128Enc>(suite, integrity, keys),
        AesKey::Bits192 => sealer_with::<Aes192Enc>(suite, integrity, keys),
        AesKey::Bits256 => sealer_with::<Aes256Enc>(suite, integrity, keys),
    })
}

fn opener(suite: Suite, keys: &[Vec<u8>]) -> Option<Burst> {
    let Suite::AesCbcHmac(key, integrity) = suite else {
        return None;
    };
    Some(match key {
        AesKey::Bits128 => opener_with::<Aes128Dec>(suite, integrity, keys),
        AesKey::Bits192 => opener_with::<Aes192Dec>(suite, integrity, keys),
        AesKey::Bits256 => opener_with::<Aes256Dec>(suite, integrity, keys),
    })
}

fn sealer_with<C>(suite: Suite, integrity: Integrity, keys: &[Vec<u8>]) -> Burst
where
    C: BlockCipherEncrypt<BlockSize = U16> + KeyInit + 'static,
{
    match integrity {
        Integrity::Sha1_96 => seal::<C, Hmac<Sha1>>(suite, keys),
        Integrity::Sha256_128 | Integrity::Sha256_96 => seal::<C, Hmac<Sha256>>(suite, keys),
        Integrity::Sha384_192 => seal::<C, Hmac<Sha384>>(suite, keys),
        Integrity::Sha512_256 => seal::<C, Hmac<Sha512>>(suite, keys),
    }
}

fn opener_with<C>(suite: Suite, integrity: Integrity, keys: &[Vec<u8>]) -> Burst
where
    C: BlockCipherDecrypt<BlockSize = U16> + KeyInit + 'static,
{
    match integrity {
        Integrity::Sha1_96 => open::<C, Hmac<Sha1>>(suite, keys),
        Integrity::Sha256_128 | Integrity::Sha256_96 => open::<C, Hmac<Sha256>>(suite, keys),
        Integrity::Sha384_192 => open::<C, Hmac<Sha384>>(suite, keys),
        Integrity::Sha512_256 => open::<C, Hmac<Sha512>>(suite, keys),
    }
}

/// Expanded keys of one SA.
struct Keyed<C, M> {
    cipher: C,
    mac: M,
}

fn expand<C: KeyInit, M: KeyInit>(suite: Suite, keys: &[Vec<u8>]) -> Vec<Keyed<C, M>> {
    let keyed = |material: &Vec<u8>| {
        let (key, integrity_key) = material.split_at_checked(suite.cipher_key_len())?;
        Some(Keyed {
            cipher: C::new_from_slice(key).ok()?,
            mac: M::new_from_slice(integrity_key).ok()?,
        })
    };
    keys.iter().filter_map(keyed).collect()
}

fn seal<C, M>(suite: Suite, keys: &[Vec<u8>]) -> Burst
where
    C: BlockCipherEncrypt<BlockSize = U16> + KeyInit + 'static,
    M: Mac + KeyInit + Clone + 'static,
{
    let (keys, icv_len) = (expand::<C, M>(suite, keys), suite.icv_len());
    each(move |job| {
        let keyed = keys.get(job.key)?;
        let (covered, icv) = job.destination.split_at_mut(TEXT + job.source.len());
        covered[AAD_LEN..TEXT].copy_from_slice(&job.iv);
        let text = InOutBuf::new(job.source, &mut covered[TEXT..]).ok()?;
        cbc::Encryptor::inner_iv_init(&keyed.cipher, &Array(job.iv))
            .encrypt_blocks_inout(text.into_chunks().0);
        let hash = keyed.mac.clone().chain_update(covered).finalize();
        icv.copy_from_slice(&hash.as_bytes()[..icv_len]);
        Some(())
    })
}

fn open<C, M>(suite: Suite, keys: &[Vec<u8>]) -> Burst
where
    C: BlockCipherDecrypt<BlockSize = U16> + KeyInit + 'static,
    M: Mac + KeyInit + Clone + 'static,
{
    let (keys, icv_len) = (expand::<C, M>(suite, keys), suite.icv_len());
    each(move |job| {
        let keyed = keys.get(job.key)?;
        let (covered, icv) = job.source.split_at(TEXT + job.destination.len());
        let hash = keyed.mac.clone().chain_update(covered).finalize();
        if !bool::from(hash.as_bytes()[..icv_len].ct_eq(icv)) {
            return None;
        }
        let text = InOutBuf::new(&covered[TEXT..], job.destination).ok()?;
        let iv = Array::try_from(&covered[AAD_LEN..TEXT]).ok()?;
        cbc::Decryptor::inner_iv_init(&keyed.cipher, &iv)
            .decrypt_blocks_inout(text.into_chunks().0);
        Some(())
    })
}

/// aws-lc-rs; `None` for a suite that it lacks.
fn by_aws(traffic: &Traffic) -> Option<Burst> {
    let suite = traffic.work().suite;
    let Suite::AesCbcHmac(key, integrity) = suite else {
        return None;
    };
    let cipher = match key {
        AesKey::Bits128 => &aws::AES_128,
        AesKey::Bits192 => &aws::AES_192,
        AesKey::Bits256 => &aws::AES_256,
    };
    let hash = match integrity {
        Integrity::Sha1_96 => aws_hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        Integrity::Sha256_128 | Integrity::Sha256_96 => aws_hmac::HMAC_SHA256,
        Integrity::Sha384_192 => aws_hmac::HMAC_SHA384,
        Integrity::Sha512_256 => aws_hmac::HMAC_SHA512,
    };
    let split = |material: &Vec<u8>| {
        let (key, integrity_key) = material.split_at_checked(suite.cipher_key_len())?;
        let key = aws::UnboundCipherKey::new(cipher, key).ok()?;
        Some((key, aws_hmac::Key::new(hash, integrity_key)))
    };
    let keys = traffic.keys.iter().map(split);
    let icv_len = suite.icv_len();
    match traffic.work().direction {
        Direction::Seal => {
            let keyed = keys.map(|split| {
                let (key, mac) = split?;
                let cipher = aws::EncryptingKey::cbc(key).ok()?;
                Some(Keyed { cipher, mac })
            });
            let keys: Vec<_> = keyed.collect::<Option<_>>()?;
            Some(each(move |job| {
                seal_by_aws(keys.get(job.key)?, icv_len, job)
            }))
        }
        Direction::Open => {
            let keyed = keys.map(|split| {
                let (key, mac) = split?;
                let cipher = aws::DecryptingKey::cbc(key).ok()?;
                Some(Keyed { cipher, mac })
            });
            let keys: Vec<_> = keyed.collect::<Option<_>>()?;
            Some(each(move |job| {
                open_by_aws(keys.get(job.key)?, icv_len, job)
            }))
        }
    }
}

fn seal_by_aws(
    keyed: &Keyed<aws::EncryptingKey, aws_hmac::Key>,
    icv_len: usize,
    job: &mut Job<'_>,
) -> Option<()> {
    let (covered, icv) = job.destination.split_at_mut(TEXT + job.source.len());
    covered[AAD_LEN..TEXT].copy_from_slice(&job.iv);
    covered[TEXT..].copy_from_slice(job.source);
    let iv = aws::EncryptionContext::Iv128(job.iv.into());
    let text = &mut covered[TEXT..];
    keyed.cipher.less_safe_encrypt(text, iv).ok()?;
    let hash = aws_hmac::sign(&keyed.mac, covered);
    icv.copy_from_slice(&hash.as_ref()[..icv_len]);
    Some(())
}

fn open_by_aws(
    keyed: &Keyed<aws::DecryptingKey, aws_hmac::Key>,
    icv_len: usize,
    job: &mut Job<'_>,
) -> Option<()> {
    let (covered, icv) = job.source.split_at(TEXT + job.destination.len());
    let hash = aws_hmac::sign(&keyed.mac, covered);
    if !bool::from(hash.as_ref()[..icv_len].ct_eq(icv)) {
        return None;
    }
    job.destination.copy_from_slice(&covered[TEXT..]);
    let iv: [u8; IV_LEN] = covered[AAD_LEN..TEXT].try_into().ok()?;
    let iv = aws::DecryptionContext::Iv128(iv.into());
    keyed.cipher.decrypt(job.destination, iv).ok().map(|_| ())
}
