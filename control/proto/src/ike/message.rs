//! Sealing and opening messages: RFC 2409 appendix B.

use culvert_wire::ike::{
    Chain, Cookie, ExchangeType, Flags, HashSlot, Header, MessageId, MessageWriter, PayloadType,
    Version,
};
use culvert_wire::writer::Overflow;
use serde::{Deserialize, Serialize};

use super::error::{Error, Malformed};
use crate::crypto::cipher::{Cipher, Iv};
use crate::crypto::hash::Hash;
use crate::crypto::skeyid::{self, Skeyid};
use crate::rows::KeyMaterial;

/// Bytes that the longest message of ours takes.
const CAPACITY: usize = 2_048;

/// What names an IKE SA in every message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cookies {
    pub(super) initiator: Cookie,
    pub(super) responder: Cookie,
}

impl Cookies {
    /// Both, one after the other.
    pub(super) fn concat(self) -> [u8; 16] {
        super::nat::cookies(self.initiator, self.responder)
    }

    const fn header(self, exchange: ExchangeType, message_id: MessageId, flags: Flags) -> Header {
        Header {
            initiator: self.initiator,
            responder: self.responder,
            next: PayloadType::NONE,
            version: Version::V1_0,
            exchange,
            flags,
            message_id,
        }
    }
}

/// Keys of an IKE SA.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Keys {
    pub(super) skeyid: Skeyid,
    cipher: Cipher,
    cipher_key: KeyMaterial,
}

/// Writes a message in clear.
pub(super) fn clear(
    cookies: Cookies,
    exchange: ExchangeType,
    message_id: MessageId,
    write: impl FnOnce(&mut MessageWriter<'_>) -> Result<(), Overflow>,
) -> Result<Vec<u8>, Error> {
    let mut buffer = vec![0; CAPACITY];
    let header = cookies.header(exchange, message_id, Flags::default());
    let mut message = MessageWriter::new(&mut buffer, &header)?;
    write(&mut message)?;
    let len = message.finish()?;
    buffer.truncate(len);
    Ok(buffer)
}

impl Keys {
    /// The keys that follow from SKEYID.
    pub(super) fn new(skeyid: Skeyid, cipher: Cipher) -> Self {
        let cipher_key = skeyid.cipher_key(cipher);
        Self {
            skeyid,
            cipher,
            cipher_key,
        }
    }

    /// The negotiated hash.
    pub(super) const fn hash(&self) -> Hash {
        self.skeyid.hash()
    }

    /// IV of the first message of another exchange under the IKE SA.
    pub(super) fn exchange_iv(&self, phase1_last: &Iv, message_id: MessageId) -> Iv {
        skeyid::exchange_iv(self.hash(), self.cipher, phase1_last, message_id.0)
    }

    /// Writes an encrypted message; returns it with the IV of the exchange's next one.
    pub(super) fn seal(
        &self,
        cookies: Cookies,
        exchange: ExchangeType,
        message_id: MessageId,
        iv: &Iv,
        write: impl FnOnce(&mut MessageWriter<'_>) -> Result<(), Overflow>,
    ) -> Result<(Vec<u8>, Iv), Error> {
        let mut buffer = vec![0; CAPACITY];
        let header = cookies.header(exchange, message_id, Flags::ENCRYPTED);
        let mut message = MessageWriter::new(&mut buffer, &header)?;
        write(&mut message)?;
        let len = message.finish_padded(self.cipher.block_len())?;
        buffer.truncate(len);
        let (_, body) = buffer.split_at_mut(Header::LEN);
        let next = self.cipher.encrypt(self.cipher_key.expose(), iv, body)?;
        Ok((buffer, next))
    }

    /// Writes an encrypted message that begins with HASH = prf(SKEYID_a, M-ID ‖ `between` ‖ what follows).
    pub(super) fn seal_hashed(
        &self,
        cookies: Cookies,
        exchange: (ExchangeType, MessageId),
        iv: &Iv,
        between: &[u8],
        write: impl FnOnce(&mut MessageWriter<'_>) -> Result<(), Overflow>,
    ) -> Result<(Vec<u8>, Iv), Error> {
        let (kind, message_id) = exchange;
        self.seal(cookies, kind, message_id, iv, |message| {
            let slot: HashSlot = message.hash_slot(self.hash().output_len())?;
            write(message)?;
            let id = message_id.0.to_be_bytes();
            let hash = self.skeyid.prf_a(&[&id, between, message.behind(&slot)]);
            message.fill(slot, hash.as_bytes())
        })
    }

    /// Decrypts what follows the header; returns it with the IV of the exchange's next message.
    pub(super) fn open(&self, iv: &Iv, body: &[u8]) -> Result<(Vec<u8>, Iv), Error> {
        let mut bytes = body.to_vec();
        let next = self
            .cipher
            .decrypt(self.cipher_key.expose(), iv, &mut bytes)?;
        Ok((bytes, next))
    }
}

/// The chain of a decrypted message; padding is at most what ciphers and generous senders need, 256 bytes.
pub(super) fn decrypted_chain<'a>(header: &Header, bytes: &'a [u8]) -> Result<Chain<'a>, Error> {
    let chain = Chain::parse(header.next, bytes).map_err(|_| Malformed::Decrypted)?;
    if chain.padding().len() > 256 {
        return Err(Malformed::Decrypted.into());
    }
    Ok(chain)
}

/// Splits off the HASH that a quick mode or informational message begins with.
pub(super) fn split_hash<'a>(chain: &Chain<'a>) -> Result<(&'a [u8], Chain<'a>), Error> {
    let (first, rest) = chain.split_first().ok_or(Malformed::Decrypted)?;
    if first.kind != PayloadType::HASH {
        return Err(Malformed::Decrypted.into());
    }
    Ok((first.body, rest))
}
