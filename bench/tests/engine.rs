//! The loop over in-memory ports: what clients send is on the wire as it should be.

use std::net::Ipv4Addr;

use culvert_bench::client::esp::Suite;
use culvert_bench::client::ike::keys::Cipher;
use culvert_bench::client::ike::proposal::IkeProposal;
use culvert_bench::client::ppp::Method;
use culvert_bench::client::{Credentials, Encapsulation, Profile};
use culvert_bench::load::engine::{Engine, LogIns};
use culvert_bench::load::link::{Hop, Link};
use culvert_bench::load::population::Population;
use culvert_dataplane::api::CoreId;
use culvert_dataplane::frame::FramePool;
use culvert_dataplane::port::memory;
use culvert_wire::eth::{self, EtherType, MacAddress};
use culvert_wire::ike::{ExchangeType, Header};
use culvert_wire::ipv4::{Packet, Protocol};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

const GATEWAY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const FIRST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const HOP: Hop = Hop {
    local: MacAddress([2, 0, 0, 0, 0, 1]),
    next: MacAddress([2, 0, 0, 0, 0, 2]),
};

fn population(count: u32) -> Population {
    let profile = Profile {
        psk: b"key".to_vec(),
        ike: vec![IkeProposal::default()],
        esp: Suite::Gcm(Cipher::Aes128),
        encapsulation: Encapsulation::AsNeeded,
        l2tp_port: 1701,
        mru: 1_400,
        methods: vec![Method::MsChapV2],
    };
    let credentials = Credentials {
        user: "user".into(),
        password: "password".into(),
    };
    Population::new(
        count,
        FIRST,
        GATEWAY,
        profile,
        credentials,
        ChaCha20Rng::seed_from_u64(1),
    )
}

#[test]
fn each_client_begins_main_mode_from_its_own_address_and_no_more_than_allowed_at_once() {
    let (port, peer) = memory::pair(64);
    let link = Link::new(port, FramePool::in_memory(CoreId(0), 256), HOP, None);
    let mut engine = Engine::new(link, None, population(5), GATEWAY, Ipv4Addr::UNSPECIFIED);
    let spread = LogIns {
        at_once: 3,
        per_second: 1_000_000,
    };
    let mut turns = 0;
    engine.log_in(spread, |population| {
        turns += 1;
        assert!(population.census().connecting <= 3);
        turns < 10
    });
    let mut sources = Vec::new();
    while let Some(frame) = peer.take() {
        let header = eth::Header::parse(&frame).unwrap();
        assert_eq!((header.source, header.destination), (HOP.local, HOP.next));
        assert_eq!(header.ether_type, EtherType::IPV4);
        let packet = Packet::parse(&frame[header.len()..]).unwrap();
        assert!(packet.checksum_ok());
        assert_eq!(
            (packet.protocol(), packet.destination()),
            (Protocol::UDP, GATEWAY)
        );
        let (udp, message) = packet.payload().split_first_chunk::<8>().unwrap();
        assert_eq!(udp[..4], [0x01, 0xF4, 0x01, 0xF4]);
        assert_eq!(
            usize::from(u16::from_be_bytes([udp[4], udp[5]])),
            packet.payload().len()
        );
        assert_eq!(
            Header::split(message).unwrap().0.exchange,
            ExchangeType::MAIN_MODE
        );
        sources.push(packet.source());
    }
    assert_eq!(
        sources,
        [1, 2, 3].map(|last| Ipv4Addr::new(198, 18, 0, last))
    );
}
