//! Main mode with a pre-shared key: RFC 2409 §5.4.
//!
//! Payloads that the exchange needs must be there once and in their places; vendor ids and private payloads may follow them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use culvert_wire::ike::{
    Chain, Cookie, ExchangeType, Flags, IdType, Identification, MessageId, Notification,
    NotifyType, PayloadType, Proposal, ProposalSpec, Sa, Transform, TransformSpec, VendorId,
};
use culvert_wire::writer::{Overflow, Writer};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};

use super::config::CredentialId;
use super::error::{Error, Exhausted, Malformed, Misbehaved, Unsupported};
use super::jobs::Waiting;
use super::message::{self, Cookies, Keys};
use super::nat::{Dialect, Nat, discovery_hash};
use super::output::{Event, Identity};
use super::phase1_proposal::{self, IkeSuite};
use super::quick::QuickMode;
use super::responder::{Answered, Arrival, GRACE, Responder};
use super::sets::Peer;
use super::timer::Timer;
use crate::crypto::cipher::Iv;
use crate::crypto::hash::Output;
use crate::crypto::skeyid::{Exchange, Skeyid, first_iv};
use crate::job::{Agreement, JobId, Work};
use crate::rows::{CoreId, Path};
use crate::time::Time;

/// Longest SA payload kept of a half-open peer: room for 20 transforms.
const MAX_SA_LEN: usize = 896;
/// Lengths of a nonce (RFC 2409 §5).
const NONCE_LEN: std::ops::RangeInclusive<usize> = 8..=256;
/// Bytes of our nonces.
pub(super) const OUR_NONCE_LEN: usize = 32;
/// Longest identity kept.
const MAX_IDENTITY_LEN: usize = 256;

/// One IKE SA.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct IkeSa {
    pub(super) cookies: Cookies,
    pub(super) core: CoreId,
    /// Where answers go: where the newest authenticated message came from, before that where the exchange began.
    pub(super) path: Path,
    pub(super) since: Time,
    pub(super) suite: IkeSuite,
    pub(super) life: Duration,
    pub(super) credential: CredentialId,
    pub(super) answered: Answered,
    pub(super) state: State,
}

/// Where an IKE SA stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum State {
    /// We have answered message 1.
    ExpectKeyExchange(ExpectKeyExchange),
    /// Message 3 is here, the shared secret is being computed.
    ExpectAgreement(ExpectAgreement),
    /// We have answered message 3.
    ExpectIdentity(ExpectIdentity),
    /// HASH_I verified.
    Established(Established),
}

/// Awaits message 3.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ExpectKeyExchange {
    /// SAi_b: the SA payload's body as it was sent.
    offered: Vec<u8>,
    dialect: Option<Dialect>,
}

/// Awaits the shared secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ExpectAgreement {
    offered: Vec<u8>,
    peer_public: Vec<u8>,
    peer_nonce: Vec<u8>,
    dialect: Option<Dialect>,
    nat: Nat,
    job: JobId,
}

/// Awaits message 5.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ExpectIdentity {
    offered: Vec<u8>,
    peer_public: Vec<u8>,
    public: Vec<u8>,
    keys: Keys,
    iv: Iv,
    nat: Nat,
    /// A message 5 that does not verify has been noted.
    failed: bool,
}

/// Awaits quick modes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Established {
    pub(super) peer: Peer,
    pub(super) keys: Keys,
    /// Last encrypted block of main mode.
    pub(super) last_block: Iv,
    pub(super) nat: Nat,
    /// Message ids seen or used: each is good once.
    pub(super) used: BTreeSet<MessageId>,
    pub(super) exchanges: BTreeMap<MessageId, QuickMode>,
}

impl IkeSa {
    /// Who the peer is, once it has proved it.
    pub(super) const fn peer(&self) -> Option<&Peer> {
        match &self.state {
            State::Established(established) => Some(&established.peer),
            State::ExpectKeyExchange(_) | State::ExpectAgreement(_) | State::ExpectIdentity(_) => {
                None
            }
        }
    }
}

impl State {
    /// Jobs that it waits for.
    pub(super) fn jobs(&self) -> Vec<JobId> {
        match self {
            Self::ExpectAgreement(state) => vec![state.job],
            Self::Established(state) => state
                .exchanges
                .values()
                .filter_map(QuickMode::job)
                .collect(),
            Self::ExpectKeyExchange(_) | Self::ExpectIdentity(_) => Vec::new(),
        }
    }

    /// Quick modes under way.
    pub(super) fn exchanges(&self) -> Vec<MessageId> {
        match self {
            Self::Established(state) => state.exchanges.keys().copied().collect(),
            Self::ExpectKeyExchange(_) | Self::ExpectAgreement(_) | Self::ExpectIdentity(_) => {
                Vec::new()
            }
        }
    }
}

