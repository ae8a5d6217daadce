//! A data plane of a few hundred lines for the simulator: it keeps the rows that the gateway asks for and does to packets what they say.
//!
//! It is built on the simulated client's ESP, so that neither the gateway's own packet crypto nor its path takes part.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use culvert_bench::client::Outer;
use culvert_bench::client::esp::{self, Inbound, Outbound, Suite};
use culvert_bench::client::ike::keys::Cipher;
use culvert_proto::gateway::{Destination, Input};
use culvert_proto::rows::{
    AesKeyLen, Change, CoreId, Encapsulation, EspSuite, InnerPorts, Integrity, Path, Phase,
    SessionRow, SessionSpec, SetId,
};
use culvert_wire::id::Spi;
use culvert_wire::ipv4::Packet;
use culvert_wire::l2tp::header::{DataHeader, Header, Length};
use culvert_wire::ppp::frame::{Frame, Protocol};

const CORE: CoreId = CoreId(0);
const IKE_PORT: u16 = 500;
const FLOATED_PORT: u16 = 4500;
const UDP: u8 = 17;
const UDP_HEADER: usize = 8;

/// A datagram between a client's outer address and the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packaged {
    /// The client's outer address.
    pub client: Ipv4Addr,
    /// What it travels in.
    pub outer: Outer,
    /// Payload of that.
    pub bytes: Vec<u8>,
}

/// What has come of a datagram from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// For the gateway's machines.
    Punt(Punted),
    /// An IP packet for the network.
    Inner(Vec<u8>),
}

/// [`Input`] with bytes of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Punted {
    /// An IKE message.
    Ike(Path, Vec<u8>),
    /// An L2TP control message.
    L2tp(SetId, InnerPorts, Vec<u8>),
    /// A PPP frame.
    Ppp(SessionRow, Vec<u8>),
    /// The first packet on an SA.
    InboundUsed(Spi),
}

impl Punted {
    /// As the gateway takes it.
    pub fn input(&self) -> Input<'_> {
        match self {
            Self::Ike(path, bytes) => Input::Ike {
                core: CORE,
                path: *path,
                bytes,
            },
            Self::L2tp(set, ports, bytes) => Input::L2tp {
                set: *set,
                ports: *ports,
                bytes,
            },
            Self::Ppp(session, bytes) => Input::Ppp {
                session: *session,
                bytes,
            },
            Self::InboundUsed(inbound) => Input::InboundUsed { inbound: *inbound },
        }
    }
}

/// Packets that were dropped, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// No row for an SPI, tunnel, session or address.
    pub unknown: u64,
    /// ESP did not open: replayed or forged.
    pub refused: u64,
    /// A header does not parse.
    pub malformed: u64,
    /// An inner source address that is not the session's.
    pub spoofed: u64,
    /// Nothing to seal with.
    pub mute: u64,
}

struct Set {
    path: Path,
    encapsulation: Encapsulation,
    /// Oldest first.
    outbound: Vec<Sealing>,
}

struct Sealing {
    spi: Spi,
    twin: Spi,
    sa: Outbound,
    in_use: bool,
}

struct Opening {
    set: SetId,
    sa: Inbound,
    used: bool,
}

/// The rows.
#[derive(Default)]
pub struct DataPlane {
    sets: BTreeMap<SetId, Set>,
    inbound: BTreeMap<Spi, Opening>,
    sessions: BTreeMap<SessionRow, SessionSpec>,
    drops: Drops,
}

impl DataPlane {
    /// Packets dropped so far.
    pub const fn drops(&self) -> Drops {
        self.drops
    }

    /// Rows in use: sets, inbound SAs, sessions.
    pub fn rows(&self) -> (usize, usize, usize) {
        (self.sets.len(), self.inbound.len(), self.sessions.len())
    }

