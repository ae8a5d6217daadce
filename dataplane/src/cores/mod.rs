//! The packet cores behind AF_XDP: a thread with a worker each, and what the process's ordinary thread does for them.
//!
//! ```text
//! request ─► lane ─┬─ needs no next hop, or its next hop is known ─────────► link ─► worker
//!                  ├─ OpenSet: the lane waits, so that nothing overtakes it
//!                  └─ IKE or clear L2TP message: parked by address, and followed by later ones to the same address
//! ```
//! Messages that need no row may come late without harm; the rest of a core's commands keep their order.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use culvert_ebpf::Side;
use culvert_wire::classify::Verdict;
use culvert_wire::eth::MacAddress;
use tokio::sync::Notify;
use tracing::warn;

use crate::api::{Answer, Command, CoreId, Destination, Event, Punt, Refusal, Request, Ticket};
use crate::link::{Link, Report, Snapshot};
use crate::process::{CoreStatus, Cores, Count, Status};
use crate::verdict::{Ledger, Reason};
use crate::xdp::Verdicts;

mod hops;
mod resolver;
mod start;

use hops::{Hops, Way};
use resolver::Resolver;
pub use start::start;

/// Requests of a lane that wait for a next hop or for room.
const LANE: usize = 1_024;
/// Commands that a worker may have at once; its queue has room for some more, for orders of our own.
const IN_FLIGHT: usize = 3_072;
/// Messages parked at once, over all addresses.
const PARKED: usize = 4_096;
/// Messages parked for one address: behind it may be a whole office.
const PARKED_EACH: usize = 512;
/// Destinations on the core side that are watched at once.
const NEIGHBOURS: usize = 16_384;
/// Punts of one core brought into order at once: all that its queues hold.
const GATHER: usize = 4_096;
/// How often waiting is looked at while there is any.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The workers of a data plane.
pub struct PacketCores {
    lanes: Vec<Lane>,
    /// Some worker has something to say.
    news: Arc<Notify>,
    outer: Resolver,
    hops: Hops,
    parked: BTreeMap<IpAddr, VecDeque<Parked>>,
    parked_count: usize,
    neighbours: Option<Neighbours>,
    verdicts: Verdicts,
    /// Answers of our own.
    answers: VecDeque<Answer>,
}

#[derive(Debug)]
struct Lane {
    link: Link,
    thread: JoinHandle<()>,
    waiting: VecDeque<(Ticket, Command)>,
    in_flight: usize,
    snapshot: Box<Snapshot>,
    /// The counters have come since they were last asked for.
    has_counted: bool,
}

#[derive(Debug)]
struct Parked {
    core: CoreId,
    ticket: Ticket,
    command: Command,
}

/// Next hops of the core side, when it is a NIC of its own.
#[derive(Debug)]
struct Neighbours {
    resolver: Resolver,
    hops: Hops,
    /// The cores that asked for each, one bit each.
    askers: BTreeMap<IpAddr, u64>,
}

impl Cores for PacketCores {
    fn submit(&mut self, request: Request) -> Result<(), Request> {
        let Request {
            ticket,
            core,
            command,
        } = request;
        let Some(lane) = self.lanes.get_mut(usize::from(core.0)) else {
            self.answers
                .push_back(Answer::Refused(ticket, Refusal::NoSuchCore));
            return Ok(());
        };
        if lane.waiting.len() >= LANE {
            return Err(Request {
                ticket,
                core,
                command,
            });
        }
        lane.waiting.push_back((ticket, command));
        self.advance(core);
        Ok(())
    }

    async fn ready(&mut self) {
        let is_waiting =
            self.parked_count > 0 || self.lanes.iter().any(|lane| !lane.waiting.is_empty());
        tokio::select! {
            () = self.news.notified() => {}
            Some((address, next_hop)) = self.outer.answer() => self.absorb(address, next_hop),
            Some((address, next_hop)) = neighbour_answer(&mut self.neighbours) => {
                self.absorb_neighbour(address, next_hop);
            }
            () = tokio::time::sleep(LOOK_EVERY), if is_waiting => self.unpark_all(),
        }
        while let Some((address, next_hop)) = self.outer.try_answer() {
            self.absorb(address, next_hop);
        }
        self.advance_all();
    }

