//! The IKEv1 initiator with a pre-shared key: main mode, quick mode, informational exchanges (RFC 2409, RFC 3947, RFC 3706).
//!
//! ```text
//! SA ─▶ ExpectProposal ─ SA ◀─ KE Ni NAT-D ─▶ ExpectKeyExchange ─ KE Nr NAT-D ◀─ ID HASH_I ─▶ ExpectIdentity ─ ID HASH_R ◀─
//!   Established: HASH(1) SA Ni IDs ─▶ ExpectQuickMode ─ HASH(2) SA Nr IDs ◀─ HASH(3) ─▶ [`Event::Secured`]
//! ```

pub mod dh;
pub mod hash;
pub mod keys;
mod main_mode;
pub mod proposal;
mod protected;
mod quick_mode;

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::Arc;

use culvert_wire::ike::{
    Chain, Cookie, ExchangeType, Flags, Header, Malformed, MessageId, MessageWriter, Notification,
    PayloadType, Version,
};
use culvert_wire::writer::Overflow;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;
use zeroize::Zeroizing;

use super::cause::{Cause, Stage};
use super::esp::Suite;
use super::retransmit::{Due, Retransmit};
use super::{Encapsulation, Profile, Time};
use main_mode::{ExpectIdentity, ExpectKeyExchange, ExpectProposal};
use proposal::Travel;
use protected::Established;

/// UDP port of IKE.
pub const PORT: u16 = 500;
/// UDP port of IKE and ESP behind a NAT (RFC 3948).
pub const FLOATED_PORT: u16 = 4500;

/// A message and the UDP port, ours and the gateway's, that it travels on; without non-ESP marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) port: u16,
    pub(super) bytes: Vec<u8>,
}

/// What has come of a message.
#[derive(Debug)]
pub(super) enum Event {
    /// Quick mode has made a pair of SAs.
    Secured(Box<Pair>),
    /// The gateway deleted the SA with its SPI.
    EspDeleted(u32),
    /// The answer to this step was late.
    SentAgain(Stage),
    /// It is over.
    Down(Cause),
}

/// The SAs of one quick mode.
#[derive(Debug)]
pub(super) struct Pair {
    /// The algorithms.
    pub(super) suite: Suite,
    /// How they travel.
    pub(super) travel: Travel,
    /// Our SPI.
    pub(super) inbound: u32,
    /// The gateway's SPI.
    pub(super) outbound: u32,
    /// Keys of packets to us.
    pub(super) inbound_keys: Zeroizing<Vec<u8>>,
    /// Keys of packets to the gateway.
    pub(super) outbound_keys: Zeroizing<Vec<u8>>,
}

/// The initiator.
#[derive(Debug)]
pub(super) struct Initiator {
    core: Core,
    state: State,
}

/// What every state needs.
#[derive(Debug)]
struct Core {
    profile: Arc<Profile>,
    local: Ipv4Addr,
    gateway: Ipv4Addr,
    cookie_i: Cookie,
    cookie_r: Cookie,
    port: u16,
    waiting: Option<(Stage, Retransmit<Message>)>,
    outgoing: VecDeque<Message>,
}

#[derive(Debug)]
enum State {
    Idle,
    ExpectProposal(ExpectProposal),
    ExpectKeyExchange(Box<ExpectKeyExchange>),
    ExpectIdentity(Box<ExpectIdentity>),
    Established(Box<Established>),
    /// We have said good-bye, and still hear what the gateway says.
    Closing(Box<Established>),
    Closed,
}

/// Why a message changes nothing, or ends it all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Not what we await, or it does not parse.
    Ignored,
    /// The end.
    Fatal(Cause),
}

impl From<Malformed> for Fault {
    fn from(_: Malformed) -> Self {
        Self::Ignored
    }
}

/// Our own messages fit their buffers; if not, the profile's texts are absurdly long.
impl From<Overflow> for Fault {
    fn from(Overflow: Overflow) -> Self {
        Self::Fatal(Cause::LoggedOut)
    }
}

impl Initiator {
    pub(super) fn new(profile: Arc<Profile>, local: Ipv4Addr, gateway: Ipv4Addr) -> Self {
        let core = Core {
            profile,
            local,
            gateway,
            cookie_i: Cookie::ZERO,
            cookie_r: Cookie::ZERO,
            port: PORT,
            waiting: None,
            outgoing: VecDeque::new(),
        };
        Self {
            core,
            state: State::Idle,
        }
    }

    /// Sends the first message.
    pub(super) fn start(&mut self, now: Time, rng: &mut ChaCha20Rng) -> Option<Event> {
        rng.fill_bytes(&mut self.core.cookie_i.0);
        let next = main_mode::start(&mut self.core, now).map(State::ExpectProposal);
        self.go_on(next.map(|state| (state, None)))
    }

    /// Takes a message that came on `port`, without non-ESP marker.
    pub(super) fn handle(
        &mut self,
        now: Time,
        port: u16,
        bytes: &[u8],
        rng: &mut ChaCha20Rng,
    ) -> Option<Event> {
        let Ok((header, body)) = Header::split(bytes) else {
            return None;
        };
        if header.initiator != self.core.cookie_i || port != self.core.port {
            return None;
        }
        if let Some(cause) = self.refusal(&header, body) {
            return self.go_on(Err(Fault::Fatal(cause)));
        }
        let arrival = Arrival { now, header, body };
        let core = &mut self.core;
        let result = match &mut self.state {
            State::Idle | State::Closed => Err(Fault::Ignored),
            State::ExpectProposal(state) => state.handle(core, &arrival, rng).map(plain),
            State::ExpectKeyExchange(state) => state.handle(core, &arrival).map(plain),
            State::ExpectIdentity(state) => state.handle(core, &arrival, rng).map(plain),
            State::Established(state) => match state.handle(core, &arrival) {
                Ok(event) => return event,
                Err(fault) => Err(fault),
            },
            State::Closing(state) => return state.handle(core, &arrival).ok().flatten(),
        };
        self.go_on(result)
    }

