//! What a quick mode proposes and what we agree to: RFC 2409 §5.5, RFC 3947 §5.

use std::net::IpAddr;

use culvert_wire::id::Spi;
use culvert_wire::ike::{
    Chain, ExchangeType, IdType, Identification, MessageId, PayloadType, ProtocolId, Sa,
    nat_original,
};
use culvert_wire::writer::{Overflow, Writer};
use serde::{Deserialize, Serialize};

use super::error::{Error, Malformed, Unsupported};
use super::ike_sa::Established;
use super::message::Cookies;
use super::phase1_message::{checked_nonce, emit_choice};
use super::phase2_proposal::{Chosen, Life};
use crate::crypto::cipher::Iv;
use crate::crypto::dh::Group;
use crate::crypto::skeyid::QuickMode as QuickModeKeys;
use crate::job::Agreement;
use crate::rows::{Encapsulation, EspSuite, InnerPorts, KeyMaterial, Path};

/// UDP, the only protocol inside.
const UDP: u8 = 17;
/// Our L2TP port.
const L2TP_PORT: u16 = 1_701;

/// What message 1 asks for and we agree to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Offer {
    pub(super) suite: EspSuite,
    pub(super) encapsulation: Encapsulation,
    pub(super) group: Option<Group>,
    pub(super) life: Life,
    pub(super) outbound: Spi,
    pub(super) ports: InnerPorts,
    /// Body of the SA payload, kept to repeat the chosen transform as it was sent.
    pub(super) sa: Vec<u8>,
    pub(super) nonce: Vec<u8>,
    /// Bodies of the identification payloads, given back as they came; none or two.
    pub(super) ids: Vec<Vec<u8>>,
    /// Kind of the peer's NAT original address payloads, if it sent any.
    pub(super) original: Option<PayloadType>,
    pub(super) iv: Iv,
}

impl Offer {
    /// What follows from a choice; the SA payload is kept with a stand-in for our SPI, which is chosen when the set is.
    pub(super) fn new(message: &Proposed<'_>, chosen: &Chosen<'_>, iv: Iv) -> Result<Self, Error> {
        let mut body = vec![0; message.sa_len + 16];
        let mut writer = Writer::new(&mut body);
        emit_choice(&chosen.proposal, &chosen.transform, &[0; 4], &mut writer)?;
        Ok(Self {
            suite: chosen.suite,
            encapsulation: chosen.encapsulation,
            group: chosen.group,
            life: chosen.life,
            outbound: Spi(chosen.outbound),
            ports: ports(&message.ids)?,
            sa: writer.written().to_vec(),
            nonce: message.nonce.to_vec(),
            ids: message.ids.clone(),
            original: message.original,
            iv,
        })
    }

    /// Key material of one direction.
    pub(super) fn keys(
        &self,
        established: &Established,
        spi: Spi,
        nonce: &[u8],
        agreement: Option<&Agreement>,
    ) -> KeyMaterial {
        let quick_mode = QuickModeKeys {
            protocol: ProtocolId::ESP.0,
            spi: spi.0,
            initiator_nonce: &self.nonce,
            responder_nonce: nonce,
            shared_secret: agreement.map(|agreement| &agreement.shared),
        };
        established
            .keys
            .skeyid
            .keymat(&quick_mode, self.suite.key_len())
    }

    /// Message 2.
    pub(super) fn seal(
        &self,
        established: &Established,
        exchange: (Cookies, MessageId),
        path: Path,
        inbound: Spi,
        nonce: &[u8],
        agreement: Option<&Agreement>,
    ) -> Result<(Vec<u8>, Iv), Error> {
        let (cookies, id) = exchange;
        let kind = (ExchangeType::QUICK_MODE, id);
        established
            .keys
            .seal_hashed(cookies, kind, &self.iv, &self.nonce, |message| {
                message.payload(PayloadType::SA, |writer| self.emit_sa(inbound, writer))?;
                message.put(PayloadType::NONCE, nonce)?;
                if let Some(agreement) = agreement {
                    message.put(PayloadType::KEY_EXCHANGE, &agreement.public)?;
                }
                for id in &self.ids {
                    message.put(PayloadType::IDENTIFICATION, id)?;
                }
                // RFC 3947 §5.2: the initiator's address as we see it, then ours.
                for end in [path.remote, path.local] {
                    if let Some(kind) = self.original {
                        message.payload(kind, |writer| emit_original(end.ip(), writer))?;
                    }
                }
                Ok(())
            })
    }

