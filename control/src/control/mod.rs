//! The control process: one event loop around the protocol machines.
//!
//! ```text
//! lifeline ─ orders ─►┐                ┌─ Change ──► mirror, then a command ─► data plane
//! data plane ─ punts ►│ loop ─ machine ┼─ Transmit ─► a command, in the same order
//!            ─ events►│                └─ …
//! clock ─ timeout ───►┘
//! ```
//! A control that starts asks the data plane first what it holds; those rows are [`strangers`]. A data plane that starts anew under a
//! control that lives is given everything the [`mirror`] holds.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::time::Duration;

use culvert_dataplane::api::{self, Answer, Event, Punt, Refusal};
use culvert_dataplane::confine::{self, Capabilities};
use culvert_dataplane::ipc::IpcError;
use culvert_dataplane::lifeline::{self, Lifeline, Order, Report};
use culvert_dataplane::process::StartError;
use culvert_proto::gateway::{Input, Output};
use culvert_proto::job::JobDone;
use culvert_proto::rows::{Change, SetId};
use culvert_proto::time::Time;
use culvert_wire::id::Spi;
use serde::{Deserialize, Serialize};
use tracing::{debug, info, warn};
use zeroize::Zeroizing;

use crate::config::Config;
use crate::identity::Identity;

pub mod clock;
mod gateway;
pub mod jobs;
pub mod link;
pub mod machine;
pub mod mirror;
mod notes;
pub mod strangers;
pub mod translate;

use clock::Entropy;
use jobs::Jobs;
use link::{Heard, Link, Subject};
pub use machine::Machine;
use mirror::Mirror;
use strangers::Strangers;

/// What the supervisor hands to control, sealed.
#[derive(Serialize, Deserialize)]
pub struct Begin {
    /// The configuration.
    pub config: Config,
    /// Text of the users file.
    pub users: Zeroizing<String>,
    /// User and group to become; `None` without the privilege to change.
    pub identity: Option<Identity>,
}

/// Longest sleep, so that a clock that jumped (the machine slept) is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// How long the farewells may take to reach the data plane.
const FAREWELLS_WITHIN: Duration = Duration::from_millis(2_500);

/// Serves until the supervisor says stop or is gone.
///
/// # Errors
/// The lifeline broke; the supervisor then starts another process.
pub async fn run<M: Machine>(mut lifeline: Lifeline) -> Result<(), IpcError> {
    let Some(received) = lifeline.orders().await? else {
        return Ok(());
    };
    let now = clock::now();
    let begun = begin(received.fds).and_then(|begin| Control::<M>::new(&begin, now));
    match begun {
        Ok(mut control) => control.serve(&mut lifeline).await,
        Err(StartError { blame, text }) => {
            lifeline.fail(blame, text).await;
            Ok(())
        }
    }
}

/// Opens what the supervisor sealed and gives up every privilege.
fn begin(fds: Vec<OwnedFd>) -> Result<Begin, StartError> {
    let sealed = fds
        .into_iter()
        .next()
        .ok_or_else(|| StartError::system("no configuration beside the order to start"))?;
    let bytes = lifeline::unseal(sealed).map_err(StartError::system)?;
    let begin: Begin = postcard::from_bytes(&bytes).map_err(StartError::system)?;
    if let Some(identity) = begin.identity {
        confine::become_user(identity.uid(), identity.gid(), Capabilities::empty())
            .map_err(StartError::system)?;
    }
    // A change of user makes the process dumpable again by the system's rules and forgets the parent's death.
    confine::harden(c"culvert-control").map_err(StartError::system)?;
    Ok(begin)
}

/// How well control knows what the data plane holds.
#[derive(Debug, PartialEq, Eq)]
enum Acquaintance {
    /// Not at all: no data plane has answered yet.
    None,
    /// These cores have not told all they hold.
    Asked(BTreeSet<api::CoreId>),
    /// All of it is in the mirror or among the strangers.
    Full,
}

struct Control<M> {
    machine: M,
    mirror: Mirror,
    strangers: Strangers,
    acquaintance: Acquaintance,
    link: Option<Link>,
    /// A command was not taken: what follows makes no sense without it.
    is_link_choked: bool,
    entropy: Entropy,
    jobs: Jobs,
    cores: u8,
}

impl<M: Machine> Control<M> {
    fn new(begin: &Begin, now: Time) -> Result<Self, StartError> {
        Ok(Self {
            machine: M::new(&begin.config, &begin.users, now)?,
            mirror: Mirror::default(),
            strangers: Strangers::new(now, begin.config.process.unknown_session),
            acquaintance: Acquaintance::None,
            link: None,
            is_link_choked: false,
            entropy: Entropy::new(now).map_err(StartError::system)?,
            jobs: Jobs::start().map_err(StartError::system)?,
            cores: u8::try_from(begin.config.workers.len()).map_err(StartError::system)?,
        })
    }