    /// Starts another quick mode, unless one is running.
    pub(super) fn rekey(&mut self, now: Time, rng: &mut ChaCha20Rng) {
        if let State::Established(state) = &mut self.state {
            // A message of ours that does not fit is caught by the first quick mode.
            let _ = state.start_quick_mode(&mut self.core, now, rng);
        }
    }

    /// Deletes the ESP SA with our SPI and the IKE SA.
    pub(super) fn close(&mut self, inbound: Option<u32>, rng: &mut ChaCha20Rng) {
        self.core.waiting = None;
        self.state = match std::mem::replace(&mut self.state, State::Closed) {
            State::Established(state) => {
                let _ = state.delete(&mut self.core, inbound, rng);
                State::Closing(state)
            }
            closing @ State::Closing(_) => closing,
            State::Idle
            | State::ExpectProposal(_)
            | State::ExpectKeyExchange(_)
            | State::ExpectIdentity(_)
            | State::Closed => State::Closed,
        };
    }

    pub(super) fn timeout(&self) -> Option<Time> {
        self.core.waiting.as_ref().map(|(_, timer)| timer.at())
    }

    pub(super) fn handle_timeout(&mut self, now: Time) -> Option<Event> {
        let (stage, timer) = self.core.waiting.as_mut()?;
        match timer.due(now) {
            Due::Later => None,
            Due::Again => {
                self.core.outgoing.push_back(timer.message.clone());
                Some(Event::SentAgain(*stage))
            }
            Due::Never => {
                let cause = Cause::Silent(*stage);
                self.go_on(Err(Fault::Fatal(cause)))
            }
        }
    }

    pub(super) fn poll(&mut self) -> Option<Message> {
        self.core.outgoing.pop_front()
    }

    fn go_on(&mut self, result: Result<(State, Option<Event>), Fault>) -> Option<Event> {
        match result {
            Ok((state, event)) => {
                self.state = state;
                event
            }
            Err(Fault::Ignored) => None,
            Err(Fault::Fatal(cause)) => {
                self.state = State::Closed;
                self.core.waiting = None;
                Some(Event::Down(cause))
            }
        }
    }

    /// An error notification in the clear, which only main mode's first messages may get.
    fn refusal(&self, header: &Header, body: &[u8]) -> Option<Cause> {
        const FIRST_STATUS: u16 = 16_384;
        let early = matches!(
            self.state,
            State::ExpectProposal(_) | State::ExpectKeyExchange(_) | State::ExpectIdentity(_)
        );
        let clear = header.exchange == ExchangeType::INFORMATIONAL
            && !header.flags.contains(Flags::ENCRYPTED);
        if !early || !clear {
            return None;
        }
        let chain = Chain::parse(header.next, body).ok()?;
        let notification = Notification::parse(chain.only(PayloadType::NOTIFICATION)?).ok()?;
        (notification.kind.0 < FIRST_STATUS).then_some(Cause::Notified(notification.kind.0))
    }
}

fn plain(state: State) -> (State, Option<Event>) {
    (state, None)
}

/// A message with its header split off.
struct Arrival<'a> {
    now: Time,
    header: Header,
    body: &'a [u8],
}

/// Longest message we send.
const MAX_MESSAGE: usize = 1_200;

impl Core {
    fn header(&self, exchange: ExchangeType, flags: Flags, message_id: MessageId) -> Header {
        Header {
            initiator: self.cookie_i,
            responder: self.cookie_r,
            next: PayloadType::NONE,
            version: Version::V1_0,
            exchange,
            flags,
            message_id,
        }
    }

    /// Builds a message of main mode in the clear.
    fn main_mode(
        &self,
        write: impl FnOnce(&mut MessageWriter<'_>) -> Result<(), Overflow>,
    ) -> Result<Vec<u8>, Overflow> {
        let header = self.header(
            ExchangeType::MAIN_MODE,
            Flags::default(),
            MessageId::PHASE_1,
        );
        let mut buffer = vec![0; MAX_MESSAGE];
        let mut message = MessageWriter::new(&mut buffer, &header)?;
        write(&mut message)?;
        let len = message.finish()?;
        buffer.truncate(len);
        Ok(buffer)
    }

    /// Sends `bytes` once.
    fn send(&mut self, bytes: Vec<u8>) {
        self.outgoing.push_back(Message {
            port: self.port,
            bytes,
        });
    }

    /// Sends `bytes` until the answer to `stage` comes.
    fn ask(&mut self, now: Time, stage: Stage, bytes: Vec<u8>) {
        let message = Message {
            port: self.port,
            bytes,
        };
        self.outgoing.push_back(message.clone());
        self.waiting = Some((stage, Retransmit::new(now, message)));
    }

    const fn travel(&self) -> Travel {
        if self.port == FLOATED_PORT {
            Travel::InUdp
        } else {
            Travel::Native
        }
    }

    fn forced(&self) -> bool {
        self.profile.encapsulation == Encapsulation::ForcedUdp
    }
}