    fn take_answers(&mut self, mut take: impl FnMut(Answer)) {
        self.answers.drain(..).for_each(&mut take);
        for index in 0..self.lanes.len() {
            while let Some(report) = self.lanes.get_mut(index).and_then(|lane| lane.link.poll()) {
                match report {
                    Report::Answer(answer) => {
                        self.note(index, &answer);
                        take(answer);
                    }
                    Report::WantNeighbour(destination) => {
                        self.want_neighbour(index, destination.into())
                    }
                    Report::Counted(snapshot) => self.counted(index, snapshot),
                }
            }
        }
        self.advance_all();
    }

    fn take_punts(&mut self, mut take: impl FnMut(Punt)) {
        for lane in &mut self.lanes {
            let core = lane.link.core();
            // What came before a message is there by the time that the message is, if only in another queue.
            let mut punts = Vec::new();
            while punts.len() < GATHER
                && let Some((kind, buffer)) = lane.link.take_punt()
            {
                let (source, bytes) = (buffer.source(), buffer.bytes().to_vec());
                lane.link.give_back(kind, buffer);
                punts.push((
                    kind.index(),
                    Punt {
                        core,
                        source,
                        bytes,
                    },
                ));
            }
            punts.sort_by_key(|(precedence, _)| *precedence);
            punts.into_iter().for_each(|(_, punt)| take(punt));
        }
    }

    fn status(&mut self) -> Status {
        Status {
            cores: self.lanes.iter().map(Lane::status).collect(),
            xdp: xdp_counts(&self.verdicts),
            ..Status::default()
        }
    }

    fn are_alive(&mut self) -> bool {
        let mut are_alive = self.outer.is_alive();
        for lane in &mut self.lanes {
            are_alive &= lane.has_counted && !lane.thread.is_finished();
            lane.has_counted = false;
            // A worker that does not take orders is not alive either.
            are_alive &= lane.link.count().is_ok();
        }
        are_alive
    }

    fn stop(self) {
        for lane in &self.lanes {
            lane.link.stop();
        }
        for lane in self.lanes {
            if lane.thread.join().is_err() {
                warn!(core = lane.link.core().0, "worker ended badly");
            }
        }
    }
}

impl PacketCores {
    fn advance_all(&mut self) {
        for core in 0..self.lanes.len() {
            self.advance(CoreId(u8::try_from(core).unwrap_or(u8::MAX)));
        }
    }

    fn unpark_all(&mut self) {
        let now = Instant::now();
        let addresses: Vec<IpAddr> = self.parked.keys().copied().collect();
        for address in addresses {
            self.unpark(address, now);
        }
    }

    /// Moves a lane's commands to its worker, as far as they know their way and find room.
    fn advance(&mut self, core: CoreId) {
        let now = Instant::now();
        let Some(lane) = self.lanes.get_mut(usize::from(core.0)) else {
            return;
        };
        while lane.in_flight < IN_FLIGHT
            && let Some((ticket, command)) = lane.waiting.pop_front()
        {
            let way = match &command {
                Command::OpenSet(spec) => {
                    Some(self.hops.place_set(core, spec.id, spec.remote.ip(), now))
                }
                Command::Transmit(transmit) => {
                    let Some(address) = address_of(transmit.to) else {
                        lane.submit(ticket, command, None, &mut self.answers);
                        continue;
                    };
                    let way = self.hops.find(address, now);
                    if way == Way::Asked || self.parked.contains_key(&address) {
                        let parked = Parked {
                            core,
                            ticket,
                            command,
                        };
                        park(
                            &mut self.parked,
                            &mut self.parked_count,
                            &mut self.answers,
                            address,
                            parked,
                        );
                        continue;
                    }
                    Some(way)
                }
                Command::CloseSet(set) => {
                    self.hops.remove_set(core, *set);
                    None
                }
                Command::AddInbound(_)
                | Command::AddOutbound(_)
                | Command::UseOutbound { .. }
                | Command::RemoveInbound(_)
                | Command::RemoveOutbound { .. }
                | Command::OpenSession(_)
                | Command::CloseSession(_)
                | Command::Inventory => None,
            };
            let next_hop = match way {
                Some(Way::Asked) => {
                    lane.waiting.push_front((ticket, command));
                    break;
                }
                Some(Way::Through(next_hop)) => Some(next_hop),
                Some(Way::Closed) | None => None,
            };
            lane.submit(ticket, command, next_hop, &mut self.answers);
        }
        self.ask();
    }