impl Responder {
    /// Message 1: SA and vendor ids.
    pub(super) fn first_message(
        &mut self,
        now: Time,
        rng: &mut dyn CryptoRng,
        arrival: &Arrival<'_>,
    ) -> Result<(), Error> {
        in_phase_1(arrival, Flags::default())?;
        let remote = arrival.path.remote;
        if let Some(cookie) = self.half_open.find(remote, arrival.header.initiator) {
            return self.repeat(cookie, arrival);
        }
        let chain = clear_chain(arrival)?;
        let offered = first_payload(&chain)?;
        let vendors: Vec<_> = chain.all(PayloadType::VENDOR_ID).map(VendorId).collect();
        let sa = Sa::parse(offered)?;
        let psk = self.config.psk_for(remote.ip()).ok_or(Unsupported::NoPsk)?;
        let credential = psk.credential;
        let gate = self.config.gate(arrival.path.local.ip());
        let Some(chosen) = phase1_proposal::choose(&sa, &gate) else {
            self.note(
                arrival.path,
                Event::NoPhase1Proposal(phase1_proposal::offers(&sa)),
            );
            return Err(Unsupported::Proposal.into());
        };
        self.make_room(arrival)?;
        let cookies = Cookies {
            initiator: arrival.header.initiator,
            responder: self.new_cookie(rng),
        };
        let dialect = Dialect::of(&vendors);
        let dpd = vendors.contains(&VendorId::DPD);
        let echoed = [
            dialect.map(Dialect::vendor_id),
            dpd.then_some(VendorId::DPD),
        ];
        let reply = message::clear(
            cookies,
            ExchangeType::MAIN_MODE,
            MessageId::PHASE_1,
            |message| {
                message.payload(PayloadType::SA, |writer| {
                    emit_choice(&chosen.proposal, &chosen.transform, &[], writer)
                })?;
                let vendors = echoed.iter().flatten();
                vendors
                    .copied()
                    .try_for_each(|v| message.put(PayloadType::VENDOR_ID, v.0))
            },
        )?;
        for legacy in chosen.suite.legacy() {
            *self.counters.legacy.entry(legacy).or_default() += 1;
        }
        let sa = IkeSa {
            cookies,
            core: arrival.core,
            path: arrival.path,
            since: now,
            suite: chosen.suite,
            life: chosen.life,
            credential,
            answered: Answered {
                request: arrival.digest,
                reply: reply.clone(),
            },
            state: State::ExpectKeyExchange(ExpectKeyExchange {
                offered: offered.to_vec(),
                dialect,
            }),
        };
        self.half_open
            .insert(remote, cookies.initiator, cookies.responder);
        let until = now + self.config.limits.half_open_for;
        self.timers.set(Timer::IkeSa(cookies.responder), until);
        self.ike_sas.insert(cookies.responder, sa);
        self.transmit(arrival.core, arrival.path, reply);
        Ok(())
    }

    /// Messages 3 and 5, and repetitions.
    pub(super) fn main_mode(&mut self, now: Time, arrival: &Arrival<'_>) -> Result<(), Error> {
        let sa = self.named(arrival)?;
        let cookie = sa.cookies.responder;
        if sa.answered.request == arrival.digest {
            return self.repeat(cookie, arrival);
        }
        match &sa.state {
            State::ExpectKeyExchange(_) => self.key_exchange(cookie, arrival),
            State::ExpectIdentity(_) => self.identity(now, cookie, arrival),
            State::ExpectAgreement(_) | State::Established(_) => Err(Misbehaved::Unexpected.into()),
        }
    }

    /// Message 3: key exchange, nonce and NAT discovery.
    fn key_exchange(&mut self, cookie: Cookie, arrival: &Arrival<'_>) -> Result<(), Error> {
        in_phase_1(arrival, Flags::default())?;
        let pending = self.jobs.len();
        let Some(sa) = self.ike_sas.get_mut(&cookie) else {
            return Err(Misbehaved::UnknownSa.into());
        };
        let State::ExpectKeyExchange(state) = &mut sa.state else {
            return Err(Misbehaved::Unexpected.into());
        };
        let chain = clear_chain(arrival)?;
        let message = KeyExchange::parse(&chain, state.dialect)?;
        if message.public.len() != sa.suite.group.public_len() {
            return Err(Malformed::PublicValue.into());
        }
        if pending >= self.config.limits.jobs {
            return Err(Exhausted::Jobs.into());
        }
        let discovery = state.dialect.map(|dialect| chain.all(dialect.discovery()));
        let cookies = sa.cookies.concat();
        let nat = Nat::discover(
            discovery.into_iter().flatten(),
            sa.suite.hash,
            &cookies,
            arrival.path,
        );
        let work = Work::KeyExchange {
            group: sa.suite.group,
            peer_public: message.public.to_vec(),
        };
        let job = self.jobs.push(Waiting::MainMode(cookie), work);
        sa.path = arrival.path;
        sa.answered = Answered {
            request: arrival.digest,
            reply: Vec::new(),
        };
        sa.state = State::ExpectAgreement(ExpectAgreement {
            offered: std::mem::take(&mut state.offered),
            peer_public: message.public.to_vec(),
            peer_nonce: message.nonce.to_vec(),
            dialect: state.dialect,
            nat,
            job,
        });
        Ok(())
    }

