//! AES-GCM of other libraries: aes-gcm, ring, aws-lc-rs.

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aead::{AeadInOut, Nonce, Tag};
use aes_gcm::{Aes128Gcm, Aes256Gcm, KeyInit};
use aws_lc_rs::aead as aws;
use ring::aead as ring;

use super::Contestant;
use super::algorithm::{Algorithm, KeyBits};
use super::traffic::{AAD_LEN, Direction, Job, Place, Traffic};

const IV_LEN: usize = 8;
const ICV_LEN: usize = 16;
const SALT_LEN: usize = 4;
/// Where the ciphertext begins in a packet.
const TEXT: usize = AAD_LEN + IV_LEN;

/// All of them.
pub(super) fn contestants(traffic: &Traffic) -> Vec<Contestant> {
    let Algorithm::Gcm(bits) = traffic.work().algorithm;
    let rust_crypto = match bits {
        KeyBits::Aes128 => rust_crypto::<Aes128Gcm>(traffic),
        KeyBits::Aes256 => rust_crypto::<Aes256Gcm>(traffic),
    };
    let ring = match bits {
        KeyBits::Aes128 => &ring::AES_128_GCM,
        KeyBits::Aes256 => &ring::AES_256_GCM,
    };
    let aws = match bits {
        KeyBits::Aes128 => &aws::AES_128_GCM,
        KeyBits::Aes256 => &aws::AES_256_GCM,
    };
    vec![rust_crypto, by_ring(ring, traffic), by_aws(aws, traffic)]
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

/// Works each job of a burst with `one`, as these libraries have no interface for bursts.
fn each(mut one: impl FnMut(&mut Job<'_>) -> Option<()> + 'static) -> super::Burst {
    Box::new(move |jobs| {
        let mut right = true;
        for job in jobs {
            right &= one(job).is_some();
        }
        right
    })
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
        place: Place::Apart,
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
        place: Place::InPlace,
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
        place: Place::Apart,
        burst: match traffic.work().direction {
            Direction::Seal => each(seal),
            Direction::Open => each(open),
        },
    }
}