    async fn serve(&mut self, lifeline: &mut Lifeline) -> Result<(), IpcError> {
        loop {
            let timeout = self.poll_timeout();
            tokio::select! {
                received = lifeline.orders() => {
                    let Some(received) = received? else {
                        return Ok(());
                    };
                    let mut fds = received.fds;
                    for order in received.messages {
                        if order == Order::Stop {
                            self.say_farewell().await;
                            return Ok(());
                        }
                        self.handle_order(order, std::mem::take(&mut fds), lifeline);
                    }
                }
                heard = hear(&mut self.link) => self.handle_heard(heard, lifeline),
                done = self.jobs.done() => self.handle_done(done),
                () = sleep_until(timeout) => self.handle_timeout(),
            }
            self.act();
            self.flush(lifeline);
        }
    }

    fn handle_order(&mut self, order: Order, fds: Vec<OwnedFd>, lifeline: &mut Lifeline) {
        match order {
            Order::Connect => match Link::new(fds) {
                Ok(link) => self.connect(link),
                Err(error) => warn!(%error, "unusable sockets from the supervisor"),
            },
            Order::Ping(number) => lifeline.report(&Report::Pong(number)),
            Order::Status { question } => {
                lifeline.report_status(question, &self.machine.status(clock::now()));
            }
            Order::Start | Order::Stop => {}
        }
    }

    fn connect(&mut self, link: Link) {
        self.link = Some(link);
        self.is_link_choked = false;
        if self.acquaintance == Acquaintance::Full {
            // Closed rather than kept: a new data plane does not hold them, and nobody else can tell.
            for set in self.strangers.take_all() {
                self.close_stranger(set);
            }
            let rows = self.mirror.install();
            info!(
                commands = rows.len(),
                "connected to a data plane; installing everything"
            );
            for command in rows {
                self.send(command);
            }
            return;
        }
        info!("connected to a data plane; asking what it holds");
        self.strangers.take_all();
        let cores: BTreeSet<_> = (0..self.cores).map(api::CoreId).collect();
        for &core in &cores {
            self.send((core, api::Command::Inventory));
        }
        self.acquaintance = Acquaintance::Asked(cores);
    }

    fn handle_heard(&mut self, heard: Result<Heard, IpcError>, lifeline: &mut Lifeline) {
        match heard {
            Ok(Heard::Answers(answers)) => {
                for answer in answers {
                    self.handle_answer(answer, lifeline);
                }
            }
            Ok(Heard::Punts(punts)) => self.handle_punts(&punts),
            Ok(Heard::End) => self.disconnect("closed", lifeline),
            Err(error) => self.disconnect(&error.to_string(), lifeline),
        }
    }

    fn disconnect(&mut self, why: &str, lifeline: &mut Lifeline) {
        warn!(why, "connection to the data plane lost");
        self.link = None;
        lifeline.report(&Report::Disconnected);
    }

    fn handle_answer(&mut self, answer: Answer, lifeline: &mut Lifeline) {
        match answer {
            Answer::Done(ticket) => {
                self.settle(ticket);
            }
            Answer::Refused(ticket, refusal) => {
                if let Some(subject) = self.settle(ticket) {
                    self.handle_refusal(subject, refusal, lifeline);
                }
            }
            Answer::Event(core, event) => self.handle_event(core, event, lifeline),
        }
    }

    fn settle(&mut self, ticket: api::Ticket) -> Option<Subject> {
        self.link.as_mut()?.settle(ticket)
    }

    fn handle_refusal(&mut self, subject: Subject, refusal: Refusal, lifeline: &mut Lifeline) {
        match subject {
            Subject::Sa(inbound) => {
                info!(%inbound, ?refusal, "SA refused by the data plane");
                self.lose(inbound);
            }
            Subject::Inventory(core) => {
                warn!(core = core.0, ?refusal, "no inventory");
                self.end_inventory(core, lifeline);
            }
            Subject::Other(_) if link::is_harmless(subject, refusal) => {}
            // Anybody may have it sent to where there is no way.
            Subject::Transmit => debug!(?refusal, "message not sent"),
            Subject::Other(command) => warn!(command, ?refusal, "refused by the data plane"),
        }
    }

    fn handle_event(&mut self, core: api::CoreId, event: Event, lifeline: &mut Lifeline) {
        match event {
            Event::InboundUsed(inbound) => {
                self.mirror.note_inbound_used(inbound);
                self.handle(Input::InboundUsed { inbound });
            }
            Event::EndpointMoved { set, remote } => {
                let set = translate::from_set(core, set);
                self.mirror.note_endpoint(set, remote);
                self.handle(Input::EndpointMoved { set, remote });
            }
            Event::SequenceLow { set, spi, left } => {
                let set = translate::from_set(core, set);
                info!(%spi, left, "sequence numbers run out");
                if left == 0
                    && let Some(inbound) = self.mirror.inbound_of(set, spi)
                {
                    self.lose(inbound);
                }
            }
            Event::Held(held) => {
                if self.acquaintance != Acquaintance::Full {
                    self.strangers.note(core, &held);
                }
            }
            Event::InventoryEnd => self.end_inventory(core, lifeline),
        }
    }

