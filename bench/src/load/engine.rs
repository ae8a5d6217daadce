//! The loop of a run: one thread, both ends of the network, one clock.
//!
//! ```text
//! clients link ─ rx ─▶ Population::handle ─ inner probe ─▶ Tally      LAN link ─ rx ─▶ probe ─▶ Tally
//!              ◀─ tx ─ log-ins, timers, sealed probes                          ◀─ tx ─ probes
//! ```

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use culvert_dataplane::frame::{BATCH, Frame, Frames};
use culvert_dataplane::port::Port;
use culvert_wire::eth::{self, EtherType};
use culvert_wire::ipv4::{self, Fragment, Packet, Protocol};
use culvert_wire::udp;
use culvert_wire::writer::Writer;
use rustix::event::{PollFd, PollFlags, Timespec};

use super::link::Link;
use super::pace::{Pace, Pacer};
use super::population::{Population, Via};
use super::probe::{self, Direction, Ends, Probe};
use super::tally::Tally;
use crate::client::{Datagram, Outer, Time};

/// Clients, both links and what has been counted.
pub struct Engine<P> {
    clients: Link<P>,
    lan: Option<Link<P>>,
    population: Population,
    envelope: Envelope,
    host: Ipv4Addr,
    started: Instant,
    runs: Vec<Run>,
    turn: Turn,
    template: Vec<u8>,
    foreign: u64,
}

/// One run of probes.
#[derive(Clone, Debug)]
pub struct Run {
    /// Bytes of the inner IP packet.
    pub size: usize,
    /// Probes from clients to the network.
    pub up: Tally,
    /// Probes from the network to clients.
    pub down: Tally,
    /// How long probes were sent.
    pub sending: Duration,
    /// Probes left out because the sender was busy with others.
    pub skipped: u64,
}

/// Whose turn it is to send.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    up: u32,
    down: u32,
}

/// How log-ins are spread.
#[derive(Clone, Copy, Debug)]
pub struct LogIns {
    /// At most so many clients log in at the same time.
    pub at_once: u32,
    /// At most so many begin in a second.
    pub per_second: u64,
}

/// Whether the loop had anything to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    Idle,
    Busy,
}

impl Activity {
    fn of(frames: &Frames) -> Self {
        if frames.is_empty() {
            Self::Idle
        } else {
            Self::Busy
        }
    }
}

/// Longest sleep of an idle loop: how long an interrupt waits.
const NAP: Duration = Duration::from_millis(20);
const TTL: u8 = 64;

impl<P: Port> Engine<P> {
    /// Joins clients that dial `gateway` and, if probes are to be sent, `host` on a LAN behind it.
    pub fn new(
        clients: Link<P>,
        lan: Option<Link<P>>,
        population: Population,
        gateway: Ipv4Addr,
        host: Ipv4Addr,
    ) -> Self {
        Self {
            clients,
            lan,
            population,
            envelope: Envelope {
                gateway,
                identification: 0,
            },
            host,
            started: Instant::now(),
            runs: Vec::new(),
            turn: Turn::default(),
            template: vec![0; probe::MAX_LEN],
            foreign: 0,
        }
    }

    /// The clients.
    pub const fn population(&self) -> &Population {
        &self.population
    }

    /// The runs so far.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Frames that were no probe of ours and no packet of a client's.
    pub const fn foreign(&self) -> u64 {
        self.foreign
    }

    /// Logs clients in until each is up or has failed; `watch` is told after each turn and ends it by `false`.
    pub fn log_in(&mut self, spread: LogIns, mut watch: impl FnMut(&Population) -> bool) {
        let begin = Instant::now();
        let mut begun: u64 = 0;
        loop {
            let now = self.now();
            let mut activity = self.turn(now);
            let micros = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
            let granted = spread.per_second.saturating_mul(micros) / 1_000_000;
            let census = self.population.census();
            if census.idle > 0 && census.connecting < spread.at_once && begun <= granted {
                if let Some(index) = self.population.connect_next(now) {
                    self.send_messages(index);
                }
                begun += 1;
                activity = Activity::Busy;
            }
            self.flush();
            if (census.idle == 0 && census.connecting == 0) || !watch(&self.population) {
                return;
            }
            self.rest(activity, NAP);
        }
    }

    /// Begins the log-in of the next client that has not begun; [`Engine::hold`] goes on with it. Returns which.
    pub fn connect_next(&mut self) -> Option<u32> {
        let index = self.population.connect_next(self.now())?;
        self.send_messages(index);
        self.flush();
        Some(index)
    }

