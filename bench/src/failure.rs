//! Why a run of the bench ends early.

use std::{fmt, io};

/// What went wrong, with what to do about it where we know.
#[derive(Debug)]
pub enum Failure {
    /// A program that we started failed; its words.
    Command(String, String),
    /// The system refused something.
    Io(String, io::Error),
    /// A device and why its port could not be opened.
    Xdp(String, String),
    /// The gateway ended or did not get ready.
    Gateway(String),
    /// A contestant of a measurement gave another result than the reference.
    Wrong(String),
    /// The user asked to stop.
    Interrupted,
}

impl Failure {
    /// Says what was being done when `error` came.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        |error| Self::Io(what.into(), error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(command, words) => write!(f, "{command}: {}", words.trim_end()),
            Self::Io(what, error) => write!(f, "{what}: {error}"),
            Self::Xdp(device, words) => write!(f, "{device}: {words}"),
            Self::Gateway(words) => write!(f, "gateway: {words}"),
            Self::Wrong(contestant) => write!(f, "{contestant}: wrong result"),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for Failure {}
