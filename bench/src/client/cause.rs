//! Why a client is not, or no longer, connected.

use std::fmt;

/// A step of logging in that waits for the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Main mode, second message.
    Proposal,
    /// Main mode, fourth message.
    KeyExchange,
    /// Main mode, sixth message.
    Identity,
    /// Quick mode, second message.
    QuickMode,
    /// L2TP: SCCRP.
    Tunnel,
    /// L2TP: ICRP.
    Call,
    /// L2TP: an acknowledgement.
    Delivery,
    /// LCP.
    Link,
    /// PAP or CHAP.
    Authentication,
    /// IPCP.
    Address,
}

/// Why a client is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// It was asked to log out.
    LoggedOut,
    /// The gateway left us without an answer at this step.
    Silent(Stage),
    /// The gateway refused with an IKE notification of this type.
    Notified(u16),
    /// The gateway chose what we had not offered.
    ForeignChoice,
    /// The gateway's Diffie–Hellman value is not one of the group.
    BadPublicValue,
    /// The gateway does not know the pre-shared key.
    WrongHash,
    /// The gateway deleted the IKE SA or all ESP SAs.
    Deleted,
    /// StopCCN with this result code.
    TunnelClosed(u16),
    /// CDN with this result code.
    CallClosed(u16),
    /// The gateway refused name and password.
    PasswordRefused,
    /// The gateway did not prove that it knows the password.
    ServerUnproven,
    /// LCP or IPCP could not agree, or the gateway ended the link.
    LinkClosed,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoggedOut => f.write_str("logged out"),
            Self::Silent(stage) => write!(f, "no answer at {stage:?}"),
            Self::Notified(kind) => write!(f, "refused with notification {kind}"),
            Self::ForeignChoice => f.write_str("gateway chose what was not offered"),
            Self::BadPublicValue => f.write_str("bad Diffie-Hellman value"),
            Self::WrongHash => f.write_str("gateway does not know the pre-shared key"),
            Self::Deleted => f.write_str("security associations deleted"),
            Self::TunnelClosed(result) => write!(f, "tunnel closed with result {result}"),
            Self::CallClosed(result) => write!(f, "call closed with result {result}"),
            Self::PasswordRefused => f.write_str("password refused"),
            Self::ServerUnproven => f.write_str("gateway did not prove itself"),
            Self::LinkClosed => f.write_str("link closed"),
        }
    }
}
