//! The responder as a whole: where messages, timers and finished jobs go, and what comes out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use culvert_wire::id::Spi;
use culvert_wire::ike::{
    Cookie, ExchangeType, Header, MessageId, Notification, PayloadType, ProtocolId,
};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};

use super::config::Config;
use super::error::{Error, Exhausted, Malformed, Misbehaved, Unsupported, notify_of};
use super::half_open::HalfOpen;
use super::ike_sa::{IkeSa, State};
use super::jobs::{Jobs, Waiting};
use super::message::{self, Cookies};
use super::output::{Event, Note, Output};
use super::sets::{PairState, Peer, Sets};
use super::status::Counters;
use super::timer::{Timer, Timers};
use crate::crypto::hash::Hash;
use crate::job::{JobDone, Outcome};
use crate::rows::{Change, CoreId, Encapsulation, Path, SetId};
use crate::time::Time;

/// IKE SAs of one peer at one address and port: the present one, and those it has reauthenticated from.
const MAX_IKE_SAS_OF_PEER: usize = 4;
/// How long after its life an SA is kept: the peer's clock began later than ours.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// The IKEv1 responder: feed it with `handle_*`, drain [`Self::poll_output`] after each call.
#[derive(Debug, Serialize, Deserialize)]
pub struct Responder {
    pub(super) config: Config,
    /// Boxed, as half of the places of a large map are empty.
    pub(super) ike_sas: BTreeMap<Cookie, Box<IkeSa>>,
    pub(super) half_open: HalfOpen,
    pub(super) established_at: BTreeMap<SocketAddr, BTreeSet<Cookie>>,
    pub(super) sets: Sets,
    pub(super) timers: Timers,
    pub(super) jobs: Jobs,
    pub(super) outputs: VecDeque<Output>,
    pub(super) counters: Counters,
    budget: Budget,
}

/// A message with what it came in on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival<'a> {
    pub(super) core: CoreId,
    pub(super) path: Path,
    pub(super) header: Header,
    /// What follows the header.
    pub(super) body: &'a [u8],
    pub(super) digest: Digest,
}

/// SHA2-256 of a whole message: how a repeated one is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Digest([u8; 32]);

/// The last message that was followed, and the reply that a repetition gets; empty while there is none yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answered {
    pub(super) request: Digest,
    pub(super) reply: Vec<u8>,
}

impl Responder {
    /// A responder without peers.
    pub fn new(config: Config) -> Self {
        Self {
            sets: Sets::new(&config.cores),
            config,
            ike_sas: BTreeMap::new(),
            half_open: HalfOpen::default(),
            established_at: BTreeMap::new(),
            timers: Timers::default(),
            jobs: Jobs::default(),
            outputs: VecDeque::new(),
            counters: Counters::default(),
            budget: Budget::default(),
        }
    }

    /// Takes one ISAKMP message, without non-ESP marker.
    pub fn handle_message(
        &mut self,
        now: Time,
        rng: &mut dyn CryptoRng,
        core: CoreId,
        path: Path,
        bytes: &[u8],
    ) {
        let Ok((header, body)) = Header::split(bytes) else {
            return self.refused(now, path, Malformed::Syntax.into());
        };
        let digest = Digest::of(bytes);
        let arrival = Arrival {
            core,
            path,
            header,
            body,
            digest,
        };
        if let Err(error) = self.follow(now, rng, &arrival) {
            self.refused(now, path, error);
            self.notify_in_clear(now, rng, &arrival, error);
            if error == Exhausted::MessageIds.into() {
                self.close_ike_sa(rng, header.responder);
            }
        }
    }

