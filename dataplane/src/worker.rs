//! A worker: one core's loop over its two ports, its rows and its queues.
//!
//! ```text
//! turn   orders ─► up ─► down ─► what other cores handed over ─► what stages made ─► reports ─► wake the kernel
//! run    turns while there is work; after some idle ones, sleeps in poll until a port or the link has something
//! ```

use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use arrayvec::ArrayVec;
use culvert_crypto::Engine;
use culvert_wire::eth::{self, MacAddress};
use culvert_wire::ipv4::Ecn;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::api::{Answer, Command, CoreId, DataplaneConfig, Refusal, Ticket};
use crate::batch::{Batch, Layer, Packet};
use crate::frame::{BATCH, FramePool, Frames};
use crate::handoff::Exchange;
use crate::inventory::Inventory;
use crate::link::{Keys, Near, Order, Reply, Report, Retired, Snapshot};
use crate::mem::continuity::Continuity;
use crate::mem::prefetch_lines;
use crate::moment::Moment;
use crate::order;
use crate::outbox::Outbox;
use crate::port::Port;
use crate::stage::classify::{outer, transport};
use crate::stage::esp_open::esp_open;
use crate::stage::esp_seal::esp_seal;
use crate::stage::fragment::{cut, cut_frame};
use crate::stage::l2tp_decap::l2tp_decap;
use crate::stage::l2tp_encap::l2tp_encap;
use crate::stage::ppp_decap::ppp_decap;
use crate::stage::ppp_encap::ppp_encap;
use crate::stage::reassemble::reassemble;
use crate::stage::to_network::to_network;
use crate::stage::to_session::{fit, to_session};
use crate::table::{Notice, Rows};
use crate::verdict::{Origin, PuntKind, Reason, Verdict};

/// Orders carried out in one turn.
const ORDERS: usize = 64;
/// Turns without work before the worker sleeps.
const PATIENCE: u32 = 64;
/// The longest sleep: what waits for time only, such as fragments, is looked at that often.
const NAP: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};
/// The longest sleep while frames are on their way out: in copy mode the kernel sends only when it is woken.
const DOZE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 500_000,
};
/// Rows looked at in one turn for an inventory.
const INVENTORY_STEP: u32 = 64;

/// The shards that core `core` of `workers` owns, out of `shards`: as many in a row for each, the remainder for the last.
pub fn shards(shards: u16, core: CoreId, workers: usize) -> Range<u16> {
    let workers = u16::try_from(workers).unwrap_or(u16::MAX).max(1);
    let each = shards / workers;
    let first = each * u16::from(core.0);
    let is_last = u16::from(core.0) + 1 == workers;
    first..if is_last { shards } else { first + each }
}

/// One core.
#[derive(Debug)]
pub struct Worker<P> {
    outer: P,
    core: P,
    rows: Rows,
    near: Near,
    received: Frames,
    up: Batch,
    down: Batch,
    /// Packets that wait to be cut.
    oversize: ArrayVec<Packet, BATCH>,
    pieces: Batch,
    to_outer: Outbox,
    to_core: Outbox,
    inventory: Option<Inventory>,
    exchange: Option<Exchange>,
}

impl<P: Port> Worker<P> {
    /// A worker for the two ports, with empty rows for the shards that `continuity` holds of it.
    ///
    /// `pool` is the one whose frames both ports use. `shards` are those of this core: see [`shards`].
    pub fn new(
        config: &DataplaneConfig,
        ports: (P, P),
        pool: FramePool,
        shards: impl Iterator<Item = u16>,
        continuity: Continuity,
        near: Near,
    ) -> Self {
        let (outer, core) = ports;
        Self {
            outer,
            core,
            rows: Rows::new(config, shards, pool, continuity),
            near,
            received: Frames::new(),
            up: Batch::new(),
            down: Batch::new(),
            oversize: ArrayVec::new(),
            pieces: Batch::new(),
            to_outer: Outbox::new(),
            to_core: Outbox::new(),
            inventory: None,
            exchange: None,
        }
    }

    /// The same worker, with another engine than the fastest of this CPU.
    #[must_use]
    pub const fn with_engine(mut self, engine: Engine) -> Self {
        self.rows.engine = engine;
        self
    }

    /// The same worker, connected with the others of its data plane.
    #[must_use]
    pub fn joined_by(mut self, exchange: Exchange) -> Self {
        self.rows.whereabouts = exchange.whereabouts().clone();
        self.exchange = Some(exchange);
        self
    }

