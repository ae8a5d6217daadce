//! Each kind of client through the whole system: it logs in, and what it sends and is sent comes out byte for byte.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::PasswordHasher;
use argon2::{Algorithm, Argon2, Params, Version};
use culvert_bench::client::esp::{Integrity, Suite};
use culvert_bench::client::ike::dh::Group;
use culvert_bench::client::ike::hash::Hash;
use culvert_bench::client::ike::keys::Cipher;
use culvert_bench::client::ike::proposal::IkeProposal;
use culvert_bench::client::ppp::Method;
use culvert_bench::client::{Credentials, Encapsulation, Profile};
use culvert_tests::sim::frame::{self, Cut, Ends};
use culvert_tests::sim::lan::{ECHO_PORT, HOST};
use culvert_tests::sim::network::Conditions;
use culvert_tests::sim::setting::{self, Setting, profile};
use culvert_tests::sim::{MemberId, PPP_GATEWAY, World};
use culvert_wire::ipv4::{HEADER_LEN, Packet, Protocol};
use rand_core::Rng;

const OUTER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const PASSWORD: &str = "a long Password, 1";
/// MD4 of the password in UTF-16LE.
const NT_HASH: &str = "66b152880d9d6e36b1f5c1814b43457e";

/// Kinds of stored secret and the methods that each serves.
const PROOFS: [(&str, Method); 6] = [
    ("secret", Method::MsChapV2),
    ("nt-hash", Method::MsChapV2),
    ("secret", Method::ChapMd5),
    ("secret", Method::Pap),
    ("nt-hash", Method::Pap),
    ("argon2", Method::Pap),
];
const SUITES: [Suite; 6] = [
    Suite::Gcm(Cipher::Aes128),
    Suite::Gcm(Cipher::Aes256),
    Suite::Cbc(Cipher::Aes128, Integrity::Sha1),
    Suite::Cbc(Cipher::Aes256, Integrity::Sha1),
    Suite::Cbc(Cipher::Aes128, Integrity::Sha256),
    Suite::Cbc(Cipher::Aes256, Integrity::Sha256),
];
const GROUPS: [Group; 3] = [Group::Ecp256, Group::Ecp384, Group::Modp2048];
const HASHES: [Hash; 3] = [Hash::Sha1, Hash::Sha256, Hash::Sha384];

fn stored(kind: &str) -> String {
    match kind {
        "secret" => PASSWORD.to_owned(),
        "nt-hash" => NT_HASH.to_owned(),
        _ => {
            let params = Params::new(8, 1, 1, None).unwrap();
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            let hash: argon2::password_hash::phc::PasswordHash = argon2
                .hash_password_with_salt(PASSWORD.as_bytes(), b"saltsaltsalt")
                .unwrap();
            hash.to_string()
        }
    }
}

/// A world with one client that is up.
struct One {
    world: World,
    id: MemberId,
    address: Ipv4Addr,
}

impl One {
    fn new(seed: u64, mru: u16, profile: Profile, kind: &str) -> Self {
        let description = format!("seed {seed}: {profile:?}, {kind}");
        let users = vec![setting::entry("alice", kind, &stored(kind))];
        let setting = Setting {
            mru,
            users,
            ..Setting::new(seed)
        };
        let mut world = World::new(setting);
        let alice = Arc::new(Credentials {
            user: "alice".to_owned(),
            password: PASSWORD.to_owned(),
        });
        let id = world.connect(OUTER, &Arc::new(profile), &alice);
        world.run(Duration::from_secs(30), |world| {
            !world.member(id).events.is_empty()
        });
        // The last acknowledgement of IPCP is on its way: a packet that overtakes it is dropped.
        world.pass(Duration::from_millis(10));
        let address = world.member(id).address();
        let address =
            address.unwrap_or_else(|| panic!("{description}: {:?}", world.member(id).events));
        Self { world, id, address }
    }

    fn up(&self) -> Ends {
        Ends {
            source: self.address,
            destination: HOST,
        }
    }

    /// What reaches the client and the network of what they are sent.
    fn exchange(&mut self, up: &[Vec<u8>], down: &[Vec<u8>]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        self.world.clear_received();
        for packet in up {
            assert!(self.world.send_up(self.id, packet));
        }
        for packet in down {
            self.world.send_down(packet);
        }
        self.world.pass(Duration::from_secs(1));
        (
            self.world.lan().received().to_vec(),
            self.world.member(self.id).received.clone(),
        )
    }
}

