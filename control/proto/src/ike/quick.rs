//! Quick mode: RFC 2409 §5.5, with the payloads of RFC 3947 §5.
//!
//! ```text
//! HASH(1) = prf(SKEYID_a, M-ID ‖ what follows)        HASH(2) = prf(SKEYID_a, M-ID ‖ Ni_b ‖ what follows)
//! HASH(3) = prf(SKEYID_a, 0 ‖ M-ID ‖ Ni_b ‖ Nr_b)
//! ```
//! Both SAs are installed before message 2 goes out; the outbound one waits until the peer is known to have it.

use std::net::IpAddr;
use std::time::Duration;

use culvert_wire::id::Spi;
use culvert_wire::ike::{
    Chain, Cookie, ExchangeType, Flags, Header, IdType, Identification, MessageId, PayloadType,
    ProtocolId, Sa, nat_original,
};
use culvert_wire::writer::{Overflow, Writer};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};

use super::error::{Error, Exhausted, Malformed, Misbehaved, Unsupported};
use super::jobs::Waiting;
use super::message::{self, decrypted_chain, split_hash};
use super::output::{Event, Output};
use super::phase1::{Established, IkeSa, OUR_NONCE_LEN, State, checked_nonce, emit_choice};
use super::phase2_proposal::{self, Life, Terms};
use super::responder::{Arrival, Digest, GRACE, Responder};
use super::sets::{MAX_SAS, PairState, SaPair, Wanted};
use super::timer::Timer;
use crate::crypto::cipher::Iv;
use crate::crypto::dh::Group;
use crate::crypto::skeyid::QuickMode as QuickModeKeys;
use crate::job::{Agreement, JobId, Work};
use crate::rows::{Change, CoreId, Encapsulation, EspSuite, InnerPorts, Path, SetId};
use crate::time::Time;

/// UDP, the only protocol inside.
const UDP: u8 = 17;
/// Our L2TP port.
const L2TP_PORT: u16 = 1_701;
/// Quick modes under way in one IKE SA.
const MAX_EXCHANGES: usize = 8;
/// Message ids remembered by one IKE SA: Windows rekeys every 250 MB, some 14,000 times in 8 hours at 1 Gbit/s.
const MAX_MESSAGE_IDS: usize = 16_384;
/// First wait for message 3; doubled with each repetition.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// Repetitions of message 2: the last wait ends 30 s after the first message 2.
const REPETITIONS: u8 = 3;

/// A quick mode under way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum QuickMode {
    /// Message 1 asked for perfect forward secrecy: the shared secret is being computed.
    ExpectAgreement(ExpectAgreement),
    /// Message 2 is out.
    ExpectConfirmation(ExpectConfirmation),
}

/// Awaits the shared secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ExpectAgreement {
    request: Digest,
    offer: Offer,
    job: JobId,
    core: CoreId,
}

/// Awaits message 3.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ExpectConfirmation {
    request: Digest,
    reply: Vec<u8>,
    iv: Iv,
    hash: Vec<u8>,
    inbound: Spi,
    sent: u8,
}

/// What message 1 asks for and we agree to.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Offer {
    suite: EspSuite,
    encapsulation: Encapsulation,
    group: Option<Group>,
    life: Life,
    outbound: Spi,
    ports: InnerPorts,
    /// Body of the SA payload, kept to repeat the chosen transform as it was sent.
    sa: Vec<u8>,
    nonce: Vec<u8>,
    /// Bodies of the identification payloads, given back as they came; none or two.
    ids: Vec<Vec<u8>>,
    /// Kind of the peer's NAT original address payloads, if it sent any.
    original: Option<PayloadType>,
    iv: Iv,
}

impl QuickMode {
    /// The job that it waits for.
    pub(super) const fn job(&self) -> Option<JobId> {
        match self {
            Self::ExpectAgreement(state) => Some(state.job),
            Self::ExpectConfirmation(_) => None,
        }
    }

