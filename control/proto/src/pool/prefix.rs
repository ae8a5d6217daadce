//! An IPv4 prefix: `10.99.1.0/24`.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An IPv4 prefix whose host bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix {
    network: Ipv4Addr,
    len: u8,
}

/// Why a text is no prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefixError {
    /// It is not an address, a slash and a number from 0 to 32.
    Syntax,
    /// Bits after the prefix are set; the prefix that is meant follows.
    HostBits(Prefix),
}

impl Prefix {
    /// A prefix of `len` bits, 0 to 32.
    ///
    /// # Errors
    /// [`PrefixError`] if it is longer or bits after it are set.
    pub fn new(network: Ipv4Addr, len: u8) -> Result<Self, PrefixError> {
        if len > 32 {
            return Err(PrefixError::Syntax);
        }
        let masked = Self {
            network: Ipv4Addr::from_bits(network.to_bits() & mask(len)),
            len,
        };
        match masked.network == network {
            true => Ok(masked),
            false => Err(PrefixError::HostBits(masked)),
        }
    }

    /// Its first address.
    pub const fn network(self) -> Ipv4Addr {
        self.network
    }

    /// Its length in bits.
    pub const fn len(self) -> u8 {
        self.len
    }

    /// Whether it holds every address.
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Whether it holds the address.
    pub const fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.len) == self.network.to_bits()
    }

    /// Whether both hold some address.
    pub const fn overlaps(self, other: Self) -> bool {
        self.contains(other.network) || other.contains(self.network)
    }

    /// First and last address without network and broadcast; both belong to hosts in a prefix of 31 or 32 bits (RFC 3021).
    pub fn hosts(self) -> (Ipv4Addr, Ipv4Addr) {
        let first = self.network.to_bits();
        let last = first | !mask(self.len);
        let (first, last) = match self.len {
            31 | 32 => (first, last),
            _ => (first + 1, last - 1),
        };
        (Ipv4Addr::from_bits(first), Ipv4Addr::from_bits(last))
    }
}

const fn mask(len: u8) -> u32 {
    match len {
        0 => 0,
        _ => u32::MAX << (32 - len),
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (network, len) = text.split_once('/').ok_or(PrefixError::Syntax)?;
        let network = network.parse().map_err(|_| PrefixError::Syntax)?;
        Self::new(network, len.parse().map_err(|_| PrefixError::Syntax)?)
    }
}

impl TryFrom<String> for Prefix {
    type Error = PrefixError;

    fn try_from(text: String) -> Result<Self, PrefixError> {
        text.parse()
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.to_string()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.len)
    }
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax => f.write_str("expected a prefix such as 10.99.1.0/24"),
            Self::HostBits(meant) => {
                write!(f, "bits after the prefix are set: did you mean {meant}?")
            }
        }
    }
}

impl std::error::Error for PrefixError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_round_trip() {
        for text in ["10.99.1.0/24", "0.0.0.0/0", "192.0.2.1/32"] {
            assert_eq!(text.parse::<Prefix>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn wrong_texts_are_refused() {
        for text in [
            "",
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0/8",
            "10.0.0.0/-1",
            "10.0.0.0/8 ",
        ] {
            assert_eq!(text.parse::<Prefix>(), Err(PrefixError::Syntax), "{text}");
        }
        let meant = "10.99.1.0/24".parse().unwrap();
        assert_eq!(
            "10.99.1.7/24".parse::<Prefix>(),
            Err(PrefixError::HostBits(meant))
        );
    }

    #[test]
    fn hosts_leave_out_network_and_broadcast() {
        let hosts = |text: &str| {
            let (first, last) = text.parse::<Prefix>().unwrap().hosts();
            format!("{first} {last}")
        };
        assert_eq!(hosts("10.99.1.0/24"), "10.99.1.1 10.99.1.254");
        assert_eq!(hosts("10.99.1.4/30"), "10.99.1.5 10.99.1.6");
        assert_eq!(hosts("10.99.1.4/31"), "10.99.1.4 10.99.1.5");
        assert_eq!(hosts("10.99.1.4/32"), "10.99.1.4 10.99.1.4");
        assert_eq!(hosts("0.0.0.0/0"), "0.0.0.1 255.255.255.254");
    }
}
