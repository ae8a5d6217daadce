//! Messages of main mode: what must be in them and where, and what we send in clear.

use culvert_wire::ike::{
    Chain, ExchangeType, Flags, MessageId, PayloadType, Proposal, ProposalSpec, Sa, Transform,
    TransformSpec, VendorId,
};
use culvert_wire::writer::{Overflow, Writer};

use super::error::{Error, Malformed, Misbehaved};
use super::ike_sa::ExpectAgreement;
use super::message::{self, Cookies};
use super::nat::{Dialect, discovery_hash};
use super::phase1_proposal::Chosen;
use super::responder::Arrival;
use crate::crypto::hash::Hash;
use crate::rows::Path;

/// Longest SA payload kept of a half-open peer: room for 20 transforms.
const MAX_SA_LEN: usize = 896;
/// Lengths of a nonce (RFC 2409 §5).
const NONCE_LEN: std::ops::RangeInclusive<usize> = 8..=256;

/// What message 3 carries.
#[derive(Debug)]
pub(super) struct KeyExchange<'a> {
    pub(super) public: &'a [u8],
    pub(super) nonce: &'a [u8],
}

impl<'a> KeyExchange<'a> {
    pub(super) fn parse(chain: &Chain<'a>, dialect: Option<Dialect>) -> Result<Self, Error> {
        let (public, rest) = chain.split_first().ok_or(Malformed::Payloads)?;
        let (nonce, rest) = rest.split_first().ok_or(Malformed::Payloads)?;
        let discovery = dialect.map(Dialect::discovery);
        let allowed = |kind| {
            Some(kind) == discovery
                || kind == PayloadType::CERTIFICATE_REQUEST
                || (is_extra(kind) && kind != PayloadType::NAT_D_DRAFT)
        };
        let fits = public.kind == PayloadType::KEY_EXCHANGE
            && nonce.kind == PayloadType::NONCE
            && rest.iter().all(|payload| allowed(payload.kind));
        if !fits {
            return Err(Malformed::Payloads.into());
        }
        Ok(Self {
            public: public.body,
            nonce: checked_nonce(nonce.body)?,
        })
    }
}

/// Checks flags and message id of main mode.
pub(super) fn in_phase_1(arrival: &Arrival<'_>, protection: Flags) -> Result<(), Error> {
    let header = &arrival.header;
    if header.message_id != MessageId::PHASE_1 {
        return Err(Misbehaved::Unexpected.into());
    }
    let encrypted = header.flags.contains(Flags::ENCRYPTED);
    if encrypted != protection.contains(Flags::ENCRYPTED) {
        return Err(Misbehaved::Protection.into());
    }
    Ok(())
}

/// The chain of a message in clear, which fills it.
pub(super) fn clear_chain<'a>(arrival: &Arrival<'a>) -> Result<Chain<'a>, Error> {
    let chain = Chain::parse(arrival.header.next, arrival.body)?;
    if !chain.padding().is_empty() {
        return Err(Malformed::Syntax.into());
    }
    Ok(chain)
}

/// The SA payload that message 1 begins with; only vendor ids, notifications and private payloads may follow.
pub(super) fn first_payload<'a>(chain: &Chain<'a>) -> Result<&'a [u8], Error> {
    let (first, rest) = chain.split_first().ok_or(Malformed::Payloads)?;
    let fits = first.kind == PayloadType::SA && rest.iter().all(|p| is_extra(p.kind));
    if !fits || first.body.len() > MAX_SA_LEN {
        return Err(Malformed::Payloads.into());
    }
    Ok(first.body)
}

/// The identification and hash that message 5 begins with; certificate requests are no use here and let pass.
pub(super) fn identity_and_hash<'a>(chain: &Chain<'a>) -> Result<(&'a [u8], &'a [u8]), Error> {
    let (id, rest) = chain.split_first().ok_or(Malformed::Payloads)?;
    let (hash, rest) = rest.split_first().ok_or(Malformed::Payloads)?;
    let allowed = |kind| is_extra(kind) || kind == PayloadType::CERTIFICATE_REQUEST;
    let fits = id.kind == PayloadType::IDENTIFICATION
        && hash.kind == PayloadType::HASH
        && rest.iter().all(|payload| allowed(payload.kind));
    if !fits {
        return Err(Malformed::Decrypted.into());
    }
    Ok((id.body, hash.body))
}

impl ExpectAgreement {
    /// Message 4: key exchange, nonce, and NAT discovery if the peer does it: first the hash of its end, then of ours.
    pub(super) fn message_4(
        &self,
        cookies: &Cookies,
        path: Path,
        hash: Hash,
        public: &[u8],
        nonce: &[u8],
    ) -> Result<Vec<u8>, Error> {
        message::clear(
            *cookies,
            ExchangeType::MAIN_MODE,
            MessageId::PHASE_1,
            |message| {
                message.put(PayloadType::KEY_EXCHANGE, public)?;
                message.put(PayloadType::NONCE, nonce)?;
                let Some(dialect) = self.dialect else {
                    return Ok(());
                };
                for end in [path.remote, path.local] {
                    let discovery = discovery_hash(hash, &cookies.concat(), end);
                    message.put(dialect.discovery(), discovery.as_bytes())?;
                }
                Ok(())
            },
        )
    }
}

/// Writes the one proposal and transform that were chosen, as they were sent but for the SPI.
///
/// RFC 2409 §5: "the responder MUST NOT modify attributes of any offer (attribute encoding excepted)".
pub(super) fn emit_choice(
    proposal: &Proposal<'_>,
    transform: &Transform<'_>,
    spi: &[u8],
    writer: &mut Writer<'_>,
) -> Result<(), Overflow> {
    let attributes: Vec<_> = transform.attributes.iter().collect();
    let transform = TransformSpec {
        number: transform.number,
        id: transform.id,
        attributes: &attributes,
    };
    let proposal = ProposalSpec {
        number: proposal.number,
        protocol: proposal.protocol,
        spi,
        transforms: &[transform],
    };
    Sa::emit(&[proposal], writer)
}

/// A nonce of legal length.
pub(super) fn checked_nonce(nonce: &[u8]) -> Result<&[u8], Error> {
    if NONCE_LEN.contains(&nonce.len()) {
        Ok(nonce)
    } else {
        Err(Malformed::Nonce.into())
    }
}

/// Payloads that may stand behind those that an exchange needs: vendor ids, notifications, private numbers.
fn is_extra(kind: PayloadType) -> bool {
    kind == PayloadType::VENDOR_ID || kind == PayloadType::NOTIFICATION || kind.0 >= 128
}

/// Message 2: the choice, and those of the peer's vendor ids that we know; never more than it sent.
pub(super) fn message_2(
    cookies: Cookies,
    chosen: &Chosen<'_>,
    vendors: &[VendorId<'_>],
) -> Result<Vec<u8>, Error> {
    let dialect = Dialect::of(vendors).map(Dialect::vendor_id);
    let dpd = vendors.contains(&VendorId::DPD).then_some(VendorId::DPD);
    message::clear(
        cookies,
        ExchangeType::MAIN_MODE,
        MessageId::PHASE_1,
        |message| {
            message.payload(PayloadType::SA, |writer| {
                emit_choice(&chosen.proposal, &chosen.transform, &[], writer)
            })?;
            let echoed = [dialect, dpd].into_iter().flatten();
            echoed
                .into_iter()
                .try_for_each(|vendor| message.put(PayloadType::VENDOR_ID, vendor.0))
        },
    )
}
