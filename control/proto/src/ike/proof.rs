//! What main mode's last two messages prove: HASH_I and HASH_R (RFC 2409 §5).
//!
//! ```text
//! HASH_I = prf(SKEYID, g^xi ‖ g^xr ‖ CKY-I ‖ CKY-R ‖ SAi_b ‖ IDii_b)
//! HASH_R = prf(SKEYID, g^xr ‖ g^xi ‖ CKY-R ‖ CKY-I ‖ SAi_b ‖ IDir_b)
//! ```

use std::net::IpAddr;

use culvert_wire::ike::{
    ExchangeType, IdType, Identification, MessageId, Notification, NotifyType, PayloadType,
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

impl ExpectIdentity {
    /// Verifies HASH_I = prf(SKEYID, g^xi ‖ g^xr ‖ CKY-I ‖ CKY-R ‖ SAi_b ‖ IDii_b).
    pub(super) fn verify(
        &self,
        cookies: &Cookies,
        arrival: &Arrival<'_>,
        opened: &(Vec<u8>, Iv),
    ) -> Result<Proved, Error> {
        let (bytes, iv) = opened;
        let chain = message::decrypted_chain(&arrival.header, bytes)?;
        let (id, hash) = identity_and_hash(&chain)?;
        let CookiePair(initiator, responder) = (*cookies).into();
        let hash_i = self.keys.skeyid.prf(&[
            &self.peer_public,
            &self.public,
            &initiator,
            &responder,
            &self.offered,
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
    pub(super) fn answer(
        &self,
        cookies: &Cookies,
        path: Path,
        iv: &Iv,
    ) -> Result<(Vec<u8>, Iv), Error> {
        let mut id = [0; 24];
        let mut writer = Writer::new(&mut id);
        match path.local.ip() {
            IpAddr::V4(address) => emit_id(IdType::IPV4, &address.octets(), &mut writer)?,
            IpAddr::V6(address) => emit_id(IdType::IPV6, &address.octets(), &mut writer)?,
        }
        let id = writer.written();
        let hash = self.hash_r(cookies, id);
        let phase1 = (ExchangeType::MAIN_MODE, MessageId::PHASE_1);
        self.keys.seal(*cookies, phase1.0, phase1.1, iv, |message| {
            message.put(PayloadType::IDENTIFICATION, id)?;
            message.put(PayloadType::HASH, hash.as_bytes())
        })
    }

    /// HASH_R = prf(SKEYID, g^xr ‖ g^xi ‖ CKY-R ‖ CKY-I ‖ SAi_b ‖ IDir_b).
    fn hash_r(&self, cookies: &Cookies, id: &[u8]) -> Output {
        let CookiePair(initiator, responder) = (*cookies).into();
        self.keys.skeyid.prf(&[
            &self.public,
            &self.peer_public,
            &responder,
            &initiator,
            &self.offered,
            id,
        ])
    }
}

/// The bytes of both cookies.
struct CookiePair([u8; 8], [u8; 8]);

impl From<Cookies> for CookiePair {
    fn from(cookies: Cookies) -> Self {
        Self(cookies.initiator.0, cookies.responder.0)
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