    /// Turns until the link says stop.
    ///
    /// # Errors
    /// What the system says when polling fails.
    pub fn run(mut self) -> io::Result<()> {
        let start = Instant::now();
        let mut idle = 0;
        while !self.near.is_stopped() {
            let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
            if self.turn(Moment::from_micros(micros)) {
                idle = 0;
                continue;
            }
            idle += 1;
            if idle >= PATIENCE {
                self.sleep()?;
                idle = 0;
            }
        }
        Ok(())
    }

    /// One round over all queues at time `now`. Returns whether there was anything to do.
    pub fn turn(&mut self, now: Moment) -> bool {
        self.rows.now = now;
        let mut work = self.carry_out();
        work += self.go_up();
        work += self.go_down();
        work += self.take_handed();
        self.send_originated();
        self.flush();
        self.take_inventory();
        self.report();
        self.send_home();
        self.outer.wake();
        self.core.wake();
        work > 0
    }

    /// The rows, to look at.
    pub const fn rows(&self) -> &Rows {
        &self.rows
    }

    /// Packets and frames that other cores sent here and that are not taken in yet.
    pub fn handed_waiting(&self) -> usize {
        self.exchange.as_ref().map_or(0, Exchange::waiting)
    }

    /// Frames that the ports' rings hold.
    pub fn held_by_ports(&self) -> usize {
        self.outer.held() + self.core.held()
    }

    fn go_up(&mut self) -> usize {
        let Self {
            outer: port,
            rows,
            received,
            up,
            ..
        } = self;
        let count = take(port, rows, received, up, Origin::Outer);
        outer(up, rows);
        reassemble(up, rows);
        transport(up, rows);
        self.open_and_send();
        count
    }

    fn open_and_send(&mut self) {
        let Self { rows, up, .. } = self;
        esp_open(up, rows);
        l2tp_decap(up, rows);
        ppp_decap(up, rows);
        to_network(up, rows);
        self.end_all(|worker| &mut worker.up, Direction::Up);
    }

    fn go_down(&mut self) -> usize {
        // Answers of the gateway's own may wait here already.
        self.seal_and_send();
        let Self {
            core: port,
            rows,
            received,
            down,
            ..
        } = self;
        let count = take(port, rows, received, down, Origin::Core);
        to_session(down, rows);
        self.seal_and_send();
        count
    }

    /// Takes in what other cores handed over, a batch at most, and lets it go on from where it was.
    fn take_handed(&mut self) -> usize {
        let mut count = 0;
        while count < BATCH
            && let Some(mut packet) = self.exchange.as_mut().and_then(Exchange::take)
        {
            count += 1;
            self.rows.counters.ledger(packet.origin).taken += 1;
            (packet.verdict, packet.is_handed) = (Verdict::Forward, true);
            let batch = if packet.layer == Layer::Esp {
                &mut self.up
            } else {
                &mut self.down
            };
            if let Err(packet) = batch.push(packet) {
                self.drop(packet, Reason::NoFrame);
            }
        }
        to_session(&mut self.down, &mut self.rows);
        self.seal_and_send();
        self.open_and_send();
        count
    }

    /// Hands a packet to the core that owns its rows.
    fn hand(&mut self, packet: Packet, core: CoreId) {
        let origin = packet.origin;
        let handed = match &mut self.exchange {
            Some(exchange) => exchange.hand(core, packet),
            None => Err(packet),
        };
        match handed {
            Ok(()) => self.rows.counters.ledger(origin).given += 1,
            Err(packet) => self.drop(packet, Reason::HandOff),
        }
    }

    /// Others' frames go home, and ours come back.
    fn send_home(&mut self) {
        if let Some(exchange) = &mut self.exchange {
            exchange.exchange_frames(&mut self.rows.pool);
            exchange.publish();
        }
    }

    /// Takes everything in `down` to the outer port, and after it what has to be cut first.
    fn seal_and_send(&mut self) {
        loop {
            let Self {
                rows,
                down,
                oversize,
                ..
            } = self;
            set_aside(down, oversize);
            ppp_encap(down, rows);
            l2tp_encap(down, rows);
            esp_seal(down, rows);
            self.end_all(|worker| &mut worker.down, Direction::Down);
            let Some(mut packet) = self.oversize.pop_at(0) else {
                return;
            };
            self.cut_inner(&mut packet);
            self.release(packet);
        }
    }

