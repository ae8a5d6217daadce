//! AES-GCM of other libraries: aes-gcm, ring, aws-lc-rs.

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aead::{AeadInOut, Nonce, Tag};
use aes_gcm::{Aes128Gcm, Aes256Gcm, KeyInit};
use aws_lc_rs::aead as aws;
use culvert_crypto::AesKey;
use ring::aead as ring;

use super::reference::Aes192Gcm;
use super::traffic::{AAD_LEN, Direction, Job, Layout, Traffic};
use super::{Contestant, each};

const IV_LEN: usize = 8;
const ICV_LEN: usize = 16;
const SALT_LEN: usize = 4;
/// Where the ciphertext begins in a packet.
const TEXT: usize = AAD_LEN + IV_LEN;

/// All that have this length of keys: ring lacks 192 bits.
pub(super) fn contestants(key: AesKey, traffic: &Traffic) -> Vec<Contestant> {
    let (rust_crypto, ring, aws) = match key {
        AesKey::Bits128 => (
            rust_crypto::<Aes128Gcm>(traffic),
            Some(&ring::AES_128_GCM),
            &aws::AES_128_GCM,
        ),
        AesKey::Bits192 => (rust_crypto::<Aes192Gcm>(traffic), None, &aws::AES_192_GCM),
        AesKey::Bits256 => (
            rust_crypto::<Aes256Gcm>(traffic),
            Some(&ring::AES_256_GCM),
            &aws::AES_256_GCM,
        ),
    };
    let mut all = vec![rust_crypto, by_aws(aws, traffic)];
    all.extend(ring.map(|algorithm| by_ring(algorithm, traffic)));
    all
}

/// A key as `expand` makes it, with its salt.
struct Keyed<K> {
    key: K,
    salt: [u8; SALT_LEN],
}

impl<K> Keyed<K> {
    /// The keys of `traffic`.
    fn all(traffic: &Traffic, expand: impl Fn(&[u8]) -> Option<K>) -> Vec<Self> {
        let keyed = |material: &Vec<u8>| {
            let (key, salt) = material.split_last_chunk()?;
            Some(Self {
                key: expand(key)?,
                salt: *salt,
            })
        };
        traffic.keys.iter().filter_map(keyed).collect()
    }

    fn nonce(&self, iv: &[u8]) -> [u8; SALT_LEN + IV_LEN] {
        let mut nonce = [0; SALT_LEN + IV_LEN];
        nonce[..SALT_LEN].copy_from_slice(&self.salt);
        nonce[SALT_LEN..].copy_from_slice(&iv[..IV_LEN]);
        nonce
    }
}

fn rust_crypto<C: AeadInOut + KeyInit + 'static>(traffic: &Traffic) -> Contestant {
    let keys = Keyed::all(traffic, |key| C::new_from_slice(key).ok());
    let seal = move |job: &mut Job<'_>| {
        let keyed = &keys[job.key];
        let nonce = Nonce::<C>::try_from(&keyed.nonce(&job.iv)[..]).ok()?;
        let packet = &mut *job.destination;
        packet[AAD_LEN..TEXT].copy_from_slice(&job.iv[..IV_LEN]);
        let (text, icv) = packet[TEXT..].split_at_mut(job.source.len());
        let text = InOutBuf::new(job.source, text).ok()?;
        let sealed = keyed.key.encrypt_inout_detached(&nonce, &job.aad, text);
        icv.copy_from_slice(&sealed.ok()?);
        Some(())
    };
    let keys = Keyed::all(traffic, |key| C::new_from_slice(key).ok());
    let open = move |job: &mut Job<'_>| {
        let keyed = &keys[job.key];
        let (aad, packet) = job.source.split_at(AAD_LEN);
        let (iv, body) = packet.split_at(IV_LEN);
        let nonce = Nonce::<C>::try_from(&keyed.nonce(iv)[..]).ok()?;
        let (text, icv) = body.split_at(job.destination.len());
        let text = InOutBuf::new(text, job.destination).ok()?;
        let icv = Tag::<C>::try_from(icv).ok()?;
        let key = &keyed.key;
        key.decrypt_inout_detached(&nonce, aad, text, &icv).ok()
    };
    Contestant {
        name: "aes-gcm".to_owned(),
        layout: Layout::Apart,
        burst: match traffic.work().direction {
            Direction::Seal => each(seal),
            Direction::Open => each(open),
        },
    }
}

