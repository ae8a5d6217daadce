//! Random orders of everything that can happen end with empty tables.

use culvert_wire::id::{SessionId, TunnelId};
use culvert_wire::l2tp::message::MessageType;
use rand_chacha::rand_core::Rng;

use super::client::Client;
use super::*;
use crate::l2tp::{Cause, SessionKey};

const KINDS: [MessageType; 8] = [
    MessageType::SCCRQ,
    MessageType::SCCCN,
    MessageType::ICRQ,
    MessageType::ICCN,
    MessageType::CDN,
    MessageType::STOP_CCN,
    MessageType::HELLO,
    MessageType::ICRP,
];

fn pick(rng: &mut ChaCha8Rng, below: u32) -> u32 {
    rng.next_u32() % below
}

/// One run; the balance of opened and closed sessions and tunnels must come out even.
fn run(seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut server = Server::new(Config {
        tunnels_per_peer: 1 + usize::try_from(pick(&mut rng, 2)).unwrap(),
        sessions_per_tunnel: 1 + usize::try_from(pick(&mut rng, 3)).unwrap(),
        ..Config::default()
    });
    server.rng = ChaCha8Rng::seed_from_u64(seed ^ 1);
    let peers = [PEER, Peer::Set(SetId { row: 9, ..SET }), clear_peer()];
    let mut clients: Vec<_> = peers.map(|peer| (peer, Client::new(500, 600))).into();
    let (mut tunnels, mut sessions) = (0_i32, 0_i32);
    let mut last_session = 0;
    for _ in 0..30 {
        let index = usize::try_from(pick(&mut rng, 3)).unwrap();
        let (peer, client) = &mut clients[index];
        let outputs = match pick(&mut rng, 20) {
            0 => {
                if let Peer::Set(set) = *peer {
                    server.lns.close_set(server.now, set);
                }
                *client = Client::new(500, 600);
                server.outputs()
            }
            1 => {
                *client = Client::new(501, 600);
                vec![]
            }
            2 => server.wait(Duration::from_millis(u64::from(pick(&mut rng, 40_000)))),
            3 => {
                let key = SessionKey(u64::from(pick(&mut rng, 5)));
                server
                    .lns
                    .close_session(server.now, key, Cause::Administrative);
                server.outputs()
            }
            4 if pick(&mut rng, 5) == 0 => {
                server.lns.close_all(server.now);
                server.outputs()
            }
            step => {
                let kind = match (step < 15, client.server_tunnel, client.server_session) {
                    (false, ..) => KINDS[usize::try_from(pick(&mut rng, 8)).unwrap()],
                    (true, TunnelId(0), _) => MessageType::SCCRQ,
                    (true, _, SessionId(0)) if client.ns == 1 => MessageType::SCCCN,
                    (true, _, SessionId(0)) => MessageType::ICRQ,
                    (true, ..) => MessageType::ICCN,
                };
                let bytes = client.message(kind);
                let peer = *peer;
                if pick(&mut rng, 8) == 0 {
                    server.receive_from(peer, &bytes[..bytes.len() - 1]);
                }
                server.receive_from(peer, &bytes)
            }
        };
        for output in &outputs {
            match output {
                Output::TunnelOpened { .. } => tunnels += 1,
                Output::TunnelClosed { .. } => tunnels -= 1,
                Output::SessionOpened(opened) => {
                    assert!(opened.session.0 > last_session);
                    last_session = opened.session.0;
                    sessions += 1;
                }
                Output::SessionClosed { .. } => sessions -= 1,
                Output::Transmit { peer, bytes, .. } => {
                    let to = described(bytes).0.tunnel;
                    let client = clients
                        .iter_mut()
                        .find(|(at, client)| at == peer && client.tunnel == to);
                    if let Some((_, client)) = client {
                        client.take(bytes);
                    }
                }
                Output::SessionConnected(_) | Output::Note(_) => {}
            }
        }
        assert_eq!(usize::try_from(sessions), Ok(server.lns.session_count()));
    }
    for output in server.wait(seconds(400)) {
        match output {
            Output::TunnelClosed { .. } => tunnels -= 1,
            Output::SessionClosed { .. } => sessions -= 1,
            Output::TunnelOpened { .. }
            | Output::SessionOpened(_)
            | Output::SessionConnected(_)
            | Output::Transmit { .. }
            | Output::Note(_) => {}
        }
    }
    assert_eq!((tunnels, sessions), (0, 0));
    assert!(server.lns.is_empty(), "{:?}", server.lns);
}

#[test]
fn every_interleaving_ends_with_empty_tables() {
    for seed in 0..10_000 {
        let outcome = std::panic::catch_unwind(|| run(seed));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}
