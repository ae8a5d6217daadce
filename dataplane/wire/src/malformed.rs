//! What is wrong with a header that does not parse.

use core::fmt;

use crate::reader::Truncated;

/// A header that contradicts itself or the bytes there are; each variant carries what was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The bytes end before the header does.
    Truncated,
    /// The version field names another protocol version.
    Version(u8),
    /// The header says it is shorter than its fixed part, or longer than the message; in bytes.
    HeaderLength(usize),
    /// The length field counts less than the header or more than there is, in bytes.
    Length(usize),
    /// More VLAN tags or extension headers than are followed.
    Nesting,
    /// Flags that the message may not carry, as they stand in the header.
    Flags(u16),
    /// The pad length counts more than there is.
    Padding(u8),
}

impl From<Truncated> for Malformed {
    fn from(Truncated: Truncated) -> Self {
        Self::Truncated
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("header is cut short"),
            Self::Version(version) => write!(f, "version {version} is not spoken here"),
            Self::HeaderLength(len) => write!(f, "header length {len} is impossible"),
            Self::Length(len) => write!(f, "length {len} does not fit the bytes"),
            Self::Nesting => f.write_str("too many headers in a row"),
            Self::Flags(flags) => write!(f, "flags {flags:04x} are not allowed"),
            Self::Padding(len) => write!(f, "{len} bytes of padding are not there"),
        }
    }
}

impl core::error::Error for Malformed {}
