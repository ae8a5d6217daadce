//! The whole control plane as one sans-IO machine: IKE responder, L2TP network server, PPP, users and addresses.
//!
//! ```text
//! Input ─► ike ─ SetOpened, changes ──────────────────────────┐
//!        ─► lns ─ SessionOpened ─► Call ─► ppp ─ Authenticated ├─► Output, in one order
//!        ─► ppp of the call        row, spec     ─► pool ─ Open┘
//! ```
//! What a machine gives is passed on at once ([`Gateway::settle`]), so that [`Gateway::poll_output`] has changes and messages in the order
//! in which they must take effect.

mod call;
mod clear;
mod idle;
mod io;
mod reserved;
mod status;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use culvert_wire::id::Spi;
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};

use crate::deadlines::Deadlines;
use crate::ike::{self, Responder};
use crate::job::{Job, JobDone, JobId};
use crate::l2tp::{self, Lns, Peer, SessionKey, SessionOpened};
use crate::pool::Pool;
use crate::ppp;
use crate::rows::{Change, CoreId, InnerPorts, SessionRow, SetId};
use crate::spi::Rows;
use crate::time::Time;
use crate::users::Users;

use call::Call;
use clear::ClearSets;
use idle::IdleSets;
pub use io::{Destination, Input, Note, Output, Table};
pub use reserved::Reserved;
pub use status::{SessionStatus, Status};

/// What an operator decides.
#[derive(Clone, Debug)]
pub struct Config {
    /// IKE.
    pub ike: ike::Config,
    /// L2TP.
    pub l2tp: l2tp::Config,
    /// PPP.
    pub ppp: ppp::Config,
    /// Who may log in.
    pub users: Users,
    /// Addresses for them.
    pub pool: Pool,
    /// Session rows on each core.
    pub sessions: u32,
}

/// The control plane; see the module.
#[derive(Debug, Serialize, Deserialize)]
pub struct Gateway {
    ike: Responder,
    lns: Lns,
    ppp: ppp::Config,
    /// Not part of the saved state: the file they came from is.
    #[serde(skip)]
    users: Users,
    pool: Pool,
    /// Session rows by core.
    rows: Vec<Rows>,
    /// Boxed, as half of the places of a large map are empty.
    calls: BTreeMap<SessionKey, Box<Call>>,
    by_row: BTreeMap<SessionRow, SessionKey>,
    /// When calls want to be called.
    deadlines: Deadlines<SessionKey>,
    /// Calls that may have something to say.
    stirred: BTreeSet<SessionKey>,
    /// Calls whose user is known and for whom there was no address.
    waiting: BTreeSet<SessionKey>,
    /// Sets made for peers in the clear.
    clear: ClearSets,
    /// SA sets without a tunnel.
    idle: IdleSets,
    jobs: BTreeMap<JobId, Asker>,
    last_job: u64,
    reserved: BTreeMap<SetId, Reserved>,
    outputs: VecDeque<Output>,
}

/// Who waits for a job; machines number their jobs on their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Asker {
    Ike(JobId),
    Ppp(SessionKey, SetId, JobId),
}

/// Password checks that may be under way at once: with 0.1 s each, what two threads do in three seconds, after which a peer asks again.
const MAX_CHECKS: usize = 64;
/// Those of them that may be for one set.
const MAX_CHECKS_OF_SET: usize = 16;

