//! What we offer in both phases and how the responder's choice is read (RFC 2409 Appendix A, RFC 2407 §4.5).

use culvert_wire::ike::{
    Attribute, EncapsulationMode, EspTransform, Integrity as IntegrityId, IpsecAttribute, LifeType,
    OakleyAttribute, ProposalSpec, ProtocolId, Sa, Transform, TransformSpec,
};
use culvert_wire::ike::{
    AuthenticationMethod, Cipher as CipherId, Group as GroupId, Hash as HashId,
};
use culvert_wire::writer::{Overflow, Writer};

use super::dh::Group;
use super::hash::Hash;
use super::keys::Cipher;
use crate::client::esp::{Integrity, Suite};

/// Algorithms of phase 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IkeProposal {
    /// Diffie–Hellman group.
    pub group: Group,
    /// Hash and prf.
    pub hash: Hash,
    /// Cipher.
    pub cipher: Cipher,
}

impl Default for IkeProposal {
    fn default() -> Self {
        Self {
            group: Group::Ecp256,
            hash: Hash::Sha256,
            cipher: Cipher::Aes256,
        }
    }
}

/// How ESP packets travel, as the encapsulation mode says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Travel {
    /// As an IP protocol of their own.
    Native,
    /// In UDP port 4500.
    InUdp,
}

const IKE_LIFETIME_SECONDS: u16 = 28_800;
const ESP_LIFETIME_SECONDS: u16 = 3_600;

/// Writes the SA payload of main mode's first message.
pub(super) fn offer_ike(offers: &[IkeProposal], writer: &mut Writer<'_>) -> Result<(), Overflow> {
    let attributes: Vec<_> = offers.iter().map(IkeProposal::attributes).collect();
    let transforms: Vec<_> = (1..)
        .zip(&attributes)
        .map(|(number, attributes)| TransformSpec {
            number,
            id: EspTransform::KEY_IKE,
            attributes,
        })
        .collect();
    let proposal = ProposalSpec {
        number: 1,
        protocol: ProtocolId::ISAKMP,
        spi: &[],
        transforms: &transforms,
    };
    Sa::emit(&[proposal], writer)
}

/// Which of our offers the responder's SA payload repeats.
pub(super) fn chosen_ike(offers: &[IkeProposal], body: &[u8]) -> Option<IkeProposal> {
    let proposal = Sa::parse(body).ok()?.proposals().next()?;
    let transform = proposal.transforms().next()?;
    offers
        .iter()
        .find(|offer| {
            offer
                .attributes()
                .iter()
                .all(|ours| repeats(&transform, ours))
        })
        .copied()
}

impl IkeProposal {
    fn attributes(&self) -> [Attribute<'static>; 7] {
        [
            short(OakleyAttribute::ENCRYPTION.0, CipherId::AES_CBC.0),
            short(OakleyAttribute::KEY_LENGTH.0, key_bits(self.cipher)),
            short(OakleyAttribute::HASH.0, hash_id(self.hash).0),
            short(
                OakleyAttribute::AUTHENTICATION_METHOD.0,
                AuthenticationMethod::PRE_SHARED_KEY.0,
            ),
            short(OakleyAttribute::GROUP_DESCRIPTION.0, group_id(self.group).0),
            short(OakleyAttribute::LIFE_TYPE.0, LifeType::SECONDS.0),
            short(OakleyAttribute::LIFE_DURATION.0, IKE_LIFETIME_SECONDS),
        ]
    }
}

const fn hash_id(hash: Hash) -> HashId {
    match hash {
        Hash::Sha1 => HashId::SHA1,
        Hash::Sha256 => HashId::SHA2_256,
        Hash::Sha384 => HashId::SHA2_384,
    }
}

const fn group_id(group: Group) -> GroupId {
    match group {
        Group::Modp1024 => GroupId::MODP_1024,
        Group::Modp1536 => GroupId::MODP_1536,
        Group::Modp2048 => GroupId::MODP_2048,
        Group::Modp3072 => GroupId::MODP_3072,
        Group::Modp4096 => GroupId::MODP_4096,
        Group::Ecp256 => GroupId::ECP_256,
        Group::Ecp384 => GroupId::ECP_384,
    }
}

const fn key_bits(cipher: Cipher) -> u16 {
    match cipher {
        Cipher::Aes128 => 128,
        Cipher::Aes256 => 256,
    }
}

const fn short(class: u16, value: u16) -> Attribute<'static> {
    Attribute::Short { class, value }
}

fn repeats(transform: &Transform<'_>, ours: &Attribute<'_>) -> bool {
    let mut theirs = transform.attributes.iter();
    theirs.any(|theirs| theirs.class() == ours.class() && theirs.number() == ours.number())
}

/// Writes the SA payload of quick mode's first message.
pub(super) fn offer_esp(
    suite: Suite,
    travel: Travel,
    spi: u32,
    writer: &mut Writer<'_>,
) -> Result<(), Overflow> {
    let attributes = esp_attributes(suite, travel);
    let transform = TransformSpec {
        number: 1,
        id: esp_transform(suite).0,
        attributes: &attributes,
    };
    let proposal = ProposalSpec {
        number: 1,
        protocol: ProtocolId::ESP,
        spi: &spi.to_be_bytes(),
        transforms: &[transform],
    };
    Sa::emit(&[proposal], writer)
}

/// The responder's SPI, if its SA payload repeats what we offered.
pub(super) fn chosen_esp(suite: Suite, travel: Travel, body: &[u8]) -> Option<u32> {
    let proposal = Sa::parse(body).ok()?.proposals().next()?;
    let transform = proposal.transforms().next()?;
    let same = proposal.protocol == ProtocolId::ESP
        && transform.id == esp_transform(suite).0
        && esp_attributes(suite, travel)
            .iter()
            .all(|ours| repeats(&transform, ours));
    proposal.esp_spi().filter(|_| same)
}

const fn esp_transform(suite: Suite) -> EspTransform {
    match suite {
        Suite::Gcm(_) => EspTransform::AES_GCM_16,
        Suite::Cbc(..) => EspTransform::AES_CBC,
    }
}

fn esp_attributes(suite: Suite, travel: Travel) -> Vec<Attribute<'static>> {
    let (Suite::Gcm(cipher) | Suite::Cbc(cipher, _)) = suite;
    let mode = match travel {
        Travel::Native => EncapsulationMode::TRANSPORT,
        Travel::InUdp => EncapsulationMode::UDP_TRANSPORT,
    };
    let mut attributes = vec![
        short(IpsecAttribute::LIFE_TYPE.0, LifeType::SECONDS.0),
        short(IpsecAttribute::LIFE_DURATION.0, ESP_LIFETIME_SECONDS),
        short(IpsecAttribute::ENCAPSULATION_MODE.0, mode.0),
        short(IpsecAttribute::KEY_LENGTH.0, key_bits(cipher)),
    ];
    if let Suite::Cbc(_, integrity) = suite {
        let id = match integrity {
            Integrity::Sha1 => IntegrityId::HMAC_SHA1,
            Integrity::Sha256 => IntegrityId::HMAC_SHA2_256,
        };
        attributes.push(short(IpsecAttribute::INTEGRITY.0, id.0));
    }
    attributes
}