    /// Takes the result of a job; one that nobody waits for any more is dropped.
    pub fn handle_done(&mut self, now: Time, rng: &mut dyn CryptoRng, done: JobDone) {
        let Outcome::KeyExchange(agreement) = done.outcome else {
            return;
        };
        match self.jobs.take(done.id) {
            Some(Waiting::MainMode(cookie)) => self.main_mode_agreed(rng, cookie, agreement),
            Some(Waiting::QuickMode(cookie, id)) => {
                self.quick_mode_agreed(now, rng, (cookie, id), agreement);
            }
            None => {}
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time, _rng: &mut dyn CryptoRng) {
        while let Some(timer) = self.timers.take_due(now) {
            match timer {
                Timer::IkeSa(cookie) => self.remove_ike_sa(cookie),
                Timer::QuickMode(cookie, id) => self.quick_mode_unanswered(now, cookie, id),
                Timer::Sa(inbound) => self.remove_pair(inbound),
            }
        }
    }

    /// The first valid packet came in on an SA: the peer has the pair.
    pub fn handle_inbound_used(&mut self, _now: Time, inbound: Spi) {
        self.confirm(inbound);
    }

    /// The data plane saw an authenticated packet of a set from a new place; IKE messages go there too.
    pub fn handle_endpoint_moved(&mut self, _now: Time, set: SetId, remote: SocketAddr) {
        let Some(before) = self.sets.moved(set, remote) else {
            return;
        };
        let Some(set) = self.sets.set(set) else {
            return;
        };
        if set.encapsulation != Encapsulation::EspInUdp {
            return;
        }
        let peer = set.peer.clone();
        for cookie in self.ike_sas_of(&peer, before) {
            let Some(sa) = self.ike_sas.get(&cookie) else {
                continue;
            };
            let path = Path { remote, ..sa.path };
            self.move_ike_sa(cookie, path);
        }
    }

    /// Ends a set: the peer is told under its IKE SA, which goes too if it has no other set.
    pub fn close_set(&mut self, _now: Time, rng: &mut dyn CryptoRng, set: SetId) {
        let Some(set) = self.sets.set(set).cloned() else {
            return;
        };
        if let Some(cookie) = self.ike_sa_for(&set) {
            for pair in set
                .pairs
                .iter()
                .filter(|pair| pair.state != PairState::Leaving)
            {
                self.send_delete(rng, cookie, ProtocolId::ESP, &pair.inbound.0.to_be_bytes());
            }
            if self.sets.of_ike_sa(cookie).all(|other| other.id == set.id) {
                self.close_ike_sa(rng, cookie);
            }
        }
        self.drop_set(set.id);
    }

    /// Ends everything: every peer is told.
    pub fn close_all(&mut self, now: Time, rng: &mut dyn CryptoRng) {
        let sets: Vec<_> = self.sets.iter().map(|set| set.id).collect();
        for set in sets {
            self.close_set(now, rng, set);
        }
        let cookies: Vec<_> = self.ike_sas.keys().copied().collect();
        for cookie in cookies {
            self.close_ike_sa(rng, cookie);
        }
    }

    /// The data plane does not have a pair of SAs any more: the peer is told, and the pair is gone.
    pub fn handle_lost(&mut self, rng: &mut dyn CryptoRng, inbound: Spi) {
        let Some(set) = self.sets.by_inbound(inbound) else {
            return;
        };
        if let Some(cookie) = self.ike_sa_for(set) {
            self.send_delete(rng, cookie, ProtocolId::ESP, &inbound.0.to_be_bytes());
        }
        self.remove_pair(inbound);
    }

    /// Whether this set is one of ours.
    pub fn has_set(&self, set: SetId) -> bool {
        self.sets.set(set).is_some()
    }

    /// Takes a set row for a peer that has no SAs; `None` if all are taken.
    pub fn take_row(&mut self, core: CoreId) -> Option<SetId> {
        self.sets.take_row(core)
    }

    /// Gives back a row of [`Self::take_row`].
    pub fn give_back_row(&mut self, set: SetId) {
        self.sets.give_back_row(set);
    }

    /// Keeps a set row and SPIs on its core from being given out until [`Self::release`].
    pub fn reserve(&mut self, set: SetId, inbound: &[Spi]) {
        self.sets.reserve(set, inbound);
    }

    /// Frees what [`Self::reserve`] kept.
    pub fn release(&mut self, set: SetId, inbound: &[Spi]) {
        for spi in inbound {
            self.sets.give_back_spi(set.core, *spi);
        }
        self.sets.give_back_row(set);
    }

    /// When [`Self::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    /// Takes the next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs
            .pop_front()
            .or_else(|| self.jobs.next().map(Output::Job))
    }