    /// The shared secret is computed: message 4.
    pub(super) fn main_mode_agreed(
        &mut self,
        now: Time,
        rng: &mut dyn CryptoRng,
        cookie: Cookie,
        agreement: Option<Agreement>,
    ) {
        let Some(mut sa) = self.ike_sas.remove(&cookie) else {
            return;
        };
        let (core, path) = (sa.core, sa.path);
        let State::ExpectAgreement(state) = sa.state else {
            self.ike_sas.insert(cookie, sa);
            return;
        };
        let psk = self.config.psk(sa.credential).map(|psk| psk.key.clone());
        let (Some(agreement), Some(psk)) = (agreement, psk) else {
            self.counters.refused += 1;
            self.note(path, Event::Refused(Malformed::PublicValue.into()));
            return self.remove_ike_sa(cookie);
        };
        let mut nonce = [0; OUR_NONCE_LEN];
        rng.fill_bytes(&mut nonce);
        let hash = sa.suite.hash;
        let exchange = Exchange {
            initiator_cookie: sa.cookies.initiator.0,
            responder_cookie: sa.cookies.responder.0,
            initiator_nonce: &state.peer_nonce,
            responder_nonce: &nonce,
        };
        let skeyid = Skeyid::from_psk(hash, psk.expose(), &exchange, &agreement.shared);
        let Ok(reply) = state.reply(&sa.cookies, path, hash, &agreement.public, &nonce) else {
            return self.remove_ike_sa(cookie);
        };
        sa.answered.reply.clone_from(&reply);
        sa.state = State::ExpectIdentity(ExpectIdentity {
            iv: first_iv(hash, sa.suite.cipher, &state.peer_public, &agreement.public),
            keys: Keys::new(skeyid, sa.suite.cipher),
            offered: state.offered,
            peer_public: state.peer_public,
            public: agreement.public,
            nat: state.nat,
            failed: false,
        });
        self.ike_sas.insert(cookie, sa);
        // The peer has until then from its last message on, not from its first: the job may have waited.
        let until = now + self.config.limits.half_open_for;
        self.timers.set(Timer::IkeSa(cookie), until);
        self.transmit(core, path, reply);
    }

    /// Message 5: the peer proves that it knows the key. The one place where an IKE SA becomes established.
    fn identity(&mut self, now: Time, cookie: Cookie, arrival: &Arrival<'_>) -> Result<(), Error> {
        in_phase_1(arrival, Flags::ENCRYPTED)?;
        let sa = self.named(arrival)?;
        let State::ExpectIdentity(state) = &sa.state else {
            return Err(Misbehaved::Unexpected.into());
        };
        let opened = state.keys.open(&state.iv, arrival.body)?;
        let proved = match state.verify(&sa.cookies, arrival, &opened) {
            Ok(proved) => proved,
            Err(error) => {
                self.note_failure(cookie, arrival.path);
                return Err(error);
            }
        };
        let (reply, last_block) = state.answer(&sa.cookies, arrival.path, &proved.iv)?;
        let Some(mut sa) = self.ike_sas.remove(&cookie) else {
            return Err(Misbehaved::UnknownSa.into());
        };
        let State::ExpectIdentity(state) = sa.state else {
            return Err(Misbehaved::Unexpected.into());
        };
        let peer = Peer {
            credential: sa.credential,
            identity: proved.identity,
        };
        sa.path = arrival.path;
        sa.core = arrival.core;
        sa.answered = Answered {
            request: arrival.digest,
            reply: reply.clone(),
        };
        let legacy: Vec<_> = sa.suite.legacy().collect();
        let life = sa.life;
        sa.state = State::Established(Established {
            peer: peer.clone(),
            keys: state.keys,
            last_block,
            nat: state.nat,
            used: BTreeSet::new(),
            exchanges: BTreeMap::new(),
        });
        self.ike_sas.insert(cookie, sa);
        self.half_open.remove(cookie);
        self.timers.set(Timer::IkeSa(cookie), now + life + GRACE);
        self.counters.established += 1;
        self.note(
            arrival.path,
            Event::Authenticated {
                identity: peer.identity.clone(),
            },
        );
        for legacy in legacy {
            self.note(arrival.path, Event::LegacyUsed(legacy));
        }
        self.enter_established(cookie);
        if proved.initial_contact {
            self.initial_contact(&peer, cookie, arrival.path.remote);
        }
        self.transmit(arrival.core, arrival.path, reply);
        Ok(())
    }

