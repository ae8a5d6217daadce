//! All tunnels of all peers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use culvert_wire::id::{SessionId, TunnelId};
use culvert_wire::l2tp::avp::{self, AttributeType, ErrorCode};
use culvert_wire::l2tp::message::stop_ccn;
use culvert_wire::l2tp::message::{self, Body, ControlHeader, ControlMessage, MessageType, cdn};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};

use crate::deadlines::Deadlines;
use crate::l2tp::attributes::{Attributes, need};
use crate::l2tp::config::Config;
use crate::l2tp::output::{Cause, Note, Output, Peer, SessionKey, TunnelKey};
use crate::l2tp::request::Request;
use crate::l2tp::retired::{REST, Retired, random};
use crate::l2tp::tunnel::{Context, State, Timer, Tunnel, put_result};
use crate::rows::{InnerPorts, SetId};
use crate::time::Time;

/// Ids of a peer that may rest at once; more new tunnels within a minute are refused.
const RESTING_TUNNELS: usize = 256;

/// The L2TP network server.
///
/// Feed it control messages and the passing of time, then take what [`Self::poll_output`] gives until it gives nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lns {
    config: Config,
    /// Boxed, as half of the places of a large map are empty.
    tunnels: BTreeMap<TunnelKey, Box<Tunnel>>,
    by_id: BTreeMap<(Peer, TunnelId), TunnelKey>,
    sessions: BTreeMap<SessionKey, (TunnelKey, SessionId)>,
    /// Tunnels of peers in the clear that have not proved themselves.
    unproved: BTreeSet<TunnelKey>,
    retired: BTreeMap<Peer, Retired>,
    timers: Deadlines<Timer>,
    output: VecDeque<Output>,
    last_tunnel: u64,
    last_session: u64,
}

