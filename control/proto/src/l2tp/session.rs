//! Sessions of a tunnel: incoming calls from ICRQ to CDN (RFC 2661 §5.2.1, §7.4.2).

use culvert_wire::id::SessionId;
use culvert_wire::l2tp::avp::AttributeType;
use serde::{Deserialize, Serialize};

use crate::l2tp::attributes::{Attributes, Refusal, required};
use crate::l2tp::output::{ProxyAuthentication, ProxyLcp, SessionConnected, SessionKey};
use crate::rows::{KeyMaterial, Sequencing};

/// One session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) key: SessionKey,
    pub(super) peer_session: SessionId,
    pub(super) state: State,
}

/// What a session awaits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum State {
    /// ICRP is queued or sent.
    ExpectIccn,
    /// PPP flows.
    Established,
}

/// A call as an ICRQ asks for it.
#[derive(Debug)]
pub(super) struct IncomingCall {
    pub(super) peer_session: SessionId,
    pub(super) serial_number: u32,
    pub(super) calling_number: Vec<u8>,
    pub(super) called_number: Vec<u8>,
}

impl IncomingCall {
    /// Reads an ICRQ; a client that leaves out the serial number is forgiven.
    pub(super) fn read(attributes: &Attributes<'_>) -> Result<Self, Refusal> {
        let text = |attribute| attributes.text(attribute).unwrap_or_default().to_vec();
        let id = required(attributes.id(AttributeType::ASSIGNED_SESSION_ID)?)?;
        let serial_number = attributes.u32(AttributeType::CALL_SERIAL_NUMBER)?;
        Ok(Self {
            peer_session: SessionId(id),
            serial_number: serial_number.unwrap_or(0),
            calling_number: text(AttributeType::CALLING_NUMBER),
            called_number: text(AttributeType::CALLED_NUMBER),
        })
    }
}

/// Reads an ICCN; speeds and framing mean nothing to us and may be missing.
pub(super) fn connected(
    session: SessionKey,
    attributes: &Attributes<'_>,
) -> Result<SessionConnected, Refusal> {
    let sequencing = match attributes.bytes(AttributeType::SEQUENCING_REQUIRED) {
        None => Sequencing::Off,
        Some(_) => Sequencing::On,
    };
    Ok(SessionConnected {
        session,
        sequencing,
        proxy_lcp: proxy_lcp(attributes),
        proxy_authentication: proxy_authentication(attributes)?,
    })
}

fn proxy_lcp(attributes: &Attributes<'_>) -> Option<ProxyLcp> {
    let bytes = |attribute| attributes.bytes(attribute).unwrap_or_default().to_vec();
    attributes.bytes(AttributeType::LAST_SENT_LCP_CONFREQ)?;
    attributes.bytes(AttributeType::LAST_RECEIVED_LCP_CONFREQ)?;
    Some(ProxyLcp {
        initial_received: bytes(AttributeType::INITIAL_RECEIVED_LCP_CONFREQ),
        last_sent: bytes(AttributeType::LAST_SENT_LCP_CONFREQ),
        last_received: bytes(AttributeType::LAST_RECEIVED_LCP_CONFREQ),
    })
}

fn proxy_authentication(
    attributes: &Attributes<'_>,
) -> Result<Option<ProxyAuthentication>, Refusal> {
    let Some(kind) = attributes.u16(AttributeType::PROXY_AUTHEN_TYPE)? else {
        return Ok(None);
    };
    let bytes = |attribute| attributes.bytes(attribute).unwrap_or_default().to_vec();
    let [_, identifier] = attributes
        .u16(AttributeType::PROXY_AUTHEN_ID)?
        .unwrap_or(0)
        .to_be_bytes();
    Ok(Some(ProxyAuthentication {
        kind,
        name: bytes(AttributeType::PROXY_AUTHEN_NAME),
        challenge: bytes(AttributeType::PROXY_AUTHEN_CHALLENGE),
        identifier,
        response: KeyMaterial::new(bytes(AttributeType::PROXY_AUTHEN_RESPONSE).into()),
    }))
}
