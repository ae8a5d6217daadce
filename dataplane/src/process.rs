//! The data plane process's ordinary thread: orders from the supervisor, requests and answers, punts. It never waits for control.
//!
//! ```text
//! supervisor ── lifeline ──►┐                       ┌──► core 0
//! control ── commands ─────►│ this thread  [Cores]  ├──► core 1       requests in order; while a core is full no more are read
//!         ◄─ answers ───────│                       │
//!         ◄─ punts ─────────┘◄──────────────────────┘                 dropped and counted when control does not read
//! ```
//! When control dies its sockets are dropped and nothing else happens: packets flow on until the supervisor brings new ones.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::api::{Answer, Command, CoreId, DataplaneConfig, Event, Punt, Refusal, Request, Ticket};
use crate::ipc::{self, IpcError, Receiver, SendError, Sender};
use crate::lifeline::{self, Blame, Lifeline, Order, Report};

/// Bound of answers that wait for control, in bytes. Half of it stops the reading of requests; the rest is for events.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// Bound of punts that wait for control, in bytes.
const PUNT_BYTES: usize = 4 * 1024 * 1024;
/// Bits of a ticket that control chooses; the rest tells this connection's answers from those of one before.
const TICKET_BITS: u32 = 48;

/// The packet cores as the ordinary thread sees them.
pub trait Cores {
    /// Takes a request, or gives it back when its core's queue is full. Requests to one core are carried out in order.
    ///
    /// # Errors
    /// The request, to be offered again after [`ready`](Self::ready).
    fn submit(&mut self, request: Request) -> Result<(), Request>;

    /// Waits until a core has answers or punts, or room again. May be dropped at any await without loss.
    fn ready(&mut self) -> impl Future<Output = ()>;

    /// Takes the answers and events that are there, in order for each core.
    fn take_answers(&mut self, take: impl FnMut(Answer));

    /// Takes punted packets. Of one peer, a message comes after those that it presupposes: PPP after L2TP, L2TP after IKE.
    fn take_punts(&mut self, take: impl FnMut(Punt));

    /// How the cores are, for people.
    fn status(&mut self) -> Status;

    /// Whether every core has gone round since this was last asked.
    fn are_alive(&mut self) -> bool;

    /// Sends what is queued and ends the cores.
    fn stop(self);
}

/// How the data plane is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// One for each core.
    pub cores: Vec<CoreStatus>,
    /// Packets by verdict of the XDP programs since they were attached.
    pub xdp: Vec<Count>,
    /// Punts dropped because control did not read.
    pub punts_dropped: u64,
    /// Events dropped because control did not read.
    pub events_dropped: u64,
}

/// How a core is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoreStatus {
    /// Which.
    pub core: CoreId,
    /// Rows in use and ports' counters.
    pub gauges: Vec<Count>,
    /// Packets by what became of them; those that are zero are left out.
    pub packets: Vec<Count>,
}

/// A named number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Its name.
    pub name: String,
    /// The number.
    pub value: u64,
}

/// Why the data plane does not begin.
#[derive(Debug)]
pub struct StartError {
    /// Who can mend it.
    pub blame: Blame,
    /// Why, for people.
    pub text: String,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for StartError {}

impl StartError {
    /// One that nobody can mend by configuration.
    pub fn system(error: impl fmt::Display) -> Self {
        Self {
            blame: Blame::System,
            text: error.to_string(),
        }
    }
}

/// Serves until the supervisor says stop or is gone.
///
/// `start` makes the cores of the configuration and of the descriptors that came beside it.
///
/// # Errors
/// The lifeline broke; the supervisor then starts another process.
pub async fn run<C: Cores>(
    mut lifeline: Lifeline,
    start: impl FnOnce(DataplaneConfig, Vec<OwnedFd>) -> Result<C, StartError>,
) -> Result<(), IpcError> {
    let Some(received) = lifeline.orders().await? else {
        return Ok(());
    };
    let started = received_start(received.fds).and_then(|(config, fds)| start(config, fds));
    let cores = match started {
        Ok(cores) => cores,
        Err(StartError { blame, text }) => {
            lifeline.fail(blame, text).await;
            return Ok(());
        }
    };
    lifeline.report(&Report::Ready);
    let mut thread = Thread::new(cores);
    let served = thread.serve(&mut lifeline).await;
    thread.cores.stop();
    served
}

fn received_start(fds: Vec<OwnedFd>) -> Result<(DataplaneConfig, Vec<OwnedFd>), StartError> {
    let mut fds = fds.into_iter();
    let config = fds
        .next()
        .ok_or_else(|| StartError::system("no configuration beside the order to start"))?;
    let bytes = lifeline::unseal(config).map_err(StartError::system)?;
    let config = postcard::from_bytes(&bytes).map_err(StartError::system)?;
    Ok((config, fds.collect()))
}

struct Thread<C> {
    cores: C,
    control: Option<Control>,
    /// Of the connection to control; wraps.
    generation: u16,
    /// For each core the connections that asked for the inventories under way.
    inventories: BTreeMap<CoreId, VecDeque<u16>>,
    punts_dropped: u64,
    events_dropped: u64,
}

/// The connection to a control process.
struct Control {
    requests: Receiver<Request>,
    answers: Sender<Answer>,
    punts: Sender<Punt>,
    /// Nothing comes in here; it shows when the other end is closed.
    punts_end: Receiver<Answer>,
    /// Read, but not yet taken by their core.
    backlog: VecDeque<Request>,
}

impl Control {
    fn new(fds: Vec<OwnedFd>) -> Result<Self, IpcError> {
        let Ok([commands, punts]) = <[OwnedFd; 2]>::try_from(fds) else {
            return Err(IpcError::Malformed);
        };
        let (answers, requests) = ipc::channel(commands, ANSWER_BYTES)?;
        let (punts, punts_end) = ipc::channel(punts, PUNT_BYTES)?;
        Ok(Self {
            requests,
            answers,
            punts,
            punts_end,
            backlog: VecDeque::new(),
        })
    }

