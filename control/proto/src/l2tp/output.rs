//! What the L2TP server wants done, and the names it gives to things.

use culvert_wire::id::{SessionId, TunnelId};
use culvert_wire::l2tp::message::MessageType;
use serde::{Deserialize, Serialize};

use crate::rows::{CoreId, InnerPorts, KeyMaterial, Path, Sequencing, SetId};

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Peer {
    /// The peer of an SA set: IPsec has shown who it is.
    Set(SetId),
    /// Whoever sends from there, in the clear.
    Clear {
        /// The core its packets arrive on.
        core: CoreId,
        /// Where from and to.
        path: Path,
    },
}

/// Names a tunnel; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TunnelKey(pub u64);

/// Names a session; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionKey(pub u64);

/// One thing to do, in the order given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// Send a control message.
    Transmit {
        /// Where to.
        peer: Peer,
        /// The UDP ports it is sent between.
        ports: InnerPorts,
        /// The message, from its flags on.
        bytes: Vec<u8>,
    },
    /// A peer has proved itself: its tunnel is up.
    TunnelOpened {
        /// The tunnel.
        tunnel: TunnelKey,
        /// Its peer.
        peer: Peer,
        /// The peer's name, as it gives it.
        host_name: Vec<u8>,
    },
    /// A tunnel that was opened is gone; its sessions were closed before.
    TunnelClosed {
        /// The tunnel.
        tunnel: TunnelKey,
        /// Why.
        cause: Cause,
    },
    /// A call is accepted: make room for its data before the answer goes out.
    SessionOpened(SessionOpened),
    /// A call is connected: PPP may begin.
    SessionConnected(SessionConnected),
    /// A session that was opened is gone.
    SessionClosed {
        /// The session.
        session: SessionKey,
        /// Why.
        cause: Cause,
    },
    /// Something to count.
    Note(Note),
}

/// A call that a peer asked for (ICRQ).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionOpened {
    /// The session.
    pub session: SessionKey,
    /// The tunnel it is in.
    pub tunnel: TunnelKey,
    /// The tunnel's peer.
    pub peer: Peer,
    /// The UDP ports of the tunnel.
    pub ports: InnerPorts,
    /// Tunnel id in packets to us.
    pub local_tunnel: TunnelId,
    /// Session id in packets to us.
    pub local_session: SessionId,
    /// Tunnel id in packets to the peer.
    pub peer_tunnel: TunnelId,
    /// Session id in packets to the peer.
    pub peer_session: SessionId,
    /// The peer's number for the call, for the logs of both ends.
    pub call_serial_number: u32,
    /// Who calls, as the peer gives it; empty if it does not.
    pub calling_number: Vec<u8>,
    /// Whom it called.
    pub called_number: Vec<u8>,
}

/// A connected call (ICCN).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionConnected {
    /// The session.
    pub session: SessionKey,
    /// Whether the peer demands sequence numbers in data messages.
    pub sequencing: Sequencing,
    /// The LCP packets that the peer exchanged with the caller, if it did.
    pub proxy_lcp: Option<ProxyLcp>,
    /// The authentication that the peer did with the caller, if it did.
    pub proxy_authentication: Option<ProxyAuthentication>,
}

/// LCP as a LAC negotiated it for the caller (RFC 2661 §4.4.5): options of Configure-Requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyLcp {
    /// The first one it received.
    pub initial_received: Vec<u8>,
    /// The last one it sent.
    pub last_sent: Vec<u8>,
    /// The last one it received.
    pub last_received: Vec<u8>,
}

/// Authentication as a LAC did it with the caller (RFC 2661 §4.4.5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyAuthentication {
    /// The method: 1 text, 2 CHAP, 3 PAP, 4 none, 5 MS-CHAP.
    pub kind: u16,
    /// Who the caller says it is.
    pub name: Vec<u8>,
    /// The challenge it was given.
    pub challenge: Vec<u8>,
    /// The identifier of that.
    pub identifier: u8,
    /// Its response; a password in PAP.
    pub response: KeyMaterial,
}

/// Why a tunnel or session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The peer said so (StopCCN or CDN) with this result code; 0 if it did not parse.
    Peer(u16),
    /// We were asked to close it.
    Administrative,
    /// A newer tunnel of the same peer took its place.
    Replaced,
    /// The peer did not acknowledge for 31 seconds.
    Unreachable,
    /// The peer did not go on in time.
    TimedOut,
    /// The tunnel had no session for too long.
    Idle,
    /// The peer broke the protocol.
    Misbehaved,
    /// The peer does not know the tunnel's secret.
    NotAuthorized,
    /// The SA set is gone.
    SetClosed,
}

/// An event worth a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Note {
    /// A message's header does not parse.
    Malformed,
    /// A message for tunnel 0 that is neither SCCRQ nor StopCCN.
    Connectionless(MessageType),
    /// A message for a tunnel id that its sender does not have.
    UnknownTunnel(TunnelId),
    /// A message for a session id that its tunnel does not have.
    UnknownSession(SessionId),
    /// A message received before.
    Duplicate,
    /// A message outside the receive window, or more than we buffer.
    OutsideWindow,
    /// A message whose AVPs or type were refused.
    Refused(MessageType),
    /// An SCCRQ in the clear that is shorter than any answer to it.
    Amplification,
    /// Nothing could be allocated for a request.
    Exhausted,
}
