//! Quick mode: RFC 2409 §5.5, with the payloads of RFC 3947 §5.
//!
//! ```text
//! HASH(1) = prf(SKEYID_a, M-ID ‖ what follows)        HASH(2) = prf(SKEYID_a, M-ID ‖ Ni_b ‖ what follows)
//! HASH(3) = prf(SKEYID_a, 0 ‖ M-ID ‖ Ni_b ‖ Nr_b)
//! ```
//! Both SAs are installed before message 2 goes out; the outbound one waits until the peer is known to have it.

use std::collections::BTreeMap;
use std::time::Duration;

use culvert_wire::id::Spi;
use culvert_wire::ike::{Cookie, Flags, MessageId};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};

use super::error::{Error, Exhausted, Malformed, Misbehaved, Unsupported};
use super::ike_sa::{Established, State};
use super::jobs::Waiting;
use super::message::{decrypted_chain, split_hash};
use super::offer::{Offer, Proposed};
use super::output::{Event, Legacy, Output};
use super::phase1::OUR_NONCE_LEN;
use super::phase2_proposal::{self, Terms};
use super::responder::{Arrival, Digest, Responder};
use super::sets::{MAX_SAS, PairState, SaPair, Wanted};
use super::timer::Timer;
use crate::crypto::cipher::Iv;
use crate::job::{Agreement, JobId, Work};
use crate::rows::{Change, CoreId, KeyMaterial, Path, SetId};
use crate::time::Time;

/// Quick modes under way in one IKE SA.
const MAX_EXCHANGES: usize = 8;
/// Message ids remembered by one IKE SA: Windows rekeys every 250 MB, some 14,000 times in 8 hours at 1 Gbit/s.
const MAX_MESSAGE_IDS: usize = 16_384;
/// First wait for message 3; doubled with each repetition.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// Repetitions of message 2: the last wait ends 30 s after the first message 2.
const REPETITIONS: u8 = 3;
/// How long a pair is kept that the peer does not seem to have; longer than message 2 is repeated.
const UNCONFIRMED_FOR: Duration = Duration::from_secs(32);

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

/// Everything that message 2 makes.
struct Answer {
    core: CoreId,
    path: Path,
    set: SetId,
    membership: Membership,
    inbound: Spi,
    inbound_keys: KeyMaterial,
    outbound_keys: KeyMaterial,
    /// HASH(3) that the peer will send.
    hash: Vec<u8>,
    reply: Vec<u8>,
    /// Of message 3.
    iv: Iv,
}

/// How a pair came to its set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Membership {
    /// The set was there.
    Joined,
    /// The set is made for it.
    Opened,
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
        // Established peers have the jobs of strangers twice over; beyond that, the peer's repetition is a new attempt.
        if message.public.is_some() && self.jobs.len() >= 2 * self.config.limits.jobs {
            return Err(Exhausted::Jobs.into());
        }
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
        if let Some(legacy) = Legacy::of_group(group) {
            *self.counters.legacy.entry(legacy).or_default() += 1;
            self.note(arrival.path, Event::LegacyUsed(legacy));
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
        Offer::new(message, &chosen, iv)
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
        let answer = self.prepare(rng, exchange, offer, agreement)?;
        let (cookie, id) = exchange;
        let (set, inbound) = (answer.set, answer.inbound);
        self.install(answer.membership, offer, &answer);
        let pair = SaPair {
            inbound,
            outbound: offer.outbound,
            suite: offer.suite,
            life: offer.life,
            ike_sa: cookie,
            since: now,
            state: PairState::Unconfirmed,
        };
        self.sets.add(set, pair);
        self.timers.set(Timer::Sa(inbound), now + UNCONFIRMED_FOR);
        self.timers
            .set(Timer::QuickMode(cookie, id), now + FIRST_WAIT);
        let waiting = ExpectConfirmation {
            request,
            reply: answer.reply.clone(),
            iv: answer.iv,
            hash: answer.hash,
            inbound,
            sent: 0,
        };
        self.set_exchange(exchange, QuickMode::ExpectConfirmation(waiting));
        self.transmit(answer.core, answer.path, answer.reply);
        Ok(())
    }

    /// Finds the pair's set, or makes one, and computes everything; on an error nothing is taken.
    fn prepare(
        &mut self,
        rng: &mut dyn CryptoRng,
        (cookie, id): (Cookie, MessageId),
        offer: &Offer,
        agreement: Option<&Agreement>,
    ) -> Result<Answer, Error> {
        let sa = self.ike_sas.get(&cookie).ok_or(Misbehaved::UnknownSa)?;
        let established = sa.established()?;
        let (core, path) = (sa.core, sa.path);
        let wanted = Wanted {
            core,
            path,
            encapsulation: offer.encapsulation,
            ports: offer.ports,
            peer: &established.peer,
            ike_sa: cookie,
        };
        let joined = self.sets.joined(&wanted);
        if joined.is_some_and(|set| self.sets.has_outbound(set, offer.outbound)) {
            return Err(Misbehaved::SpiInUse.into());
        }
        let owner = joined.map_or(core, |set| set.core);
        let inbound = self.sets.take_spi(owner, rng)?;
        let mut nonce = [0; OUR_NONCE_LEN];
        rng.fill_bytes(&mut nonce);
        let sealed = offer.seal(
            established,
            (sa.cookies, id),
            path,
            inbound,
            &nonce,
            agreement,
        );
        let found = sealed.and_then(|sealed| {
            let set = joined.map_or_else(|| self.sets.open(&wanted), Ok)?;
            Ok((sealed, set))
        });
        let ((reply, iv), set) = found.inspect_err(|_| self.sets.give_back_spi(owner, inbound))?;
        Ok(Answer {
            core,
            path,
            set,
            membership: joined.map_or(Membership::Opened, |_| Membership::Joined),
            inbound,
            inbound_keys: offer.keys(established, inbound, &nonce, agreement),
            outbound_keys: offer.keys(established, offer.outbound, &nonce, agreement),
            hash: established.hash_3(id, &offer.nonce, &nonce),
            reply,
            iv,
        })
    }

    /// Tells the data plane of a pair, and of its set if that is new.
    fn install(&mut self, membership: Membership, offer: &Offer, answer: &Answer) {
        let (set, path, encapsulation) = (answer.set, answer.path, offer.encapsulation);
        match membership {
            Membership::Opened => self.change(Change::OpenSet {
                set,
                path,
                encapsulation,
            }),
            Membership::Joined => self.trim(set),
        }
        self.change(Change::AddSas {
            set,
            inbound: answer.inbound,
            outbound: offer.outbound,
            suite: offer.suite,
            inbound_keys: answer.inbound_keys.clone(),
            outbound_keys: answer.outbound_keys.clone(),
        });
        let identity = self.sets.set(set).map(|set| set.peer.identity.clone());
        if let (Membership::Opened, Some(identity)) = (membership, identity) {
            let ports = offer.ports;
            self.outputs.push_back(Output::SetOpened {
                set,
                path,
                encapsulation,
                identity,
                ports,
            });
        }
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
            return Err(Exhausted::MessageIds.into());
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
        let exchange = established.exchanges.remove(&id);
        if established.exchanges.is_empty() {
            // An empty map keeps room for eleven, in each of many thousand IKE SAs.
            established.exchanges = BTreeMap::new();
        }
        exchange
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
