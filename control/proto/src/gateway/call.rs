//! A call: one L2TP session with the PPP inside it, from ICRQ to CDN.

use std::net::Ipv4Addr;

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};

use super::{Destination, Gateway, Note, Table};
use crate::job::JobDone;
use crate::l2tp::{self, SessionConnected, SessionKey, SessionOpened};
use crate::ppp;
use crate::rows::{Change, Phase, PppFraming, Sequencing, SessionRow, SessionSpec, SetId};
use crate::time::Time;

/// Longest frame that is kept until its call is connected, in bytes: an LCP request is far shorter.
const MAX_EARLY: usize = 512;

/// One call.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Call {
    /// As the data plane has it.
    pub(super) spec: SessionSpec,
    /// When it was asked for.
    pub(super) since: Time,
    /// Who it is, once that is proved.
    pub(super) user: Option<String>,
    /// The address it was given.
    pub(super) address: Option<Ipv4Addr>,
    /// The address that is the user's own.
    fixed: Option<Ipv4Addr>,
    /// PPP, once the call is connected.
    ppp: Option<ppp::Session>,
    /// The last frame that came before ICCN: a client that sends both at once must not wait for its LCP timer.
    early: Option<Vec<u8>>,
    /// Why PPP ended.
    ended: Option<ppp::Cause>,
}

impl Call {
    pub(super) fn new(now: Time, row: SessionRow, set: SetId, opened: &SessionOpened) -> Self {
        let spec = SessionSpec {
            row,
            set,
            ports: opened.ports,
            local_tunnel: opened.local_tunnel,
            local_session: opened.local_session,
            peer_tunnel: opened.peer_tunnel,
            peer_session: opened.peer_session,
            sequencing: Sequencing::Off,
            framing: PppFraming::default(),
            phase: Phase::Negotiating,
        };
        Self {
            spec,
            since: now,
            user: None,
            address: None,
            fixed: None,
            ppp: None,
            early: None,
            ended: None,
        }
    }
}

impl Gateway {
    /// Takes a PPP frame; one of a session that is gone is dropped, one of a session that is not connected yet is kept.
    pub(super) fn handle_frame(
        &mut self,
        now: Time,
        rng: &mut dyn CryptoRng,
        row: SessionRow,
        bytes: &[u8],
    ) {
        let Some(&key) = self.by_row.get(&row) else {
            return;
        };
        let Some(call) = self.calls.get_mut(&key) else {
            return;
        };
        match &mut call.ppp {
            Some(session) => {
                session.handle_frame(now, rng, &self.users, bytes);
                self.stirred.insert(key);
            }
            None => call.early = (bytes.len() <= MAX_EARLY).then(|| bytes.to_vec()),
        }
    }

    pub(super) fn handle_ppp_done(&mut self, now: Time, key: SessionKey, done: &JobDone) {
        if let Some(session) = self.ppp_of(key) {
            session.handle_job(now, done);
            self.stirred.insert(key);
        }
    }

    pub(super) fn call_timeouts(&mut self, now: Time, rng: &mut dyn CryptoRng) {
        while let Some(key) = self.deadlines.pop_due(now) {
            if let Some(session) = self.ppp_of(key) {
                session.handle_timeout(now, rng);
                self.stirred.insert(key);
            }
        }
    }

    /// The call is connected: PPP begins.
    pub(super) fn session_connected(
        &mut self,
        now: Time,
        rng: &mut dyn CryptoRng,
        connected: &SessionConnected,
    ) {
        let config = self.ppp.clone();
        let Some(call) = self.calls.get_mut(&connected.session) else {
            return;
        };
        let mut session = ppp::Session::new(now, rng, config);
        if let Some(frame) = call.early.take() {
            session.handle_frame(now, rng, &self.users, &frame);
        }
        call.ppp = Some(session);
        if call.spec.sequencing != connected.sequencing {
            call.spec.sequencing = connected.sequencing;
            let spec = call.spec.clone();
            self.change(Change::OpenSession(spec));
        }
        self.stirred.insert(connected.session);
    }

    /// The call is gone: what it had is free again, and whoever waits for an address gets it.
    pub(super) fn session_closed(
        &mut self,
        now: Time,
        rng: &mut dyn CryptoRng,
        key: SessionKey,
        cause: l2tp::Cause,
    ) {
        let Some(call) = self.calls.remove(&key) else {
            return;
        };
        self.deadlines.cancel(key);
        self.stirred.remove(&key);
        self.waiting.remove(&key);
        self.by_row.remove(&call.spec.row);
        if let Some(address) = call.address {
            self.pool.release(address);
        }
        self.change(Change::CloseSession(call.spec.row));
        self.give_back_row(call.spec.row);
        self.note(Note::SessionDown {
            session: call.spec.row,
            user: call.user,
            ppp: call.ended,
            l2tp: cause,
        });
        if let (Some(_), Some(waiting)) = (call.address, self.waiting.first().copied()) {
            self.waiting.remove(&waiting);
            self.lease(now, rng, waiting);
        }
    }

