//! Sessions that come and go in thousands beside those that stay, and as many as the gateway is made for.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use culvert_crypto::{AesKey, Suite};
use culvert_dataplane::api::{
    Answer, Command, DataplaneConfig, Encapsulation, SessionRow, SetId, Spi, Ticket, spi,
};
use culvert_dataplane::link::Report;
use culvert_wire::ipv4::Protocol;

use crate::commands::{data, sealed};
use crate::gateway::{Client, Gateway, HOST, ROUTER_MAC, config, from_core, ip, packet_of};

/// Most orders that a worker carries out between two batches.
const ORDERS: usize = 64;

/// The client with this number; each has rows, ids and an address of its own.
fn client(number: u32) -> Client {
    let mut client = Client::new(Suite::AesGcm(AesKey::Bits128), Encapsulation::EspInUdp);
    (client.set, client.row) = (SetId(number), SessionRow(number));
    client.inbound = spi::compose(number >> 10, number & 0x3FF, 0xABC);
    client.outbound = Spi(0x0100_0000 + number);
    client.address = Ipv4Addr::from(0x0A64_0000 + number);
    client.remote = SocketAddrV4::new(Ipv4Addr::from(0xC633_0000 + number), 31_234);
    client
}

/// What control installs for it.
fn opening(client: &Client) -> [Command; 4] {
    [
        Command::OpenSet(client.set_spec()),
        Command::AddInbound(client.inbound_spec()),
        Command::AddOutbound(client.outbound_spec()),
        Command::OpenSession(client.session_spec()),
    ]
}

fn configured(sessions: u32) -> DataplaneConfig {
    let mut config = config();
    (config.limits.sets, config.limits.sessions) = (sessions, sessions);
    config
}

fn up(client: &Client, sequence: u32) -> Vec<u8> {
    let inner = ip(client.address, HOST, Protocol(253), &sequence.to_be_bytes());
    let l2tp = data(&[&[0xFF, 0x03, 0x00, 0x21][..], &inner].concat());
    sealed(client, sequence, &l2tp, Protocol::UDP)
}

fn down(client: &Client, number: u32) -> Vec<u8> {
    from_core(&ip(
        HOST,
        client.address,
        Protocol(253),
        &number.to_be_bytes(),
    ))
}

/// Commands done since the last call; none may be refused.
fn done(gateway: &mut Gateway) -> usize {
    let reports = std::mem::take(&mut gateway.reports);
    let is_done = |report: &Report| match report {
        Report::Answer(Answer::Done(_)) => true,
        Report::Answer(Answer::Event(..)) => false,
        other => panic!("{other:?}"),
    };
    reports.iter().filter(|report| is_done(report)).count()
}

fn submit(gateway: &Gateway, commands: impl IntoIterator<Item = Command>) -> usize {
    let submit = |command| {
        gateway
            .link
            .submit(Ticket(0), command, Some(ROUTER_MAC))
            .unwrap()
    };
    commands.into_iter().map(submit).count()
}

/// Clients that stay, with a packet of each in both directions in every turn.
struct Residents {
    clients: Vec<Client>,
    sent: u32,
}

impl Residents {
    fn install(gateway: &mut Gateway, count: u32) -> Self {
        let clients: Vec<Client> = (0..count).map(client).collect();
        clients.iter().for_each(|client| client.install(gateway));
        done(gateway);
        Self { clients, sent: 0 }
    }

    /// One turn: every packet comes out in it, in the order in which it came.
    fn turn(&mut self, gateway: &mut Gateway) {
        self.sent += 1;
        for client in &self.clients {
            assert!(gateway.outer.send(&up(client, self.sent)));
            assert!(gateway.core.send(&down(client, self.sent)));
        }
        gateway.turn();
        for client in &self.clients {
            let frame = gateway.core.take().unwrap();
            let packet = packet_of(&frame);
            assert_eq!(
                (packet.source(), packet.payload()),
                (client.address, &self.sent.to_be_bytes()[..])
            );
            let frame = gateway.outer.take().unwrap();
            assert_eq!(packet_of(&frame).payload()[8..16], esp(client, self.sent));
        }
        assert!(gateway.core.take().is_none() && gateway.outer.take().is_none());
    }
}

