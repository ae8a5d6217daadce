//! Why a message was not followed, by blame, and what the peer is told.

use std::fmt;

use culvert_wire::ike::{self, NotifyType};
use culvert_wire::writer::Overflow;
use serde::{Deserialize, Serialize};

use crate::crypto::cipher::CipherError;

/// Why a message was not followed. It changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Error {
    /// It does not parse.
    Malformed(Malformed),
    /// It parses and is forbidden where it came.
    Misbehaved(Misbehaved),
    /// It is legal and not ours.
    Unsupported(Unsupported),
    /// A bound of ours is reached.
    Exhausted(Exhausted),
}

/// What does not parse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Malformed {
    /// A length, count or reserved field.
    Syntax,
    /// A payload is missing, doubled, or not where it must be.
    Payloads,
    /// A nonce of fewer than 8 or more than 256 bytes (RFC 2409 §5).
    Nonce,
    /// A public value that is not of its group.
    PublicValue,
    /// An encrypted part that is not whole blocks.
    Blocks,
    /// What decrypts is no chain of payloads.
    Decrypted,
}

/// What is forbidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Misbehaved {
    /// A message of an exchange that does not await it.
    Unexpected,
    /// In clear where it must be encrypted, or the other way round.
    Protection,
    /// No such IKE SA.
    UnknownSa,
    /// A hash that does not verify.
    Hash,
    /// A message id used before.
    Replay,
    /// Message 5 does not decrypt to a message with the right hash: its sender does not know the key.
    NotProved,
    /// An SPI that another SA of the same set has.
    SpiInUse,
}

/// What is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unsupported {
    /// A major version other than 1.
    Version(u8),
    /// Aggressive mode: it gives away a hash to guess the key with.
    AggressiveMode,
    /// Another exchange than main mode, quick mode and informational.
    Exchange(u8),
    /// None of the proposals.
    Proposal,
    /// Selectors other than L2TP's.
    Selectors,
    /// No pre-shared key is for this peer.
    NoPsk,
}

/// What is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exhausted {
    /// IKE SAs.
    IkeSas,
    /// Diffie-Hellman jobs.
    Jobs,
    /// Quick modes of one IKE SA at once.
    Exchanges,
    /// Message ids over the life of an IKE SA, which then ends.
    MessageIds,
    /// SA set rows or inbound SPIs of the core.
    Rows,
    /// A message that does not fit its buffer.
    Message,
}

/// What a peer is told, if anything: in clear before it has proved itself, else under its IKE SA.
pub(super) const fn notify_of(error: Error) -> Option<NotifyType> {
    match error {
        Error::Unsupported(Unsupported::Version(_)) => Some(NotifyType::INVALID_MAJOR_VERSION),
        Error::Unsupported(Unsupported::AggressiveMode | Unsupported::Exchange(_)) => {
            Some(NotifyType::INVALID_EXCHANGE_TYPE)
        }
        Error::Unsupported(Unsupported::Proposal | Unsupported::NoPsk)
        | Error::Exhausted(Exhausted::Rows) => Some(NotifyType::NO_PROPOSAL_CHOSEN),
        Error::Unsupported(Unsupported::Selectors) => Some(NotifyType::INVALID_ID_INFORMATION),
        Error::Malformed(Malformed::PublicValue) => Some(NotifyType::INVALID_KEY_INFORMATION),
        Error::Malformed(_) | Error::Misbehaved(_) | Error::Exhausted(_) => None,
    }
}

impl From<ike::Malformed> for Error {
    fn from(_: ike::Malformed) -> Self {
        Self::Malformed(Malformed::Syntax)
    }
}

impl From<Malformed> for Error {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

impl From<Misbehaved> for Error {
    fn from(error: Misbehaved) -> Self {
        Self::Misbehaved(error)
    }
}

impl From<Unsupported> for Error {
    fn from(error: Unsupported) -> Self {
        Self::Unsupported(error)
    }
}

impl From<Exhausted> for Error {
    fn from(error: Exhausted) -> Self {
        Self::Exhausted(error)
    }
}

impl From<Overflow> for Error {
    fn from(_: Overflow) -> Self {
        Self::Exhausted(Exhausted::Message)
    }
}

impl From<CipherError> for Error {
    fn from(_: CipherError) -> Self {
        Self::Malformed(Malformed::Blocks)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => error.fmt(f),
            Self::Misbehaved(error) => error.fmt(f),
            Self::Unsupported(error) => error.fmt(f),
            Self::Exhausted(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "a length, count or reserved field is wrong",
            Self::Payloads => "a payload is missing, doubled or out of place",
            Self::Nonce => "a nonce is too short or too long",
            Self::PublicValue => "a public value is not of its group",
            Self::Blocks => "the encrypted part is not whole blocks",
            Self::Decrypted => "what decrypts is no message",
        })
    }
}

impl fmt::Display for Misbehaved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unexpected => "the exchange awaits another message",
            Self::Protection => "in clear where it must be encrypted, or the other way round",
            Self::UnknownSa => "no such ike sa",
            Self::Hash => "a hash does not verify",
            Self::Replay => "the message id was used before",
            Self::NotProved => "the peer does not know the pre-shared key",
            Self::SpiInUse => "the spi is in use",
        })
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(major) => write!(f, "ike version {major} is not spoken"),
            Self::AggressiveMode => f.write_str("aggressive mode is refused"),
            Self::Exchange(number) => write!(f, "exchange type {number} is not spoken"),
            Self::Proposal => f.write_str("no proposal chosen"),
            Self::Selectors => f.write_str("selectors are not l2tp's"),
            Self::NoPsk => f.write_str("no pre-shared key is for this address"),
        }
    }
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IkeSas => "too many ike sas",
            Self::Jobs => "too many key exchanges at once",
            Self::Exchanges => "too many quick modes at once under one ike sa",
            Self::MessageIds => "too many exchanges over the life of one ike sa",
            Self::Rows => "no free row on the core",
            Self::Message => "message does not fit",
        })
    }
}
