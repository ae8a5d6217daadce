//! Choosing a phase 2 transform: RFC 2407 §4.5, RFC 4106 §8, RFC 4868 §2, RFC 3947 §5.1.
//!
//! The client's order decides among what the data plane can do; nothing of it is legacy.

use std::time::Duration;

use culvert_wire::ike::{
    self, EncapsulationMode, EspTransform, IpsecAttribute, LifeType, Proposal, ProtocolId, Sa,
    Transform,
};
use serde::{Deserialize, Serialize};

use super::config::Gate;
use super::nat::{Nat, is_floated};
use super::output::{MAX_OFFERS, Phase2Offer};
use super::phase1_proposal::{Lives, short};
use crate::crypto::dh::Group;
use crate::rows::{AesKeyLen, Encapsulation, EspSuite, Integrity, Path};

/// Life of an SA whose proposal does not say (RFC 2407 §4.5).
const DEFAULT_LIFE: Duration = Duration::from_secs(28_800);

/// How long an ESP SA lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// In time: we remove it then.
    pub time: Duration,
    /// In kilobytes, if bounded: the peer, which asked for it, counts and rekeys.
    pub kilobytes: Option<u64>,
}

/// What was chosen, as it was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen<'a> {
    pub(super) suite: EspSuite,
    pub(super) encapsulation: Encapsulation,
    pub(super) group: Option<Group>,
    pub(super) life: Life,
    pub(super) outbound: u32,
    pub(super) proposal: Proposal<'a>,
    pub(super) transform: Transform<'a>,
}

/// What narrows the choice beside the proposals.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    pub(super) gate: &'a Gate,
    pub(super) nat: Nat,
    /// Where the message came from: ESP in UDP shares its ports.
    pub(super) path: Path,
    /// Bytes of the key exchange payload, if there is one: perfect forward secrecy is on.
    pub(super) public_len: Option<usize>,
}

/// Chooses a transform; `None` if none is acceptable.
pub(super) fn choose<'a>(sa: &Sa<'a>, terms: &Terms<'_>) -> Option<Chosen<'a>> {
    transforms(sa).find_map(|(proposal, transform)| accept(sa, proposal, transform, terms))
}

/// What was offered, for the log.
pub(super) fn offers(sa: &Sa<'_>) -> Vec<Phase2Offer> {
    transforms(sa)
        .map(|(proposal, transform)| offer(&proposal, &transform).0)
        .take(MAX_OFFERS)
        .collect()
}

fn transforms<'a>(sa: &Sa<'a>) -> impl Iterator<Item = (Proposal<'a>, Transform<'a>)> + use<'a> {
    sa.proposals().flat_map(|proposal| {
        proposal
            .transforms()
            .map(move |transform| (proposal, transform))
    })
}

fn accept<'a>(
    sa: &Sa<'a>,
    proposal: Proposal<'a>,
    transform: Transform<'a>,
    terms: &Terms<'_>,
) -> Option<Chosen<'a>> {
    let (offer, life) = offer(&proposal, &transform);
    let life = life?;
    let suite = suite(&offer)?;
    let encapsulation = encapsulation(EncapsulationMode(offer.encapsulation), terms)?;
    let group = group(offer.group, terms)?;
    let outbound = proposal.esp_spi().filter(|spi| *spi > 0xFF)?;
    // Proposals of one number belong together: ESP with AH or IPComp is not ours.
    let alone = sa
        .proposals()
        .filter(|other| other.number == proposal.number)
        .count()
        == 1;
    let chosen = Chosen {
        suite,
        encapsulation,
        group,
        life,
        outbound,
        proposal,
        transform,
    };
    (alone && proposal.protocol == ProtocolId::ESP).then_some(chosen)
}

/// Reads a transform; a life of `None` is one that cannot be accepted, or comes with an attribute that is not understood.
fn offer(proposal: &Proposal<'_>, transform: &Transform<'_>) -> (Phase2Offer, Option<Life>) {
    let mut offer = Phase2Offer {
        protocol: proposal.protocol.0,
        transform: transform.id,
        ..Phase2Offer::default()
    };
    let mut lives = Lives::default();
    let mut understood = true;
    for attribute in transform.attributes.iter() {
        let value = short(&attribute);
        match IpsecAttribute(attribute.class()) {
            IpsecAttribute::LIFE_TYPE => lives.unit(LifeType(value)),
            IpsecAttribute::LIFE_DURATION => lives.duration(&attribute),
            IpsecAttribute::GROUP_DESCRIPTION => offer.group = value,
            IpsecAttribute::ENCAPSULATION_MODE => offer.encapsulation = value,
            IpsecAttribute::INTEGRITY => offer.integrity = value,
            IpsecAttribute::KEY_LENGTH => offer.key_bits = value,
            _ => understood = false,
        }
    }
    let time = lives.seconds(DEFAULT_LIFE).filter(|_| understood);
    (
        offer,
        time.map(|time| Life {
            time,
            kilobytes: lives.kilobytes(),
        }),
    )
}

fn suite(offer: &Phase2Offer) -> Option<EspSuite> {
    let aes = match offer.key_bits {
        // AES-CBC without a key length has 128 bits (RFC 3602 §5.3 asks for the attribute; old clients leave it out).
        0 if EspTransform(offer.transform) == EspTransform::AES_CBC => AesKeyLen::Bits128,
        128 => AesKeyLen::Bits128,
        256 => AesKeyLen::Bits256,
        _ => return None,
    };
    match (
        EspTransform(offer.transform),
        ike::Integrity(offer.integrity),
    ) {
        // A combined-mode cipher comes without an integrity algorithm (RFC 4106 §8.3).
        (EspTransform::AES_GCM_16, ike::Integrity(0)) => Some(EspSuite::AesGcm(aes)),
        (EspTransform::AES_CBC, ike::Integrity::HMAC_SHA1) => {
            Some(EspSuite::AesCbc(aes, Integrity::HmacSha1_96))
        }
        (EspTransform::AES_CBC, ike::Integrity::HMAC_SHA2_256) => {
            Some(EspSuite::AesCbc(aes, Integrity::HmacSha2_256_128))
        }
        _ => None,
    }
}

/// Native ESP does not pass a NAT, and ESP in UDP shares the ports that IKE has floated to (RFC 3947 §4, §5.1); a client that wants UDP
/// without a NAT gets it.
fn encapsulation(mode: EncapsulationMode, terms: &Terms<'_>) -> Option<Encapsulation> {
    match mode {
        EncapsulationMode::TRANSPORT if !terms.nat.is_between() => Some(Encapsulation::Esp),
        EncapsulationMode::UDP_TRANSPORT | EncapsulationMode::UDP_TRANSPORT_DRAFT
            if is_floated(&terms.path) =>
        {
            Some(Encapsulation::EspInUdp)
        }
        _ => None,
    }
}

/// The group of perfect forward secrecy: in the transform if and only if there is a key exchange payload, and of its size.
fn group(number: u16, terms: &Terms<'_>) -> Option<Option<Group>> {
    let Some(public_len) = terms.public_len else {
        return (number == 0).then_some(None);
    };
    let group = Group::from_number(number)?;
    let right = terms.gate.allows_group(group) && group.public_len() == public_len;
    right.then_some(Some(group))
}
