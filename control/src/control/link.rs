//! The connection to a data plane: commands in order with a ticket each, their answers, and punted packets.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use culvert_dataplane::api::{Answer, Command, CoreId, Punt, Refusal, Request, Spi, Ticket};
use culvert_dataplane::ipc::{self, IpcError, Receiver, SendError, Sender};

use super::translate::Addressed;

/// Bound of commands that wait for the data plane, in bytes: all rows of a full gateway.
const COMMAND_BYTES: usize = 64 * 1024 * 1024;
/// Nothing is sent on the punts socket.
const NOTHING: usize = 0;

/// One connection; another one begins with another value.
#[derive(Debug)]
pub struct Link {
    requests: Sender<Request>,
    answers: Receiver<Answer>,
    punts: Receiver<Punt>,
    /// The other direction of the punts socket: held, as dropping it would say that we are gone.
    _no_answers: Sender<Answer>,
    next: u64,
    outstanding: BTreeMap<Ticket, Subject>,
}

/// What an outstanding command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The inbound SA with this SPI, or its twin.
    Sa(Spi),
    /// The inventory of a core.
    Inventory(CoreId),
    /// A message.
    Transmit,
    /// Rows: its name.
    Other(&'static str),
}

/// What the data plane said.
#[derive(Debug)]
pub enum Heard {
    /// Answers and events.
    Answers(Vec<Answer>),
    /// Punted packets.
    Punts(Vec<Punt>),
    /// It has closed the connection.
    End,
}

impl Link {
    /// Takes the two sockets, commands and punts.
    ///
    /// # Errors
    /// There are not two, or they are not sockets.
    pub fn new(fds: Vec<OwnedFd>) -> Result<Self, IpcError> {
        let Ok([commands, punts]) = <[OwnedFd; 2]>::try_from(fds) else {
            return Err(IpcError::Malformed);
        };
        let (requests, answers) = ipc::channel(commands, COMMAND_BYTES)?;
        let (no_answers, punts) = ipc::channel(punts, NOTHING)?;
        Ok(Self {
            requests,
            answers,
            punts,
            _no_answers: no_answers,
            next: 0,
            outstanding: BTreeMap::new(),
        })
    }

    /// Queues a command behind those before it.
    ///
    /// # Errors
    /// The data plane has not read for long (`Full`), or the message is too long.
    pub fn send(&mut self, (core, command): Addressed) -> Result<(), SendError> {
        let ticket = Ticket(self.next);
        let subject = subject(core, &command);
        self.requests.push(&Request {
            ticket,
            core,
            command,
        })?;
        self.next += 1;
        self.outstanding.insert(ticket, subject);
        Ok(())
    }

    /// Sends what the socket takes.
    ///
    /// # Errors
    /// The socket's.
    pub fn flush(&mut self) -> Result<(), IpcError> {
        Ok(self.requests.try_flush()?)
    }

    /// Waits for word from the data plane, answers before punts; sends what waits meanwhile. May be dropped at any await.
    ///
    /// # Errors
    /// A socket failed or brought nonsense.
    pub async fn hear(&mut self) -> Result<Heard, IpcError> {
        loop {
            tokio::select! {
                biased;
                received = self.answers.recv() => {
                    return Ok(received?.map_or(Heard::End, |received| Heard::Answers(received.messages)));
                }
                sent = self.requests.flush(), if !self.requests.is_empty() => sent?,
                received = self.punts.recv() => {
                    return Ok(received?.map_or(Heard::End, |received| Heard::Punts(received.messages)));
                }
            }
        }
    }

    /// Closes the books on an answered command; tells what it was about.
    pub fn settle(&mut self, ticket: Ticket) -> Option<Subject> {
        self.outstanding.remove(&ticket)
    }

    /// Whether every command was answered.
    pub fn is_settled(&self) -> bool {
        self.outstanding.is_empty()
    }
}

fn subject(core: CoreId, command: &Command) -> Subject {
    match command {
        Command::AddInbound(spec) => Subject::Sa(spec.spi),
        Command::AddOutbound(spec) => Subject::Sa(spec.twin),
        Command::Inventory => Subject::Inventory(core),
        Command::OpenSet(_) => Subject::Other("open set"),
        Command::CloseSet(_) => Subject::Other("close set"),
        Command::UseOutbound { .. } => Subject::Other("use outbound"),
        Command::RemoveInbound(_) => Subject::Other("remove inbound"),
        Command::RemoveOutbound { .. } => Subject::Other("remove outbound"),
        Command::OpenSession(_) => Subject::Other("open session"),
        Command::CloseSession(_) => Subject::Other("close session"),
        Command::Transmit(_) => Subject::Transmit,
    }
}

/// Whether a refusal is of no consequence: what was to be cleared is clear already.
pub fn is_harmless(subject: Subject, refusal: Refusal) -> bool {
    refusal == Refusal::Absent
        && matches!(
            subject,
            Subject::Other(
                "close set"
                    | "close session"
                    | "remove inbound"
                    | "remove outbound"
                    | "use outbound"
            )
        )
}