    /// Sends the stored reply again, to where it went; anything but a repetition of the last message is unexpected.
    fn repeat(&mut self, cookie: Cookie, arrival: &Arrival<'_>) -> Result<(), Error> {
        let Some(sa) = self.ike_sas.get(&cookie) else {
            return Err(Misbehaved::UnknownSa.into());
        };
        if sa.answered.request != arrival.digest || sa.path != arrival.path {
            return Err(Misbehaved::Unexpected.into());
        }
        let reply = sa.answered.reply.clone();
        self.counters.repeated += 1;
        self.transmit(arrival.core, arrival.path, reply);
        Ok(())
    }

    /// Gives up an older half-open IKE SA if there is no room for another.
    fn make_room(&mut self, arrival: &Arrival<'_>) -> Result<(), Error> {
        let limits = self.config.limits;
        let source = arrival.path.remote.ip();
        let victim = self
            .half_open
            .victim(source, limits.half_open_per_source, limits.half_open);
        if let Some(victim) = victim {
            self.counters.evicted += 1;
            self.remove_ike_sa(victim);
        }
        if self.ike_sas.len() >= limits.ike_sas || self.half_open.len() >= limits.half_open {
            return Err(Exhausted::IkeSas.into());
        }
        Ok(())
    }

    /// A cookie that is not zero and not in use.
    fn new_cookie(&self, rng: &mut dyn CryptoRng) -> Cookie {
        loop {
            let cookie = Cookie(rng.next_u64().to_be_bytes());
            if cookie != Cookie::ZERO && !self.ike_sas.contains_key(&cookie) {
                return cookie;
            }
        }
    }

    /// Notes once per IKE SA that its peer does not know the key.
    fn note_failure(&mut self, cookie: Cookie, path: Path) {
        let Some(sa) = self.ike_sas.get_mut(&cookie) else {
            return;
        };
        let State::ExpectIdentity(state) = &mut sa.state else {
            return;
        };
        if !std::mem::replace(&mut state.failed, true) {
            self.counters.authentication_failed += 1;
            self.note(path, Event::AuthenticationFailed);
        }
    }
}

impl ExpectAgreement {
    /// Message 4: key exchange, nonce, and NAT discovery if the peer does it: first the hash of its end, then of ours.
    fn reply(
        &self,
        cookies: &Cookies,
        path: Path,
        hash: crate::crypto::hash::Hash,
        public: &[u8],
        nonce: &[u8],
    ) -> Result<Vec<u8>, Error> {
        message::clear(
            *cookies,
            ExchangeType::MAIN_MODE,
            MessageId::PHASE_1,
            |message| {
                message.put(PayloadType::KEY_EXCHANGE, public)?;
                message.put(PayloadType::NONCE, nonce)?;
                let Some(dialect) = self.dialect else {
                    return Ok(());
                };
                for end in [path.remote, path.local] {
                    let discovery = discovery_hash(hash, &cookies.concat(), end);
                    message.put(dialect.discovery(), discovery.as_bytes())?;
                }
                Ok(())
            },
        )
    }
}

/// What a message 5 proved.
#[derive(Debug)]
struct Proved {
    identity: Identity,
    initial_contact: bool,
    iv: Iv,
}