    fn cut_inner(&mut self, packet: &mut Packet) {
        let Self { rows, down, .. } = self;
        let pieces = rows
            .sessions
            .find(packet.session)
            .and_then(|session| Some(session.inner_mtu(rows.sets.find(session.set)?.room)))
            .ok_or(Reason::Absent)
            .and_then(|mtu| cut(packet, usize::from(mtu), rows, down));
        self.count_pieces(packet.origin, pieces);
    }

    fn count_pieces(&mut self, origin: Origin, pieces: Result<usize, Reason>) {
        let ledger = self.rows.counters.ledger(origin);
        match pieces {
            Ok(pieces) => ledger.split += (pieces as u64).saturating_sub(1),
            Err(reason) => ledger.drop(reason),
        }
    }

    /// What stages made goes where it belongs.
    fn send_originated(&mut self) {
        while let Some(mut packet) = self.rows.originated.pop() {
            if packet.layer == Layer::Ethernet {
                self.end(packet, Direction::Up);
                continue;
            }
            self.fit_in(&mut packet);
            self.push_down(packet);
        }
        self.seal_and_send();
    }

    fn fit_in(&self, packet: &mut Packet) {
        packet.verdict = match fit(packet, &self.rows) {
            Ok((verdict, _)) => verdict,
            Err(reason) => Verdict::Drop(reason),
        };
    }

    fn push_down(&mut self, packet: Packet) {
        if self.down.room() == 0 {
            self.seal_and_send();
        }
        if let Err(packet) = self.down.push(packet) {
            self.drop(packet, Reason::NoFrame);
        }
    }

    /// Empties one of the batches. What a packet's end appends goes to another one.
    fn end_all(&mut self, batch: fn(&mut Self) -> &mut Batch, direction: Direction) {
        let mut ending = std::mem::take(batch(self));
        let (home, longest) = (self.rows.pool.home(), self.longest(direction));
        for packet in ending.drain() {
            let is_plain = packet.verdict == Verdict::Forward
                && packet.layer == Layer::Ethernet
                && packet.frame.home() == home
                && packet.frame.len() <= longest;
            if is_plain {
                self.post(packet, direction);
            } else {
                self.end(packet, direction);
            }
        }
        *batch(self) = ending;
    }

    /// Gives a packet that has passed its stages its end.
    fn end(&mut self, mut packet: Packet, direction: Direction) {
        match packet.verdict {
            Verdict::Forward if packet.layer == Layer::Ethernet => self.send(packet, direction),
            Verdict::Forward | Verdict::Split => self.drop(packet, Reason::Absent),
            Verdict::Answer => {
                packet.ecn = Ecn::NotCapable;
                // The sealed request is not needed any more; the answer will be written to another frame.
                if let Some(received) = packet.out.take() {
                    self.rows.pool.give(received);
                }
                self.fit_in(&mut packet);
                self.push_down(packet);
            }
            Verdict::Punt(kind) => self.punt(packet, kind),
            Verdict::HandOff(core) => self.hand(packet, CoreId(core)),
            Verdict::Held => self.release(packet),
            Verdict::Merged => {
                self.rows.counters.ledger(packet.origin).merged += 1;
                self.release(packet);
            }
            Verdict::Drop(reason) => self.drop(packet, reason),
        }
    }

    /// Bytes of the longest frame that the link takes.
    #[inline]
    fn longest(&self, direction: Direction) -> usize {
        let mtu = match direction {
            Direction::Up => self.rows.here.core_mtu,
            Direction::Down => self.rows.here.outer_mtu,
        };
        usize::from(mtu) + ETHERNET_LEN
    }

    fn send(&mut self, mut packet: Packet, direction: Direction) {
        if packet.frame.home() != self.rows.pool.home() && !self.adopt(&mut packet) {
            return self.drop(packet, Reason::NoFrame);
        }
        let longest = self.longest(direction);
        if packet.frame.len() <= longest {
            return self.post(packet, direction);
        }
        let mtu = u16::try_from(longest - ETHERNET_LEN).unwrap_or(u16::MAX);
        let pieces = cut_frame(&mut packet, mtu, &mut self.rows, &mut self.pieces);
        self.count_pieces(packet.origin, pieces);
        self.release(packet);
        let mut pieces = std::mem::take(&mut self.pieces);
        for piece in pieces.drain() {
            self.post(piece, direction);
        }
        self.pieces = pieces;
    }

