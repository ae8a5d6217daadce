//! What goes into the gateway and what comes out.

use std::net::{Ipv4Addr, SocketAddr};

use culvert_wire::id::Spi;
use serde::{Deserialize, Serialize};

use crate::job::Job;
use crate::rows::{Change, CoreId, InnerPorts, Path, SessionRow, SetId};
use crate::{ike, l2tp, ppp};

/// A message from a peer, with what it came in on.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// An IKE message, without non-ESP marker, that arrived on `core`.
    Ike {
        /// The core it arrived on: a new set is made there.
        core: CoreId,
        /// Where from and to.
        path: Path,
        /// The ISAKMP message.
        bytes: &'a [u8],
    },
    /// An L2TP control message inside a set.
    L2tp {
        /// The set.
        set: SetId,
        /// The UDP ports inside the SA.
        ports: InnerPorts,
        /// The message, from its flags on.
        bytes: &'a [u8],
    },
    /// An L2TP control message in the clear from a peer that has no set.
    ClearL2tp {
        /// The core it arrived on.
        core: CoreId,
        /// Where from and to.
        path: Path,
        /// The message, from its flags on.
        bytes: &'a [u8],
    },
    /// A PPP frame of a session, from its two-byte protocol field on.
    Ppp {
        /// The session.
        session: SessionRow,
        /// The frame.
        bytes: &'a [u8],
    },
    /// The first valid packet came in on an SA.
    InboundUsed {
        /// Our SPI.
        inbound: Spi,
    },
    /// The data plane saw an authenticated packet of a set from a new place.
    EndpointMoved {
        /// The set.
        set: SetId,
        /// Where the peer is now.
        remote: SocketAddr,
    },
}

/// Where a message of ours goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Destination {
    /// An IKE peer, through the given core.
    Ike {
        /// The core to send from.
        core: CoreId,
        /// Where from and to.
        path: Path,
    },
    /// An L2TP peer over its set.
    L2tp {
        /// The set.
        set: SetId,
        /// The UDP ports inside the SA.
        ports: InnerPorts,
    },
    /// An L2TP peer in the clear that has no set yet.
    ClearL2tp {
        /// The core to send from.
        core: CoreId,
        /// Where from and to.
        path: Path,
    },
    /// A PPP peer over its session.
    Ppp(SessionRow),
}

/// One thing to do, in the order given: a message must not overtake the changes before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// Change the data plane's rows.
    Change(Change),
    /// Send a message.
    Transmit {
        /// Where to.
        to: Destination,
        /// The message.
        bytes: Vec<u8>,
    },
    /// Compute something and come back with [`handle_done`](super::Gateway::handle_done).
    Job(Job),
    /// A client waits for an address, and only sets that were [reserved](super::Gateway::reserve) have any: close and
    /// [release](super::Gateway::release) one of them.
    WantAddress,
    /// Something for the log.
    Note(Note),
}

/// Something for the log; no secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Note {
    /// Of IKE.
    Ike(ike::Note),
    /// Of L2TP.
    L2tp(l2tp::Note),
    /// Of a session's PPP.
    Ppp {
        /// The session.
        session: SessionRow,
        /// What happened.
        note: ppp::Note,
    },
    /// A client is on: its address forwards.
    SessionUp {
        /// Its session.
        session: SessionRow,
        /// Its set.
        set: SetId,
        /// Who it is.
        user: String,
        /// Its address.
        address: Ipv4Addr,
    },
    /// A session is gone.
    SessionDown {
        /// The session.
        session: SessionRow,
        /// Who it was, if that became known.
        user: Option<String>,
        /// What PPP says, if it ended there.
        ppp: Option<ppp::Cause>,
        /// What L2TP says.
        l2tp: l2tp::Cause,
    },
    /// A table is full: a client was turned away.
    Full(Table),
}

/// What a client may find full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Table {
    /// SA set rows of the core.
    Sets,
    /// Session rows of the core.
    Sessions,
    /// Addresses of the pools.
    Addresses,
}