    /// Waits for requests while there is room for their answers; sends what waits meanwhile. May be dropped at any await.
    async fn requests(&mut self) -> Result<Option<Vec<Request>>, IpcError> {
        loop {
            let may_read =
                self.backlog.is_empty() && self.answers.queued_bytes() < ANSWER_BYTES / 2;
            tokio::select! {
                received = self.requests.recv(), if may_read => {
                    return Ok(received?.map(|received| received.messages));
                }
                sent = self.answers.flush(), if !self.answers.is_empty() => sent?,
                sent = self.punts.flush(), if !self.punts.is_empty() => sent?,
                end = self.punts_end.recv() => {
                    end?;
                    return Ok(None);
                }
            }
        }
    }
}

impl<C: Cores> Thread<C> {
    const fn new(cores: C) -> Self {
        Self {
            cores,
            control: None,
            generation: 0,
            inventories: BTreeMap::new(),
            punts_dropped: 0,
            events_dropped: 0,
        }
    }

    async fn serve(&mut self, lifeline: &mut Lifeline) -> Result<(), IpcError> {
        loop {
            tokio::select! {
                received = lifeline.orders() => {
                    let Some(received) = received? else {
                        return Ok(());
                    };
                    let mut fds = received.fds;
                    for order in received.messages {
                        if order == Order::Stop {
                            self.drain().await;
                            return Ok(());
                        }
                        self.handle_order(order, std::mem::take(&mut fds), lifeline);
                    }
                }
                requests = requests(&mut self.control) => match requests {
                    Ok(Some(requests)) => self.take_requests(requests),
                    Ok(None) => self.disconnect(lifeline, "closed"),
                    Err(error) => self.disconnect(lifeline, &error.to_string()),
                },
                () = self.cores.ready() => {}
            }
            self.pump(lifeline);
        }
    }

    fn handle_order(&mut self, order: Order, fds: Vec<OwnedFd>, lifeline: &mut Lifeline) {
        match order {
            Order::Connect => match Control::new(fds) {
                Ok(control) => {
                    info!("connected to control");
                    self.generation = self.generation.wrapping_add(1);
                    self.control = Some(control);
                }
                Err(error) => warn!(%error, "unusable sockets from the supervisor"),
            },
            Order::Ping(number) => {
                if self.cores.are_alive() {
                    lifeline.report(&Report::Pong(number));
                }
            }
            Order::Status { question } => {
                let status = Status {
                    punts_dropped: self.punts_dropped,
                    events_dropped: self.events_dropped,
                    ..self.cores.status()
                };
                match postcard::to_allocvec(&status) {
                    Ok(text) => lifeline.report_status(question, &text),
                    Err(error) => warn!(%error, "no status"),
                }
            }
            Order::Start | Order::Stop => {}
        }
    }

    fn disconnect(&mut self, lifeline: &mut Lifeline, why: &str) {
        warn!(why, "connection to control lost; packets flow on");
        self.control = None;
        lifeline.report(&Report::Disconnected);
    }

    fn take_requests(&mut self, requests: Vec<Request>) {
        let Some(control) = &mut self.control else {
            return;
        };
        for mut request in requests {
            match mark(self.generation, request.ticket) {
                Some(marked) => {
                    request.ticket = marked;
                    control.backlog.push_back(request);
                }
                None => push_answer(control, &Answer::Refused(request.ticket, Refusal::Invalid)),
            }
        }
    }

    /// Moves what can be moved: requests to the cores, answers and punts to control's sockets.
    fn pump(&mut self, lifeline: &mut Lifeline) {
        self.submit();
        let Self {
            cores,
            control,
            generation,
            inventories,
            events_dropped,
            punts_dropped,
        } = self;
        cores.take_answers(|answer| {
            let answer = unmark(*generation, inventories, answer);
            let Some((control, answer)) = control.as_mut().zip(answer) else {
                return;
            };
            if let Err(SendError::Full) = control.answers.push(&answer) {
                // Answers have half of the queue to themselves, so this is an event.
                *events_dropped += 1;
            }
        });
        cores.take_punts(|punt| {
            let sent = control.as_mut().map(|control| control.punts.push(&punt));
            if sent != Some(Ok(())) {
                *punts_dropped += 1;
            }
        });
        if let Some(control) = control
            && let Err(error) = control
                .answers
                .try_flush()
                .and_then(|()| control.punts.try_flush())
        {
            self.disconnect(lifeline, &error.to_string());
        }
    }