    /// Carries out a change.
    ///
    /// # Panics
    /// If it names a row that is not there, or gives out one that is taken: the gateway must not.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::OpenSet {
                set,
                path,
                encapsulation,
            } => {
                let outbound = self
                    .sets
                    .remove(&set)
                    .map_or_else(Vec::new, |old| old.outbound);
                self.sets.insert(
                    set,
                    Set {
                        path,
                        encapsulation,
                        outbound,
                    },
                );
            }
            Change::CloseSet(set) => {
                assert!(
                    self.sets.remove(&set).is_some(),
                    "closed a set that is not open"
                );
                self.inbound.retain(|_, sa| sa.set != set);
                self.sessions.retain(|_, session| session.set != set);
            }
            Change::AddSas {
                set,
                inbound,
                outbound,
                suite,
                inbound_keys,
                outbound_keys,
            } => {
                let suite = suite_of(suite);
                let row = self
                    .sets
                    .get_mut(&set)
                    .expect("SAs are of a set that is open");
                let in_use = row.outbound.is_empty();
                let sa = Outbound::new(outbound.0, suite, outbound_keys.expose());
                row.outbound.push(Sealing {
                    spi: outbound,
                    twin: inbound,
                    sa,
                    in_use,
                });
                let sa = Inbound::new(inbound.0, suite, inbound_keys.expose());
                let taken = self.inbound.insert(
                    inbound,
                    Opening {
                        set,
                        sa,
                        used: false,
                    },
                );
                assert!(taken.is_none(), "an inbound SPI was given out twice");
            }
            Change::UseOutbound { set, outbound } => {
                let row = self
                    .sets
                    .get_mut(&set)
                    .expect("an SA of a set that is open");
                use_only(row, |sealing| sealing.spi == outbound);
            }
            Change::RemoveInbound { inbound, .. } => {
                self.inbound.remove(&inbound);
            }
            Change::RemoveOutbound { set, outbound } => self.remove_outbound(set, outbound),
            Change::OpenSession(spec) => {
                assert!(
                    self.sets.contains_key(&spec.set),
                    "a session of a set that is not open"
                );
                self.sessions.insert(spec.row, spec);
            }
            Change::CloseSession(row) => {
                self.sessions.remove(&row);
            }
        }
    }

    fn remove_outbound(&mut self, set: SetId, outbound: Spi) {
        let Some(row) = self.sets.get_mut(&set) else {
            return;
        };
        row.outbound.retain(|sealing| sealing.spi != outbound);
        if !row.outbound.iter().any(|sealing| sealing.in_use)
            && let Some(newest) = row.outbound.last_mut()
        {
            newest.in_use = true;
        }
    }

    /// Takes a datagram from a client to `gateway`.
    pub fn receive(&mut self, gateway: Ipv4Addr, mut packaged: Packaged) -> Vec<Arrived> {
        let ends = |port| Path {
            local: SocketAddr::new(IpAddr::V4(gateway), port),
            remote: SocketAddr::new(IpAddr::V4(packaged.client), port),
        };
        let ike = |path, bytes: &[u8]| vec![Arrived::Punt(Punted::Ike(path, bytes.to_vec()))];
        match packaged.outer {
            Outer::Udp(FLOATED_PORT) => match packaged.bytes.strip_prefix(&[0; 4]) {
                Some(message) => ike(ends(FLOATED_PORT), message),
                None => self.open(&mut packaged.bytes),
            },
            Outer::Udp(port) => ike(ends(port), &packaged.bytes),
            Outer::Esp => self.open(&mut packaged.bytes),
        }
    }

    fn open(&mut self, packet: &mut [u8]) -> Vec<Arrived> {
        let spi = Spi(esp::spi(packet).unwrap_or(0));
        let Some(opening) = self.inbound.get_mut(&spi) else {
            self.drops.unknown += 1;
            return Vec::new();
        };
        let Ok(opened) = opening.sa.open(packet) else {
            self.drops.refused += 1;
            return Vec::new();
        };
        let set = opening.set;
        let mut arrived = Vec::new();
        if !std::mem::replace(&mut opening.used, true) {
            if let Some(row) = self.sets.get_mut(&set) {
                use_only(row, |sealing| sealing.twin == spi);
            }
            arrived.push(Arrived::Punt(Punted::InboundUsed(spi)));
        }
        match self.read(set, &packet[opened.payload]) {
            Some(content) => arrived.extend(content),
            None => self.drops.malformed += 1,
        }
        arrived
    }

    /// Reads UDP, L2TP and PPP headers; `None` if one does not parse.
    fn read(&mut self, set: SetId, datagram: &[u8]) -> Option<Option<Arrived>> {
        let (udp, message) = datagram.split_first_chunk::<UDP_HEADER>()?;
        let port = |at: usize| u16::from_be_bytes([udp[at], udp[at + 1]]);
        let ports = InnerPorts {
            local: port(2),
            remote: port(0),
        };
        let header = Header::parse(message).ok()?;
        if header.is_control() {
            let message = message.get(..header.total_len())?.to_vec();
            return Some(Some(Arrived::Punt(Punted::L2tp(set, ports, message))));
        }
        let session = self.sessions.values().find(|session| {
            session.set == set
                && session.local_tunnel == header.tunnel
                && session.local_session == header.session
        });
        let Some(session) = session else {
            self.drops.unknown += 1;
            return Some(None);
        };
        let frame = Frame::parse(message.get(header.payload_range())?).ok()?;
        match (frame.protocol, session.phase) {
            (Protocol::IPV4, Phase::Open { address, .. }) => {
                let packet = Packet::parse(frame.payload).ok()?;
                let genuine = packet.source() == address;
                self.drops.spoofed += u64::from(!genuine);
                Some(genuine.then(|| Arrived::Inner(packet.bytes().to_vec())))
            }
            (protocol, _) => {
                let bytes = [&protocol.0.to_be_bytes()[..], frame.payload].concat();
                Some(Some(Arrived::Punt(Punted::Ppp(session.row, bytes))))
            }
        }
    }

    /// Wraps a message of the gateway's.
    pub fn transmit(&mut self, to: Destination, bytes: &[u8]) -> Option<Packaged> {
        match to {
            Destination::Ike { path, .. } => {
                let port = path.local.port();
                let marker: &[u8] = if port == IKE_PORT { &[] } else { &[0; 4] };
                let bytes = [marker, bytes].concat();
                Some(Packaged {
                    client: v4(path.remote.ip())?,
                    outer: Outer::Udp(port),
                    bytes,
                })
            }
            Destination::L2tp { set, ports } => self.seal(set, ports, &[bytes]),
            Destination::Ppp(row) => {
                let Some(session) = self.sessions.get(&row).cloned() else {
                    self.drops.unknown += 1;
                    return None;
                };
                self.seal_frame(&session, bytes)
            }
            Destination::ClearL2tp { .. } => None,
        }
    }

    /// Wraps an IP packet for the client whose address is its destination.
    pub fn send_inner(&mut self, packet: &[u8]) -> Option<Packaged> {
        let destination = Packet::parse(packet).ok()?.destination();
        let open = |session: &&SessionSpec| matches!(session.phase, Phase::Open { address, .. } if address == destination);
        let Some(session) = self.sessions.values().find(open).cloned() else {
            self.drops.unknown += 1;
            return None;
        };
        self.seal_frame(
            &session,
            &[&Protocol::IPV4.0.to_be_bytes()[..], packet].concat(),
        )
    }

    fn seal_frame(&mut self, session: &SessionSpec, frame: &[u8]) -> Option<Packaged> {
        let header = DataHeader {
            tunnel: session.peer_tunnel,
            session: session.peer_session,
            length: Length::Absent,
            sequence: None,
        };
        let mut bytes = [0; 6];
        header.emit(&mut bytes, frame.len()).ok()?;
        self.seal(session.set, session.ports, &[&bytes, &[0xFF, 0x03], frame])
    }

    fn seal(&mut self, set: SetId, ports: InnerPorts, parts: &[&[u8]]) -> Option<Packaged> {
        let row = self.sets.get_mut(&set);
        let sealing = row.and_then(|row| {
            Some((
                row.path,
                row.encapsulation,
                row.outbound.iter_mut().find(|sealing| sealing.in_use)?,
            ))
        });
        let Some((path, encapsulation, sealing)) = sealing else {
            self.drops.mute += 1;
            return None;
        };
        let len = UDP_HEADER + parts.iter().map(|part| part.len()).sum::<usize>();
        let (at, tail) = (
            sealing.sa.suite().payload_at(),
            sealing.sa.suite().max_tail(),
        );
        let mut bytes = vec![0; at];
        for field in [ports.local, ports.remote, u16::try_from(len).ok()?, 0] {
            bytes.extend(field.to_be_bytes());
        }
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        bytes.resize(at + len + tail, 0);
        let sealed = sealing.sa.seal(&mut bytes, len, UDP).ok()?;
        bytes.truncate(sealed);
        let outer = match encapsulation {
            Encapsulation::Esp => Outer::Esp,
            Encapsulation::EspInUdp => Outer::Udp(FLOATED_PORT),
            Encapsulation::Clear => return None,
        };
        Some(Packaged {
            client: v4(path.remote.ip())?,
            outer,
            bytes,
        })
    }
}

fn use_only(row: &mut Set, chosen: impl Fn(&Sealing) -> bool) {
    if row.outbound.iter().any(&chosen) {
        for sealing in &mut row.outbound {
            sealing.in_use = chosen(sealing);
        }
    }
}

const fn suite_of(suite: EspSuite) -> Suite {
    use culvert_bench::client::esp::Integrity as Keyed;
    match suite {
        EspSuite::AesGcm(aes) => Suite::Gcm(cipher_of(aes)),
        EspSuite::AesCbc(aes, Integrity::HmacSha1_96) => Suite::Cbc(cipher_of(aes), Keyed::Sha1),
        EspSuite::AesCbc(aes, Integrity::HmacSha2_256_128) => {
            Suite::Cbc(cipher_of(aes), Keyed::Sha256)
        }
    }
}

const fn cipher_of(aes: AesKeyLen) -> Cipher {
    match aes {
        AesKeyLen::Bits128 => Cipher::Aes128,
        AesKeyLen::Bits256 => Cipher::Aes256,
    }
}

const fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}