    /// Moves a packet in another core's frame, which no port of ours takes, to one of ours; false if there is none.
    fn adopt(&mut self, packet: &mut Packet) -> bool {
        let Some(mut frame) = self.rows.pool.take() else {
            return false;
        };
        frame.set_len(packet.frame.len());
        frame.bytes_mut().copy_from_slice(packet.frame.bytes());
        self.rows
            .pool
            .give(std::mem::replace(&mut packet.frame, frame));
        true
    }

    /// Puts a frame that fits the link in line for its port.
    #[inline]
    fn post(&mut self, packet: Packet, direction: Direction) {
        let Self {
            outer,
            core,
            rows,
            to_outer,
            to_core,
            ..
        } = self;
        let (outbox, port) = match direction {
            Direction::Up => (to_core, core),
            Direction::Down => (to_outer, outer),
        };
        let Packet {
            frame, out, origin, ..
        } = packet;
        if let Some(other) = out {
            rows.pool.give(other);
        }
        if outbox.push(frame, origin) {
            outbox.flush(port, rows);
        }
    }

    fn flush(&mut self) {
        self.to_core.flush(&mut self.core, &mut self.rows);
        self.to_outer.flush(&mut self.outer, &mut self.rows);
    }

    fn punt(&mut self, mut packet: Packet, kind: PuntKind) {
        let source = packet.punt_source(kind);
        let protocol = packet.ppp.to_be_bytes();
        let front: &[u8] = if kind == PuntKind::Ppp {
            &protocol
        } else {
            &[]
        };
        let offered = self
            .near
            .punts
            .offer(kind, source, [front, packet.rest()], self.rows.now);
        match offered {
            Ok(()) => {
                self.rows.counters.ledger(packet.origin).punted += 1;
                self.release(packet);
            }
            Err(reason) => self.drop(packet, reason),
        }
    }

    /// Plaintext of a packet whose ICV failed is wiped, though the engine left none.
    fn drop(&mut self, mut packet: Packet, reason: Reason) {
        self.rows.counters.ledger(packet.origin).drop(reason);
        if reason == Reason::Forged
            && let Some(out) = packet.out.take()
        {
            self.rows.pool.give_wiped(out);
        }
        self.release(packet);
    }

    fn release(&mut self, packet: Packet) {
        if let Some(out) = packet.out {
            self.rows.pool.give(out);
        }
        self.rows.pool.give(packet.frame);
    }

    /// Carries out what the link asks, in order: a packet leaves before the change after it.
    fn carry_out(&mut self) -> usize {
        for count in 0..ORDERS {
            let Some(order) = self.near.next_order() else {
                self.seal_and_send();
                return count;
            };
            self.carry_out_one(order);
        }
        self.seal_and_send();
        ORDERS
    }

    fn carry_out_one(&mut self, mut order: Order) {
        let mut retired = Retired::new();
        let report = match &mut order {
            Order::Command {
                ticket,
                command,
                next_hop,
                keys,
            } => {
                let (ticket, next_hop) = (*ticket, *next_hop);
                let result = self.command(command, next_hop, keys, &mut retired);
                Some(Report::Answer(answer(ticket, result)))
            }
            Order::NextHop { set, next_hop } => {
                if let Some(set) = self.rows.sets.find_mut(*set) {
                    set.send_via(*next_hop, &self.rows.here);
                }
                None
            }
            Order::Neighbour {
                destination,
                next_hop,
            } => {
                self.rows
                    .neighbours
                    .set(*destination, *next_hop, self.rows.now);
                None
            }
            Order::Count(snapshot) => {
                self.count(snapshot);
                None
            }
        };
        let (report, spent) = match order {
            Order::Count(snapshot) => (Some(Report::Counted(snapshot)), None),
            order @ (Order::Command { .. } | Order::NextHop { .. } | Order::Neighbour { .. }) => {
                (report, Some(order))
            }
        };
        self.near.reply(Reply {
            report,
            spent,
            retired,
        });
    }

    fn command(
        &mut self,
        command: &Command,
        next_hop: Option<MacAddress>,
        keys: &mut Option<Keys>,
        retired: &mut Retired,
    ) -> Result<(), Refusal> {
        match command {
            Command::Transmit(transmit) => {
                if self.down.room() == 0 {
                    self.seal_and_send();
                }
                order::transmit(transmit, next_hop, &mut self.rows, &mut self.down)
            }
            Command::Inventory => {
                self.inventory = Some(Inventory::Sets(0));
                Ok(())
            }
            Command::OpenSet(_)
            | Command::CloseSet(_)
            | Command::AddInbound(_)
            | Command::AddOutbound(_)
            | Command::UseOutbound { .. }
            | Command::RemoveInbound(_)
            | Command::RemoveOutbound { .. }
            | Command::OpenSession(_)
            | Command::CloseSession(_) => {
                self.seal_and_send();
                order::apply(command, next_hop, keys, &mut self.rows, retired)
            }
        }
    }

