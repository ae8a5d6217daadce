//! Choosing a phase 1 transform: RFC 2409 §5, appendix A.
//!
//! The client's order decides among what is not legacy, because clients list what they like best first and we allow nothing that
//! we should talk them out of. Only if there is none, and the gate is open, the client's first legacy transform is taken: a client
//! that can do better is never held to less because it lists less first.

use std::time::Duration;

use culvert_wire::ike::{
    self, Attribute, AuthenticationMethod, EspTransform, LifeType, OakleyAttribute, Proposal,
    ProtocolId, Sa, Transform,
};
use serde::{Deserialize, Serialize};

use super::config::Gate;
use super::output::{Legacy, MAX_OFFERS, Phase1Offer};
use crate::crypto::cipher::Cipher;
use crate::crypto::dh::Group;
use crate::crypto::hash::Hash;

/// Life of an IKE SA whose proposal does not say (RFC 2407 §4.5 has the same for IPsec SAs).
const DEFAULT_LIFE: Duration = Duration::from_secs(28_800);

/// Algorithms of an IKE SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IkeSuite {
    /// The cipher.
    pub cipher: Cipher,
    /// The hash, and the prf made of it.
    pub hash: Hash,
    /// The group.
    pub group: Group,
}

/// What was chosen, as it was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen<'a> {
    pub(super) suite: IkeSuite,
    pub(super) life: Duration,
    pub(super) proposal: Proposal<'a>,
    pub(super) transform: Transform<'a>,
}

/// Chooses a transform; `None` if none is acceptable.
pub(super) fn choose<'a>(sa: &Sa<'a>, gate: &Gate) -> Option<Chosen<'a>> {
    let acceptable = || transforms(sa).filter_map(|(p, t)| accept(p, t, gate));
    acceptable()
        .find(|chosen| chosen.suite.legacy().next().is_none())
        .or_else(|| acceptable().next())
}

/// What was offered, for the log.
pub(super) fn offers(sa: &Sa<'_>) -> Vec<Phase1Offer> {
    transforms(sa)
        .map(|(_, transform)| offer(&transform).0)
        .take(MAX_OFFERS)
        .collect()
}

impl IkeSuite {
    /// Its legacy parts.
    pub fn legacy(&self) -> impl Iterator<Item = Legacy> + use<> {
        let cipher = match self.cipher {
            Cipher::TripleDes => Some(Legacy::TripleDes),
            Cipher::Aes128 | Cipher::Aes192 | Cipher::Aes256 => None,
        };
        Legacy::of_group(self.group).into_iter().chain(cipher)
    }
}

fn transforms<'a>(sa: &Sa<'a>) -> impl Iterator<Item = (Proposal<'a>, Transform<'a>)> + use<'a> {
    sa.proposals()
        .filter(|proposal| proposal.protocol == ProtocolId::ISAKMP)
        .flat_map(|proposal| {
            proposal
                .transforms()
                .map(move |transform| (proposal, transform))
        })
}

fn accept<'a>(proposal: Proposal<'a>, transform: Transform<'a>, gate: &Gate) -> Option<Chosen<'a>> {
    let (offer, life) = offer(&transform);
    let right = transform.id == EspTransform::KEY_IKE
        && AuthenticationMethod(offer.authentication_method)
            == AuthenticationMethod::PRE_SHARED_KEY;
    let suite = IkeSuite {
        cipher: cipher(offer.cipher, offer.key_bits)?,
        hash: hash(offer.hash)?,
        group: Group::from_number(offer.group)?,
    };
    let allowed = gate.allows_cipher(suite.cipher) && gate.allows_group(suite.group);
    let life = life?;
    (right && allowed).then_some(Chosen {
        suite,
        life,
        proposal,
        transform,
    })
}

/// Reads a transform; a life of `None` is one that cannot be accepted, as is an attribute that nobody knows (then the cipher is 0).
fn offer(transform: &Transform<'_>) -> (Phase1Offer, Option<Duration>) {
    let mut offer = Phase1Offer::default();
    let mut lives = Lives::default();
    let mut understood = true;
    for attribute in transform.attributes.iter() {
        let value = short(&attribute);
        match OakleyAttribute(attribute.class()) {
            OakleyAttribute::ENCRYPTION => offer.cipher = value,
            OakleyAttribute::HASH => offer.hash = value,
            OakleyAttribute::AUTHENTICATION_METHOD => offer.authentication_method = value,
            OakleyAttribute::GROUP_DESCRIPTION => offer.group = value,
            OakleyAttribute::KEY_LENGTH => offer.key_bits = value,
            // Group type MODP beside its description is what some clients send; it says nothing new.
            OakleyAttribute::GROUP_TYPE => {}
            OakleyAttribute::LIFE_TYPE => lives.unit(LifeType(value)),
            OakleyAttribute::LIFE_DURATION => lives.duration(&attribute),
            _ => understood = false,
        }
    }
    let life = lives.seconds(DEFAULT_LIFE).filter(|_| understood);
    (offer, life)
}

const fn cipher(number: u16, key_bits: u16) -> Option<Cipher> {
    match (ike::Cipher(number), key_bits) {
        (ike::Cipher::AES_CBC, 128) => Some(Cipher::Aes128),
        (ike::Cipher::AES_CBC, 192) => Some(Cipher::Aes192),
        (ike::Cipher::AES_CBC, 256) => Some(Cipher::Aes256),
        (ike::Cipher::TRIPLE_DES_CBC, 0) => Some(Cipher::TripleDes),
        _ => None,
    }
}

const fn hash(number: u16) -> Option<Hash> {
    match ike::Hash(number) {
        ike::Hash::SHA1 => Some(Hash::Sha1),
        ike::Hash::SHA2_256 => Some(Hash::Sha2_256),
        ike::Hash::SHA2_384 => Some(Hash::Sha2_384),
        ike::Hash::SHA2_512 => Some(Hash::Sha2_512),
        _ => None,
    }
}

/// A 16-bit value; 0, which nobody assigned, if it is longer.
pub(super) fn short(attribute: &Attribute<'_>) -> u16 {
    attribute
        .number()
        .and_then(|number| u16::try_from(number).ok())
        .unwrap_or(0)
}

/// Life durations as they come: a unit, then the duration in it.
#[derive(Debug, Default)]
pub(super) struct Lives {
    unit: Option<LifeType>,
    seconds: Option<u64>,
    kilobytes: Option<u64>,
    wrong: bool,
}

impl Lives {
    /// Notes the unit of the next duration.
    pub(super) const fn unit(&mut self, unit: LifeType) {
        self.unit = Some(unit);
    }

    /// Notes a duration.
    pub(super) fn duration(&mut self, attribute: &Attribute<'_>) {
        match (self.unit.take(), attribute.number()) {
            (Some(LifeType::SECONDS), Some(seconds)) if seconds > 0 => self.seconds = Some(seconds),
            (Some(LifeType::KILOBYTES), Some(kilobytes)) if kilobytes > 0 => {
                self.kilobytes = Some(kilobytes);
            }
            _ => self.wrong = true,
        }
    }

    /// The life in time; `None` if what came makes no sense.
    pub(super) fn seconds(&self, default: Duration) -> Option<Duration> {
        if self.wrong || self.unit.is_some() {
            return None;
        }
        Some(self.seconds.map_or(default, Duration::from_secs))
    }

    /// The life in kilobytes, if it is bounded.
    pub(super) const fn kilobytes(&self) -> Option<u64> {
        self.kilobytes
    }
}