impl Lns {
    /// Starts without tunnels.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            tunnels: BTreeMap::new(),
            by_id: BTreeMap::new(),
            sessions: BTreeMap::new(),
            unproved: BTreeSet::new(),
            retired: BTreeMap::new(),
            timers: Deadlines::default(),
            output: VecDeque::new(),
            last_tunnel: 0,
            last_session: 0,
        }
    }

    /// Handles a control message: a UDP payload, from its flags on.
    ///
    /// # Source
    /// RFC 2661 §3 to §7
    pub fn handle_message(
        &mut self,
        now: Time,
        rng: &mut dyn CryptoRng,
        peer: Peer,
        ports: InnerPorts,
        bytes: &[u8],
    ) {
        let Ok(message) = ControlMessage::parse(bytes) else {
            return self.note(Note::Malformed);
        };
        let id = message.header.tunnel;
        if id == TunnelId(0) {
            return self.handle_connectionless(now, rng, (peer, ports), message, bytes);
        }
        match self.by_id.get(&(peer, id)).copied() {
            None => self.note(Note::UnknownTunnel(id)),
            Some(key) => self.with_tunnel(now, key, |tunnel, cx| {
                tunnel.handle(cx, rng, message, bytes);
            }),
        }
    }

    /// Handles everything that is due.
    pub fn handle_timeout(&mut self, now: Time, _rng: &mut dyn CryptoRng) {
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Retransmit(key) => self.with_tunnel(now, key, Tunnel::retransmit),
                Timer::Hello(key) => self.with_tunnel(now, key, Tunnel::hello),
                Timer::Establish(key) | Timer::Linger(key) => {
                    self.with_tunnel(now, key, |tunnel, cx| tunnel.vanish(cx, Cause::TimedOut));
                }
                Timer::Idle(key) => self.with_tunnel(now, key, |tunnel, cx| {
                    tunnel.stop(cx, Cause::Idle, stop_ccn::GENERAL_REQUEST, ErrorCode::NONE);
                }),
                Timer::Answer(key, session) => self.with_tunnel(now, key, |tunnel, cx| {
                    let none = ErrorCode::NONE;
                    tunnel.hang_up(cx, session, Cause::TimedOut, cdn::TIMEOUT, none);
                }),
                Timer::Forget(peer) => self.forget(now, peer),
            }
        }
    }

    /// Closes a session with CDN; one that is gone already is left alone.
    ///
    /// `cause` is [`Cause::Administrative`], or why PPP or authentication ended.
    pub fn close_session(&mut self, now: Time, session: SessionKey, cause: Cause) {
        if let Some(&(tunnel, local)) = self.sessions.get(&session) {
            let result = match cause {
                Cause::TimedOut | Cause::Idle => cdn::TIMEOUT,
                Cause::Unreachable => cdn::LOST_CARRIER,
                Cause::Peer(_)
                | Cause::Administrative
                | Cause::Replaced
                | Cause::Misbehaved
                | Cause::NotAuthorized
                | Cause::SetClosed => cdn::ADMINISTRATIVE,
            };
            self.with_tunnel(now, tunnel, |tunnel, cx| {
                tunnel.hang_up(cx, local, cause, result, ErrorCode::NONE);
            });
        }
    }

    /// Forgets everything about a set that is gone; its peer is told nothing.
    pub fn close_set(&mut self, now: Time, set: SetId) {
        let peer = Peer::Set(set);
        for key in self.tunnels_of(peer) {
            self.with_tunnel(now, key, |tunnel, cx| tunnel.vanish(cx, Cause::SetClosed));
        }
        // The scope of the resting ids is gone with the set.
        self.retired.remove(&peer);
        self.timers.cancel(Timer::Forget(peer));
    }

    /// Closes a tunnel with StopCCN.
    pub fn close_tunnel(&mut self, now: Time, tunnel: TunnelKey) {
        self.with_tunnel(now, tunnel, Tunnel::shut_down);
    }

    /// Says CDN to every session and StopCCN to every tunnel.
    pub fn close_all(&mut self, now: Time) {
        let keys: Vec<TunnelKey> = self.tunnels.keys().copied().collect();
        for key in keys {
            self.with_tunnel(now, key, Tunnel::shut_down);
        }
    }

    /// Whether a peer has a tunnel, one that is being set up or closed included.
    pub fn has_tunnel(&self, peer: Peer) -> bool {
        self.by_id
            .range((peer, TunnelId(0))..)
            .next()
            .is_some_and(|((other, _), _)| *other == peer)
    }

    /// When [`Self::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    /// Takes the next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// Number of tunnels, those that are being closed included.
    pub fn tunnel_count(&self) -> usize {
        self.tunnels.len()
    }

    /// Number of sessions.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Whether nothing is left: no tunnel, session, timer or resting id.
    pub fn is_empty(&self) -> bool {
        self.tunnels.is_empty()
            && self.by_id.is_empty()
            && self.sessions.is_empty()
            && self.unproved.is_empty()
            && self.retired.is_empty()
            && self.timers.is_empty()
    }

    /// Handles a message for tunnel 0: SCCRQ, or a StopCCN of a peer that does not know our id yet.
    fn handle_connectionless(
        &mut self,
        now: Time,
        rng: &mut dyn CryptoRng,
        (peer, ports): (Peer, InnerPorts),
        message: ControlMessage<'_>,
        bytes: &[u8],
    ) {
        let Ok(body) = message.body() else {
            return self.note(Note::Malformed);
        };
        match body.kind {
            MessageType::SCCRQ => self.sccrq(now, rng, (peer, ports), message.header, body, bytes),
            MessageType::STOP_CCN => {
                let attributes =
                    Attributes::salvage(body.avps, self.config.authentication.secret());
                let assigned = attributes.id(AttributeType::ASSIGNED_TUNNEL_ID);
                match assigned
                    .ok()
                    .flatten()
                    .and_then(|id| self.find_half_open(peer, TunnelId(id)))
                {
                    None => self.note(Note::Connectionless(body.kind)),
                    Some(key) => self.with_tunnel(now, key, |tunnel, cx| {
                        tunnel.handle(cx, rng, message, bytes);
                    }),
                }
            }
            // Apple's clients send Hellos here to wake IKE up; nothing is due to them.
            kind => self.note(Note::Connectionless(kind)),
        }
    }

    fn sccrq(
        &mut self,
        now: Time,
        rng: &mut dyn CryptoRng,
        (peer, ports): (Peer, InnerPorts),
        header: ControlHeader,
        body: Body<'_>,
        bytes: &[u8],
    ) {
        let secret = self.config.authentication.secret();
        let request = Attributes::read(body.avps, secret)
            .map_err(|refusal| (stop_ccn::GENERAL_ERROR, refusal.0))
            .and_then(|attributes| Request::read(bytes, header.ns, &attributes, &self.config));
        let request = match request {
            Ok(request) => request,
            Err((result, error)) => {
                self.note(Note::Refused(body.kind));
                let salvaged = Attributes::salvage(body.avps, self.config.authentication.secret());
                if let Ok(Some(id)) = salvaged.id(AttributeType::ASSIGNED_TUNNEL_ID) {
                    let unused = TunnelId(u16::from_be_bytes(random(rng)) | 1);
                    self.refuse(
                        (peer, ports),
                        (unused, TunnelId(id)),
                        header.ns,
                        (result, error),
                    );
                }
                return;
            }
        };
        if let Some(key) = self.find_remote(peer, request.peer_tunnel) {
            let again = self
                .tunnels
                .get(&key)
                .is_some_and(|tunnel| tunnel.ports == ports && tunnel.was_made_by(bytes, now));
            if again {
                return self.with_tunnel(now, key, |tunnel, cx| {
                    tunnel.repeat_reply(cx, bytes.len());
                });
            }
        }
        self.open_tunnel(now, rng, (peer, ports), request);
    }

    fn open_tunnel(
        &mut self,
        now: Time,
        rng: &mut dyn CryptoRng,
        (peer, ports): (Peer, InnerPorts),
        request: Request<'_>,
    ) {
        self.drop_half_open(now, peer);
        let by_id = &self.by_id;
        let in_use = |id| by_id.contains_key(&(peer, TunnelId(id)));
        let drawn = match self.retired.get_mut(&peer) {
            Some(retired) => retired.draw(now, rng, in_use),
            None => Retired::new(1).draw(now, rng, in_use),
        };
        let Some(local) = drawn.map(TunnelId) else {
            return self.note(Note::Exhausted);
        };
        self.last_tunnel += 1;
        let key = TunnelKey(self.last_tunnel);
        let mut cx = context(
            now,
            &self.config,
            &mut self.timers,
            &mut self.output,
            &mut self.sessions,
            &mut self.last_session,
        );
        let Some(tunnel) = Tunnel::open(&mut cx, rng, (key, peer, ports), local, request) else {
            return self.note(Note::Amplification);
        };
        if tunnel.is_unproved() {
            self.unproved.insert(key);
        }
        self.by_id.insert((peer, local), key);
        self.tunnels.insert(key, Box::new(tunnel));
        self.with_tunnel(now, key, |_, _| {});
        while self.unproved.len() > self.config.unproved_tunnels
            && let Some(&oldest) = self.unproved.first()
        {
            self.with_tunnel(now, oldest, |tunnel, cx| tunnel.vanish(cx, Cause::Replaced));
        }
    }

    /// Answers an SCCRQ with StopCCN and remembers nothing; it is never longer than an SCCRQ that can be refused.
    fn refuse(
        &mut self,
        (peer, ports): (Peer, InnerPorts),
        (local, remote): (TunnelId, TunnelId),
        ns: u16,
        (result, error): (u16, ErrorCode),
    ) {
        let header = ControlHeader {
            tunnel: remote,
            session: SessionId(0),
            ns: 0,
            nr: ns.wrapping_add(1),
        };
        let mut buffer = [0; 64];
        let emitted = message::emit(&mut buffer, header, MessageType::STOP_CCN, |writer| {
            let attribute = AttributeType::ASSIGNED_TUNNEL_ID;
            avp::put_u16(writer, need(attribute), attribute, local.0)?;
            put_result(writer, result, error)
        });
        if let Some(bytes) = emitted.ok().and_then(|len| buffer.get(..len)) {
            self.output.push_back(Output::Transmit {
                peer,
                ports,
                bytes: bytes.to_vec(),
            });
        }
    }

    /// A peer that asks for a new tunnel has given up the one it has not finished.
    fn drop_half_open(&mut self, now: Time, peer: Peer) {
        for key in self.tunnels_of(peer) {
            self.with_tunnel(now, key, |tunnel, cx| {
                if matches!(tunnel.state, State::ExpectScccn(_)) {
                    tunnel.vanish(cx, Cause::Replaced);
                }
            });
        }
    }

    /// Lets the peer's oldest tunnels give way to the one that has just been established.
    fn drop_surplus(&mut self, now: Time, peer: Peer) {
        let mut established = self.tunnels_of(peer);
        established.retain(|key| {
            let tunnel = self.tunnels.get(key);
            tunnel.is_some_and(|tunnel| matches!(tunnel.state, State::Established { .. }))
        });
        established.sort_unstable();
        let surplus = established
            .len()
            .saturating_sub(self.config.tunnels_per_peer);
        for key in established.into_iter().take(surplus) {
            self.with_tunnel(now, key, |tunnel, cx| tunnel.vanish(cx, Cause::Replaced));
        }
    }

    fn tunnels_of(&self, peer: Peer) -> Vec<TunnelKey> {
        let ids = (peer, TunnelId(0))..=(peer, TunnelId(u16::MAX));
        self.by_id.range(ids).map(|(_, &key)| key).collect()
    }

    /// The peer's newest tunnel that it calls `remote`.
    fn find_remote(&self, peer: Peer, remote: TunnelId) -> Option<TunnelKey> {
        let mut tunnels = self.tunnels_of(peer);
        tunnels.retain(|key| {
            let tunnel = self.tunnels.get(key);
            tunnel.is_some_and(|tunnel| tunnel.remote == remote)
        });
        tunnels.into_iter().max()
    }

    /// The same, if it awaits SCCCN.
    fn find_half_open(&self, peer: Peer, remote: TunnelId) -> Option<TunnelKey> {
        self.find_remote(peer, remote).filter(|key| {
            let tunnel = self.tunnels.get(key);
            tunnel.is_some_and(|tunnel| matches!(tunnel.state, State::ExpectScccn(_)))
        })
    }

    /// Changes a tunnel, sends what it has to send, and removes it if it is gone.
    fn with_tunnel(
        &mut self,
        now: Time,
        key: TunnelKey,
        change: impl FnOnce(&mut Tunnel, &mut Context<'_>),
    ) {
        let Some(mut tunnel) = self.tunnels.remove(&key) else {
            return;
        };
        let was_half_open = matches!(tunnel.state, State::ExpectScccn(_));
        let mut cx = context(
            now,
            &self.config,
            &mut self.timers,
            &mut self.output,
            &mut self.sessions,
            &mut self.last_session,
        );
        change(&mut tunnel, &mut cx);
        tunnel.flush(&mut cx);
        let peer = tunnel.peer;
        let opened = was_half_open && matches!(tunnel.state, State::Established { .. });
        if !tunnel.is_unproved() {
            self.unproved.remove(&key);
        }
        match tunnel.state {
            State::Gone => self.bury(now, &tunnel),
            State::ExpectScccn(_)
            | State::Established { .. }
            | State::ExpectStopAck
            | State::Lingering => {
                self.tunnels.insert(key, tunnel);
            }
        }
        if opened {
            self.drop_surplus(now, peer);
        }
    }

    fn bury(&mut self, now: Time, tunnel: &Tunnel) {
        let (peer, local, key) = (tunnel.peer, tunnel.local, tunnel.key);
        self.unproved.remove(&key);
        self.by_id.remove(&(peer, local));
        for timer in [
            Timer::Retransmit,
            Timer::Hello,
            Timer::Establish,
            Timer::Idle,
            Timer::Linger,
        ] {
            self.timers.cancel(timer(key));
        }
        // A peer in the clear that never proved itself must leave nothing behind.
        if !tunnel.is_unproved() {
            let fresh = || Retired::new(RESTING_TUNNELS);
            let retired = self.retired.entry(peer).or_insert_with(fresh);
            retired.push(now, local.0);
            self.timers.set_after(Timer::Forget(peer), now, REST);
        }
    }

    fn forget(&mut self, now: Time, peer: Peer) {
        if self
            .retired
            .get_mut(&peer)
            .is_some_and(|retired| retired.is_empty(now))
        {
            self.retired.remove(&peer);
        }
    }

    fn note(&mut self, note: Note) {
        self.output.push_back(Output::Note(note));
    }
}

fn context<'a>(
    now: Time,
    config: &'a Config,
    timers: &'a mut Deadlines<Timer>,
    output: &'a mut VecDeque<Output>,
    sessions: &'a mut BTreeMap<SessionKey, (TunnelKey, SessionId)>,
    next_session: &'a mut u64,
) -> Context<'a> {
    Context {
        now,
        config,
        timers,
        output,
        sessions,
        next_session,
    }
}
