//! How many tunnels and sessions a peer gets, and which give way.

use culvert_wire::l2tp::message::MessageType;

use super::client::{Client, result};
use super::*;
use crate::l2tp::{Cause, TunnelKey};

/// Brings a client's session up.
fn connect(server: &mut Server, peer: Peer, client: &mut Client) -> Vec<Output> {
    let mut all = Vec::new();
    for kind in [
        MessageType::SCCRQ,
        MessageType::SCCCN,
        MessageType::ICRQ,
        MessageType::ICCN,
    ] {
        let outputs = server.receive_from(peer, &client.message(kind));
        for reply in sent(&outputs) {
            client.take(reply);
        }
        all.extend(outputs);
    }
    all
}

#[test]
fn a_client_that_dials_again_replaces_its_old_tunnel() {
    let mut server = Server::new(Config::default());
    connect(&mut server, PEER, &mut Client::new(500, 600));
    let outputs = connect(&mut server, PEER, &mut Client::new(501, 600));
    let replaced = Output::TunnelClosed {
        tunnel: TunnelKey(1),
        cause: Cause::Replaced,
    };
    assert!(outputs.contains(&replaced));
    assert_eq!(
        (server.lns.tunnel_count(), server.lns.session_count()),
        (1, 1)
    );
}

#[test]
fn a_client_that_dials_again_with_the_same_ids_is_served_after_a_pause() {
    let mut server = Server::new(Config::default());
    connect(&mut server, PEER, &mut Client::new(1, 1));
    // A late copy of the first SCCRQ changes nothing...
    let outputs = server.receive(&Client::new(1, 1).message(MessageType::SCCRQ));
    assert_eq!(notes(&outputs), [Note::Duplicate]);
    assert!(sent(&outputs).is_empty());
    // ...but once it cannot be one, it is a new call.
    server.wait(seconds(31));
    let outputs = connect(&mut server, PEER, &mut Client::new(1, 1));
    assert!(matches!(
        events(&outputs).last(),
        Some(Output::SessionConnected(_))
    ));
    assert_eq!(
        (server.lns.tunnel_count(), server.lns.session_count()),
        (1, 1)
    );
}

#[test]
fn one_session_more_than_allowed_is_refused() {
    let mut server = Server::new(Config::default());
    let mut client = Client::new(500, 600);
    connect(&mut server, PEER, &mut client);
    client.session.0 = 601;
    let outputs = server.receive(&client.message(MessageType::ICRQ));
    assert_eq!(kinds(&outputs), [MessageType::CDN]);
    assert_eq!(result(sent(&outputs)[0]).0, 4);
    assert_eq!(server.lns.session_count(), 1);
}

#[test]
fn an_access_concentrator_has_many_sessions() {
    let mut server = Server::new(Config {
        sessions_per_tunnel: 2_000,
        ..Config::default()
    });
    let mut client = Client::new(500, 1);
    connect(&mut server, PEER, &mut client);
    for session in 2..=2_000 {
        client.session.0 = session;
        for kind in [MessageType::ICRQ, MessageType::ICCN] {
            let bytes = client.message(kind);
            server
                .lns
                .handle_message(server.now, &mut server.rng, PEER, PORTS, &bytes);
            for reply in sent(&server.outputs()) {
                client.take(reply);
            }
        }
    }
    assert_eq!(server.lns.session_count(), 2_000);
    server.receive(&client.message(MessageType::STOP_CCN));
    assert_eq!(server.lns.session_count(), 0);
}

#[test]
fn peers_with_equal_ids_do_not_meet() {
    let mut server = Server::new(Config::default());
    let other = Peer::Set(SetId { row: 8, ..SET });
    let mut client = Client::new(500, 600);
    connect(&mut server, PEER, &mut client);
    connect(&mut server, other, &mut Client::new(500, 600));
    assert_eq!(
        (server.lns.tunnel_count(), server.lns.session_count()),
        (2, 2)
    );
    // A message with this tunnel's id from the other set ends nothing.
    let stop = client.message(MessageType::STOP_CCN);
    let outputs = server.receive_from(other, &stop);
    assert_eq!(notes(&outputs), [Note::UnknownTunnel(client.server_tunnel)]);
    let outputs = server.receive_from(clear_peer(), &stop);
    assert_eq!(notes(&outputs), [Note::UnknownTunnel(client.server_tunnel)]);
    assert_eq!(server.lns.session_count(), 2);
}

#[test]
fn a_peer_that_opens_tunnels_without_end_runs_out_of_ids() {
    let mut server = Server::new(Config::default());
    let mut refused = 0;
    for tunnel in 1..=300 {
        let outputs = server.receive(&Client::new(tunnel, 1).message(MessageType::SCCRQ));
        refused += usize::from(notes(&outputs) == [Note::Exhausted]);
    }
    assert!((43..=45).contains(&refused), "{refused}");
    assert!(server.lns.tunnel_count() <= 1);
    server.wait(seconds(61));
    let outputs = server.receive(&Client::new(1, 1).message(MessageType::SCCRQ));
    assert_eq!(kinds(&outputs), [MessageType::SCCRP]);
}