    fn count(&self, snapshot: &mut Snapshot) {
        snapshot.counters.copy_from(&self.rows.counters);
        snapshot.outer = self.outer.statistics();
        snapshot.core = self.core.statistics();
        snapshot.frames_free = self.rows.pool.free() as u64;
        snapshot.frames_total = self.rows.pool.total() as u64;
        snapshot.handed_waiting = self.handed_waiting() as u64;
    }

    /// Hands on what the stages have to tell, as far as there is room; the rest waits.
    fn report(&mut self) {
        while self.near.reply_room() > 0
            && let Some(notice) = self.rows.events.pop()
        {
            match notice {
                Notice::Event(event) => self.near.tell(event),
                Notice::WantNeighbour(destination) => {
                    self.near.report(Report::WantNeighbour(destination))
                }
            }
        }
        self.near.publish();
    }

    /// Goes on with an inventory, a few rows in each turn.
    fn take_inventory(&mut self) {
        for _ in 0..INVENTORY_STEP {
            let Some(inventory) = self.inventory else {
                return;
            };
            if self.rows.events.room() < BATCH {
                return;
            }
            self.inventory = inventory.step(&mut self.rows);
        }
    }

    /// Whether nothing has come from the link or from other cores; they ring from now on.
    fn may_sleep(&self) -> bool {
        if !self.near.fall_asleep() {
            return false;
        }
        let is_quiet = self.exchange.as_ref().is_none_or(Exchange::fall_asleep);
        if !is_quiet {
            self.near.wake_up();
        }
        is_quiet
    }

    fn sleep(&mut self) -> io::Result<()> {
        if self.inventory.is_some() || !self.may_sleep() {
            return Ok(());
        }
        let fds: ArrayVec<BorrowedFd<'_>, 4> = [
            Some(self.near.wake_fd()),
            self.exchange.as_ref().map(Exchange::fd),
            self.outer.fd(),
            self.core.fd(),
        ]
        .into_iter()
        .flatten()
        .collect();
        let mut polled: ArrayVec<PollFd<'_>, 4> = fds
            .iter()
            .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
            .collect();
        let is_sending = self.outer.in_flight() + self.core.in_flight() > 0;
        let result = poll(&mut polled, Some(if is_sending { &DOZE } else { &NAP }));
        self.near.wake_up();
        if let Some(exchange) = &self.exchange {
            exchange.wake_up();
        }
        match result {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

const ETHERNET_LEN: usize = eth::HEADER_LEN;

/// Which port a packet goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

fn answer(ticket: Ticket, result: Result<(), Refusal>) -> Answer {
    match result {
        Ok(()) => Answer::Done(ticket),
        Err(refusal) => Answer::Refused(ticket, refusal),
    }
}

/// Cache lines of a received frame that are fetched before it is read; the CPU foresees those after them.
const FETCHED_LINES: usize = 4;

/// Fills `batch`, which is empty, from a port.
fn take<P: Port>(
    port: &mut P,
    rows: &mut Rows,
    received: &mut Frames,
    batch: &mut Batch,
    origin: Origin,
) -> usize {
    let count = port.receive(&mut rows.pool, received);
    rows.counters.ledger(origin).received += count as u64;
    for frame in received.iter() {
        prefetch_lines(frame.bytes(), FETCHED_LINES);
    }
    for frame in received.take_front(count) {
        if let Err(packet) = batch.push(Packet::new(frame, origin)) {
            rows.counters.ledger(origin).drop(Reason::NoFrame);
            rows.pool.give(packet.frame);
        }
    }
    count
}

/// Takes the packets that must be cut out of `batch`; `aside` is as large and empty.
fn set_aside(batch: &mut Batch, aside: &mut ArrayVec<Packet, BATCH>) {
    while let Some(packet) = batch.take_split() {
        if let Err(full) = aside.try_push(packet) {
            let mut packet = full.element();
            packet.drop(Reason::TooBig);
            drop(batch.push(packet));
        }
    }
}