    /// Where a message belongs.
    fn follow(
        &mut self,
        now: Time,
        rng: &mut dyn CryptoRng,
        arrival: &Arrival<'_>,
    ) -> Result<(), Error> {
        let header = &arrival.header;
        if header.version.major() != 1 {
            return Err(Unsupported::Version(header.version.major()).into());
        }
        if header.initiator == Cookie::ZERO {
            return Err(Malformed::Syntax.into());
        }
        match header.exchange {
            ExchangeType::MAIN_MODE if header.responder == Cookie::ZERO => {
                self.first_message(now, rng, arrival)
            }
            ExchangeType::MAIN_MODE => self.main_mode(now, arrival),
            ExchangeType::QUICK_MODE => self.quick_mode(now, rng, arrival),
            ExchangeType::INFORMATIONAL => self.informational(now, rng, arrival),
            ExchangeType::AGGRESSIVE => Err(Unsupported::AggressiveMode.into()),
            ExchangeType(other) => Err(Unsupported::Exchange(other).into()),
        }
    }

    /// The IKE SA that a message names by both cookies.
    pub(super) fn named(&self, arrival: &Arrival<'_>) -> Result<&IkeSa, Error> {
        self.ike_sas
            .get(&arrival.header.responder)
            .map(Box::as_ref)
            .filter(|sa| sa.cookies.initiator == arrival.header.initiator)
            .ok_or(Error::Misbehaved(Misbehaved::UnknownSa))
    }

    /// Tells a peer that has not proved itself why its first message was refused: one message, no longer than its own.
    fn notify_in_clear(
        &mut self,
        now: Time,
        rng: &mut dyn CryptoRng,
        arrival: &Arrival<'_>,
        error: Error,
    ) {
        let Some(kind) = notify_of(error) else {
            return;
        };
        let first = arrival.header.responder == Cookie::ZERO
            && arrival.header.exchange != ExchangeType::INFORMATIONAL;
        if !first
            || !self
                .budget
                .take(now, self.config.limits.refusals_per_second)
        {
            return;
        }
        // The responder's cookie stays zero: the initiator has none to compare with, and no SA is made.
        let cookies = Cookies {
            initiator: arrival.header.initiator,
            responder: Cookie::ZERO,
        };
        let id = MessageId(rng.next_u32().max(1));
        let notification = Notification {
            protocol: ProtocolId::ISAKMP,
            kind,
            spi: &[],
            data: &[],
        };
        let notified = message::clear(cookies, ExchangeType::INFORMATIONAL, id, |message| {
            message.payload(PayloadType::NOTIFICATION, |writer| {
                notification.emit(writer)
            })
        });
        let Ok(bytes) = notified else {
            return;
        };
        if bytes.len() <= Header::LEN + arrival.body.len() {
            self.transmit(arrival.core, arrival.path, bytes);
        }
    }

    fn refused(&mut self, now: Time, path: Path, error: Error) {
        self.counters.refused += 1;
        // Already noted in words of their own, or too common to note: repeated and late messages.
        let noted = !matches!(
            error,
            Error::Unsupported(Unsupported::Proposal)
                | Error::Misbehaved(
                    Misbehaved::UnknownSa | Misbehaved::Replay | Misbehaved::NotProved
                )
        );
        if noted
            && self
                .budget
                .take(now, self.config.limits.refusals_per_second)
        {
            self.note(path, Event::Refused(error));
        }
    }

