//! The wire between the supervisor and one of its children: orders down, reports up, on the child's standard input.
//!
//! ```text
//! Start    + sealed configuration, then what the plane needs     → Ready, or Failed and the end
//! Connect  + commands socket, punts socket                       → Disconnected when one of them breaks
//! Ping(n)                                                        → Pong(n)
//! Status                                                         → Status(bytes) in pieces
//! Stop                                                           → the child ends of itself
//! ```
//! The child ends when the wire does.

use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::ipc::{self, IpcError, Message, Received, Receiver, Sender};

/// Bound of what waits in either direction, in bytes.
pub const QUEUE_BYTES: usize = 16 * 1024 * 1024;

/// Longest sealed configuration read, in bytes.
const MAX_SEALED: u64 = 256 * 1024 * 1024;
/// Bytes of a status in one report.
const PIECE: usize = 32 * 1024;

/// What the supervisor says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Begin; beside it the sealed configuration and what else the plane needs, in an order of its own.
    Start,
    /// Speak to the other plane over the two sockets beside it, commands and punts, and drop those had before.
    Connect,
    /// Prove that you are alive.
    Ping(u64),
    /// Tell how you are.
    Status {
        /// Comes back in the report.
        question: u64,
    },
    /// End in good order.
    Stop,
}

/// What a child says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// Started and answering.
    Ready,
    /// Alive.
    Pong(u64),
    /// A socket to the other plane broke or spoke nonsense; a new pair is wanted.
    Disconnected,
    /// It cannot begin, and ends.
    Failed {
        /// Who can mend it.
        blame: Blame,
        /// Why, for people.
        text: String,
    },
    /// A piece of its status: the data plane's in postcard, control's as JSON text.
    Status {
        /// What it answers.
        question: u64,
        /// The piece.
        bytes: Vec<u8>,
        /// Whether more pieces follow.
        more: bool,
    },
}

/// Who can mend a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Blame {
    /// The operator: configuration, privilege, hardware.
    Operator,
    /// Nobody there.
    System,
}

impl Message for Order {
    const KIND: u8 = 4;
}

impl Message for Report {
    const KIND: u8 = 5;
}

/// A child's end.
#[derive(Debug)]
pub struct Lifeline {
    reports: Sender<Report>,
    orders: Receiver<Order>,
}

impl Lifeline {
    /// Takes the socket that is standard input; inside a Tokio runtime.
    ///
    /// # Errors
    /// Standard input is not a socket.
    pub fn from_stdin() -> io::Result<Self> {
        Self::new(io::stdin().as_fd().try_clone_to_owned()?)
    }

    /// Takes `socket`; inside a Tokio runtime.
    ///
    /// # Errors
    /// It is not a socket.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        let (reports, orders) = ipc::channel(socket, QUEUE_BYTES)?;
        Ok(Self { reports, orders })
    }

    /// Waits for orders; `None` when the supervisor is gone. Reports that wait go out meanwhile. May be dropped at any await.
    ///
    /// # Errors
    /// The socket's.
    pub async fn orders(&mut self) -> Result<Option<Received<Order>>, IpcError> {
        loop {
            tokio::select! {
                received = self.orders.recv() => return received,
                sent = self.reports.flush(), if !self.reports.is_empty() => sent?,
            }
        }
    }

    /// Tells the supervisor; a report that finds the queue full is lost, as the supervisor then reads nothing.
    pub fn report(&mut self, report: &Report) {
        if self.reports.push(report).is_err() || self.reports.try_flush().is_err() {
            tracing::warn!("the supervisor does not read reports");
        }
    }

    /// Answers `question` with `status`, in pieces.
    pub fn report_status(&mut self, question: u64, status: &[u8]) {
        let mut pieces = status.chunks(PIECE).peekable();
        loop {
            let bytes = pieces.next().unwrap_or_default().to_vec();
            let more = pieces.peek().is_some();
            self.report(&Report::Status {
                question,
                bytes,
                more,
            });
            if !more {
                return;
            }
        }
    }

    /// Tells why this process cannot begin, and sees the report off.
    pub async fn fail(mut self, blame: Blame, text: String) {
        self.report(&Report::Failed { blame, text });
        if let Err(error) = self.reports.flush().await {
            tracing::warn!(%error, "the supervisor does not read reports");
        }
    }
}

/// Puts `bytes` into a memfd that nobody can change any more.
///
/// # Errors
/// What the system says when memory or descriptors run out.
pub fn seal(bytes: &[u8]) -> io::Result<OwnedFd> {
    let memfd =
        rustix::fs::memfd_create("culvert", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(memfd);
    file.write_all(bytes)?;
    rustix::fs::fcntl_add_seals(
        &file,
        SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
    )?;
    Ok(file.into())
}

/// Reads all of what [`seal`] made; wiped when dropped.
///
/// # Errors
/// It is not readable, or longer than 256 MiB.
pub fn unseal(memfd: OwnedFd) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut file = std::fs::File::from(memfd);
    let len = file.metadata()?.len();
    if len > MAX_SEALED {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    file.rewind()?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(len).unwrap_or(0) + 1));
    file.take(MAX_SEALED).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends() -> (Sender<Order>, Receiver<Report>, Lifeline) {
        let (ours, theirs) = ipc::pair().unwrap();
        let (orders, reports) = ipc::channel(ours, QUEUE_BYTES).unwrap();
        (orders, reports, Lifeline::new(theirs).unwrap())
    }

    #[test]
    fn what_is_sealed_can_be_read_often_and_never_changed() {
        let memfd = seal(b"configuration").unwrap();
        let copy = memfd.try_clone().unwrap();
        assert_eq!(unseal(memfd).unwrap().as_slice(), b"configuration");
        let mut file = std::fs::File::from(copy.try_clone().unwrap());
        assert!(file.write_all(b"x").is_err());
        assert!(file.set_len(0).is_err());
        assert_eq!(unseal(copy).unwrap().as_slice(), b"configuration");
    }

    #[tokio::test]
    async fn a_long_status_arrives_whole() {
        let (_orders, mut reports, mut lifeline) = ends();
        for len in [0, 1, PIECE, PIECE + 1, 10 * PIECE] {
            let status: Vec<u8> = (0..=255).cycle().take(len).collect();
            lifeline.report_status(7, &status);
            let mut whole = Vec::new();
            'pieces: loop {
                for report in reports.recv().await.unwrap().unwrap().messages {
                    let Report::Status {
                        question: 7,
                        bytes,
                        more,
                    } = report
                    else {
                        panic!("{report:?}");
                    };
                    whole.extend(bytes);
                    if !more {
                        break 'pieces;
                    }
                }
            }
            assert_eq!(whole, status);
        }
    }

    #[tokio::test]
    async fn the_end_of_the_wire_is_seen() {
        let (orders, reports, mut lifeline) = ends();
        drop((orders, reports));
        assert!(lifeline.orders().await.unwrap().is_none());
    }
}