impl Gateway {
    /// A gateway without peers.
    pub fn new(config: Config) -> Self {
        Self {
            rows: config
                .ike
                .cores
                .iter()
                .map(|_| Rows::new(0..config.sessions))
                .collect(),
            ike: Responder::new(config.ike),
            lns: Lns::new(config.l2tp),
            ppp: config.ppp,
            users: config.users,
            pool: config.pool,
            calls: BTreeMap::new(),
            by_row: BTreeMap::new(),
            deadlines: Deadlines::default(),
            stirred: BTreeSet::new(),
            waiting: BTreeSet::new(),
            clear: ClearSets::default(),
            idle: IdleSets::default(),
            jobs: BTreeMap::new(),
            last_job: 0,
            reserved: BTreeMap::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Replaces the users; sessions that are on stay on. A restored gateway has none.
    pub fn set_users(&mut self, users: Users) {
        self.users = users;
    }

    /// Takes a message from a peer, or word from the data plane.
    pub fn handle(&mut self, now: Time, rng: &mut dyn CryptoRng, input: Input<'_>) {
        match input {
            Input::Ike { core, path, bytes } => {
                self.ike.handle_message(now, rng, core, path, bytes)
            }
            Input::L2tp { set, ports, bytes } => {
                // What was on the way when its set was closed is nobody's: the row may be another peer's next.
                if self.knows(set) {
                    let peer = self.peer_of(set);
                    self.lns.handle_message(now, rng, peer, ports, bytes);
                }
            }
            Input::ClearL2tp { core, path, bytes } => {
                let ports = InnerPorts {
                    local: path.local.port(),
                    remote: path.remote.port(),
                };
                self.lns
                    .handle_message(now, rng, Peer::Clear { core, path }, ports, bytes);
            }
            Input::Ppp { session, bytes } => self.handle_frame(now, rng, session, bytes),
            Input::InboundUsed { inbound } => self.ike.handle_inbound_used(now, inbound),
            Input::EndpointMoved { set, remote } => {
                self.ike.handle_endpoint_moved(now, set, remote);
            }
        }
        self.settle(now, rng);
    }

    /// Takes the result of a job; one that nobody waits for any more is dropped.
    pub fn handle_done(&mut self, now: Time, rng: &mut dyn CryptoRng, done: JobDone) {
        match self.jobs.remove(&done.id) {
            Some(Asker::Ike(id)) => self.ike.handle_done(now, rng, JobDone { id, ..done }),
            Some(Asker::Ppp(session, _, id)) => {
                self.handle_ppp_done(now, session, &JobDone { id, ..done });
            }
            None => {}
        }
        self.settle(now, rng);
    }

    /// The data plane would not take a pair of SAs, or it has run out of sequence numbers: the pair is dead.
    pub fn handle_lost(&mut self, now: Time, rng: &mut dyn CryptoRng, inbound: Spi) {
        self.ike.handle_lost(rng, inbound);
        self.settle(now, rng);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time, rng: &mut dyn CryptoRng) {
        self.ike.handle_timeout(now, rng);
        self.lns.handle_timeout(now, rng);
        self.call_timeouts(now, rng);
        self.idle_timeouts(now, rng);
        self.settle(now, rng);
    }

    /// Says good-bye to every peer, on all layers: CDN and StopCCN, then DELETE.
    pub fn close_all(&mut self, now: Time, rng: &mut dyn CryptoRng) {
        self.lns.close_all(now);
        self.settle(now, rng);
        self.ike.close_all(now, rng);
        self.settle(now, rng);
    }

    /// When [`Self::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> Option<Time> {
        let machines = [
            self.ike.poll_timeout(),
            self.lns.poll_timeout(),
            self.deadlines.next(),
            self.idle.poll_timeout(),
        ];
        machines.into_iter().flatten().min()
    }

    /// Takes the next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Passes on what the machines give until none gives anything.
    fn settle(&mut self, now: Time, rng: &mut dyn CryptoRng) {
        loop {
            if let Some(output) = self.ike.poll_output() {
                self.on_ike(now, rng, output);
            } else if let Some(output) = self.lns.poll_output() {
                self.on_lns(now, rng, output);
            } else if !self.stir_call(now, rng) {
                return;
            }
        }
    }

    fn on_ike(&mut self, now: Time, rng: &mut dyn CryptoRng, output: ike::Output) {
        match output {
            ike::Output::Transmit { core, path, bytes } => {
                self.transmit(Destination::Ike { core, path }, bytes);
            }
            ike::Output::Change(Change::CloseSet(set)) => self.close_rows(now, rng, set),
            ike::Output::Change(change) => self.change(change),
            ike::Output::Job(job) => self.ask(job, Asker::Ike),
            ike::Output::SetOpened { set, .. } => self.idle.set_opened(now, set),
            ike::Output::SetClosed { set } => self.idle.set_closed(set),
            ike::Output::Note(note) => self.note(Note::Ike(note)),
        }
    }

    fn on_lns(&mut self, now: Time, rng: &mut dyn CryptoRng, output: l2tp::Output) {
        match output {
            l2tp::Output::Transmit { peer, ports, bytes } => {
                self.transmit(self.destination_of(peer, ports), bytes);
            }
            l2tp::Output::TunnelOpened { tunnel, peer, .. } => {
                self.idle.tunnel_opened(tunnel, peer);
                self.tunnel_opened(now, tunnel, peer);
            }
            l2tp::Output::TunnelClosed { tunnel, .. } => {
                self.idle.tunnel_closed(now, tunnel);
                self.tunnel_closed(tunnel);
            }
            l2tp::Output::SessionOpened(opened) => self.session_opened(now, opened),
            l2tp::Output::SessionConnected(connected) => {
                self.session_connected(now, rng, &connected)
            }
            l2tp::Output::SessionClosed { session, cause } => {
                self.session_closed(now, rng, session, cause);
            }
            l2tp::Output::Note(note) => self.note(Note::L2tp(note)),
        }
    }

    /// Closes a set's row; what is in it goes first, so that no row outlives its set.
    fn close_rows(&mut self, now: Time, rng: &mut dyn CryptoRng, set: SetId) {
        self.empty_set(now, rng, set);
        self.change(Change::CloseSet(set));
    }

    /// Closes the tunnels and sessions of a set.
    fn empty_set(&mut self, now: Time, rng: &mut dyn CryptoRng, set: SetId) {
        self.lns.close_set(now, set);
        while let Some(output) = self.lns.poll_output() {
            self.on_lns(now, rng, output);
        }
    }

    /// Whether there is such a set: of an IKE peer, of a peer in the clear, or of an earlier gateway.
    fn knows(&self, set: SetId) -> bool {
        self.ike.has_set(set) || self.clear.has(set) || self.reserved.contains_key(&set)
    }

    fn session_opened(&mut self, now: Time, opened: SessionOpened) {
        let Some(set) = self.set_of(opened.peer) else {
            // Calls come in tunnels that are up; this one's peer is in the clear, and there was no set for it.
            return self
                .lns
                .close_session(now, opened.session, l2tp::Cause::Administrative);
        };
        let Some(row) = self.take_row(set.core) else {
            self.note(Note::Full(Table::Sessions));
            return self
                .lns
                .close_session(now, opened.session, l2tp::Cause::Administrative);
        };
        let call = Call::new(now, row, set, &opened);
        self.change(Change::OpenSession(call.spec.clone()));
        self.by_row.insert(row, opened.session);
        self.calls.insert(opened.session, Box::new(call));
    }

    fn take_row(&mut self, core: CoreId) -> Option<SessionRow> {
        let row = self.rows.get_mut(usize::from(core.0))?.take()?;
        Some(SessionRow { core, row })
    }

    fn give_back_row(&mut self, row: SessionRow) {
        if let Some(rows) = self.rows.get_mut(usize::from(row.core.0)) {
            rows.give_back(row.row);
        }
    }

    fn ask(&mut self, job: Job, asker: impl FnOnce(JobId) -> Asker) {
        self.last_job += 1;
        let id = JobId(self.last_job);
        self.jobs.insert(id, asker(job.id));
        self.outputs.push_back(Output::Job(Job { id, ..job }));
    }

    /// Has a password checked, unless too many are: their calls may be gone, but the work is still to be done. The peer repeats itself.
    fn ask_check(&mut self, job: Job, session: SessionKey, set: SetId) {
        let of = |asker: &&Asker| matches!(asker, Asker::Ppp(..));
        let of_set = |asker: &&Asker| matches!(asker, Asker::Ppp(_, other, _) if *other == set);
        if self.jobs.values().filter(of).count() < MAX_CHECKS
            && self.jobs.values().filter(of_set).count() < MAX_CHECKS_OF_SET
        {
            self.ask(job, |id| Asker::Ppp(session, set, id));
        }
    }

    fn transmit(&mut self, to: Destination, bytes: Vec<u8>) {
        self.outputs.push_back(Output::Transmit { to, bytes });
    }

    fn change(&mut self, change: Change) {
        self.outputs.push_back(Output::Change(change));
    }

    fn note(&mut self, note: Note) {
        self.outputs.push_back(Output::Note(note));
    }
}