    /// Has a client forget all and log in anew from the same address; [`Engine::hold`] goes on with it.
    ///
    /// `None` if it has never begun.
    pub fn connect_again(&mut self, index: u32) -> Option<()> {
        self.population.connect_again(self.now(), index)?;
        self.send_messages(index);
        self.flush();
        Some(())
    }

    /// Answers the gateway until `watch`, told after each turn, ends it by `false`.
    pub fn hold(&mut self, mut watch: impl FnMut(&Population) -> bool) {
        while watch(&self.population) {
            let now = self.now();
            let activity = self.turn(now);
            self.flush();
            self.rest(activity, NAP);
        }
    }

    /// Logs all clients out, `at_once` in a turn.
    pub fn log_out(&mut self, at_once: u32) {
        for index in 0..self.population.len() {
            let now = self.now();
            if self.population.lease(index).is_some() {
                self.population.disconnect(now, index);
                self.send_messages(index);
            }
            if index % at_once.max(1) == 0 {
                self.settle();
            }
        }
        self.settle();
    }

    /// Sends what is queued and takes what has come.
    fn settle(&mut self) {
        let now = self.now();
        self.flush();
        while self.turn(now) == Activity::Busy || self.clients.is_backed_up() {
            self.flush();
        }
    }

    /// Sends probes of `size` bytes both ways for `duration`, then waits for the last ones for at most `grace`.
    ///
    /// Returns the run's index; `watch` is told after each turn and ends it by `false`.
    pub fn run(
        &mut self,
        size: usize,
        pace: Pace,
        duration: Duration,
        grace: Duration,
        mut watch: impl FnMut(&Run, Duration) -> bool,
    ) -> usize {
        let index = self.runs.len();
        self.runs.push(Run {
            size,
            up: Tally::new(),
            down: Tally::new(),
            sending: Duration::ZERO,
            skipped: 0,
        });
        let begin = Instant::now();
        let (mut up, mut down) = (Pacer::new(pace), Pacer::new(pace));
        loop {
            let elapsed = begin.elapsed();
            let now = self.now();
            self.turn(now);
            let run = &self.runs[index];
            if elapsed >= duration || !watch(run, elapsed) {
                break;
            }
            let (up_missing, down_missing) = (run.up.missing(), run.down.missing());
            let due = up.due(elapsed, up_missing);
            up.sent(self.send_up(index, due));
            let due = down.due(elapsed, down_missing);
            down.sent(self.send_down(index, due));
            self.flush();
        }
        self.runs[index].sending = begin.elapsed();
        self.runs[index].skipped = up.skipped() + down.skipped();
        self.wait_for_last(index, grace);
        index
    }

    /// Goes on receiving until all probes have come or `grace` is over.
    fn wait_for_last(&mut self, index: usize, grace: Duration) {
        let begin = Instant::now();
        while begin.elapsed() < grace
            && self.runs[index].up.missing() + self.runs[index].down.missing() > 0
        {
            let now = self.now();
            let activity = self.turn(now);
            self.flush();
            self.rest(activity, Duration::from_millis(1));
        }
    }

    /// Receives a batch on each link and does what timers ask for.
    fn turn(&mut self, now: Time) -> Activity {
        let mut activity = self.receive_for_clients(now);
        if self.receive_for_host() == Activity::Busy {
            activity = Activity::Busy;
        }
        while let Some(index) = self.population.handle_timeout(now) {
            activity = Activity::Busy;
            self.send_messages(index);
        }
        activity
    }

    fn receive_for_clients(&mut self, now: Time) -> Activity {
        let mut frames = self.clients.receive();
        let received_ns = self.nanos();
        let activity = Activity::of(&frames);
        for mut frame in frames.take_front(BATCH) {
            self.take_for_client(now, &mut frame, received_ns);
            self.clients.give(frame);
        }
        self.clients.recycle(frames);
        activity
    }

    fn receive_for_host(&mut self) -> Activity {
        let Some(mut frames) = self.lan.as_mut().map(Link::receive) else {
            return Activity::Idle;
        };
        let received_ns = self.nanos();
        let activity = Activity::of(&frames);
        for frame in &*frames {
            self.take_for_host(frame.bytes(), received_ns);
        }
        if let Some(lan) = &mut self.lan {
            frames.take_front(BATCH).for_each(|frame| lan.give(frame));
            lan.recycle(frames);
        }
        activity
    }

