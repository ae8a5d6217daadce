//! How a command fails: whose fault it is decides the exit code.

use std::fmt;
use std::process::ExitCode;

/// Why a command ends without having done its work.
#[derive(Debug)]
pub enum Failure {
    /// The caller's to mend: configuration, command line, privilege, or what this machine lacks. Exit code 2.
    Usage(String),
    /// Ours or the system's: exit code 1.
    Internal(String),
}

impl Failure {
    /// The process's exit code: 2 for bad use, 1 for the rest.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::Internal(_) => ExitCode::from(1),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Internal(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Failure {}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<rustix::io::Errno> for Failure {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Internal(error.to_string())
    }
}
