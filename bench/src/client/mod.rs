//! The client side of L2TP/IPsec as one sans-IO machine: IKEv1, ESP, L2TP and PPP, written apart from the gateway's.
//!
//! ```text
//! handle_udp, handle_esp ─▶ ike::Initiator ─ Secured ─▶ Lac ─ Connected ─▶ Link ─ Up ─▶ poll_event
//!                        └▶ esp::Inbound ─ L2TP control ─┘          └ PPP ─┘
//!                                        └ IPv4 ─▶ returned to the caller, in place
//! seal_inner ─▶ PPP, L2TP, UDP, esp::Outbound ─▶ the caller's buffer
//! ```
//! Time and randomness are arguments. Only the gateway's behaviour is tested against this, so it is strict about what it accepts
//! and simple in what it sends.

mod cause;
pub mod esp;
pub mod ike;
mod l2tp;
pub mod mschap;
pub mod ppp;
mod retransmit;
mod secured;
mod time;

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::sync::Arc;

use culvert_wire::ppp::frame::Protocol;
use rand_chacha::ChaCha20Rng;

pub use cause::{Cause, Stage};
pub use secured::{Discards, Outer, Unsent};
pub use time::Time;

use esp::Suite;
use ike::Initiator;
use ike::proposal::IkeProposal;
use l2tp::Lac;
use ppp::{Lease, Link};
use secured::{Content, Secured};

/// UDP port of L2TP.
pub const L2TP_PORT: u16 = 1701;

/// How a client wants its ESP packets to travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encapsulation {
    /// In UDP if there is a NAT, otherwise as an IP protocol of their own.
    AsNeeded,
    /// In UDP, by pretending that there is a NAT.
    ForcedUdp,
}

/// What many clients have in common.
#[derive(Clone)]
pub struct Profile {
    /// The pre-shared key.
    pub psk: Vec<u8>,
    /// Phase 1 algorithms in order of preference: 1 to 16.
    pub ike: Vec<IkeProposal>,
    /// Phase 2 algorithms.
    pub esp: Suite,
    /// How ESP travels.
    pub encapsulation: Encapsulation,
    /// Our UDP port inside ESP.
    pub l2tp_port: u16,
    /// The largest IP packet we take, in bytes.
    pub mru: u16,
    /// How we may prove the password, preferred first.
    pub methods: Vec<ppp::Method>,
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Profile {{ ike: {:?}, esp: {:?}, .. }}",
            self.ike, self.esp
        )
    }
}

/// Who logs in.
#[derive(Clone)]
pub struct Credentials {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} [redacted]", self.user)
    }
}

/// A message to the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// What it travels in.
    pub outer: Outer,
    /// Payload of that.
    pub bytes: Vec<u8>,
}

/// What the caller should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Logged in: IP may flow.
    Up(Lease),
    /// Not, or no longer, connected. Nothing follows.
    Down(Cause),
    /// A further quick mode has replaced the SAs.
    Rekeyed,
    /// The gateway did not answer this step in time; the message went out again.
    SentAgain(Stage),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    Up,
    Down,
}

/// Which good-byes of the gateway a client has heard, also after it was down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Farewells {
    /// CDN or StopCCN.
    pub l2tp: bool,
    /// DELETE of an ESP SA.
    pub esp: bool,
    /// DELETE of the IKE SA.
    pub ike: bool,
}

/// One simulated client.
#[derive(Debug)]
pub struct Client {
    phase: Phase,
    farewells: Farewells,
    ike: Initiator,
    secured: Option<Box<Secured>>,
    lac: Lac,
    link: Link,
    l2tp_port: u16,
    outgoing: VecDeque<Datagram>,
    events: VecDeque<Event>,
}