    /// Takes a frame for a client.
    fn take_for_client(&mut self, now: Time, frame: &mut Frame, received_ns: u64) {
        let Some((index, via, range)) = self.addressee(frame.bytes()) else {
            self.foreign += 1;
            return;
        };
        let Some(payload) = frame.bytes_mut().get_mut(range) else {
            return;
        };
        match self.population.handle(now, index, via, payload) {
            Some(inner) => match payload.get(inner).and_then(Probe::parse) {
                Some(probe) if probe.direction == Direction::Down && probe.client == index => {
                    self.note(&probe, received_ns);
                }
                Some(_) | None => self.foreign += 1,
            },
            None => self.send_messages(index),
        }
    }

    /// Which client a frame is for, and where in it the payload of UDP or ESP is.
    fn addressee(&self, bytes: &[u8]) -> Option<(u32, Via, std::ops::Range<usize>)> {
        let header = eth::Header::parse(bytes)
            .ok()
            .filter(|header| header.ether_type == EtherType::IPV4)?;
        let packet = Packet::parse(bytes.get(header.len()..)?).ok()?;
        let index = self.population.find(packet.destination())?;
        let range = packet.payload_range();
        let (start, end) = (header.len() + range.start, header.len() + range.end);
        if packet.is_fragment() {
            return None;
        }
        match packet.protocol() {
            Protocol::ESP => Some((index, Via::Esp, start..end)),
            Protocol::UDP => {
                let (_, rest) = packet.payload().split_first_chunk::<2>()?;
                let port = u16::from_be_bytes(*rest.first_chunk()?);
                Some((index, Via::Udp(port), start + udp::HEADER_LEN..end))
            }
            _ => None,
        }
    }

    /// Takes a frame for the host on the LAN.
    fn take_for_host(&mut self, bytes: &[u8], received_ns: u64) {
        let packet = eth::Header::parse(bytes)
            .ok()
            .and_then(|header| bytes.get(header.len()..));
        match packet.and_then(Probe::parse) {
            Some(probe) if probe.direction == Direction::Up => self.note(&probe, received_ns),
            Some(_) | None => self.foreign += 1,
        }
    }

    fn note(&mut self, probe: &Probe, now_ns: u64) {
        let Some(member) = self.population.flows(probe.client) else {
            self.foreign += 1;
            return;
        };
        let Some(run) = self.runs.get_mut(usize::from(probe.run)) else {
            self.foreign += 1;
            return;
        };
        match probe.direction {
            Direction::Up => run
                .up
                .note(probe, member.up.receive(probe.sequence), now_ns),
            Direction::Down => run
                .down
                .note(probe, member.down.receive(probe.sequence), now_ns),
        }
    }

    /// Sends up to `count` probes from clients in turn; returns how many.
    fn send_up(&mut self, run: usize, count: u64) -> u64 {
        let sent_ns = self.nanos();
        for sent in 0..count {
            if self.send_one_up(run, sent_ns).is_none() {
                return sent;
            }
        }
        count
    }

    fn send_one_up(&mut self, run: usize, sent_ns: u64) -> Option<()> {
        let index = self.population.next_up(self.turn.up)?;
        let source = self.population.lease(index)?.address?;
        let mut frame = self.clients.frame()?;
        self.turn.up = index;
        let probe = Probe {
            run: u16::try_from(run).ok()?,
            direction: Direction::Up,
            client: index,
            sequence: self.population.flows(index)?.up.next(),
            sent_ns,
        };
        let ends = Ends {
            source,
            destination: self.host,
        };
        if self
            .seal(&mut frame, index, &probe, ends, self.runs[run].size)
            .is_none()
        {
            self.clients.give(frame);
            return None;
        }
        self.clients.send(frame);
        self.runs[run].up.sent += 1;
        Some(())
    }

    /// Fills a frame with a probe that a client sends.
    fn seal(
        &mut self,
        frame: &mut Frame,
        index: u32,
        probe: &Probe,
        ends: Ends,
        size: usize,
    ) -> Option<()> {
        probe.emit(ends, &mut self.template, size).ok()?;
        let inner = self.template.get(..size)?;
        let local = self.population.address(index);
        let client = self.population.client(index)?;
        let outer = client.outer()?;
        self.envelope.close(frame, local, outer, |datagram| {
            client.seal_inner(inner, datagram).ok()
        })
    }

    /// Sends up to `count` probes to clients in turn; returns how many.
    fn send_down(&mut self, run: usize, count: u64) -> u64 {
        let sent_ns = self.nanos();
        for sent in 0..count {
            if self.send_one_down(run, sent_ns).is_none() {
                return sent;
            }
        }
        count
    }