/// ring only overwrites.
fn by_ring(algorithm: &'static ring::Algorithm, traffic: &Traffic) -> Contestant {
    let expand = |key: &[u8]| {
        let key = ring::UnboundKey::new(algorithm, key).ok()?;
        Some(ring::LessSafeKey::new(key))
    };
    let keys = Keyed::all(traffic, expand);
    let seal = move |job: &mut Job<'_>| {
        let keyed = &keys[job.key];
        let nonce = ring::Nonce::assume_unique_for_key(keyed.nonce(&job.iv));
        let packet = &mut *job.destination;
        packet[AAD_LEN..TEXT].copy_from_slice(&job.iv[..IV_LEN]);
        let (text, icv) = packet[TEXT..].split_at_mut(job.source.len());
        let aad = ring::Aad::from(job.aad);
        let tag = keyed.key.seal_in_place_separate_tag(nonce, aad, text);
        icv.copy_from_slice(tag.ok()?.as_ref());
        Some(())
    };
    let keys = Keyed::all(traffic, expand);
    let open = move |job: &mut Job<'_>| {
        let keyed = &keys[job.key];
        let nonce = ring::Nonce::assume_unique_for_key(keyed.nonce(&job.iv));
        let aad = ring::Aad::from(job.aad);
        let (text, icvs) = job.reversible(TEXT, ICV_LEN);
        let (now, next) = icvs.split_at_mut(ICV_LEN);
        let tag = ring::Tag::try_from(&*now).ok()?;
        now.swap_with_slice(next);
        let key = &keyed.key;
        key.open_in_place_separate_tag(nonce, aad, tag, text, 0..)
            .ok()
            .map(|_| ())
    };
    Contestant {
        name: "ring".to_owned(),
        layout: Layout::InPlace,
        burst: match traffic.work().direction {
            Direction::Seal => each(seal),
            Direction::Open => each(open),
        },
    }
}

fn by_aws(algorithm: &'static aws::Algorithm, traffic: &Traffic) -> Contestant {
    let expand = |key: &[u8]| {
        let key = aws::UnboundKey::new(algorithm, key).ok()?;
        Some(aws::LessSafeKey::new(key))
    };
    let keys = Keyed::all(traffic, expand);
    let seal = move |job: &mut Job<'_>| {
        let keyed = &keys[job.key];
        let nonce = aws::Nonce::assume_unique_for_key(keyed.nonce(&job.iv));
        let packet = &mut *job.destination;
        packet[AAD_LEN..TEXT].copy_from_slice(&job.iv[..IV_LEN]);
        let (text, icv) = packet[TEXT..].split_at_mut(job.source.len());
        let (aad, key) = (aws::Aad::from(job.aad), &keyed.key);
        key.seal_out_of_place_scatter(nonce, aad, job.source, text, &[], icv)
            .ok()
    };
    let keys = Keyed::all(traffic, expand);
    let open = move |job: &mut Job<'_>| {
        let keyed = &keys[job.key];
        let (aad, packet) = job.source.split_at(AAD_LEN);
        let (iv, body) = packet.split_at(IV_LEN);
        let nonce = aws::Nonce::assume_unique_for_key(keyed.nonce(iv));
        let (text, icv) = body.split_at(job.destination.len());
        let (aad, key) = (aws::Aad::from(aad), &keyed.key);
        key.open_separate_gather(nonce, aad, text, icv, job.destination)
            .ok()
    };
    Contestant {
        name: "aws-lc-rs".to_owned(),
        layout: Layout::Apart,
        burst: match traffic.work().direction {
            Direction::Seal => each(seal),
            Direction::Open => each(open),
        },
    }
}
