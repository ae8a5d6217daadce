//! What a PPP session wants done.

use std::net::Ipv4Addr;

use culvert_wire::ppp::frame::Protocol;
use serde::{Deserialize, Serialize};

use crate::job::Job;
use crate::rows::PppFraming;

/// One thing to do, in the order given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// Send a frame, from its two-byte protocol field on.
    Transmit(Vec<u8>),
    /// Do this off the event loop and bring the result to [`super::Session::handle_job`].
    Job(Job),
    /// The peer has proved who it is: find it an address and call [`super::Session::assign`].
    Authenticated {
        /// The user's name in the table.
        user: String,
        /// The address that is the user's own.
        address: Option<Ipv4Addr>,
    },
    /// Let IPv4 pass.
    Open {
        /// The peer's address.
        address: Ipv4Addr,
        /// Longest packet the peer takes, in bytes.
        mru: u16,
        /// What may be left out of frames to the peer.
        framing: PppFraming,
    },
    /// Let nothing pass any more until the session is open again. The address stays with the session;
    /// it may be authenticated anew, and as another user.
    Revoked,
    /// The session is over.
    Closed {
        /// Why.
        cause: Cause,
    },
    /// Something to count.
    Note(Note),
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The peer said so.
    Peer,
    /// We were asked to close it.
    Administrative,
    /// The peer does not accept what we must ask for, or asks without end.
    NoAgreement,
    /// The peer refuses to authenticate by any method that we offer.
    NoMethod,
    /// The peer does not know the password.
    AuthenticationFailed,
    /// There is no address for the user.
    NoAddress,
    /// The peer took too long.
    TimedOut,
    /// The peer does not answer.
    Unreachable,
}

/// An event worth a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Note {
    /// A frame or packet that does not parse.
    Malformed,
    /// A frame of a protocol that may not be used now.
    Unexpected(#[serde(with = "protocol")] Protocol),
    /// A frame of a protocol that we do not speak; the peer was told.
    Rejected(#[serde(with = "protocol")] Protocol),
    /// A wrong password or an unknown user.
    WrongPassword,
}

/// [`Protocol`] as its number.
mod protocol {
    use culvert_wire::ppp::frame::Protocol;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    pub(super) fn serialize<S: Serializer>(value: &Protocol, to: S) -> Result<S::Ok, S::Error> {
        value.0.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Protocol, D::Error> {
        u16::deserialize(from).map(Protocol)
    }
}