    const fn request(&self) -> Digest {
        match self {
            Self::ExpectAgreement(state) => state.request,
            Self::ExpectConfirmation(state) => state.request,
        }
    }
}

impl IkeSa {
    /// What it is once its peer has proved itself.
    pub(super) const fn established(&self) -> Result<&Established, Error> {
        match &self.state {
            State::Established(established) => Ok(established),
            State::ExpectKeyExchange(_) | State::ExpectAgreement(_) | State::ExpectIdentity(_) => {
                Err(Error::Misbehaved(Misbehaved::Unexpected))
            }
        }
    }
}

impl Established {
    /// Decrypts and verifies the first message of an exchange under the IKE SA; what follows its HASH.
    pub(super) fn open_first(&self, header: &Header, body: &[u8]) -> Result<(Vec<u8>, Iv), Error> {
        let id = header.message_id;
        if self.used.contains(&id) {
            return Err(Misbehaved::Replay.into());
        }
        let iv = self.keys.exchange_iv(&self.last_block, id);
        let (bytes, next) = self.keys.open(&iv, body)?;
        let chain = decrypted_chain(header, &bytes)?;
        let (hash, rest) = split_hash(&chain)?;
        let expected = self.keys.skeyid.prf_a(&[&id.0.to_be_bytes(), rest.bytes()]);
        if !expected.matches(hash) {
            return Err(Misbehaved::Hash.into());
        }
        Ok((bytes, next))
    }
}

impl Responder {
    /// Messages 1 and 3, and repetitions of message 1.
    pub(super) fn quick_mode(
        &mut self,
        now: Time,
        rng: &mut dyn CryptoRng,
        arrival: &Arrival<'_>,
    ) -> Result<(), Error> {
        under_ike_sa(arrival)?;
        let sa = self.named(arrival)?;
        let established = sa.established()?;
        let cookie = sa.cookies.responder;
        match established.exchanges.get(&arrival.header.message_id) {
            None => self.quick_mode_offered(now, rng, cookie, arrival),
            Some(exchange) if exchange.request() == arrival.digest => {
                self.repeat_message_2(cookie, arrival);
                Ok(())
            }
            Some(QuickMode::ExpectConfirmation(_)) => self.quick_mode_confirmed(cookie, arrival),
            Some(QuickMode::ExpectAgreement(_)) => Err(Misbehaved::Unexpected.into()),
        }
    }

    /// Message 1.
    fn quick_mode_offered(
        &mut self,
        now: Time,
        rng: &mut dyn CryptoRng,
        cookie: Cookie,
        arrival: &Arrival<'_>,
    ) -> Result<(), Error> {
        let id = arrival.header.message_id;
        let established = self.named(arrival)?.established()?;
        if established.exchanges.len() >= MAX_EXCHANGES {
            return Err(Exhausted::Exchanges.into());
        }
        let (bytes, iv) = established.open_first(&arrival.header, arrival.body)?;
        let chain = decrypted_chain(&arrival.header, &bytes)?;
        let (_, rest) = split_hash(&chain)?;
        let message = Proposed::parse(&rest)?;
        self.authenticated(cookie, arrival)?;
        let offer = match self.negotiate(cookie, arrival.path, &message, iv) {
            Ok(offer) => offer,
            Err(error) => {
                self.notify(rng, cookie, error);
                return Err(error);
            }
        };
        let Some(group) = offer.group else {
            let result =
                self.answer_quick_mode(now, rng, (cookie, id), arrival.digest, &offer, None);
            return result.inspect_err(|error| self.notify(rng, cookie, *error));
        };
        // Established peers have the jobs of strangers twice over.
        if self.jobs.len() >= 2 * self.config.limits.jobs {
            return Err(Exhausted::Jobs.into());
        }
        let peer_public = message.public.unwrap_or_default().to_vec();
        let job = self.jobs.push(
            Waiting::QuickMode(cookie, id),
            Work::KeyExchange { group, peer_public },
        );
        let waiting = ExpectAgreement {
            request: arrival.digest,
            offer,
            job,
            core: arrival.core,
        };
        self.set_exchange((cookie, id), QuickMode::ExpectAgreement(waiting));
        Ok(())
    }

