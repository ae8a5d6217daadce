//! Random commands in any order: rows never point at what is gone, and closing every set leaves nothing behind (THREATS L7).

use std::net::Ipv4Addr;

use proptest::prelude::*;

use culvert_crypto::{AesKey, Suite};
use culvert_dataplane::api::{
    Activation, Command, Encapsulation, Event, Held, Phase, SessionId, SessionRow, SetId, Spi,
    TunnelId,
};
use culvert_wire::ipv4::Protocol;

use crate::commands::{inner, sealed};
use crate::gateway::{Client, Gateway, HOST, from_core, ip};

const SETS: u32 = 4;
const SESSIONS: u32 = 8;
const SAS: u32 = 12;

#[derive(Clone, Debug)]
enum Step {
    OpenSet(u32),
    CloseSet(u32),
    AddInbound(u32, u32),
    AddOutbound(u32, u32, bool),
    UseOutbound(u32, u32),
    RemoveInbound(u32),
    RemoveOutbound(u32, u32),
    OpenSession(u32, u32, u8, bool),
    CloseSession(u32),
    Up(u32, u32, u8),
    Down(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let (set, sa, row) = (0..SETS, 0..SAS, 0..SESSIONS);
    prop_oneof![
        2 => set.clone().prop_map(Step::OpenSet),
        1 => set.clone().prop_map(Step::CloseSet),
        4 => (set.clone(), sa.clone()).prop_map(|(set, sa)| Step::AddInbound(set, sa)),
        4 => (set.clone(), sa.clone(), any::<bool>()).prop_map(|(set, sa, now)| Step::AddOutbound(set, sa, now)),
        1 => (set.clone(), sa.clone()).prop_map(|(set, sa)| Step::UseOutbound(set, sa)),
        1 => sa.clone().prop_map(Step::RemoveInbound),
        1 => (set.clone(), sa.clone()).prop_map(|(set, sa)| Step::RemoveOutbound(set, sa)),
        6 => (row.clone(), set, 0..6_u8, any::<bool>()).prop_map(|(row, set, id, open)| Step::OpenSession(row, set, id, open)),
        2 => row.prop_map(Step::CloseSession),
        4 => (sa, 1..2_000_u32, 0..6_u8).prop_map(|(sa, sequence, id)| Step::Up(sa, sequence, id)),
        4 => (0..6_u8).prop_map(Step::Down),
    ]
}

/// The client whose set and SA have these numbers; all use the same keys.
fn client(set: u32, sa: u32) -> Client {
    let mut client = Client::new(Suite::AesGcm(AesKey::Bits128), Encapsulation::EspInUdp);
    client.set = SetId(set);
    (client.inbound, client.outbound) = (Spi((sa + 1) << 12), Spi(0xA000 + sa));
    client
}

const fn address(id: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 99, 1, 10 + id)
}

/// Whether it is refused does not matter here, only what it leaves.
fn perform(step: &Step, gateway: &mut Gateway) {
    let command = match *step {
        Step::OpenSet(set) => Command::OpenSet(client(set, 0).set_spec()),
        Step::CloseSet(set) => Command::CloseSet(SetId(set)),
        Step::AddInbound(set, sa) => Command::AddInbound(client(set, sa).inbound_spec()),
        Step::AddOutbound(set, sa, now) => {
            let mut spec = client(set, sa).outbound_spec();
            spec.activation = if now {
                Activation::Now
            } else {
                Activation::WhenPeerHasIt
            };
            Command::AddOutbound(spec)
        }
        Step::UseOutbound(set, sa) => Command::UseOutbound {
            set: SetId(set),
            spi: client(set, sa).outbound,
        },
        Step::RemoveInbound(sa) => Command::RemoveInbound(client(0, sa).inbound),
        Step::RemoveOutbound(set, sa) => Command::RemoveOutbound {
            set: SetId(set),
            spi: client(set, sa).outbound,
        },
        Step::OpenSession(row, set, id, open) => {
            let mut spec = client(set, 0).session_spec();
            spec.row = SessionRow(row);
            (spec.local_tunnel, spec.local_session) =
                (TunnelId(0x1111), SessionId(0x2222 + u16::from(id)));
            spec.phase = if open {
                Phase::Open {
                    address: address(id),
                    mru: 1_400,
                }
            } else {
                Phase::Negotiating
            };
            Command::OpenSession(spec)
        }
        Step::CloseSession(row) => Command::CloseSession(SessionRow(row)),
        Step::Up(sa, sequence, id) => {
            gateway.up(&[sealed(
                &client(0, sa),
                sequence,
                &inner(address(id), HOST),
                Protocol::UDP,
            )]);
            return;
        }
        Step::Down(id) => {
            gateway.down(&[from_core(&ip(HOST, address(id), Protocol(253), &[1; 30]))]);
            return;
        }
    };
    let _ = gateway.try_command(command);
}

/// Everything that an inventory names.
fn inventory(gateway: &mut Gateway) -> Vec<Held> {
    gateway.events();
    gateway.command(Command::Inventory);
    let mut held = Vec::new();
    loop {
        for event in gateway.events() {
            match event {
                Event::Held(row) => held.push(row),
                Event::InventoryEnd => return held,
                _ => {}
            }
        }
        gateway.turn();
    }
}

/// Every session and SA belongs to a set that is there.
fn assert_no_orphans(held: &[Held]) {
    let sets: Vec<SetId> = held
        .iter()
        .filter_map(|row| {
            if let Held::Set { id, .. } = row {
                Some(*id)
            } else {
                None
            }
        })
        .collect();
    for row in held {
        if let Held::Session { set, .. } | Held::Inbound { set, .. } = row {
            assert!(sets.contains(set), "{row:?} has no set");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn closing_every_set_leaves_nothing(steps in proptest::collection::vec(step(), 1..250)) {
        let mut gateway = Gateway::new();
        for step in &steps {
            perform(step, &mut gateway);
        }
        assert_no_orphans(&inventory(&mut gateway));
        gateway.assert_accounted();
        for set in 0..SETS {
            let _ = gateway.try_command(Command::CloseSet(SetId(set)));
        }
        prop_assert_eq!(inventory(&mut gateway), []);
        // Every row, id, address and SPI is free again, and everything works with them.
        for row in 0..SETS {
            let mut fresh = client(row, row);
            (fresh.row, fresh.address) = (SessionRow(row), address(row as u8));
            fresh.install(&mut gateway);
            let packet = sealed(&fresh, 1, &inner(fresh.address, HOST), Protocol::UDP);
            prop_assert_eq!(gateway.up(&[packet]).len(), 1);
            let packet = ip(HOST, fresh.address, Protocol(253), &[1; 30]);
            prop_assert_eq!(gateway.down(&[from_core(&packet)]).len(), 1);
        }
        gateway.assert_accounted();
    }
}
