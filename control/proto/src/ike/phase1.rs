//! Main mode with a pre-shared key: RFC 2409 §5.4.
//!
//! Payloads that the exchange needs must be there once and in their places; vendor ids and private payloads may follow them.

use std::collections::{BTreeMap, BTreeSet};

use culvert_wire::ike::{Cookie, Flags, PayloadType, Sa, VendorId};
use rand_core::CryptoRng;

use super::error::{Error, Exhausted, Malformed, Misbehaved, Unsupported};
use super::ike_sa::{
    Established, ExpectAgreement, ExpectIdentity, ExpectKeyExchange, IkeSa, State,
};
use super::jobs::Waiting;
use super::message::{Cookies, Keys};
use super::nat::{Dialect, Nat};
use super::output::Event;
use super::phase1_message::{KeyExchange, clear_chain, first_payload, in_phase_1, message_2};
use super::phase1_proposal;
use super::proof::Proved;
use super::responder::{Answered, Arrival, GRACE, Responder};
use super::sets::Peer;
use super::timer::Timer;
use crate::crypto::cipher::Iv;
use crate::crypto::skeyid::{Exchange, Skeyid, first_iv};
use crate::job::{Agreement, Work};
use crate::rows::Path;
use crate::time::Time;

/// Bytes of our nonces.
pub(super) const OUR_NONCE_LEN: usize = 32;

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
        let reply = message_2(cookies, &chosen, &vendors)?;
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
                dialect: Dialect::of(&vendors),
            }),
        };
        self.half_open
            .insert(remote, cookies.initiator, cookies.responder);
        let until = now + self.config.limits.half_open_for;
        self.timers.set(Timer::IkeSa(cookies.responder), until);
        self.ike_sas.insert(cookies.responder, Box::new(sa));
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
        let Ok(reply) = state.message_4(&sa.cookies, path, hash, &agreement.public, &nonce) else {
            return self.remove_ike_sa(cookie);
        };
        sa.answered.reply.clone_from(&reply);
        sa.state = State::ExpectIdentity(ExpectIdentity {
            iv: first_iv(hash, sa.suite.cipher, &state.peer_public, &agreement.public),
            keys: Keys::new(skeyid, sa.suite.cipher),
            offered: state.offered,
            peer_public: state.peer_public,
            nat: state.nat,
            failed: false,
        });
        self.ike_sas.insert(cookie, sa);
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
        let evidence = state.evidence(sa.cookies, &sa.answered.reply)?;
        let Ok(proved) = evidence.verify(arrival, &opened) else {
            self.note_failure(cookie, arrival.path);
            return Err(Misbehaved::NotProved.into());
        };
        let answer = evidence.answer(arrival.path, &proved.iv)?;
        self.establish(now, cookie, arrival, proved, answer);
        Ok(())
    }

    /// HASH_I verified: the IKE SA is established, and message 6 says so.
    fn establish(
        &mut self,
        now: Time,
        cookie: Cookie,
        arrival: &Arrival<'_>,
        proved: Proved,
        (reply, last_block): (Vec<u8>, Iv),
    ) {
        let Some(mut sa) = self.ike_sas.remove(&cookie) else {
            return;
        };
        let State::ExpectIdentity(state) = sa.state else {
            self.ike_sas.insert(cookie, sa);
            return;
        };
        let peer = Peer {
            credential: sa.credential,
            identity: proved.identity,
        };
        let (legacy, life) = (sa.suite.legacy(), sa.life);
        sa.path = arrival.path;
        sa.core = arrival.core;
        sa.answered = Answered {
            request: arrival.digest,
            reply: reply.clone(),
        };
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
