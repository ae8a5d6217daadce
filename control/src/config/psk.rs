//! Pre-shared keys: for whom they are, and whether they would withstand guessing.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Fewest characters of a pre-shared key.
pub const MIN_CHARACTERS: usize = 20;
/// Least estimated strength of a pre-shared key in bits.
pub const MIN_BITS: u32 = 80;

/// A secret text: wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes over `text`.
    pub const fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Peers that a pre-shared key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Peer {
    /// The peer at this address.
    Address(IpAddr),
    /// Peers whose address begins with these bits.
    Network(IpAddr, u8),
    /// Everybody else.
    Any,
}

impl FromStr for Peer {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "any" {
            return Ok(Self::Any);
        }
        let Some((address, bits)) = text.split_once('/') else {
            return text.parse().map(Self::Address).map_err(|_| ());
        };
        let address: IpAddr = address.parse().map_err(|_| ())?;
        let bits: u8 = bits.parse().map_err(|_| ())?;
        let (value, width) = match address {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
            IpAddr::V6(v6) => (v6.to_bits(), 128),
        };
        let host_bits = value.checked_shl(u32::from(bits)).unwrap_or(0);
        if bits > width || host_bits != 0 {
            return Err(());
        }
        Ok(Self::Network(address, bits))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Network(address, bits) => write!(f, "{address}/{bits}"),
            Self::Any => f.write_str("any"),
        }
    }
}

/// What a guesser faces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strength {
    /// Characters in the key.
    pub characters: usize,
    /// Estimated bits of entropy, from below.
    pub bits: u32,
}

impl Strength {
    /// Estimates `secret`: a character counts by the size of the classes in use, but only one bit when it repeats or continues
    /// (`aaa`, `abc`, `321`) what stands before it, or belongs to a repeated piece of three characters or more.
    pub fn of(secret: &str) -> Self {
        let characters: Vec<char> = secret.chars().collect();
        let class_bits = 31 - alphabet(&characters).max(1).leading_zeros();
        let fresh = (0..characters.len())
            .filter(|&at| !follows(&characters, at))
            .count();
        let cheap = characters.len() - fresh;
        let bits = fresh.saturating_mul(class_bits as usize) + cheap;
        Self {
            characters: characters.len(),
            bits: u32::try_from(bits).unwrap_or(u32::MAX),
        }
    }

    /// Whether a key of this strength is refused unless a reason is given.
    pub const fn is_weak(self) -> bool {
        self.characters < MIN_CHARACTERS || self.bits < MIN_BITS
    }
}

/// Number of characters in the classes that `characters` come from.
fn alphabet(characters: &[char]) -> u32 {
    let size_if = |is_in: fn(&char) -> bool, size| {
        if characters.iter().any(is_in) {
            size
        } else {
            0
        }
    };
    size_if(|c| c.is_lowercase(), 26)
        + size_if(|c| c.is_uppercase(), 26)
        + size_if(|c| c.is_numeric(), 10)
        + size_if(|c| !c.is_alphanumeric(), 32)
}

/// Whether the character at `at` could be told from those before it.
fn follows(characters: &[char], at: usize) -> bool {
    let code = |index: usize| i64::from(u32::from(characters[index]));
    let runs_on = at > 0 && (code(at) - code(at - 1)).abs() <= 1;
    let repeats = at >= 3 && {
        let piece = &characters[at - 2..=at];
        characters[..at].windows(3).any(|earlier| {
            earlier
                .iter()
                .map(|c| c.to_ascii_lowercase())
                .eq(piece.iter().map(|c| c.to_ascii_lowercase()))
        })
    };
    runs_on || repeats
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_keys_of_twenty_characters_are_strong() {
        for key in [
            "kT4vQz81mWcE0pLr9sXy",
            "e7b1940cd5f28a63b8d0",
            "G-w!7q.Lz)2xR_uB4/Nm",
        ] {
            assert!(
                !Strength::of(key).is_weak(),
                "{key} {:?}",
                Strength::of(key)
            );
        }
    }

    #[test]
    fn short_repeating_and_running_keys_are_weak() {
        for key in [
            "",
            "vpn",
            "kT4vQz81mWcE0pLr9sX",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "abcdefghijklmnopqrstuvwxyz",
            "12345678901234567890",
            "passwordpasswordpassword",
            "PasswordpasswordPASSWORD",
        ] {
            assert!(Strength::of(key).is_weak(), "{key} {:?}", Strength::of(key));
        }
    }

    #[test]
    fn peers_parse_and_print_back() {
        for text in [
            "any",
            "203.0.113.7",
            "203.0.113.0/24",
            "2001:db8::/32",
            "0.0.0.0/0",
        ] {
            assert_eq!(text.parse::<Peer>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "all",
            "203.0.113.7/24",
            "203.0.113.0/33",
            "203.0.113.0/x",
            "1.2.3",
        ] {
            assert!(text.parse::<Peer>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_narrowest_peer_sorts_first() {
        let mut peers = ["any", "10.0.0.0/8", "10.1.2.3"].map(|text| text.parse::<Peer>().unwrap());
        peers.sort();
        assert_eq!(
            peers.map(|peer| peer.to_string()),
            ["10.1.2.3", "10.0.0.0/8", "any"]
        );
    }

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::new(Zeroizing::new("canary".to_owned()));
        assert_eq!(format!("{secret:?}"), "[redacted]");
    }
}