    /// Chooses from message 1; notes what was offered if nothing of it is acceptable.
    fn negotiate(
        &mut self,
        cookie: Cookie,
        path: Path,
        message: &Proposed<'_>,
        iv: Iv,
    ) -> Result<Offer, Error> {
        let ports = ports(&message.ids)?;
        let sa = self.ike_sas.get(&cookie).ok_or(Misbehaved::UnknownSa)?;
        let gate = self.config.gate(path.local.ip());
        let terms = Terms {
            gate: &gate,
            nat: sa.established()?.nat,
            path,
            public_len: message.public.map(<[u8]>::len),
        };
        let Some(chosen) = phase2_proposal::choose(&message.sa, &terms) else {
            self.note(
                path,
                Event::NoPhase2Proposal(phase2_proposal::offers(&message.sa)),
            );
            return Err(Unsupported::Proposal.into());
        };
        let mut body = vec![0; message.sa_len + 16];
        let mut writer = Writer::new(&mut body);
        // With a stand-in for our SPI, which is chosen when the set is.
        emit_choice(&chosen.proposal, &chosen.transform, &[0; 4], &mut writer)?;
        let sa = writer.written().to_vec();
        Ok(Offer {
            suite: chosen.suite,
            encapsulation: chosen.encapsulation,
            group: chosen.group,
            life: chosen.life,
            outbound: Spi(chosen.outbound),
            ports,
            sa,
            nonce: message.nonce.to_vec(),
            ids: message.ids.clone(),
            original: message.original,
            iv,
        })
    }

    /// The shared secret is computed.
    pub(super) fn quick_mode_agreed(
        &mut self,
        now: Time,
        rng: &mut dyn CryptoRng,
        exchange: (Cookie, MessageId),
        agreement: Option<Agreement>,
    ) {
        let Some(QuickMode::ExpectAgreement(state)) = self.take_exchange(exchange) else {
            return;
        };
        let result = match &agreement {
            Some(_) => self.answer_quick_mode(
                now,
                rng,
                exchange,
                state.request,
                &state.offer,
                agreement.as_ref(),
            ),
            None => Err(Malformed::PublicValue.into()),
        };
        let Err(error) = result else {
            return;
        };
        self.notify(rng, exchange.0, error);
        if let Some(sa) = self.ike_sas.get(&exchange.0) {
            let path = sa.path;
            self.counters.refused += 1;
            self.note(path, Event::Refused(error));
        }
    }