/// SPI and sequence number.
fn esp(client: &Client, sequence: u32) -> [u8; 8] {
    let mut header = [0; 8];
    header[..4].copy_from_slice(&client.outbound.0.to_be_bytes());
    header[4..].copy_from_slice(&sequence.to_be_bytes());
    header
}

/// A second of virtual time: 2,500 turns of 0.4 ms, in each of which four sessions open and four close.
#[test]
fn ten_thousand_sessions_a_second_come_and_go_without_disturbing_others() {
    const RESIDENTS: u32 = 4;
    const EACH_TURN: u32 = 4;
    const TURNS: u32 = 2_500;
    /// Turns that a passing session lives.
    const LIFE: u32 = 50;
    let mut gateway = Gateway::with(&configured(1_024), 1);
    let mut residents = Residents::install(&mut gateway, RESIDENTS);
    let rows = EACH_TURN * LIFE;
    let passing = |number: u32| client(RESIDENTS + number % rows);
    let mut answered = 0;
    for turn in 0..TURNS {
        let mut wanted = 0;
        for number in turn * EACH_TURN..(turn + 1) * EACH_TURN {
            if turn >= LIFE {
                wanted += submit(&gateway, [Command::CloseSet(passing(number).set)]);
            }
            wanted += submit(&gateway, opening(&passing(number)));
        }
        residents.turn(&mut gateway);
        gateway.pass(Duration::from_micros(400));
        let count = done(&mut gateway);
        assert_eq!(count, wanted, "turn {turn}");
        answered += count;
    }
    let opened = (TURNS * EACH_TURN) as usize;
    assert_eq!(answered, 4 * opened + opened - rows as usize);
    assert_eq!(gateway.drops(), [], "nobody's packet was lost");
    gateway.assert_accounted();
}

/// However many orders wait, a batch of packets waits for 64 of them at most.
#[test]
fn a_flood_of_orders_delays_a_packet_by_no_more_than_64_of_them() {
    let mut gateway = Gateway::with(&configured(1_024), 1);
    let mut residents = Residents::install(&mut gateway, 8);
    let mut waiting = submit(
        &gateway,
        (8..1_000).flat_map(|number| opening(&client(number))),
    );
    assert_eq!(waiting, 3_968);
    while waiting > 0 {
        residents.turn(&mut gateway);
        let count = done(&mut gateway);
        assert_eq!(count, waiting.min(ORDERS));
        waiting -= count;
    }
    waiting = submit(
        &gateway,
        (8..1_000).map(|number| Command::CloseSet(SetId(number))),
    );
    while waiting > 0 {
        residents.turn(&mut gateway);
        waiting -= done(&mut gateway);
    }
    gateway.assert_accounted();
}

/// Rows for as many sessions as are promised, in one process and on one core; the bound is generous: a debug build on a loaded machine.
#[test]
fn a_hundred_thousand_sessions_are_installed_in_seconds() {
    const SESSIONS: u32 = 100_000;
    let mut gateway = Gateway::with(&configured(SESSIONS), 1_024);
    let began = Instant::now();
    let mut installed = 0;
    for first in (0..SESSIONS).step_by(1_000) {
        let mut waiting = submit(
            &gateway,
            (first..first + 1_000).flat_map(|number| opening(&client(number))),
        );
        while waiting > 0 {
            gateway.turn();
            let count = done(&mut gateway);
            waiting -= count;
            installed += count;
        }
    }
    let taken = began.elapsed();
    assert_eq!(installed, 4 * SESSIONS as usize);
    assert!(taken < Duration::from_secs(60), "{taken:?}");
    for number in (0..SESSIONS).step_by(997) {
        let client = client(number);
        let frames = gateway.up(&[up(&client, 1)]);
        assert_eq!(packet_of(&frames[0]).source(), client.address);
        let frames = gateway.down(&[down(&client, 1)]);
        assert_eq!(packet_of(&frames[0]).payload()[8..16], esp(&client, 1));
        assert_eq!(packet_of(&frames[0]).destination(), *client.remote.ip());
    }
    gateway.assert_accounted();
}
