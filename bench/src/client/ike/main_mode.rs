//! Main mode with a pre-shared key (RFC 2409 §5.4) and NAT detection (RFC 3947 §3.2).

use std::net::Ipv4Addr;

use culvert_wire::ike::{
    Chain, ExchangeType, Flags, Header, IdType, Identification, MessageId, MessageWriter,
    Notification, NotifyType, PayloadType, ProtocolId, VendorId,
};
use culvert_wire::writer::Writer;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;
use subtle::ConstantTimeEq;

use super::dh::Secret;
use super::hash::{Hash, Output};
use super::keys::{BLOCK, Exchanged, Keys};
use super::proposal::{self, IkeProposal};
use super::protected::Established;
use super::{Arrival, Core, FLOATED_PORT, Fault, MAX_MESSAGE, PORT, State};
use crate::client::Time;
use crate::client::cause::{Cause, Stage};

const NONCE_LEN: usize = 32;

/// The first message is out.
#[derive(Debug)]
pub(super) struct ExpectProposal {
    sa: Vec<u8>,
}

/// The third message is out.
#[derive(Debug)]
pub(super) struct ExpectKeyExchange {
    sa: Vec<u8>,
    chosen: IkeProposal,
    secret: Secret,
    public: Vec<u8>,
    nonce: [u8; NONCE_LEN],
}

/// The fifth message is out.
#[derive(Debug)]
pub(super) struct ExpectIdentity {
    sa: Vec<u8>,
    keys: Keys,
    iv: [u8; BLOCK],
    public_i: Vec<u8>,
    public_r: Vec<u8>,
}

/// Sends SA and vendor ids.
pub(super) fn start(core: &mut Core, now: Time) -> Result<ExpectProposal, Fault> {
    let mut buffer = vec![0; MAX_MESSAGE];
    let mut writer = Writer::new(&mut buffer);
    proposal::offer_ike(&core.profile.ike, &mut writer)?;
    let sa = writer.written().to_vec();
    let message = core.main_mode(|message| {
        message.put(PayloadType::SA, &sa)?;
        message.put(PayloadType::VENDOR_ID, VendorId::RFC_3947.0)?;
        message.put(PayloadType::VENDOR_ID, VendorId::DPD.0)
    })?;
    core.ask(now, Stage::Proposal, message);
    Ok(ExpectProposal { sa })
}

impl ExpectProposal {
    /// Takes the responder's choice; sends public value, nonce and NAT detection.
    pub(super) fn handle(
        &mut self,
        core: &mut Core,
        arrival: &Arrival<'_>,
        rng: &mut ChaCha20Rng,
    ) -> Result<State, Fault> {
        let chain = clear_payloads(arrival)?;
        let sa = chain.only(PayloadType::SA).ok_or(Fault::Ignored)?;
        let chosen = proposal::chosen_ike(&core.profile.ike, sa)
            .ok_or(Fault::Fatal(Cause::ForeignChoice))?;
        core.cookie_r = arrival.header.responder;
        let secret = chosen.group.generate(rng);
        let public = secret.public_value();
        let mut nonce = [0; NONCE_LEN];
        rng.fill_bytes(&mut nonce);
        let theirs = nat_discovery(core, chosen.hash, core.gateway, PORT);
        let mut ours = nat_discovery(core, chosen.hash, core.local, PORT)
            .as_slice()
            .to_vec();
        if core.forced() {
            rng.fill_bytes(&mut ours);
        }
        let message = core.main_mode(|message| {
            message.put(PayloadType::KEY_EXCHANGE, &public)?;
            message.put(PayloadType::NONCE, &nonce)?;
            message.put(PayloadType::NAT_D, theirs.as_slice())?;
            message.put(PayloadType::NAT_D, &ours)
        })?;
        core.ask(arrival.now, Stage::KeyExchange, message);
        let sa = std::mem::take(&mut self.sa);
        Ok(State::ExpectKeyExchange(Box::new(ExpectKeyExchange {
            sa,
            chosen,
            secret,
            public,
            nonce,
        })))
    }
}

impl ExpectKeyExchange {
    /// Takes the responder's public value and nonce; sends identity and proof, from port 4500 if there is a NAT.
    pub(super) fn handle(
        &mut self,
        core: &mut Core,
        arrival: &Arrival<'_>,
    ) -> Result<State, Fault> {
        let chain = clear_payloads(arrival)?;
        if arrival.header.responder != core.cookie_r {
            return Err(Fault::Ignored);
        }
        let public_r = chain
            .only(PayloadType::KEY_EXCHANGE)
            .ok_or(Fault::Ignored)?;
        let nonce_r = chain.only(PayloadType::NONCE).ok_or(Fault::Ignored)?;
        let shared = self
            .secret
            .agree(public_r)
            .map_err(|_| Fault::Fatal(Cause::BadPublicValue))?;
        let keys = Keys::derive(
            self.chosen.hash,
            self.chosen.cipher,
            &Exchanged {
                psk: &core.profile.psk,
                shared: &shared,
                nonce_i: &self.nonce,
                nonce_r,
                cookie_i: core.cookie_i.0,
                cookie_r: core.cookie_r.0,
            },
        );
        if core.forced() || behind_nat(core, self.chosen.hash, &chain) {
            core.port = FLOATED_PORT;
        }
        let iv = keys.first_iv(&self.public, public_r);
        let mut next = ExpectIdentity {
            sa: std::mem::take(&mut self.sa),
            keys,
            iv,
            public_i: std::mem::take(&mut self.public),
            public_r: public_r.to_vec(),
        };
        let message = next.identify(core)?;
        core.ask(arrival.now, Stage::Identity, message);
        Ok(State::ExpectIdentity(Box::new(next)))
    }
}