    /// A core has told all it holds; once all have, the machines may begin.
    fn end_inventory(&mut self, core: api::CoreId, lifeline: &mut Lifeline) {
        let Acquaintance::Asked(cores) = &mut self.acquaintance else {
            return;
        };
        cores.remove(&core);
        if !cores.is_empty() {
            return;
        }
        if !self.strangers.is_empty() {
            info!(
                sets = self.strangers.len(),
                "sessions of an earlier control flow on"
            );
        }
        for (set, reserved) in self.strangers.iter() {
            self.machine.reserve(set, reserved.clone());
        }
        self.acquaintance = Acquaintance::Full;
        lifeline.report(&Report::Ready);
    }

    fn lose(&mut self, inbound: Spi) {
        if self.mirror.forget_inbound(inbound).is_some() {
            let now = clock::now();
            self.machine
                .handle_lost(now, self.entropy.rng(now), inbound);
        }
    }

    fn handle_punts(&mut self, punts: &[Punt]) {
        // Nothing is answered before it is known which rows are taken; peers send again.
        if self.acquaintance != Acquaintance::Full {
            debug!(count = punts.len(), "too early for punts");
            return;
        }
        for punt in punts {
            self.handle(translate::input(punt));
            self.act();
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        let now = clock::now();
        self.machine.handle(now, self.entropy.rng(now), input);
    }

    fn poll_timeout(&self) -> Option<Time> {
        let timeouts = [self.machine.poll_timeout(), self.strangers.poll_timeout()];
        timeouts.into_iter().flatten().min()
    }

    fn handle_timeout(&mut self) {
        let now = clock::now();
        for set in self.strangers.take_expired(now) {
            debug!("unknown for too long");
            self.close_stranger(set);
        }
        if self.machine.poll_timeout().is_some_and(|due| due <= now) {
            self.machine.handle_timeout(now, self.entropy.rng(now));
        }
    }

    fn handle_done(&mut self, done: JobDone) {
        let now = clock::now();
        self.machine.handle_done(now, self.entropy.rng(now), done);
    }

    fn close_stranger(&mut self, set: SetId) {
        let close = api::Command::CloseSet(translate::set_id(set));
        self.send((translate::core(set.core), close));
        let now = clock::now();
        self.machine.release(now, self.entropy.rng(now), set);
    }

    /// Does what the machines want done, in order.
    fn act(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Change(change) => self.change(&change),
                Output::Transmit { to, bytes } => self.send(translate::transmit(to, bytes)),
                Output::Job(job) => self.jobs.give(job),
                Output::Note(note) => notes::log(&note),
                Output::WantAddress => {
                    if let Some(set) = self.strangers.take_for_address() {
                        debug!("its address is wanted");
                        self.close_stranger(set);
                    }
                }
            }
        }
    }

    fn change(&mut self, change: &Change) {
        if let Change::OpenSet { path, .. } = change {
            for set in self.strangers.take_from(path.remote) {
                debug!("its peer has come back");
                self.close_stranger(set);
            }
        }
        self.mirror.apply(change);
        for command in translate::commands(change, api::Start::Fresh) {
            self.send(command);
        }
    }

    /// Queues a command. Without a data plane rows wait in the mirror, and messages are lost as on any wire.
    fn send(&mut self, command: translate::Addressed) {
        let Some(link) = self.link.as_mut().filter(|_| !self.is_link_choked) else {
            return;
        };
        if let Err(error) = link.send(command) {
            warn!(%error, "command not sent; the data plane will be given everything anew");
            self.is_link_choked = true;
        }
    }

    fn flush(&mut self, lifeline: &mut Lifeline) {
        if std::mem::take(&mut self.is_link_choked) {
            self.disconnect("the data plane does not read", lifeline);
        }
        if let Some(link) = &mut self.link
            && let Err(error) = link.flush()
        {
            self.disconnect(&error.to_string(), lifeline);
        }
    }

    /// Tells every peer that we go, and waits until the data plane has sent it.
    async fn say_farewell(&mut self) {
        let now = clock::now();
        self.machine.close_all(now, self.entropy.rng(now));
        self.act();
        let sent = async {
            while let Some(link) = self.link.as_mut().filter(|link| !link.is_settled()) {
                match link.hear().await {
                    Ok(Heard::Answers(answers)) => {
                        for answer in answers {
                            if let Answer::Done(ticket) | Answer::Refused(ticket, _) = answer {
                                link.settle(ticket);
                            }
                        }
                    }
                    Ok(Heard::Punts(_)) => {}
                    Ok(Heard::End) | Err(_) => return,
                }
            }
        };
        if tokio::time::timeout(FAREWELLS_WITHIN, sent).await.is_err() {
            warn!("not every peer could be told");
        }
    }
}

async fn hear(link: &mut Option<Link>) -> Result<Heard, IpcError> {
    match link {
        Some(link) => link.hear().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(time: Option<Time>) {
    let Some(time) = time else {
        return std::future::pending().await;
    };
    tokio::time::sleep(time.since(clock::now()).min(LONGEST_SLEEP)).await;
}
