//! The gateway's control plane against simulated clients in virtual time.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use culvert_bench::client::esp::{Integrity, Suite};
use culvert_bench::client::ike::dh::Group;
use culvert_bench::client::ike::hash::Hash;
use culvert_bench::client::ike::keys::Cipher;
use culvert_bench::client::ike::proposal::IkeProposal;
use culvert_bench::client::ppp::Method;
use culvert_bench::client::{Cause, Credentials, Encapsulation, Event, Profile, Stage};
use culvert_proto::gateway::Config;
use culvert_proto::ike::config::{CoreRows, CredentialId, Limits, Peers, Psk};
use culvert_proto::pool::{Pool, Range};
use culvert_proto::rows::KeyMaterial;
use culvert_proto::users::{Entry, Users};
use culvert_proto::{ike, l2tp, ppp, users};
use culvert_tests::simulator::{Conditions, Restore, Simulation};
use culvert_wire::ipv4::{Fragment, Header, Protocol};

const PSK: &[u8] = b"a long enough key for the simulator";
const HOST: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 10);
const PPP_GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 1);
const DNS: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 53);

fn config() -> Config {
    let psk = Psk {
        credential: CredentialId(0),
        peers: Peers::Any,
        key: KeyMaterial::new(PSK.to_vec().into()),
    };
    let entry: Entry = serde_json::from_str(r#"{ "name": "alice", "secret": "wonder-Land9" }"#)
        .expect("an entry as the users file has it");
    let users = Users::new([entry]).expect("one user with one secret");
    let range = Range {
        first: Ipv4Addr::new(10, 64, 0, 0),
        last: Ipv4Addr::new(10, 64, 3, 255),
    };
    Config {
        ike: ike::Config {
            psks: vec![psk],
            gates: Vec::new(),
            cores: vec![CoreRows {
                shards: 0..64,
                sets: 1_024,
            }],
            limits: Limits::default(),
        },
        l2tp: l2tp::Config::default(),
        ppp: ppp::Config {
            methods: vec![
                users::Method::MsChapV2,
                users::Method::ChapMd5,
                users::Method::Pap,
            ],
            gateway: PPP_GATEWAY,
            dns: vec![DNS],
            ..ppp::Config::default()
        },
        users,
        pool: Pool::new(&[range], PPP_GATEWAY, &[], &[]).expect("one range"),
        sessions: 1_024,
    }
}

fn profile() -> Profile {
    Profile {
        psk: PSK.to_vec(),
        ike: vec![IkeProposal::default()],
        esp: Suite::Gcm(Cipher::Aes128),
        encapsulation: Encapsulation::AsNeeded,
        l2tp_port: 1701,
        mru: 1_400,
        methods: vec![Method::MsChapV2],
    }
}

fn alice() -> Arc<Credentials> {
    Arc::new(Credentials {
        user: "alice".into(),
        password: "wonder-Land9".into(),
    })
}

fn outer(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, 0, index)
}

fn packet(source: Ipv4Addr, destination: Ipv4Addr, mark: u8) -> Vec<u8> {
    let header = Header {
        traffic_class: 0,
        total_len: 60,
        identification: 0,
        dont_fragment: true,
        fragment: Fragment::default(),
        ttl: 64,
        protocol: Protocol::UDP,
        source,
        destination,
    };
    let mut packet = header.to_bytes().to_vec();
    packet.resize(60, mark);
    packet
}

/// Logs one client in over a good network.
fn logged_in(profile: Profile, credentials: &Arc<Credentials>, seed: u64) -> Simulation {
    let mut simulation = Simulation::new(config(), Conditions::GOOD, Restore::Never, seed);
    simulation.connect(outer(1), &Arc::new(profile), credentials);
    simulation.run(Duration::from_secs(60), |simulation| {
        !simulation.members()[&outer(1)].events.is_empty()
    });
    simulation
}

#[test]
fn a_client_gets_address_and_name_server_and_packets_flow_both_ways() {
    let mut simulation = logged_in(profile(), &alice(), 1);
    let Some(Event::Up(lease)) = simulation.members()[&outer(1)].events.first().copied() else {
        panic!("{:?}", simulation.members()[&outer(1)].events);
    };
    assert_eq!(
        (lease.gateway, lease.primary_dns),
        (Some(PPP_GATEWAY), Some(DNS))
    );
    let address = lease.address.unwrap();
    simulation.send_up(outer(1), &packet(address, HOST, 7));
    simulation.send_down(&packet(HOST, address, 8));
    simulation.run(Duration::from_secs(1), |_| false);
    assert_eq!(simulation.received(), [packet(address, HOST, 7)]);
    assert_eq!(
        simulation.members()[&outer(1)].received,
        [packet(HOST, address, 8)]
    );
}

#[test]
fn every_algorithm_on_offer_logs_in() {
    let groups = [Group::Ecp256, Group::Ecp384, Group::Modp2048];
    let hashes = [Hash::Sha1, Hash::Sha256, Hash::Sha384];
    let suites = [
        Suite::Gcm(Cipher::Aes128),
        Suite::Gcm(Cipher::Aes256),
        Suite::Cbc(Cipher::Aes128, Integrity::Sha1),
        Suite::Cbc(Cipher::Aes256, Integrity::Sha1),
        Suite::Cbc(Cipher::Aes128, Integrity::Sha256),
        Suite::Cbc(Cipher::Aes256, Integrity::Sha256),
    ];
    let methods = [Method::MsChapV2, Method::ChapMd5, Method::Pap];
    for index in 0..18 {
        let cipher = if index % 2 == 0 {
            Cipher::Aes128
        } else {
            Cipher::Aes256
        };
        let proposal = IkeProposal {
            group: groups[index % 3],
            hash: hashes[index / 3 % 3],
            cipher,
        };
        let profile = Profile {
            ike: vec![proposal],
            esp: suites[index % 6],
            encapsulation: if index < 9 {
                Encapsulation::AsNeeded
            } else {
                Encapsulation::ForcedUdp
            },
            methods: vec![methods[index / 6]],
            ..profile()
        };
        let description = format!("{profile:?}");
        let simulation = logged_in(profile, &alice(), u64::try_from(index).unwrap());
        assert!(
            simulation.members()[&outer(1)].address().is_some(),
            "{description}"
        );
    }
}