    /// Sends what is parked for `address` once the way is known, or refuses it once patience ends.
    fn unpark(&mut self, address: IpAddr, now: Instant) {
        let next_hop = match self.hops.find(address, now) {
            Way::Asked => return,
            Way::Through(next_hop) => Some(next_hop),
            Way::Closed => None,
        };
        for Parked {
            core,
            ticket,
            command,
        } in self.parked.remove(&address).into_iter().flatten()
        {
            self.parked_count -= 1;
            match self.lanes.get_mut(usize::from(core.0)) {
                Some(lane) if next_hop.is_some() => {
                    lane.submit(ticket, command, next_hop, &mut self.answers);
                }
                Some(_) | None => self
                    .answers
                    .push_back(Answer::Refused(ticket, Refusal::Absent)),
            }
        }
    }

    /// Passes questions on to the resolvers.
    fn ask(&mut self) {
        pass_on(&mut self.hops, &self.outer);
        if let Some(neighbours) = &mut self.neighbours {
            pass_on(&mut neighbours.hops, &neighbours.resolver);
        }
    }

    fn absorb(&mut self, address: IpAddr, next_hop: Option<MacAddress>) {
        let users: Vec<_> = self.hops.absorb(address, next_hop).collect();
        let Some(next_hop) = next_hop else {
            return;
        };
        self.unpark(address, Instant::now());
        for (core, set) in users {
            if let Some(lane) = self.lanes.get(usize::from(core.0))
                && lane.link.set_next_hop(set, next_hop).is_err()
            {
                warn!(core = core.0, "worker too busy for a next hop");
            }
        }
    }

    /// Keeps the books when a worker answers.
    fn note(&mut self, index: usize, answer: &Answer) {
        match answer {
            Answer::Done(_) | Answer::Refused(..) => {
                if let Some(lane) = self.lanes.get_mut(index) {
                    lane.in_flight = lane.in_flight.saturating_sub(1);
                }
            }
            Answer::Event(core, Event::EndpointMoved { set, remote }) => {
                let way = self
                    .hops
                    .place_set(*core, *set, remote.ip(), Instant::now());
                if let Way::Through(next_hop) = way
                    && let Some(lane) = self.lanes.get(index)
                    && lane.link.set_next_hop(*set, next_hop).is_err()
                {
                    warn!(core = core.0, "worker too busy for a next hop");
                }
            }
            Answer::Event(..) => {}
        }
    }

    fn want_neighbour(&mut self, index: usize, destination: IpAddr) {
        let Some(neighbours) = &mut self.neighbours else {
            return;
        };
        *neighbours.askers.entry(destination).or_default() |= 1 << index;
        if let Way::Through(next_hop) = neighbours.hops.find(destination, Instant::now()) {
            self.absorb_neighbour(destination, Some(next_hop));
        }
        self.ask();
    }

    fn absorb_neighbour(&mut self, destination: IpAddr, next_hop: Option<MacAddress>) {
        let Some(neighbours) = &mut self.neighbours else {
            return;
        };
        let no_sets = neighbours.hops.absorb(destination, next_hop).count();
        debug_assert_eq!(no_sets, 0, "sets are on the outer side");
        let askers = neighbours.askers.get(&destination).copied().unwrap_or(0);
        if neighbours.askers.len() > NEIGHBOURS {
            // Those who still want one ask again.
            neighbours.askers.clear();
        }
        let IpAddr::V4(destination) = destination else {
            return;
        };
        for (index, lane) in self.lanes.iter().enumerate() {
            if askers & (1 << index) != 0 && lane.link.set_neighbour(destination, next_hop).is_err()
            {
                warn!(core = index, "worker too busy for a next hop");
            }
        }
    }

    fn counted(&mut self, index: usize, snapshot: Box<Snapshot>) {
        if let Some(lane) = self.lanes.get_mut(index) {
            lane.snapshot = snapshot;
            lane.has_counted = true;
        }
    }
}

impl Lane {
    fn submit(
        &mut self,
        ticket: Ticket,
        command: Command,
        next_hop: Option<MacAddress>,
        answers: &mut VecDeque<Answer>,
    ) {
        match self.link.submit(ticket, command, next_hop) {
            Ok(()) => self.in_flight += 1,
            Err(refusal) => answers.push_back(Answer::Refused(ticket, refusal)),
        }
    }

