//! A stranger on the clients' link: raw packets to the gateway, pings, a TCP connection, and the ICMP errors that come back.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use culvert_bench::demo::network::{GATEWAY, Network};
use culvert_wire::ipv4::{self, Fragment, Header, Protocol};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto};

use super::inside;

/// Address of the kernel at the clients' end of the link.
pub const STRANGER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
/// Ports that the gateway must keep from the kernel.
pub const PROTECTED_PORTS: [u16; 3] = [500, 4500, 1701];

const LISTENER_PORT: u16 = 22;
/// Longest that an answer of the kernel's may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;
const UNREACHABLE: u8 = 3;

/// Sends ready IPv4 packets.
#[derive(Debug)]
pub struct RawSender(OwnedFd);

impl RawSender {
    /// Makes one at the clients' end of the link.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn new(network: &Network) -> Self {
        Self(raw_socket(network, ipproto::RAW))
    }

    /// Sends a packet to the gateway, with whatever source it names.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn send(&self, packet: &[u8]) {
        let to = SocketAddrV4::new(GATEWAY, 0);
        rustix::net::sendto(&self.0, packet, SendFlags::empty(), &to).expect("a packet is sent");
    }
}

fn raw_socket(network: &Network, protocol: rustix::net::Protocol) -> OwnedFd {
    let socket = inside(&network.clients, || {
        rustix::net::socket_with(
            AddressFamily::INET,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(protocol),
        )
    });
    socket.expect("root may have raw sockets")
}

/// The stranger.
#[derive(Debug)]
pub struct Stranger {
    sender: RawSender,
    icmp: OwnedFd,
    tcp: TcpStream,
    turns: u16,
    unreachables: Vec<u8>,
}

impl Stranger {
    /// Connects to a listener that it makes in the gateway's namespace.
    ///
    /// # Panics
    /// If the connection does not come about.
    pub fn new(network: &Network) -> Self {
        let listener = inside(&network.gateway, || {
            TcpListener::bind((GATEWAY, LISTENER_PORT))
        });
        let listener = listener.expect("the port is free");
        std::thread::spawn(move || echo(&listener));
        let tcp = inside(&network.clients, || {
            TcpStream::connect((GATEWAY, LISTENER_PORT))
        });
        let tcp = tcp.expect("the gateway's kernel is reached");
        tcp.set_read_timeout(Some(ANSWER_WITHIN))
            .expect("a time is set");
        tcp.set_nodelay(true).expect("a flag is set");
        let icmp = raw_socket(network, ipproto::ICMP);
        rustix::net::sockopt::set_socket_timeout(
            &icmp,
            rustix::net::sockopt::Timeout::Recv,
            Some(ANSWER_WITHIN),
        )
        .expect("a time is set");
        Self {
            sender: RawSender::new(network),
            icmp,
            tcp,
            turns: 0,
            unreachables: Vec::new(),
        }
    }

    /// Knocks at everything protected, then pings and sends over TCP; returns when both were answered.
    ///
    /// The link keeps the order, so an ICMP error for a knock has come when the ping's answer has.
    ///
    /// # Panics
    /// If the gateway's kernel does not answer.
    pub fn turn(&mut self) {
        for port in PROTECTED_PORTS {
            self.sender.send(&knock(Protocol::UDP, &udp(port)));
        }
        // An SPI that nobody gave out, sequence number 1, and something as long as IV and ICV.
        let esp = [&[0xFE, 0xDC, 0xBA, 0x98, 0, 0, 0, 1][..], &[0; 24]].concat();
        self.sender.send(&knock(Protocol::ESP, &esp));
        self.turns += 1;
        self.ping();
        self.send_over_tcp();
    }

    /// How many turns there were.
    pub const fn turns(&self) -> u16 {
        self.turns
    }

    /// Codes of the ICMP "destination unreachable" messages so far.
    pub fn unreachables(&self) -> &[u8] {
        &self.unreachables
    }

    fn ping(&mut self) {
        let [high, low] = self.turns.to_be_bytes();
        let mut echo = [ECHO_REQUEST, 0, 0, 0, 0xC0, 0x1F, high, low];
        let sum = checksum(&echo).to_be_bytes();
        echo[2..4].copy_from_slice(&sum);
        self.sender.send(&knock(Protocol::ICMP, &echo));
        let begin = Instant::now();
        while begin.elapsed() < ANSWER_WITHIN {
            let mut packet = [0; 256];
            let received = rustix::net::recv(&self.icmp, &mut packet[..], RecvFlags::empty());
            let (_, len) = received.unwrap_or_else(|error| panic!("no answer to a ping: {error}"));
            let message = packet.get(ipv4::HEADER_LEN..len).unwrap_or_default();
            match message {
                [ECHO_REPLY, _, _, _, 0xC0, 0x1F, h, l, ..] if (*h, *l) == (high, low) => return,
                [UNREACHABLE, code, ..] => self.unreachables.push(*code),
                _ => {}
            }
        }
        panic!("no answer to a ping");
    }

    fn send_over_tcp(&mut self) {
        let words = self.turns.to_be_bytes();
        self.tcp
            .write_all(&words)
            .expect("the connection takes bytes");
        let mut answer = [0; 2];
        self.tcp
            .read_exact(&mut answer)
            .expect("the connection lives");
        assert_eq!(answer, words);
    }
}

/// Gives back what comes over the first connection.
fn echo(listener: &TcpListener) {
    let Ok((mut stream, _)) = listener.accept() else {
        return;
    };
    let mut bytes = [0; 64];
    while let Ok(len @ 1..) = stream.read(&mut bytes) {
        if stream.write_all(&bytes[..len]).is_err() {
            return;
        }
    }
}

fn knock(protocol: Protocol, payload: &[u8]) -> Vec<u8> {
    let header = Header {
        traffic_class: 0,
        total_len: u16::try_from(ipv4::HEADER_LEN + payload.len()).expect("knocks are short"),
        identification: 1,
        dont_fragment: true,
        fragment: Fragment::default(),
        ttl: 64,
        protocol,
        source: STRANGER,
        destination: GATEWAY,
    };
    [&header.to_bytes()[..], payload].concat()
}

/// A datagram of four bytes from and to `port`, without a checksum.
fn udp(port: u16) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    vec![high, low, high, low, 0, 12, 0, 0, 1, 2, 3, 4]
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks_exact(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xFFFF) + (sum >> 16);
    !u16::try_from((folded & 0xFFFF) + (folded >> 16)).expect("folded twice, it has 16 bits")
}