    fn emit_sa(&self, inbound: Spi, writer: &mut Writer<'_>) -> Result<(), Overflow> {
        let sa = Sa::parse(&self.sa).map_err(|_| Overflow)?;
        let proposal = sa.proposals().next().ok_or(Overflow)?;
        let transform = proposal.transforms().next().ok_or(Overflow)?;
        emit_choice(&proposal, &transform, &inbound.0.to_be_bytes(), writer)
    }
}

/// What a message 1 proposes, checked as far as it can be without choosing.
#[derive(Debug)]
pub(super) struct Proposed<'a> {
    pub(super) sa: Sa<'a>,
    pub(super) sa_len: usize,
    pub(super) nonce: &'a [u8],
    pub(super) public: Option<&'a [u8]>,
    pub(super) ids: Vec<Vec<u8>>,
    pub(super) original: Option<PayloadType>,
}

impl<'a> Proposed<'a> {
    pub(super) fn parse(chain: &Chain<'a>) -> Result<Self, Error> {
        let (first, _) = chain.split_first().ok_or(Malformed::Payloads)?;
        // RFC 2409 §5.5: the SA "MUST immediately follow" the HASH; a second one would be a second pair of SAs, which nobody asks for.
        if first.kind != PayloadType::SA || chain.only(PayloadType::SA).is_none() {
            return Err(Malformed::Payloads.into());
        }
        let nonce = chain.only(PayloadType::NONCE).ok_or(Malformed::Payloads)?;
        let mut publics = chain.all(PayloadType::KEY_EXCHANGE);
        let public = publics.next();
        if publics.next().is_some() {
            return Err(Malformed::Payloads.into());
        }
        let ids: Vec<_> = chain
            .all(PayloadType::IDENTIFICATION)
            .map(<[u8]>::to_vec)
            .collect();
        Ok(Self {
            sa: Sa::parse(first.body)?,
            sa_len: first.body.len(),
            nonce: checked_nonce(nonce)?,
            public,
            ids,
            original: original(chain)?,
        })
    }
}

/// The UDP ports that a quick mode is for; without identification payloads it is for everything between both ends.
fn ports(ids: &[Vec<u8>]) -> Result<InnerPorts, Error> {
    let (client, server) = match ids {
        [] => {
            return Ok(InnerPorts {
                local: L2TP_PORT,
                remote: 0,
            });
        }
        [client, server] => (
            Identification::parse(client)?,
            Identification::parse(server)?,
        ),
        _ => return Err(Malformed::Payloads.into()),
    };
    let fits = |id: &Identification<'_>| {
        let host = matches!(id.kind, IdType::IPV4 | IdType::IPV6 | IdType::FQDN);
        host && (id.protocol == UDP || (id.protocol == 0 && id.port == 0))
    };
    let ours = server.port == L2TP_PORT || server.port == 0;
    if !(fits(&client) && fits(&server) && ours) {
        return Err(Unsupported::Selectors.into());
    }
    Ok(InnerPorts {
        local: L2TP_PORT,
        remote: client.port,
    })
}

/// Kind of the NAT original address payloads, which must parse; they say nothing that the path and the SA do not.
fn original(chain: &Chain<'_>) -> Result<Option<PayloadType>, Error> {
    for kind in [PayloadType::NAT_OA, PayloadType::NAT_OA_DRAFT] {
        let mut found = false;
        for body in chain.all(kind) {
            nat_original(body)?;
            found = true;
        }
        if found {
            return Ok(Some(kind));
        }
    }
    Ok(None)
}

fn emit_original(address: IpAddr, writer: &mut Writer<'_>) -> Result<(), Overflow> {
    match address {
        IpAddr::V4(address) => {
            writer.put(&[IdType::IPV4.0, 0, 0, 0])?;
            writer.put(&address.octets())
        }
        IpAddr::V6(address) => {
            writer.put(&[IdType::IPV6.0, 0, 0, 0])?;
            writer.put(&address.octets())
        }
    }
}