/// A datagram of `len` bytes, IP header included, with contents that follow from the seed.
fn probe(world: &mut World, ends: Ends, port: u16, len: usize, cut: Cut) -> Vec<u8> {
    let mut data = vec![0; len - HEADER_LEN - 8];
    world.rng().fill_bytes(&mut data);
    let identification = u16::try_from(len).unwrap();
    frame::ip(
        ends,
        Protocol::UDP,
        cut,
        identification,
        &frame::udp(4_711, port, &data),
    )
}

/// The same packets behind a router, in some order.
fn assert_routed(arrived: Vec<Vec<u8>>, sent: &[Vec<u8>]) {
    let mut arrived = arrived;
    let mut expected: Vec<_> = sent.iter().map(|packet| frame::routed(packet)).collect();
    arrived.sort_unstable();
    expected.sort_unstable();
    let lengths = |packets: &[Vec<u8>]| packets.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(lengths(&arrived), lengths(&expected));
    assert!(arrived == expected, "a byte has changed on the way");
}

/// The MTU that an ICMP error tells the host, if `packets` is just that.
fn told_mtu(packets: &[Vec<u8>]) -> Option<u16> {
    let [packet] = packets else { return None };
    let packet = Packet::parse(packet).ok()?;
    let message = packet.payload();
    let is_too_big = packet.protocol() == Protocol::ICMP && message.starts_with(&[3, 4]);
    is_too_big.then(|| u16::from_be_bytes([message[6], message[7]]))
}

/// Sends all there is to send both ways through one client.
fn assert_carries(one: &mut One) {
    let (up, down) = (one.up(), one.up().swapped());
    let sizes: Vec<_> = (28..=100)
        .chain([576, 1_280, 1_399, 1_400, 1_401, 1_499, 1_500])
        .collect();
    let ups: Vec<_> = sizes
        .iter()
        .map(|len| probe(&mut one.world, up, 9, *len, Cut::Allowed))
        .collect();
    let fitting: Vec<_> = sizes.iter().filter(|len| **len <= 1_280).copied().collect();
    let downs: Vec<_> = fitting
        .iter()
        .map(|len| probe(&mut one.world, down, 9, *len, Cut::Forbidden))
        .collect();
    let (at_lan, at_client) = one.exchange(&ups, &downs);
    assert_routed(at_lan, &ups);
    assert_routed(at_client, &downs);
    assert_echoes(one);
    assert_limits(one);
    one.world.assert_accounted();
}

fn assert_echoes(one: &mut One) {
    let ping = frame::echo_request(one.up(), 1, b"is there anybody");
    let ends = Ends {
        destination: PPP_GATEWAY,
        ..one.up()
    };
    let ping_gateway = frame::echo_request(ends, 2, b"and here");
    let up = one.up();
    let echo = probe(&mut one.world, up, ECHO_PORT, 1_000, Cut::Forbidden);
    let (_, mut at_client) = one.exchange(&[ping, ping_gateway, echo.clone()], &[]);
    at_client.sort_by_key(Vec::len);
    let payloads: Vec<_> = at_client
        .iter()
        .map(|packet| Packet::parse(packet).unwrap())
        .collect();
    let [from_gateway, from_host, echoed] = &payloads[..] else {
        panic!("{payloads:?}");
    };
    assert_eq!(
        (from_gateway.source(), &from_gateway.payload()[8..]),
        (PPP_GATEWAY, &b"and here"[..])
    );
    assert_eq!(
        (from_host.source(), &from_host.payload()[8..]),
        (HOST, &b"is there anybody"[..])
    );
    assert_eq!(echoed.payload()[8..], echo[28..]);
}

/// Finds the largest packet that fits, and checks that errors, fragments and the MSS go by it.
fn assert_limits(one: &mut One) {
    let (up, down) = (one.up(), one.up().swapped());
    let large = probe(&mut one.world, down, 9, 1_500, Cut::Forbidden);
    let (at_lan, at_client) = one.exchange(&[], &[large]);
    assert_eq!(at_client.len(), 0);
    let mtu = told_mtu(&at_lan).unwrap_or_else(|| panic!("{at_lan:?}"));
    assert!((1_280..1_500).contains(&mtu), "{mtu}");
    let fits = probe(&mut one.world, down, 9, usize::from(mtu), Cut::Forbidden);
    let too_big = probe(
        &mut one.world,
        down,
        9,
        usize::from(mtu) + 1,
        Cut::Forbidden,
    );
    let (at_lan, at_client) = one.exchange(&[], &[fits.clone(), too_big]);
    assert_routed(at_client, &[fits]);
    assert_eq!(told_mtu(&at_lan), Some(mtu));

    let whole = probe(&mut one.world, down, 9, 1_500, Cut::Allowed);
    let (_, pieces) = one.exchange(&[], std::slice::from_ref(&whole));
    assert_eq!(pieces.len(), 2);
    assert!(pieces.iter().all(|piece| piece.len() <= usize::from(mtu)));
    assert_eq!(
        frame::reassembled(&pieces).as_deref(),
        Some(&whole[HEADER_LEN..])
    );

    let (at_lan, at_client) = one.exchange(&[frame::syn(up, 1_460)], &[frame::syn(down, 1_460)]);
    let clamped = Some(mtu - 40);
    assert_eq!(frame::announced_mss(&at_lan[0]), clamped);
    assert_eq!(frame::announced_mss(&at_client[0]), clamped);
    let (at_lan, _) = one.exchange(&[frame::syn(up, 500)], &[]);
    assert_eq!(frame::announced_mss(&at_lan[0]), Some(500));
}