    fn send_one_down(&mut self, run: usize, sent_ns: u64) -> Option<()> {
        let index = self.population.next_up(self.turn.down)?;
        let destination = self.population.lease(index)?.address?;
        let lan = self.lan.as_mut()?;
        let mut frame = lan.frame()?;
        self.turn.down = index;
        let probe = Probe {
            run: u16::try_from(run).ok()?,
            direction: Direction::Down,
            client: index,
            sequence: self.population.flows(index)?.down.next(),
            sent_ns,
        };
        let size = self.runs[run].size;
        let start = frame.len();
        frame.set_len(start + size);
        let packet = frame.bytes_mut().get_mut(start..)?;
        packet.fill(0);
        probe
            .emit(
                Ends {
                    source: self.host,
                    destination,
                },
                packet,
                size,
            )
            .ok()?;
        lan.send(frame);
        self.runs[run].down.sent += 1;
        Some(())
    }

    /// Sends what a client has to say; when there is no room the rest is lost, as on a real network, and sent again by its timers.
    fn send_messages(&mut self, index: u32) {
        let local = self.population.address(index);
        while let Some(Datagram { outer, bytes }) = self.population.poll_transmit(index) {
            if self.clients.room() == 0 {
                self.clients.flush();
            }
            let Some(mut frame) = self.clients.frame() else {
                continue;
            };
            let closed = self.envelope.close(&mut frame, local, outer, |datagram| {
                datagram.get_mut(..bytes.len())?.copy_from_slice(&bytes);
                Some(bytes.len())
            });
            match closed {
                Some(()) => self.clients.send(frame),
                None => self.clients.give(frame),
            }
        }
    }

    fn flush(&mut self) {
        self.clients.flush();
        if let Some(lan) = &mut self.lan {
            lan.flush();
        }
    }

    /// Sleeps until a packet comes, a timer is due, or `longest` is over, if there was nothing to do.
    fn rest(&self, activity: Activity, longest: Duration) {
        let lan_is_backed_up = self.lan.as_ref().is_some_and(Link::is_backed_up);
        if activity == Activity::Busy || self.clients.is_backed_up() || lan_is_backed_up {
            return;
        }
        let now = self.now();
        let until = self
            .population
            .poll_timeout()
            .map_or(longest, |at| at.since(now).min(longest));
        let fds = [self.clients.fd(), self.lan.as_ref().and_then(Link::fd)];
        let mut fds: Vec<_> = fds
            .iter()
            .flatten()
            .map(|fd| PollFd::new(fd, PollFlags::IN))
            .collect();
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(until.subsec_nanos()),
        };
        // Interrupted or not, the loop goes round.
        let _ = rustix::event::poll(&mut fds, Some(&timeout));
    }

    fn now(&self) -> Time {
        Time::from_micros(u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn nanos(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Writes the headers around a datagram to the gateway.
#[derive(Debug)]
struct Envelope {
    gateway: Ipv4Addr,
    identification: u16,
}

impl Envelope {
    /// Puts IP and, if need be, UDP headers into a frame that has its Ethernet header, around what `fill` writes.
    ///
    /// `fill` gets the place for the payload and returns its length; `None` leaves the frame unfit to be sent.
    fn close(
        &mut self,
        frame: &mut Frame,
        local: Ipv4Addr,
        outer: Outer,
        fill: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Option<()> {
        let start = frame.len();
        let (chunk, at) = frame.chunk_mut();
        let packet = chunk.get_mut(at + start..)?;
        let (protocol, payload_at) = match outer {
            Outer::Esp => (Protocol::ESP, ipv4::HEADER_LEN),
            Outer::Udp(_) => (Protocol::UDP, ipv4::HEADER_LEN + udp::HEADER_LEN),
        };
        let len = payload_at + fill(packet.get_mut(payload_at..)?)?;
        self.identification = self.identification.wrapping_add(1);
        let header = ipv4::Header {
            traffic_class: 0,
            total_len: u16::try_from(len).ok()?,
            identification: self.identification,
            dont_fragment: false,
            fragment: Fragment::default(),
            ttl: TTL,
            protocol,
            source: local,
            destination: self.gateway,
        };
        let mut writer = Writer::new(packet);
        writer.put(&header.to_bytes()).ok()?;
        if let Outer::Udp(port) = outer {
            writer.u16(port).ok()?;
            writer.u16(port).ok()?;
            writer
                .u16(u16::try_from(len - ipv4::HEADER_LEN).ok()?)
                .ok()?;
            // RFC 768: zero means that there is no checksum.
            writer.u16(0).ok()?;
        }
        frame.set_len(start + len);
        Some(())
    }
}
