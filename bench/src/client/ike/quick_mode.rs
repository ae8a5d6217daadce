//! Quick mode without perfect forward secrecy (RFC 2409 §5.5) for L2TP in transport mode (RFC 3193).

use std::net::Ipv4Addr;

use culvert_wire::ike::{Chain, ExchangeType, IdType, MessageId, MessageWriter, PayloadType};
use culvert_wire::writer::Overflow;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use super::keys::BLOCK;
use super::proposal::{self, Travel};
use super::protected::Established;
use super::{Arrival, Core, Event, Fault, Pair};
use crate::client::Time;
use crate::client::cause::{Cause, Stage};

const NONCE_LEN: usize = 32;
const UDP: u8 = 17;

/// The first message is out.
#[derive(Debug)]
pub(super) struct ExpectQuickMode {
    id: MessageId,
    iv: [u8; BLOCK],
    nonce: [u8; NONCE_LEN],
    spi: u32,
}

/// The third message, kept for a responder that repeats its second.
#[derive(Debug)]
pub(super) struct Confirmed {
    id: MessageId,
    message: Vec<u8>,
}

impl Established {
    /// Sends HASH(1), SA, Ni and the identities, unless an exchange is running.
    pub(super) fn start_quick_mode(
        &mut self,
        core: &mut Core,
        now: Time,
        rng: &mut ChaCha20Rng,
    ) -> Result<(), Fault> {
        if self.quick_mode.is_some() {
            return Ok(());
        }
        let id = MessageId(rng.next_u32() | 1);
        // RFC 4303 §2.1: SPIs up to 255 are reserved.
        let spi = rng.next_u32() | 0x100;
        let mut nonce = [0; NONCE_LEN];
        rng.fill_bytes(&mut nonce);
        let mut iv = self.keys.exchange_iv(self.last_block, id.0);
        let (suite, travel, local, gateway) =
            (core.profile.esp, core.travel(), core.local, core.gateway);
        let prefix = [&id.0.to_be_bytes()[..]];
        let message = self.protect(
            core,
            ExchangeType::QUICK_MODE,
            id,
            &mut iv,
            &prefix,
            |message| {
                message.payload(PayloadType::SA, |writer| {
                    proposal::offer_esp(suite, travel, spi, writer)
                })?;
                message.put(PayloadType::NONCE, &nonce)?;
                message.put(
                    PayloadType::IDENTIFICATION,
                    &identity(local, core.profile.l2tp_port),
                )?;
                message.put(
                    PayloadType::IDENTIFICATION,
                    &identity(gateway, crate::client::L2TP_PORT),
                )?;
                original_addresses(message, travel, local, gateway)
            },
        )?;
        core.ask(now, Stage::QuickMode, message);
        self.quick_mode = Some(ExpectQuickMode { id, iv, nonce, spi });
        Ok(())
    }

    /// Takes HASH(2), SA, Nr and the identities; sends HASH(3).
    pub(super) fn handle_quick_mode(
        &mut self,
        core: &mut Core,
        arrival: &Arrival<'_>,
    ) -> Result<Option<Event>, Fault> {
        let id = arrival.header.message_id;
        if let Some(confirmed) = self
            .confirmed
            .as_ref()
            .filter(|confirmed| confirmed.id == id)
        {
            core.send(confirmed.message.clone());
            return Ok(None);
        }
        let expected = self
            .quick_mode
            .as_ref()
            .filter(|expected| expected.id == id);
        let expected = expected.ok_or(Fault::Ignored)?;
        let mut iv = expected.iv;
        let mut body = arrival.body.to_vec();
        self.keys.decrypt(&mut iv, &mut body);
        let chain = Chain::parse(arrival.header.next, &body)?;
        let rest = self.verified(&chain, &[&id.0.to_be_bytes(), &expected.nonce])?;
        let sa = rest.only(PayloadType::SA).ok_or(Fault::Ignored)?;
        let nonce_r = rest.only(PayloadType::NONCE).ok_or(Fault::Ignored)?;
        let (suite, travel) = (core.profile.esp, core.travel());
        let outbound =
            proposal::chosen_esp(suite, travel, sa).ok_or(Fault::Fatal(Cause::ForeignChoice))?;
        let keymat = |spi| {
            self.keys
                .keymat(spi, &expected.nonce, nonce_r, suite.key_len())
        };
        let pair = Pair {
            suite,
            travel,
            inbound: expected.spi,
            outbound,
            inbound_keys: keymat(expected.spi),
            outbound_keys: keymat(outbound),
        };
        let prefix: [&[u8]; 4] = [&[0], &id.0.to_be_bytes(), &expected.nonce, nonce_r];
        let message = self.protect(core, ExchangeType::QUICK_MODE, id, &mut iv, &prefix, |_| {
            Ok(())
        })?;
        core.waiting = None;
        core.send(message.clone());
        self.quick_mode = None;
        self.confirmed = Some(Confirmed { id, message });
        Ok(Some(Event::Secured(Box::new(pair))))
    }
}

/// ID_IPV4_ADDR with UDP and a port.
fn identity(address: Ipv4Addr, port: u16) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    [&[IdType::IPV4.0, UDP, high, low], &address.octets()[..]].concat()
}

/// NAT-OA for both ends when ESP travels in UDP (RFC 3947 §5.2).
fn original_addresses(
    message: &mut MessageWriter<'_>,
    travel: Travel,
    local: Ipv4Addr,
    gateway: Ipv4Addr,
) -> Result<(), Overflow> {
    if travel == Travel::Native {
        return Ok(());
    }
    for address in [local, gateway] {
        let body = [&[IdType::IPV4.0, 0, 0, 0], &address.octets()[..]].concat();
        message.put(PayloadType::NAT_OA, &body)?;
    }
    Ok(())
}