impl ExpectIdentity {
    /// The fifth message: ID, HASH_I and INITIAL-CONTACT.
    fn identify(&mut self, core: &Core) -> Result<Vec<u8>, Fault> {
        let id = [&[IdType::IPV4.0, 0, 0, 0], &core.local.octets()[..]].concat();
        let proof = self.keys.prove(&[
            &self.public_i,
            &self.public_r,
            &core.cookie_i.0,
            &core.cookie_r.0,
            &self.sa,
            &id,
        ]);
        let spi = [core.cookie_i.0, core.cookie_r.0].concat();
        let contact = Notification {
            protocol: ProtocolId::ISAKMP,
            kind: NotifyType::INITIAL_CONTACT,
            spi: &spi,
            data: &[],
        };
        let header = core.header(
            ExchangeType::MAIN_MODE,
            Flags::ENCRYPTED,
            MessageId::PHASE_1,
        );
        let mut buffer = vec![0; MAX_MESSAGE];
        let mut message = MessageWriter::new(&mut buffer, &header)?;
        message.put(PayloadType::IDENTIFICATION, &id)?;
        message.put(PayloadType::HASH, proof.as_slice())?;
        message.payload(PayloadType::NOTIFICATION, |writer| contact.emit(writer))?;
        let len = message.finish_padded(BLOCK)?;
        buffer.truncate(len);
        self.keys
            .encrypt(&mut self.iv, buffer.split_at_mut(Header::LEN).1);
        Ok(buffer)
    }

    /// Takes the responder's identity and proof; starts quick mode.
    pub(super) fn handle(
        &mut self,
        core: &mut Core,
        arrival: &Arrival<'_>,
        rng: &mut ChaCha20Rng,
    ) -> Result<State, Fault> {
        if arrival.header.exchange != ExchangeType::MAIN_MODE
            || !arrival.header.flags.contains(Flags::ENCRYPTED)
            || !arrival.body.len().is_multiple_of(BLOCK)
        {
            return Err(Fault::Ignored);
        }
        let mut iv = self.iv;
        let mut body = arrival.body.to_vec();
        self.keys.decrypt(&mut iv, &mut body);
        let chain = Chain::parse(arrival.header.next, &body)?;
        let id = chain
            .only(PayloadType::IDENTIFICATION)
            .ok_or(Fault::Ignored)?;
        let proof = chain.only(PayloadType::HASH).ok_or(Fault::Ignored)?;
        Identification::parse(id)?;
        let expected = self.keys.prove(&[
            &self.public_r,
            &self.public_i,
            &core.cookie_r.0,
            &core.cookie_i.0,
            &self.sa,
            id,
        ]);
        if !bool::from(expected.as_slice().ct_eq(proof)) {
            return Err(Fault::Fatal(Cause::WrongHash));
        }
        let mut established = Established::new(self.keys.clone(), iv);
        established.start_quick_mode(core, arrival.now, rng)?;
        Ok(State::Established(Box::new(established)))
    }
}

fn clear_payloads<'a>(arrival: &Arrival<'a>) -> Result<Chain<'a>, Fault> {
    let expected = arrival.header.exchange == ExchangeType::MAIN_MODE
        && !arrival.header.flags.contains(Flags::ENCRYPTED);
    if expected {
        Ok(Chain::parse(arrival.header.next, arrival.body)?)
    } else {
        Err(Fault::Ignored)
    }
}

/// HASH(CKY-I | CKY-R | address | port).
fn nat_discovery(core: &Core, hash: Hash, address: Ipv4Addr, port: u16) -> Output {
    hash.digest(&[
        &core.cookie_i.0,
        &core.cookie_r.0,
        &address.octets(),
        &port.to_be_bytes(),
    ])
}

/// Whether an address was translated on the way: the first hash is of ours, the others of the gateway's.
fn behind_nat(core: &Core, hash: Hash, chain: &Chain<'_>) -> bool {
    let mut hashes = chain.all(PayloadType::NAT_D);
    let Some(ours) = hashes.next() else {
        return false;
    };
    let theirs = nat_discovery(core, hash, core.gateway, PORT);
    ours != nat_discovery(core, hash, core.local, PORT).as_slice()
        || !hashes.any(|hash| hash == theirs.as_slice())
}
