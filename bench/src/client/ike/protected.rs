//! What follows main mode: quick mode is in [`super::quick_mode`], informational exchanges are here (RFC 2409 §5.7, RFC 3706).

use culvert_wire::ike::{
    Chain, Deletion, ExchangeType, Flags, Header, MessageId, MessageWriter, Notification,
    NotifyType, PayloadType, ProtocolId,
};
use culvert_wire::writer::Overflow;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;
use subtle::ConstantTimeEq;

use super::keys::{BLOCK, Keys};
use super::quick_mode::{Confirmed, ExpectQuickMode};
use super::{Arrival, Core, Event, Fault, MAX_MESSAGE};
use crate::client::cause::Cause;

/// An IKE SA.
#[derive(Debug)]
pub(super) struct Established {
    pub(super) keys: Keys,
    pub(super) last_block: [u8; BLOCK],
    pub(super) quick_mode: Option<ExpectQuickMode>,
    pub(super) confirmed: Option<Confirmed>,
}

impl Established {
    pub(super) const fn new(keys: Keys, last_block: [u8; BLOCK]) -> Self {
        Self {
            keys,
            last_block,
            quick_mode: None,
            confirmed: None,
        }
    }

    /// Takes any message under the IKE SA.
    pub(super) fn handle(
        &mut self,
        core: &mut Core,
        arrival: &Arrival<'_>,
    ) -> Result<Option<Event>, Fault> {
        let header = &arrival.header;
        if header.responder != core.cookie_r
            || !header.flags.contains(Flags::ENCRYPTED)
            || arrival.body.is_empty()
            || !arrival.body.len().is_multiple_of(BLOCK)
        {
            return Err(Fault::Ignored);
        }
        match header.exchange {
            ExchangeType::QUICK_MODE => self.handle_quick_mode(core, arrival),
            ExchangeType::INFORMATIONAL => self.handle_informational(core, arrival),
            _ => Err(Fault::Ignored),
        }
    }

    fn handle_informational(
        &self,
        core: &mut Core,
        arrival: &Arrival<'_>,
    ) -> Result<Option<Event>, Fault> {
        let id = arrival.header.message_id;
        let mut iv = self.keys.exchange_iv(self.last_block, id.0);
        let mut body = arrival.body.to_vec();
        self.keys.decrypt(&mut iv, &mut body);
        let chain = Chain::parse(arrival.header.next, &body)?;
        let rest = self.verified(&chain, &[&id.0.to_be_bytes()])?;
        if let Some(body) = rest.all(PayloadType::NOTIFICATION).next() {
            return self.handle_notification(core, id, &Notification::parse(body)?);
        }
        let body = rest.all(PayloadType::DELETE).next().ok_or(Fault::Ignored)?;
        Ok(deleted(&Deletion::parse(body)?))
    }

    fn handle_notification(
        &self,
        core: &mut Core,
        id: MessageId,
        notification: &Notification<'_>,
    ) -> Result<Option<Event>, Fault> {
        match notification.kind {
            NotifyType::R_U_THERE => {
                let ack = Notification {
                    kind: NotifyType::R_U_THERE_ACK,
                    ..*notification
                };
                // RFC 3706 §5.4 leaves the message id of the answer open; the question's is taken, as its IV is at hand.
                let message = self.informational(core, id, |message| {
                    message.payload(PayloadType::NOTIFICATION, |writer| ack.emit(writer))
                })?;
                core.send(message);
                Ok(None)
            }
            NotifyType(kind) if kind < 16_384 && self.quick_mode.is_some() => {
                Err(Fault::Fatal(Cause::Notified(kind)))
            }
            _ => Ok(None),
        }
    }

    /// What follows a HASH payload whose value is the prf of `prefix` and those bytes.
    pub(super) fn verified<'a>(
        &self,
        chain: &Chain<'a>,
        prefix: &[&[u8]],
    ) -> Result<Chain<'a>, Fault> {
        let (hash, rest) = chain.split_first().ok_or(Fault::Ignored)?;
        let parts = [prefix, &[rest.bytes()]].concat();
        let expected = self.keys.authenticate(&parts);
        let genuine = expected.as_slice().ct_eq(hash.body);
        if hash.kind == PayloadType::HASH && bool::from(genuine) {
            Ok(rest)
        } else {
            Err(Fault::Ignored)
        }
    }

    /// Sends a DELETE for the ESP SA with our SPI, then one for the IKE SA.
    pub(super) fn delete(
        &self,
        core: &mut Core,
        inbound: Option<u32>,
        rng: &mut ChaCha20Rng,
    ) -> Result<(), Overflow> {
        if let Some(spi) = inbound {
            let message = self.informational(core, MessageId(rng.next_u32() | 1), |message| {
                message.payload(PayloadType::DELETE, |writer| {
                    Deletion::emit_one(ProtocolId::ESP, &spi.to_be_bytes(), writer)
                })
            })?;
            core.send(message);
        }
        let cookies = [core.cookie_i.0, core.cookie_r.0].concat();
        let message = self.informational(core, MessageId(rng.next_u32() | 1), |message| {
            message.payload(PayloadType::DELETE, |writer| {
                Deletion::emit_one(ProtocolId::ISAKMP, &cookies, writer)
            })
        })?;
        core.send(message);
        Ok(())
    }

    /// An informational message: HASH(1) over the message id and what `write` appends.
    fn informational(
        &self,
        core: &Core,
        id: MessageId,
        write: impl FnOnce(&mut MessageWriter<'_>) -> Result<(), Overflow>,
    ) -> Result<Vec<u8>, Overflow> {
        let mut iv = self.keys.exchange_iv(self.last_block, id.0);
        self.protect(
            core,
            ExchangeType::INFORMATIONAL,
            id,
            &mut iv,
            &[&id.0.to_be_bytes()],
            write,
        )
    }

    /// A message under the IKE SA: a HASH over `prefix` and what `write` appends, encrypted.
    pub(super) fn protect(
        &self,
        core: &Core,
        exchange: ExchangeType,
        id: MessageId,
        iv: &mut [u8; BLOCK],
        prefix: &[&[u8]],
        write: impl FnOnce(&mut MessageWriter<'_>) -> Result<(), Overflow>,
    ) -> Result<Vec<u8>, Overflow> {
        let header = core.header(exchange, Flags::ENCRYPTED, id);
        let mut buffer = vec![0; MAX_MESSAGE];
        let mut message = MessageWriter::new(&mut buffer, &header)?;
        let slot = message.hash_slot(self.keys.hash().digest(&[]).as_slice().len())?;
        write(&mut message)?;
        let hash = self
            .keys
            .authenticate(&[prefix, &[message.behind(&slot)]].concat());
        message.fill(slot, hash.as_slice())?;
        let len = message.finish_padded(BLOCK)?;
        buffer.truncate(len);
        self.keys.encrypt(iv, buffer.split_at_mut(Header::LEN).1);
        Ok(buffer)
    }
}

fn deleted(deletion: &Deletion<'_>) -> Option<Event> {
    if deletion.protocol == ProtocolId::ISAKMP {
        return Some(Event::Down(Cause::Deleted));
    }
    let spi = deletion.spis().next()?.try_into().ok()?;
    Some(Event::EspDeleted(u32::from_be_bytes(spi)))
}