    /// Passes on what one call has to say; false if none has anything.
    pub(super) fn stir_call(&mut self, now: Time, rng: &mut dyn CryptoRng) -> bool {
        let Some(key) = self.stirred.pop_first() else {
            return false;
        };
        while let Some(output) = self.ppp_of(key).and_then(ppp::Session::poll_output) {
            self.on_ppp(now, rng, key, output);
        }
        match self.ppp_of(key).and_then(|session| session.poll_timeout()) {
            Some(at) => self.deadlines.set(key, at),
            None => self.deadlines.cancel(key),
        }
        true
    }

    fn on_ppp(&mut self, now: Time, rng: &mut dyn CryptoRng, key: SessionKey, output: ppp::Output) {
        let Some(call) = self.calls.get_mut(&key) else {
            return;
        };
        let row = call.spec.row;
        match output {
            ppp::Output::Transmit(bytes) => self.transmit(Destination::Ppp(row), bytes),
            ppp::Output::Job(job) => {
                let set = call.spec.set;
                self.ask_check(job, key, set);
            }
            ppp::Output::Authenticated { user, address } => {
                self.authenticated(key, user, address);
                self.lease(now, rng, key);
            }
            ppp::Output::Open {
                address,
                mru,
                framing,
            } => self.open(key, address, mru, framing),
            ppp::Output::Revoked => {
                // What LCP agreed on is gone too, before the next frame is sent.
                call.spec.framing = PppFraming::default();
                self.set_phase(key, Phase::Negotiating);
            }
            ppp::Output::Closed { cause } => {
                call.ended = Some(cause);
                self.lns
                    .close_session(now, key, l2tp::Cause::Administrative);
            }
            ppp::Output::Note(note) => self.note(Note::Ppp { session: row, note }),
        }
    }

    /// The peer has proved who it is, perhaps once more and as somebody else: then its address is not its own any more.
    fn authenticated(&mut self, key: SessionKey, user: String, fixed: Option<Ipv4Addr>) {
        let Some(call) = self.calls.get_mut(&key) else {
            return;
        };
        if call.user.as_ref().is_some_and(|before| *before != user)
            && let Some(address) = call.address.take()
        {
            self.pool.release(address);
        }
        call.user = Some(user);
        call.fixed = fixed;
    }

    /// Finds an address for an authenticated call: the one it has, the user's own, or one from the pool.
    pub(super) fn lease(&mut self, now: Time, rng: &mut dyn CryptoRng, key: SessionKey) {
        let Some(call) = self.calls.get_mut(&key) else {
            return;
        };
        let Some(user) = call.user.as_deref() else {
            return;
        };
        let found = match (call.address, call.fixed) {
            (Some(address), _) => Some(address),
            (None, Some(fixed)) => self.pool.allocate_fixed(fixed),
            (None, None) => self.pool.allocate(user),
        };
        call.address = found;
        if let Some(address) = found {
            self.assign(now, rng, key, address);
        } else if self.want_address() {
            self.waiting.insert(key);
        } else {
            self.note(Note::Full(Table::Addresses));
            self.close_ppp(now, key, ppp::Cause::NoAddress);
        }
    }

    fn assign(&mut self, now: Time, rng: &mut dyn CryptoRng, key: SessionKey, address: Ipv4Addr) {
        if let Some(session) = self.ppp_of(key) {
            session.assign(now, rng, address);
            self.stirred.insert(key);
        }
    }

    fn close_ppp(&mut self, now: Time, key: SessionKey, cause: ppp::Cause) {
        if let Some(session) = self.ppp_of(key) {
            session.close(now, cause);
            self.stirred.insert(key);
        }
    }

    fn open(&mut self, key: SessionKey, address: Ipv4Addr, mru: u16, framing: PppFraming) {
        let Some(call) = self.calls.get_mut(&key) else {
            return;
        };
        call.spec.framing = framing;
        let (session, set) = (call.spec.row, call.spec.set);
        let user = call.user.clone().unwrap_or_default();
        self.set_phase(key, Phase::Open { address, mru });
        self.note(Note::SessionUp {
            session,
            set,
            user,
            address,
        });
    }

    fn set_phase(&mut self, key: SessionKey, phase: Phase) {
        if let Some(call) = self.calls.get_mut(&key) {
            call.spec.phase = phase;
            let spec = call.spec.clone();
            self.change(Change::OpenSession(spec));
        }
    }

    fn ppp_of(&mut self, key: SessionKey) -> Option<&mut ppp::Session> {
        self.calls.get_mut(&key)?.ppp.as_mut()
    }
}