    fn submit(&mut self) {
        let Some(control) = &mut self.control else {
            return;
        };
        while let Some(request) = control.backlog.pop_front() {
            let inventory = (request.command == Command::Inventory).then_some(request.core);
            if let Err(full) = self.cores.submit(request) {
                control.backlog.push_front(full);
                return;
            }
            if let Some(core) = inventory {
                self.inventories
                    .entry(core)
                    .or_default()
                    .push_back(self.generation);
            }
        }
    }

    /// Carries out what control sent before it ended: the farewells to its peers.
    async fn drain(&mut self) {
        let drained = async {
            while self.control.is_some()
                && let Ok(Some(requests)) = requests(&mut self.control).await
            {
                self.take_requests(requests);
                self.submit();
                while self
                    .control
                    .as_ref()
                    .is_some_and(|control| !control.backlog.is_empty())
                {
                    self.cores.ready().await;
                    self.submit();
                }
            }
        };
        if tokio::time::timeout(DRAIN_WITHIN, drained).await.is_err() {
            warn!("requests left behind");
        }
    }
}

/// How long the last requests may take.
const DRAIN_WITHIN: std::time::Duration = std::time::Duration::from_millis(500);

async fn requests(control: &mut Option<Control>) -> Result<Option<Vec<Request>>, IpcError> {
    match control {
        Some(control) => control.requests().await,
        None => std::future::pending().await,
    }
}

fn push_answer(control: &mut Control, answer: &Answer) {
    // Requests are read only while the queue has room for their answers.
    let _ = control.answers.push(answer);
}

/// Puts `generation` into the bits of a ticket that control leaves free; `None` if it does not leave them free.
const fn mark(generation: u16, ticket: Ticket) -> Option<Ticket> {
    if ticket.0 >> TICKET_BITS != 0 {
        return None;
    }
    Some(Ticket(((generation as u64) << TICKET_BITS) | ticket.0))
}

/// The answer with control's own ticket; `None` if it answers a connection before this one.
fn unmark(
    generation: u16,
    inventories: &mut BTreeMap<CoreId, VecDeque<u16>>,
    answer: Answer,
) -> Option<Answer> {
    let own = |ticket: Ticket| {
        let is_ours = ticket.0 >> TICKET_BITS == u64::from(generation);
        is_ours.then_some(Ticket(ticket.0 & ((1 << TICKET_BITS) - 1)))
    };
    match answer {
        Answer::Done(ticket) => own(ticket).map(Answer::Done),
        Answer::Refused(ticket, refusal) => {
            own(ticket).map(|ticket| Answer::Refused(ticket, refusal))
        }
        Answer::Event(core, Event::Held(_)) => {
            let asker = inventories.get(&core).and_then(VecDeque::front);
            (asker == Some(&generation)).then_some(answer)
        }
        Answer::Event(core, Event::InventoryEnd) => {
            let asker = inventories.get_mut(&core).and_then(VecDeque::pop_front);
            (asker == Some(generation)).then_some(answer)
        }
        Answer::Event(_, _) => Some(answer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Held, SetId};

    #[test]
    fn an_answer_reaches_only_the_connection_that_asked() {
        let marked = mark(7, Ticket(42)).unwrap();
        let mut none = BTreeMap::new();
        assert_eq!(
            unmark(7, &mut none, Answer::Done(marked)),
            Some(Answer::Done(Ticket(42)))
        );
        assert_eq!(unmark(8, &mut none, Answer::Done(marked)), None);
        let refused = Answer::Refused(marked, Refusal::Absent);
        assert_eq!(
            unmark(7, &mut none, refused),
            Some(Answer::Refused(Ticket(42), Refusal::Absent))
        );
    }

    #[test]
    fn a_ticket_that_uses_our_bits_is_not_taken() {
        assert_eq!(mark(0, Ticket(1 << TICKET_BITS)), None);
        assert!(mark(u16::MAX, Ticket((1 << TICKET_BITS) - 1)).is_some());
    }

    #[test]
    fn the_inventory_that_a_dead_control_asked_for_is_kept_from_the_next() {
        let core = CoreId(0);
        let mut inventories = BTreeMap::from([(core, VecDeque::from([1, 2]))]);
        let held = || {
            Answer::Event(
                core,
                Event::Held(Held::Session {
                    row: crate::api::SessionRow(1),
                    set: SetId(1),
                    address: None,
                }),
            )
        };
        let end = || Answer::Event(core, Event::InventoryEnd);
        let told: Vec<bool> = [held(), end(), held(), end()]
            .into_iter()
            .map(|answer| unmark(2, &mut inventories, answer).is_some())
            .collect();
        assert_eq!(told, [false, false, true, true]);
        let other = Answer::Event(core, Event::InboundUsed(crate::api::Spi(1)));
        assert!(unmark(2, &mut inventories, other).is_some());
    }
}