    /// Installs the pair of SAs and sends message 2.
    fn answer_quick_mode(
        &mut self,
        now: Time,
        rng: &mut dyn CryptoRng,
        exchange: (Cookie, MessageId),
        request: Digest,
        offer: &Offer,
        agreement: Option<&Agreement>,
    ) -> Result<(), Error> {
        let (cookie, id) = exchange;
        let sa = self.ike_sas.get(&cookie).ok_or(Misbehaved::UnknownSa)?;
        let established = sa.established()?;
        let (core, path, cookies) = (sa.core, sa.path, sa.cookies);
        let wanted = Wanted {
            core,
            path,
            encapsulation: offer.encapsulation,
            ports: offer.ports,
            peer: &established.peer,
            ike_sa: cookie,
        };
        let joined = self.sets.joined(&wanted);
        let owner = joined.map_or(core, |set| set.core);
        let inbound = self.sets.take_spi(owner, rng)?;
        let mut nonce = [0; OUR_NONCE_LEN];
        rng.fill_bytes(&mut nonce);
        let sealed = offer.seal(established, (cookies, id), path, inbound, &nonce, agreement);
        let opened = sealed.and_then(|sealed| {
            let set = joined.map_or_else(|| self.sets.open(&wanted), Ok)?;
            Ok((sealed, set))
        });
        let ((reply, iv), set) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.sets.give_back_spi(owner, inbound);
                return Err(error);
            }
        };
        let hash = established.hash_3(id, &offer.nonce, &nonce);
        let keys = |spi| offer.keys(established, spi, &nonce, agreement);
        let change = Change::AddSas {
            set,
            inbound,
            outbound: offer.outbound,
            suite: offer.suite,
            inbound_keys: keys(inbound),
            outbound_keys: keys(offer.outbound),
        };
        let identity = established.peer.identity.clone();
        if joined.is_none() {
            let encapsulation = offer.encapsulation;
            self.change(Change::OpenSet {
                set,
                path,
                encapsulation,
            });
        } else {
            self.trim(set);
        }
        self.change(change);
        if joined.is_none() {
            self.outputs.push_back(Output::SetOpened {
                set,
                path,
                encapsulation: offer.encapsulation,
                identity,
                ports: offer.ports,
            });
        }
        let pair = SaPair {
            inbound,
            outbound: offer.outbound,
            suite: offer.suite,
            life: offer.life,
            ike_sa: cookie,
            state: PairState::Unconfirmed,
        };
        self.sets.add(set, pair);
        self.timers
            .set(Timer::Sa(inbound), now + offer.life.time + GRACE);
        self.timers
            .set(Timer::QuickMode(cookie, id), now + FIRST_WAIT);
        let waiting = ExpectConfirmation {
            request,
            reply: reply.clone(),
            iv,
            hash,
            inbound,
            sent: 0,
        };
        self.set_exchange(exchange, QuickMode::ExpectConfirmation(waiting));
        self.transmit(core, path, reply);
        Ok(())
    }

    /// Message 3.
    fn quick_mode_confirmed(&mut self, cookie: Cookie, arrival: &Arrival<'_>) -> Result<(), Error> {
        let established = self.named(arrival)?.established()?;
        let id = arrival.header.message_id;
        let Some(QuickMode::ExpectConfirmation(state)) = established.exchanges.get(&id) else {
            return Err(Misbehaved::Unexpected.into());
        };
        let (bytes, _) = established.keys.open(&state.iv, arrival.body)?;
        let chain = decrypted_chain(&arrival.header, &bytes)?;
        let (hash, _) = split_hash(&chain)?;
        if !bool::from(subtle::ConstantTimeEq::ct_eq(hash, state.hash.as_slice())) {
            return Err(Misbehaved::Hash.into());
        }
        let inbound = state.inbound;
        self.move_ike_sa(cookie, arrival.path);
        self.take_exchange((cookie, id));
        self.confirm(inbound);
        Ok(())
    }

    /// Message 3 did not come: message 2 is sent again, or the pair is removed if nothing shows that the peer has it.
    pub(super) fn quick_mode_unanswered(&mut self, now: Time, cookie: Cookie, id: MessageId) {
        let Some(QuickMode::ExpectConfirmation(mut state)) = self.take_exchange((cookie, id))
        else {
            return;
        };
        let waits = self
            .sets
            .pair_mut(state.inbound)
            .is_some_and(|pair| pair.state == PairState::Unconfirmed);
        if !waits {
            return;
        }
        if state.sent >= REPETITIONS {
            return self.remove_pair(state.inbound);
        }
        let Some(sa) = self.ike_sas.get(&cookie) else {
            return;
        };
        let (core, path) = (sa.core, sa.path);
        state.sent += 1;
        self.timers.set(
            Timer::QuickMode(cookie, id),
            now + FIRST_WAIT * (1 << state.sent),
        );
        self.transmit(core, path, state.reply.clone());
        self.set_exchange((cookie, id), QuickMode::ExpectConfirmation(state));
    }

    /// The first message of an exchange verified: its id is spent, and answers go to where it came from.
    pub(super) fn authenticated(
        &mut self,
        cookie: Cookie,
        arrival: &Arrival<'_>,
    ) -> Result<(), Error> {
        let Some(sa) = self.ike_sas.get_mut(&cookie) else {
            return Err(Misbehaved::UnknownSa.into());
        };
        let State::Established(established) = &mut sa.state else {
            return Err(Misbehaved::Unexpected.into());
        };
        if established.used.len() >= MAX_MESSAGE_IDS {
            return Err(Exhausted::Exchanges.into());
        }
        established.used.insert(arrival.header.message_id);
        sa.core = arrival.core;
        self.move_ike_sa(cookie, arrival.path);
        Ok(())
    }

    /// Sends message 2 again to a peer that repeats message 1.
    fn repeat_message_2(&mut self, cookie: Cookie, arrival: &Arrival<'_>) {
        let exchanges = self
            .ike_sas
            .get(&cookie)
            .and_then(|sa| sa.established().ok());
        let exchange = exchanges.and_then(|e| e.exchanges.get(&arrival.header.message_id));
        let (Some(sa), Some(QuickMode::ExpectConfirmation(state))) =
            (self.ike_sas.get(&cookie), exchange)
        else {
            return;
        };
        let (core, path, reply) = (sa.core, sa.path, state.reply.clone());
        self.counters.repeated += 1;
        self.transmit(core, path, reply);
    }

    /// Makes room for one more pair in a set: what is leaving goes first, then the oldest.
    fn trim(&mut self, set: SetId) {
        while let Some(pairs) = self.sets.set(set).map(|set| &set.pairs) {
            if pairs.len() < MAX_SAS {
                return;
            }
            let leaving = pairs.iter().find(|pair| pair.state == PairState::Leaving);
            let Some(pair) = leaving.or_else(|| pairs.first()) else {
                return;
            };
            let inbound = pair.inbound;
            self.remove_pair(inbound);
        }
    }

    fn set_exchange(&mut self, (cookie, id): (Cookie, MessageId), exchange: QuickMode) {
        if let Some(sa) = self.ike_sas.get_mut(&cookie)
            && let State::Established(established) = &mut sa.state
        {
            established.exchanges.insert(id, exchange);
        }
    }

    fn take_exchange(&mut self, (cookie, id): (Cookie, MessageId)) -> Option<QuickMode> {
        self.timers.cancel(Timer::QuickMode(cookie, id));
        let State::Established(established) = &mut self.ike_sas.get_mut(&cookie)?.state else {
            return None;
        };
        established.exchanges.remove(&id)
    }
}