impl ExpectIdentity {
    /// Verifies HASH_I = prf(SKEYID, g^xi ‖ g^xr ‖ CKY-I ‖ CKY-R ‖ SAi_b ‖ IDii_b).
    fn verify(
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
    fn answer(&self, cookies: &Cookies, path: Path, iv: &Iv) -> Result<(Vec<u8>, Iv), Error> {
        let mut id = [0; 24];
        let mut writer = Writer::new(&mut id);
        match path.local.ip() {
            std::net::IpAddr::V4(address) => emit_id(IdType::IPV4, &address.octets(), &mut writer)?,
            std::net::IpAddr::V6(address) => emit_id(IdType::IPV6, &address.octets(), &mut writer)?,
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

/// Writes the one proposal and transform that were chosen, as they were sent but for the SPI.
///
/// RFC 2409 §5: "the responder MUST NOT modify attributes of any offer (attribute encoding excepted)".
pub(super) fn emit_choice(
    proposal: &Proposal<'_>,
    transform: &Transform<'_>,
    spi: &[u8],
    writer: &mut Writer<'_>,
) -> Result<(), Overflow> {
    let attributes: Vec<_> = transform.attributes.iter().collect();
    let transform = TransformSpec {
        number: transform.number,
        id: transform.id,
        attributes: &attributes,
    };
    let proposal = ProposalSpec {
        number: proposal.number,
        protocol: proposal.protocol,
        spi,
        transforms: &[transform],
    };
    Sa::emit(&[proposal], writer)
}

/// Checks flags and message id of main mode.
fn in_phase_1(arrival: &Arrival<'_>, protection: Flags) -> Result<(), Error> {
    let header = &arrival.header;
    if header.message_id != MessageId::PHASE_1 {
        return Err(Misbehaved::Unexpected.into());
    }
    let encrypted = header.flags.contains(Flags::ENCRYPTED);
    if encrypted != protection.contains(Flags::ENCRYPTED) {
        return Err(Misbehaved::Protection.into());
    }
    Ok(())
}

/// The chain of a message in clear, which fills it.
fn clear_chain<'a>(arrival: &Arrival<'a>) -> Result<Chain<'a>, Error> {
    let chain = Chain::parse(arrival.header.next, arrival.body)?;
    if !chain.padding().is_empty() {
        return Err(Malformed::Syntax.into());
    }
    Ok(chain)
}

/// The SA payload that message 1 begins with; only vendor ids, notifications and private payloads may follow.
fn first_payload<'a>(chain: &Chain<'a>) -> Result<&'a [u8], Error> {
    let (first, rest) = chain.split_first().ok_or(Malformed::Payloads)?;
    let fits = first.kind == PayloadType::SA && rest.iter().all(|p| is_extra(p.kind));
    if !fits || first.body.len() > MAX_SA_LEN {
        return Err(Malformed::Payloads.into());
    }
    Ok(first.body)
}

/// What message 3 carries.
#[derive(Debug)]
struct KeyExchange<'a> {
    public: &'a [u8],
    nonce: &'a [u8],
}

impl<'a> KeyExchange<'a> {
    fn parse(chain: &Chain<'a>, dialect: Option<Dialect>) -> Result<Self, Error> {
        let (public, rest) = chain.split_first().ok_or(Malformed::Payloads)?;
        let (nonce, rest) = rest.split_first().ok_or(Malformed::Payloads)?;
        let discovery = dialect.map(Dialect::discovery);
        let allowed = |kind| {
            Some(kind) == discovery
                || kind == PayloadType::CERTIFICATE_REQUEST
                || (is_extra(kind) && kind != PayloadType::NAT_D_DRAFT)
        };
        let fits = public.kind == PayloadType::KEY_EXCHANGE
            && nonce.kind == PayloadType::NONCE
            && rest.iter().all(|payload| allowed(payload.kind));
        if !fits {
            return Err(Malformed::Payloads.into());
        }
        Ok(Self {
            public: public.body,
            nonce: checked_nonce(nonce.body)?,
        })
    }
}

/// The identification and hash that message 5 begins with; certificate requests are no use here and let pass.
fn identity_and_hash<'a>(chain: &Chain<'a>) -> Result<(&'a [u8], &'a [u8]), Error> {
    let (id, rest) = chain.split_first().ok_or(Malformed::Payloads)?;
    let (hash, rest) = rest.split_first().ok_or(Malformed::Payloads)?;
    let allowed = |kind| is_extra(kind) || kind == PayloadType::CERTIFICATE_REQUEST;
    let fits = id.kind == PayloadType::IDENTIFICATION
        && hash.kind == PayloadType::HASH
        && rest.iter().all(|payload| allowed(payload.kind));
    if !fits {
        return Err(Malformed::Decrypted.into());
    }
    Ok((id.body, hash.body))
}

/// A nonce of legal length.
pub(super) fn checked_nonce(nonce: &[u8]) -> Result<&[u8], Error> {
    if NONCE_LEN.contains(&nonce.len()) {
        Ok(nonce)
    } else {
        Err(Malformed::Nonce.into())
    }
}

/// Payloads that may stand behind those that an exchange needs: vendor ids, notifications, private numbers.
fn is_extra(kind: PayloadType) -> bool {
    kind == PayloadType::VENDOR_ID || kind == PayloadType::NOTIFICATION || kind.0 >= 128
}