    pub(super) fn transmit(&mut self, core: CoreId, path: Path, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.outputs
                .push_back(Output::Transmit { core, path, bytes });
        }
    }

    pub(super) fn change(&mut self, change: Change) {
        self.outputs.push_back(Output::Change(change));
    }

    pub(super) fn note(&mut self, path: Path, event: Event) {
        self.outputs.push_back(Output::Note(Note {
            remote: path.remote,
            event,
        }));
    }

    /// Established IKE SAs of a peer at one place, the newest last.
    pub(super) fn ike_sas_of(&self, peer: &Peer, remote: SocketAddr) -> Vec<Cookie> {
        let cookies = self.established_at.get(&remote).into_iter().flatten();
        let mut found: Vec<_> = cookies
            .filter_map(|cookie| self.ike_sas.get(cookie))
            .filter(|sa| sa.peer() == Some(peer))
            .map(|sa| (sa.since, sa.cookies.responder))
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, cookie)| cookie).collect()
    }

    /// Enters an IKE SA that has just been established, and drops what its peer has too many of.
    pub(super) fn enter_established(&mut self, cookie: Cookie) {
        let Some(sa) = self.ike_sas.get(&cookie) else {
            return;
        };
        let Some(peer) = sa.peer().cloned() else {
            return;
        };
        let remote = sa.path.remote;
        self.established_at
            .entry(remote)
            .or_default()
            .insert(cookie);
        let all = self.ike_sas_of(&peer, remote);
        for old in all
            .iter()
            .take(all.len().saturating_sub(MAX_IKE_SAS_OF_PEER))
        {
            self.remove_ike_sa(*old);
        }
    }

    /// Answers to an IKE SA go to where its newest authenticated message came from.
    pub(super) fn move_ike_sa(&mut self, cookie: Cookie, path: Path) {
        let Some(sa) = self.ike_sas.get_mut(&cookie) else {
            return;
        };
        let before = std::mem::replace(&mut sa.path, path);
        if before.remote == path.remote || !matches!(sa.state, State::Established(_)) {
            return;
        }
        leave(&mut self.established_at, before.remote, cookie);
        self.established_at
            .entry(path.remote)
            .or_default()
            .insert(cookie);
    }

    /// Forgets an IKE SA; its ESP SAs live on.
    pub(super) fn remove_ike_sa(&mut self, cookie: Cookie) {
        self.half_open.remove(cookie);
        self.timers.cancel(Timer::IkeSa(cookie));
        let Some(sa) = self.ike_sas.remove(&cookie) else {
            return;
        };
        leave(&mut self.established_at, sa.path.remote, cookie);
        for job in sa.state.jobs() {
            self.jobs.abandon(job);
        }
        for id in sa.state.exchanges() {
            self.timers.cancel(Timer::QuickMode(cookie, id));
        }
    }

    /// The peer is known to have a pair: seal with it, unless it has a newer one.
    pub(super) fn confirm(&mut self, inbound: Spi) {
        let Some(pair) = self.sets.pair_mut(inbound) else {
            return;
        };
        if pair.state != PairState::Unconfirmed {
            return;
        }
        pair.state = PairState::Confirmed;
        let (outbound, end) = (pair.outbound, pair.end());
        self.timers.set(Timer::Sa(inbound), end);
        let Some(set) = self.sets.by_inbound(inbound) else {
            return;
        };
        let newer = set
            .pairs
            .iter()
            .rev()
            .take_while(|pair| pair.inbound != inbound);
        let superseded = newer
            .filter(|pair| pair.state == PairState::Confirmed)
            .count()
            > 0;
        let set = set.id;
        if !superseded {
            self.change(Change::UseOutbound { set, outbound });
        }
    }

    /// Removes a pair, and its set with the last one.
    pub(super) fn remove_pair(&mut self, inbound: Spi) {
        self.timers.cancel(Timer::Sa(inbound));
        let Some((set, pair)) = self.sets.remove_pair(inbound) else {
            return;
        };
        if self.sets.set(set).is_some_and(|set| set.pairs.is_empty()) {
            return self.drop_set(set);
        }
        if pair.state != PairState::Leaving {
            self.change(Change::RemoveOutbound {
                set,
                outbound: pair.outbound,
            });
        }
        self.change(Change::RemoveInbound { set, inbound });
    }

    /// Removes a set with everything in it, without a word to the peer.
    pub(super) fn drop_set(&mut self, id: SetId) {
        let Some(set) = self.sets.set(id) else {
            return;
        };
        let inbounds: Vec<_> = set.pairs.iter().map(|pair| pair.inbound).collect();
        for inbound in inbounds {
            self.timers.cancel(Timer::Sa(inbound));
            self.sets.remove_pair(inbound);
        }
        self.sets.remove(id);
        self.change(Change::CloseSet(id));
        self.outputs.push_back(Output::SetClosed { set: id });
    }
}

impl Digest {
    /// The digest of a message.
    fn of(bytes: &[u8]) -> Self {
        let hash = Hash::Sha2_256.digest(&[bytes]);
        let mut digest = [0; 32];
        digest.copy_from_slice(hash.as_bytes());
        Self(digest)
    }
}

/// What may be told to strangers, or noted of them, per second.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Budget {
    second: u64,
    used: u32,
}

impl Budget {
    fn take(&mut self, now: Time, per_second: u32) -> bool {
        let second = now.as_micros() / 1_000_000;
        if second != self.second {
            *self = Self { second, used: 0 };
        }
        let allowed = self.used < per_second;
        self.used += u32::from(allowed);
        allowed
    }
}

fn leave(index: &mut BTreeMap<SocketAddr, BTreeSet<Cookie>>, remote: SocketAddr, cookie: Cookie) {
    if let Some(cookies) = index.get_mut(&remote) {
        cookies.remove(&cookie);
        if cookies.is_empty() {
            index.remove(&remote);
        }
    }
}