impl Established {
    fn hash_3(&self, id: MessageId, peer_nonce: &[u8], nonce: &[u8]) -> Vec<u8> {
        let hash = self
            .keys
            .skeyid
            .prf_a(&[&[0], &id.0.to_be_bytes(), peer_nonce, nonce]);
        hash.as_bytes().to_vec()
    }
}

impl Offer {
    /// Key material of one direction.
    fn keys(
        &self,
        established: &Established,
        spi: Spi,
        nonce: &[u8],
        agreement: Option<&Agreement>,
    ) -> crate::rows::KeyMaterial {
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
    fn seal(
        &self,
        established: &Established,
        exchange: (message::Cookies, MessageId),
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

/// What a message 1 proposes, checked as far as it can be without choosing.
#[derive(Debug)]
struct Proposed<'a> {
    sa: Sa<'a>,
    sa_len: usize,
    nonce: &'a [u8],
    public: Option<&'a [u8]>,
    ids: Vec<Vec<u8>>,
    original: Option<PayloadType>,
}

impl<'a> Proposed<'a> {
    fn parse(chain: &Chain<'a>) -> Result<Self, Error> {
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

/// Checks flags and message id of an exchange under an IKE SA.
pub(super) fn under_ike_sa(arrival: &Arrival<'_>) -> Result<(), Error> {
    if !arrival.header.flags.contains(Flags::ENCRYPTED) {
        return Err(Misbehaved::Protection.into());
    }
    if arrival.header.message_id == MessageId::PHASE_1 {
        return Err(Misbehaved::Unexpected.into());
    }
    Ok(())
}