impl Client {
    /// Makes a client with the outer address `local` that will dial `gateway`.
    pub fn new(
        profile: Arc<Profile>,
        credentials: Arc<Credentials>,
        local: Ipv4Addr,
        gateway: Ipv4Addr,
    ) -> Self {
        Self {
            phase: Phase::Down,
            farewells: Farewells::default(),
            l2tp_port: profile.l2tp_port,
            ike: Initiator::new(profile.clone(), local, gateway),
            secured: None,
            lac: Lac::new(),
            link: Link::new(profile, credentials),
            outgoing: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Begins to log in. To log in again, make a new client.
    pub fn connect(&mut self, now: Time, rng: &mut ChaCha20Rng) {
        self.phase = Phase::Connecting;
        let event = self.ike.start(now, rng);
        self.on_ike(now, event, rng);
    }

    /// Takes the payload of a UDP datagram that came to `port`, 500 or 4500, of ours.
    ///
    /// Returns where in `payload` an IP packet for this client now stands, if one came.
    pub fn handle_udp(
        &mut self,
        now: Time,
        port: u16,
        payload: &mut [u8],
        rng: &mut ChaCha20Rng,
    ) -> Option<Range<usize>> {
        const NON_ESP_MARKER: [u8; 4] = [0; 4];
        if port == ike::FLOATED_PORT {
            match payload.strip_prefix(&NON_ESP_MARKER) {
                Some(message) => self.handle_ike(now, port, message, rng),
                None => return self.handle_esp(now, payload, rng),
            }
        } else if port == ike::PORT {
            self.handle_ike(now, port, payload, rng);
        }
        None
    }

    /// Takes an ESP packet, from its SPI on.
    ///
    /// Returns where in `packet` an IP packet for this client now stands, if one came.
    pub fn handle_esp(
        &mut self,
        now: Time,
        packet: &mut [u8],
        rng: &mut ChaCha20Rng,
    ) -> Option<Range<usize>> {
        let secured = self.secured.as_mut()?;
        let content = secured.open(packet, self.lac.ids(), self.l2tp_port)?;
        match content {
            Content::Control(range) => {
                let event = self.lac.handle(now, packet.get(range)?, rng);
                self.on_lac(now, event, rng);
            }
            Content::Ppp(Protocol::IPV4, range) if self.phase == Phase::Up => return Some(range),
            Content::Ppp(protocol, range) => {
                let event = self.link.handle(now, protocol, packet.get(range)?, rng);
                self.on_link(now, event, rng);
            }
        }
        None
    }

    /// Wraps the IP packet `inner` for the gateway into the front of `datagram`; returns its length. [`Client::outer`] says what it travels in.
    ///
    /// # Errors
    /// [`Unsent`] if the client is not up, `datagram` is too short, or the SA is used up.
    pub fn seal_inner(&mut self, inner: &[u8], datagram: &mut [u8]) -> Result<usize, Unsent> {
        let secured = self.secured.as_mut().filter(|_| self.phase == Phase::Up);
        let secured = secured.ok_or(Unsent::Down)?;
        secured.seal_ppp(
            Protocol::IPV4,
            inner,
            self.lac.ids(),
            self.l2tp_port,
            datagram,
        )
    }

    /// Starts another quick mode.
    pub fn rekey(&mut self, now: Time, rng: &mut ChaCha20Rng) {
        self.ike.rekey(now, rng);
        self.collect();
    }

    /// Logs out: tells the gateway on all layers and is down.
    pub fn disconnect(&mut self, now: Time, rng: &mut ChaCha20Rng) {
        self.down(now, Cause::LoggedOut, rng);
    }

    /// The next message to send.
    pub fn poll_transmit(&mut self) -> Option<Datagram> {
        self.outgoing.pop_front()
    }

    /// The next thing to know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`Client::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Time> {
        [self.ike.timeout(), self.lac.timeout(), self.link.timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Time, rng: &mut ChaCha20Rng) {
        let event = self.ike.handle_timeout(now);
        self.on_ike(now, event, rng);
        let event = self.lac.handle_timeout(now);
        self.on_lac(now, event, rng);
        let event = self.link.handle_timeout(now);
        self.on_link(now, event, rng);
    }

    /// What inner packets travel in, once there are SAs.
    pub fn outer(&self) -> Option<Outer> {
        self.secured.as_ref().map(|secured| secured.outer())
    }

    /// Whether IP may flow.
    pub fn is_up(&self) -> bool {
        self.phase == Phase::Up
    }

    /// Whether it has failed or was logged out, or has not begun.
    pub fn is_down(&self) -> bool {
        self.phase == Phase::Down
    }

    /// Packets that were not taken, by reason.
    pub fn discards(&self) -> Discards {
        self.secured
            .as_ref()
            .map_or_else(Discards::default, |secured| secured.discards())
    }

    /// What the gateway said on its way out.
    pub const fn farewells(&self) -> Farewells {
        self.farewells
    }

    fn handle_ike(&mut self, now: Time, port: u16, message: &[u8], rng: &mut ChaCha20Rng) {
        let event = self.ike.handle(now, port, message, rng);
        self.on_ike(now, event, rng);
    }

    fn on_ike(&mut self, now: Time, event: Option<ike::Event>, rng: &mut ChaCha20Rng) {
        match event {
            None => {}
            // A quick mode that ends after the good-bye has no use any more.
            Some(ike::Event::Secured(_)) if self.phase == Phase::Down => {}
            Some(ike::Event::Secured(pair)) => match &mut self.secured {
                None => {
                    self.secured = Some(Box::new(Secured::new(&pair)));
                    let event = self.lac.start(now, rng);
                    self.on_lac(now, event, rng);
                }
                Some(secured) => {
                    secured.replace(&pair);
                    self.events.push_back(Event::Rekeyed);
                }
            },
            Some(ike::Event::EspDeleted(spi)) => {
                self.farewells.esp = true;
                self.on_deleted(now, spi, rng);
            }
            Some(ike::Event::SentAgain(stage)) => self.events.push_back(Event::SentAgain(stage)),
            Some(ike::Event::Down(cause)) => {
                self.farewells.ike |= cause == Cause::Deleted;
                self.down(now, cause, rng);
            }
        }
        self.collect();
    }

    /// The gateway no longer takes packets with `spi`; without a newer SA we are mute.
    fn on_deleted(&mut self, now: Time, spi: u32, rng: &mut ChaCha20Rng) {
        let mute = self
            .secured
            .as_ref()
            .is_some_and(|secured| secured.seals_with(spi));
        if mute {
            self.down(now, Cause::Deleted, rng);
        }
    }

    /// A link that negotiates anew while it is up stays up.
    fn on_up(&mut self, lease: Lease) {
        if self.phase == Phase::Connecting {
            self.phase = Phase::Up;
            self.events.push_back(Event::Up(lease));
        }
    }

    fn on_lac(&mut self, now: Time, event: Option<l2tp::Event>, rng: &mut ChaCha20Rng) {
        match event {
            None => {}
            Some(l2tp::Event::Connected) => self.link.start(now, rng),
            Some(l2tp::Event::SentAgain(stage)) => self.events.push_back(Event::SentAgain(stage)),
            Some(l2tp::Event::Down(cause)) => {
                self.farewells.l2tp |=
                    matches!(cause, Cause::TunnelClosed(_) | Cause::CallClosed(_));
                self.down(now, cause, rng);
            }
        }
        self.collect();
    }

    fn on_link(&mut self, now: Time, event: Option<ppp::Event>, rng: &mut ChaCha20Rng) {
        match event {
            None => {}
            Some(ppp::Event::Up(lease)) => self.on_up(lease),
            Some(ppp::Event::SentAgain(stage)) => self.events.push_back(Event::SentAgain(stage)),
            Some(ppp::Event::Down(cause)) => self.down(now, cause, rng),
        }
        self.collect();
    }

    fn down(&mut self, now: Time, cause: Cause, rng: &mut ChaCha20Rng) {
        if self.phase == Phase::Down {
            return;
        }
        self.phase = Phase::Down;
        self.link.close();
        self.lac.close(now);
        self.collect();
        self.ike.close(
            self.secured
                .as_ref()
                .map(|secured| secured.newest_inbound()),
            rng,
        );
        self.collect();
        self.events.push_back(Event::Down(cause));
    }

    /// Takes what the layers want to send, upper ones first, and wraps it.
    fn collect(&mut self) {
        let ids = self.lac.ids();
        if let Some(secured) = &mut self.secured {
            while let Some(message) = self.lac.poll() {
                self.outgoing
                    .extend(secured.control(&message, self.l2tp_port));
            }
            while let Some(frame) = self.link.poll() {
                self.outgoing
                    .extend(secured.ppp(&frame, ids, self.l2tp_port));
            }
        }
        while let Some(message) = self.ike.poll() {
            let marker: &[u8] = if message.port == ike::FLOATED_PORT {
                &[0; 4]
            } else {
                &[]
            };
            let bytes = [marker, &message.bytes].concat();
            self.outgoing.push_back(Datagram {
                outer: Outer::Udp(message.port),
                bytes,
            });
        }
    }
}
