//! What main mode's last two messages prove: HASH_I and HASH_R (RFC 2409 §5).
//!
//! ```text
//! HASH_I = prf(SKEYID, g^xi ‖ g^xr ‖ CKY-I ‖ CKY-R ‖ SAi_b ‖ IDii_b)
//! HASH_R = prf(SKEYID, g^xr ‖ g^xi ‖ CKY-R ‖ CKY-I ‖ SAi_b ‖ IDir_b)
//! ```

use std::net::IpAddr;

use culvert_wire::ike::{
    Chain, ExchangeType, Header, IdType, Identification, MessageId, Notification, NotifyType,
    PayloadType,
};
use culvert_wire::writer::{Overflow, Writer};

use super::error::{Error, Malformed, Misbehaved};
use super::ike_sa::ExpectIdentity;
use super::message::{self, Cookies};
use super::output::Identity;
use super::phase1_message::identity_and_hash;
use super::responder::Arrival;
use crate::crypto::cipher::Iv;
use crate::crypto::hash::Output;
use crate::rows::Path;

/// Longest identity kept.
const MAX_IDENTITY_LEN: usize = 256;

/// What a message 5 proved.
#[derive(Debug)]
pub(super) struct Proved {
    pub(super) identity: Identity,
    pub(super) initial_contact: bool,
    pub(super) iv: Iv,
}

/// What both hashes are computed over.
pub(super) struct Evidence<'a> {
    state: &'a ExpectIdentity,
    cookies: Cookies,
    /// g^xr, which is kept in message 4 alone: a half-open IKE SA is to stay below 2 KiB.
    public: &'a [u8],
}

impl ExpectIdentity {
    /// Puts together what both hashes are computed over; our public value is taken from message 4, as it was sent.
    pub(super) fn evidence<'a>(
        &'a self,
        cookies: Cookies,
        message_4: &'a [u8],
    ) -> Result<Evidence<'a>, Error> {
        let (header, body) = Header::split(message_4)?;
        let public = Chain::parse(header.next, body)?.only(PayloadType::KEY_EXCHANGE);
        Ok(Evidence {
            state: self,
            cookies,
            public: public.ok_or(Malformed::Payloads)?,
        })
    }
}

impl Evidence<'_> {
    /// Verifies HASH_I = prf(SKEYID, g^xi ‖ g^xr ‖ CKY-I ‖ CKY-R ‖ SAi_b ‖ IDii_b).
    pub(super) fn verify(
        &self,
        arrival: &Arrival<'_>,
        opened: &(Vec<u8>, Iv),
    ) -> Result<Proved, Error> {
        let (bytes, iv) = opened;
        let chain = message::decrypted_chain(&arrival.header, bytes)?;
        let (id, hash) = identity_and_hash(&chain)?;
        let hash_i = self.state.keys.skeyid.prf(&[
            &self.state.peer_public,
            self.public,
            &self.cookies.initiator.0,
            &self.cookies.responder.0,
            &self.state.offered,
            id,
        ]);
        if !hash_i.matches(hash) {
            return Err(Misbehaved::Hash.into());
        }
        let parsed = Identification::parse(id)?;
        if parsed.data.len() > MAX_IDENTITY_LEN {
            return Err(Malformed::Payloads.into());
        }
        let identity = Identity {
            kind: parsed.kind,
            bytes: parsed.data.to_vec(),
        };
        let notified = chain
            .all(PayloadType::NOTIFICATION)
            .filter_map(|body| Notification::parse(body).ok());
        let initial_contact = notified
            .into_iter()
            .any(|n| n.kind == NotifyType::INITIAL_CONTACT);
        Ok(Proved {
            identity,
            initial_contact,
            iv: *iv,
        })
    }

    /// Message 6: our address as identity, and HASH_R.
    pub(super) fn answer(&self, path: Path, iv: &Iv) -> Result<(Vec<u8>, Iv), Error> {
        let mut id = [0; 24];
        let mut writer = Writer::new(&mut id);
        match path.local.ip() {
            IpAddr::V4(address) => emit_id(IdType::IPV4, &address.octets(), &mut writer)?,
            IpAddr::V6(address) => emit_id(IdType::IPV6, &address.octets(), &mut writer)?,
        }
        let id = writer.written();
        let hash = self.hash_r(id);
        let (exchange, message_id) = (ExchangeType::MAIN_MODE, MessageId::PHASE_1);
        let keys = &self.state.keys;
        keys.seal(self.cookies, exchange, message_id, iv, |message| {
            message.put(PayloadType::IDENTIFICATION, id)?;
            message.put(PayloadType::HASH, hash.as_bytes())
        })
    }

    /// HASH_R = prf(SKEYID, g^xr ‖ g^xi ‖ CKY-R ‖ CKY-I ‖ SAi_b ‖ IDir_b).
    fn hash_r(&self, id: &[u8]) -> Output {
        self.state.keys.skeyid.prf(&[
            self.public,
            &self.state.peer_public,
            &self.cookies.responder.0,
            &self.cookies.initiator.0,
            &self.state.offered,
            id,
        ])
    }
}

fn emit_id(kind: IdType, data: &[u8], writer: &mut Writer<'_>) -> Result<(), Overflow> {
    Identification {
        kind,
        protocol: 0,
        port: 0,
        data,
    }
    .emit(writer)
}
