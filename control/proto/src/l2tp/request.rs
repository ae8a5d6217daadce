//! SCCRQ and the SCCRP that answers it (RFC 2661 §6.1, §6.2).

use culvert_wire::id::TunnelId;
use culvert_wire::l2tp::avp::{self, AttributeType, ErrorCode};
use culvert_wire::l2tp::message::{self, MessageType, stop_ccn};
use culvert_wire::writer::{Overflow, Writer};

use crate::l2tp::attributes::{Attributes, Refusal, need, required};
use crate::l2tp::authentication;
use crate::l2tp::channel::DEFAULT_PEER_WINDOW;
use crate::l2tp::config::Config;

/// Our challenge's length in bytes.
pub(super) const CHALLENGE_LEN: usize = 16;

/// What an SCCRQ asks for.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) ns: u16,
    pub(super) peer_tunnel: TunnelId,
    pub(super) peer_window: u16,
    pub(super) host_name: Vec<u8>,
    pub(super) challenge: Option<Vec<u8>>,
}

impl<'a> Request<'a> {
    /// Reads an SCCRQ.
    ///
    /// # Errors
    /// A StopCCN's result and error code if it cannot be granted.
    pub(super) fn read(
        bytes: &'a [u8],
        ns: u16,
        attributes: &Attributes<'_>,
        config: &Config,
    ) -> Result<Self, (u16, ErrorCode)> {
        let general = |Refusal(error)| (stop_ccn::GENERAL_ERROR, error);
        let version = attributes.u16(AttributeType::PROTOCOL_VERSION);
        let [version, _revision] = version.and_then(required).map_err(general)?.to_be_bytes();
        if version != 1 {
            return Err((stop_ccn::PROTOCOL_VERSION, ErrorCode(0x0100)));
        }
        let framing = attributes.u32(AttributeType::FRAMING_CAPABILITIES);
        framing.and_then(required).map_err(general)?;
        let host_name = attributes.text(AttributeType::HOST_NAME);
        let peer_tunnel = attributes.id(AttributeType::ASSIGNED_TUNNEL_ID);
        let window = attributes.u16(AttributeType::RECEIVE_WINDOW_SIZE);
        let challenge = attributes.bytes(AttributeType::CHALLENGE);
        if challenge.is_some() && config.authentication.secret().is_none() {
            return Err((stop_ccn::NOT_AUTHORIZED, ErrorCode::NONE));
        }
        Ok(Self {
            bytes,
            ns,
            peer_tunnel: TunnelId(peer_tunnel.and_then(required).map_err(general)?),
            peer_window: window.map_err(general)?.unwrap_or(DEFAULT_PEER_WINDOW),
            host_name: required(host_name).map_err(general)?.to_vec(),
            challenge: challenge.map(<[u8]>::to_vec),
        })
    }
}

/// Appends an SCCRP's AVPs; name and window shrink or stay out to keep the message, header included, within `limit` bytes.
pub(super) fn put_sccrp(
    writer: &mut Writer<'_>,
    limit: usize,
    config: &Config,
    local: TunnelId,
    request: &Request<'_>,
    challenge: Option<&[u8; CHALLENGE_LEN]>,
) -> Result<(), Overflow> {
    let limit = limit.saturating_sub(message::HEADER_LEN);
    let mut put = |attribute, value: &[u8]| avp::put(writer, need(attribute), attribute, value);
    put(AttributeType::PROTOCOL_VERSION, &[1, 0])?;
    put(AttributeType::FRAMING_CAPABILITIES, &3_u32.to_be_bytes())?;
    put(AttributeType::ASSIGNED_TUNNEL_ID, &local.0.to_be_bytes())?;
    if let Some(challenge) = challenge {
        put(AttributeType::CHALLENGE, challenge)?;
    }
    if let Some((secret, challenge)) = config
        .authentication
        .secret()
        .zip(request.challenge.as_ref())
    {
        let response = authentication::response(MessageType::SCCRP, secret, challenge);
        put(AttributeType::CHALLENGE_RESPONSE, &response)?;
    }
    let name = config.host_name.as_bytes();
    let room = limit
        .checked_sub(writer.len() + avp::HEADER_LEN)
        .ok_or(Overflow)?;
    let name = name.get(..room.min(64)).unwrap_or(name);
    let mut put = |attribute, value: &[u8]| avp::put(writer, need(attribute), attribute, value);
    put(AttributeType::HOST_NAME, name)?;
    let window = config.receive_window.to_be_bytes();
    match limit.saturating_sub(writer.len()) >= avp::HEADER_LEN + window.len() {
        true => avp::put(
            writer,
            need(AttributeType::RECEIVE_WINDOW_SIZE),
            AttributeType::RECEIVE_WINDOW_SIZE,
            &window,
        ),
        false => Ok(()),
    }
}