#[test]
fn every_suite_native_and_in_udp_with_every_proof_carries_packets_both_ways_byte_for_byte() {
    for index in 0..12 {
        let (kind, method) = PROOFS[(index + index / 6) % 6];
        let proposal = IkeProposal {
            group: GROUPS[index % 3],
            hash: HASHES[(index / 3) % 3],
            cipher: [Cipher::Aes128, Cipher::Aes256][index % 2],
        };
        let encapsulation = [Encapsulation::AsNeeded, Encapsulation::ForcedUdp][index / 6];
        // With the MRU out of the way the limit is the overhead of the suite itself.
        let mru = if index % 4 < 2 { 1_400 } else { 1_500 };
        let profile = Profile {
            ike: vec![proposal],
            esp: SUITES[index % 6],
            encapsulation,
            methods: vec![method],
            mru,
            ..profile()
        };
        let mut one = One::new(u64::try_from(index).unwrap(), mru, profile, kind);
        assert_carries(&mut one);
    }
}

#[test]
fn every_group_with_every_hash_logs_in_and_carries_a_probe() {
    for (index, (group, hash)) in GROUPS
        .into_iter()
        .flat_map(|group| HASHES.map(|hash| (group, hash)))
        .enumerate()
    {
        let cipher = [Cipher::Aes128, Cipher::Aes256][index % 2];
        let profile = Profile {
            ike: vec![IkeProposal {
                group,
                hash,
                cipher,
            }],
            ..profile()
        };
        let mut one = One::new(
            100 + u64::try_from(index).unwrap(),
            1_400,
            profile,
            "secret",
        );
        let (up, down) = (one.up(), one.up().swapped());
        let ups = [probe(&mut one.world, up, 9, 600, Cut::Allowed)];
        let downs = [probe(&mut one.world, down, 9, 600, Cut::Allowed)];
        let (at_lan, at_client) = one.exchange(&ups, &downs);
        assert_routed(at_lan, &ups);
        assert_routed(at_client, &downs);
    }
}

#[test]
fn packets_whose_outer_fragments_overtake_each_other_arrive_whole() {
    for seed in 200..203 {
        let mut one = One::new(seed, 1_400, profile(), "secret");
        one.world.set_conditions(Conditions {
            delay: Duration::from_millis(1)..Duration::from_millis(50),
            loss: 0,
            repetition: 0,
        });
        let up = one.up();
        for first in (1_420..1_500).step_by(8) {
            // Eight datagrams of one source may be incomplete at once.
            let ups: Vec<_> = (first..first + 8)
                .map(|len| probe(&mut one.world, up, 9, len, Cut::Allowed))
                .collect();
            let (at_lan, _) = one.exchange(&ups, &[]);
            assert_routed(at_lan, &ups);
        }
        one.world.assert_accounted();
    }
}

#[test]
fn late_repeats_of_fragments_do_not_keep_a_client_from_sending_in_fragments() {
    let mut one = One::new(300, 1_400, profile(), "secret");
    let up = one.up();
    one.world.tap().record();
    for number in 0..20 {
        let first = [probe(&mut one.world, up, 9, 1_450 + number, Cut::Allowed)];
        let (at_lan, _) = one.exchange(&first, &[]);
        assert_routed(at_lan, &first);
    }
    let fragments = one.world.tap().stop();
    assert_eq!(fragments.len(), 40);
    // A network that repeats brings one half of each again, and nothing completes it.
    let repeats: Vec<_> = fragments.into_iter().step_by(2).collect();
    one.world.inject(&repeats);
    let next = [probe(&mut one.world, up, 9, 1_490, Cut::Allowed)];
    let (at_lan, _) = one.exchange(&next, &[]);
    assert_routed(at_lan, &next);
    one.world.assert_accounted();
}