    fn status(&self) -> CoreStatus {
        let Snapshot {
            counters,
            outer,
            core,
            frames_free,
            frames_total,
            handed_waiting,
        } = &*self.snapshot;
        let mut packets = Vec::new();
        for (origin, ledger) in [
            ("outer", &counters.outer),
            ("core", &counters.core),
            ("control", &counters.control),
        ] {
            packets.extend(ledger_counts(origin, ledger));
        }
        let mut gauges = vec![
            count("frames.free", *frames_free),
            count("frames.total", *frames_total),
            count("handed.waiting", *handed_waiting),
        ];
        for (side, port) in [("outer", outer), ("core", core)] {
            let named = [
                ("received", port.received),
                ("sent", port.sent),
                ("completed", port.completed),
                ("rx_dropped", port.rx_dropped),
                ("rx_ring_full", port.rx_ring_full),
                ("fill_ring_empty", port.fill_ring_empty),
                ("rx_invalid", port.rx_invalid),
                ("tx_invalid", port.tx_invalid),
                ("tx_ring_full", port.tx_ring_full),
                ("wake_failed", port.wake_failed),
            ];
            gauges.extend(named.map(|(name, value)| count(&format!("{side}.{name}"), value)));
        }
        CoreStatus {
            core: self.link.core(),
            gauges,
            packets,
        }
    }
}

fn ledger_counts(origin: &str, ledger: &Ledger) -> Vec<Count> {
    let ends = [
        ("received", ledger.received),
        ("taken", ledger.taken),
        ("originated", ledger.originated),
        ("split", ledger.split),
        ("sent", ledger.sent),
        ("given", ledger.given),
        ("punted", ledger.punted),
        ("merged", ledger.merged),
        ("in_flight", ledger.in_flight),
    ];
    let drops = Reason::ALL.into_iter().map(|reason| {
        (
            format!("dropped.{}", reason.name()),
            ledger.dropped_for(reason),
        )
    });
    ends.into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .chain(drops)
        .filter(|(_, value)| *value > 0)
        .map(|(name, value)| count(&format!("{origin}.{name}"), value))
        .collect()
}

fn xdp_counts(verdicts: &Verdicts) -> Vec<Count> {
    let of_side = |side: Side| {
        Verdict::ALL.into_iter().filter_map(move |verdict| {
            let value = verdicts.read(side, verdict).ok()?;
            (value > 0).then(|| count(&format!("{side:?}.{verdict:?}").to_lowercase(), value))
        })
    };
    Side::ALL.into_iter().flat_map(of_side).collect()
}

fn count(name: &str, value: u64) -> Count {
    Count {
        name: name.to_owned(),
        value,
    }
}

/// The address that a message goes to without the help of a row.
const fn address_of(to: Destination) -> Option<IpAddr> {
    match to {
        Destination::Ike { remote, .. } | Destination::ClearL2tp { remote, .. } => {
            Some(remote.ip())
        }
        Destination::L2tp { .. } | Destination::Ppp(_) => None,
    }
}

fn park(
    parked: &mut BTreeMap<IpAddr, VecDeque<Parked>>,
    parked_count: &mut usize,
    answers: &mut VecDeque<Answer>,
    address: IpAddr,
    message: Parked,
) {
    let line = parked.entry(address).or_default();
    if *parked_count >= PARKED || line.len() >= PARKED_EACH {
        answers.push_back(Answer::Refused(message.ticket, Refusal::Exhausted));
        return;
    }
    *parked_count += 1;
    line.push_back(message);
}

fn pass_on(hops: &mut Hops, resolver: &Resolver) {
    while let Some(question) = hops.poll_question() {
        if let Err(question) = resolver.ask(question) {
            hops.return_question(question);
            return;
        }
    }
}

async fn neighbour_answer(
    neighbours: &mut Option<Neighbours>,
) -> Option<(IpAddr, Option<MacAddress>)> {
    match neighbours {
        Some(neighbours) => neighbours.resolver.answer().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is not shown cannot be balanced by whoever reads it.
    #[test]
    fn every_end_of_a_packet_is_shown_by_its_name() {
        let mut ledger = Ledger {
            received: 1,
            taken: 2,
            given: 3,
            originated: 4,
            split: 5,
            sent: 6,
            punted: 7,
            merged: 8,
            in_flight: 9,
            ..Ledger::new()
        };
        ledger.drop(Reason::HandOff);
        let shown = ledger_counts("outer", &ledger);
        let value = |name: &str| {
            shown
                .iter()
                .find(|one| one.name == name)
                .map(|one| one.value)
        };
        let names = [
            "received",
            "taken",
            "given",
            "originated",
            "split",
            "sent",
            "punted",
            "merged",
            "in_flight",
        ];
        for (name, wanted) in names.into_iter().zip(1..) {
            assert_eq!(value(&format!("outer.{name}")), Some(wanted), "{name}");
        }
        assert_eq!(value("outer.dropped.hand_off"), Some(1));
        assert_eq!(shown.len(), 10);
    }
}