#[test]
fn a_wrong_password_is_refused_and_leaves_nothing() {
    let mallory = Arc::new(Credentials {
        user: "alice".into(),
        password: "guess".into(),
    });
    let mut simulation = logged_in(profile(), &mallory, 2);
    assert_eq!(
        simulation.members()[&outer(1)].cause(),
        Some(Cause::PasswordRefused)
    );
    simulation.run(Duration::from_secs(600), |_| false);
    assert_eq!(simulation.data_plane().rows(), (0, 0, 0));
}

#[test]
fn a_wrong_pre_shared_key_gets_no_set() {
    let simulation = logged_in(
        Profile {
            psk: b"another".to_vec(),
            ..profile()
        },
        &alice(),
        3,
    );
    assert!(simulation.members()[&outer(1)].cause().is_some());
    assert_eq!(simulation.data_plane().rows(), (0, 0, 0));
}

#[test]
fn a_rekey_in_the_middle_of_a_transfer_loses_no_packet() {
    let mut simulation = logged_in(profile(), &alice(), 4);
    let address = simulation.members()[&outer(1)].address().unwrap();
    for mark in 0..200 {
        if mark % 50 == 25 {
            simulation.act(outer(1), |client, now, rng| client.rekey(now, rng));
        }
        simulation.send_up(outer(1), &packet(address, HOST, mark));
        simulation.send_down(&packet(HOST, address, mark));
        simulation.run(Duration::from_micros(300), |_| false);
    }
    simulation.run(Duration::from_secs(1), |_| false);
    let rekeyed = simulation.members()[&outer(1)]
        .events
        .iter()
        .filter(|event| **event == Event::Rekeyed);
    assert_eq!(rekeyed.count(), 4);
    assert_eq!(simulation.received().len(), 200);
    assert_eq!(simulation.members()[&outer(1)].received.len(), 200);
}

#[test]
fn a_client_that_logs_out_frees_its_rows_and_its_address() {
    let mut simulation = logged_in(profile(), &alice(), 5);
    simulation.act(outer(1), |client, now, rng| client.disconnect(now, rng));
    assert!(simulation.run(
        Duration::from_secs(120),
        |simulation| simulation.data_plane().rows() == (0, 0, 0)
    ));
    assert_eq!(
        simulation.members()[&outer(1)].cause(),
        Some(Cause::LoggedOut)
    );
}

/// Twenty clients over a bad network; `restore` as given.
fn all_log_in(restore: Restore, seed: u64) {
    let mut simulation = Simulation::new(config(), Conditions::BAD, restore, seed);
    let (profile, credentials) = (Arc::new(profile()), alice());
    for index in 1..=20 {
        simulation.connect(outer(index), &profile, &credentials);
    }
    let settled = simulation.run(Duration::from_secs(180), |simulation| {
        simulation
            .members()
            .values()
            .all(|member| !member.events.is_empty())
    });
    let causes: Vec<_> = simulation
        .members()
        .values()
        .filter_map(|member| member.cause())
        .collect();
    assert!(
        settled && causes.is_empty(),
        "seed {seed}: {causes:?} after {:?}",
        simulation.now()
    );
    let mut addresses: Vec<_> = simulation
        .members()
        .values()
        .filter_map(|member| member.address())
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(
        addresses.len(),
        20,
        "seed {seed}: an address was given out twice"
    );
}

#[test]
fn clients_log_in_in_spite_of_loss_repetition_and_reordering() {
    (0..10).for_each(|seed| all_log_in(Restore::Never, seed));
}

#[test]
fn nobody_notices_when_the_gateway_is_saved_and_restored_at_random_steps() {
    (100..105).for_each(|seed| all_log_in(Restore::OneIn(5), seed));
}

#[test]
fn a_request_of_lcp_that_overtakes_iccn_is_not_lost() {
    let reorders = Conditions {
        delay: Duration::from_millis(1)..Duration::from_millis(2),
        ..Conditions::GOOD
    };
    for seed in 0..20 {
        let mut simulation = Simulation::new(config(), reorders.clone(), Restore::Never, seed);
        simulation.connect(outer(1), &Arc::new(profile()), &alice());
        simulation.run(Duration::from_secs(10), |simulation| {
            !simulation.members()[&outer(1)].events.is_empty()
        });
        assert_eq!(simulation.sent_again(Stage::Link), 0, "seed {seed}");
    }
}

#[test]
fn a_repeated_data_packet_arrives_once() {
    let repeats = Conditions {
        repetition: 1_000,
        ..Conditions::GOOD
    };
    let mut simulation = Simulation::new(config(), repeats, Restore::Never, 6);
    simulation.connect(outer(1), &Arc::new(profile()), &alice());
    simulation.run(Duration::from_secs(60), |simulation| {
        !simulation.members()[&outer(1)].events.is_empty()
    });
    let address = simulation.members()[&outer(1)].address().unwrap();
    for mark in 0..50 {
        simulation.send_up(outer(1), &packet(address, HOST, mark));
        simulation.send_down(&packet(HOST, address, mark));
    }
    simulation.run(Duration::from_secs(1), |_| false);
    assert_eq!(simulation.received().len(), 50);
    assert_eq!(simulation.members()[&outer(1)].received.len(), 50);
}
