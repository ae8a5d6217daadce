//! What the responder is told: keys, gates, limits. Checked by the caller, who reads it from a file.

use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::crypto::cipher::Cipher;
use crate::crypto::dh::Group;
use crate::rows::KeyMaterial;

/// The responder's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Pre-shared keys; the narrowest that fits a peer's outer address is its key.
    pub psks: Vec<Psk>,
    /// Legacy algorithms by local address; an address without an entry of its own goes by the entry with `None`.
    pub gates: Vec<Gate>,
    /// Rows by packet core: index 0 is core 0.
    pub cores: Vec<CoreRows>,
    /// Bounds.
    pub limits: Limits,
}

/// A pre-shared key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Psk {
    /// Names the credential: SA sets of different credentials are never joined.
    pub credential: CredentialId,
    /// Whom it is for.
    pub peers: Peers,
    /// The key.
    pub key: KeyMaterial,
}

/// Names a credential of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CredentialId(pub u32);

/// Outer addresses of peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Peers {
    /// Every address.
    Any,
    /// Addresses that share the first `bits` bits with `address`; all bits for a single one.
    Network {
        /// An address of the network.
        address: IpAddr,
        /// Length of the prefix: 0 to 32, or 0 to 128.
        bits: u8,
    },
}

/// What is allowed beyond the strict default on one local address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// The address; `None` for all that have no entry of their own.
    pub local: Option<IpAddr>,
    /// The 1,024-bit MODP group.
    pub modp_1024: bool,
    /// The 1,536-bit MODP group.
    pub modp_1536: bool,
    /// Triple DES in phase 1.
    pub triple_des: bool,
}

/// Rows that the responder may use on one core.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoreRows {
    /// Shards of inbound SAs that the core owns.
    pub shards: Range<u16>,
    /// SA set rows.
    pub sets: u32,
}

/// Bounds of memory and work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// IKE SAs of peers that have not proved themselves, 2 KiB each at most, 3 with MODP-3072 and MODP-4096.
    pub half_open: usize,
    /// The same from one address; 50 log-ins at once from behind one NAT are normal.
    pub half_open_per_source: usize,
    /// How long a peer may take to prove itself; 30 s at most.
    pub half_open_for: Duration,
    /// IKE SAs in all.
    pub ike_sas: usize,
    /// Diffie-Hellman jobs given out and not yet done.
    pub jobs: usize,
    /// Refusals sent in clear per second.
    pub refusals_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            half_open: 2_000,
            half_open_per_source: 200,
            half_open_for: Duration::from_secs(30),
            ike_sas: 50_000,
            jobs: 512,
            refusals_per_second: 100,
        }
    }
}

impl Config {
    /// The key for a peer at `remote`.
    pub(super) fn psk_for(&self, remote: IpAddr) -> Option<&Psk> {
        let fitting = self.psks.iter().filter(|psk| psk.peers.contains(remote));
        // The last of equals wins in max_by_key; configurations have no equals.
        fitting.max_by_key(|psk| psk.peers.narrowness())
    }

    /// The key of a credential.
    pub(super) fn psk(&self, credential: CredentialId) -> Option<&Psk> {
        self.psks.iter().find(|psk| psk.credential == credential)
    }

    /// What is allowed on a local address.
    pub(super) fn gate(&self, local: IpAddr) -> Gate {
        let own = self.gates.iter().find(|gate| gate.local == Some(local));
        let common = || self.gates.iter().find(|gate| gate.local.is_none());
        own.or_else(common).copied().unwrap_or_default()
    }
}

impl Gate {
    /// Whether `group` may be used.
    pub(super) const fn allows_group(&self, group: Group) -> bool {
        match group {
            Group::Modp1024 => self.modp_1024,
            Group::Modp1536 => self.modp_1536,
            Group::Modp2048 | Group::Modp3072 | Group::Modp4096 | Group::Ecp256 | Group::Ecp384 => {
                true
            }
        }
    }

    /// Whether `cipher` may be used.
    pub(super) const fn allows_cipher(&self, cipher: Cipher) -> bool {
        match cipher {
            Cipher::TripleDes => self.triple_des,
            Cipher::Aes128 | Cipher::Aes192 | Cipher::Aes256 => true,
        }
    }
}

impl Peers {
    /// Whether `remote` is one of them.
    pub fn contains(&self, remote: IpAddr) -> bool {
        match (*self, remote) {
            (Self::Any, _) => true,
            (
                Self::Network {
                    address: IpAddr::V4(network),
                    bits,
                },
                IpAddr::V4(remote),
            ) => {
                let differing = u32::from(network) ^ u32::from(remote);
                differing.leading_zeros() >= u32::from(bits.min(32))
            }
            (
                Self::Network {
                    address: IpAddr::V6(network),
                    bits,
                },
                IpAddr::V6(remote),
            ) => {
                let differing = u128::from(network) ^ u128::from(remote);
                differing.leading_zeros() >= u32::from(bits.min(128))
            }
            (Self::Network { .. }, _) => false,
        }
    }

    /// Orders from wide to narrow.
    const fn narrowness(&self) -> u16 {
        match *self {
            Self::Any => 0,
            Self::Network { bits, .. } => bits as u16 + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    fn psk(credential: u32, peers: Peers) -> Psk {
        let key = KeyMaterial::new(Zeroizing::new(vec![7; 20]));
        Psk {
            credential: CredentialId(credential),
            peers,
            key,
        }
    }

    fn network(text: &str, bits: u8) -> Peers {
        Peers::Network {
            address: text.parse().unwrap(),
            bits,
        }
    }

    #[test]
    fn the_narrowest_key_that_fits_is_the_peers() {
        let config = Config {
            psks: vec![
                psk(0, Peers::Any),
                psk(1, network("192.0.2.0", 24)),
                psk(2, network("192.0.2.7", 32)),
                psk(3, network("2001:db8::", 32)),
            ],
            gates: Vec::new(),
            cores: Vec::new(),
            limits: Limits::default(),
        };
        for (remote, credential) in [
            ("198.51.100.1", 0),
            ("192.0.2.200", 1),
            ("192.0.2.7", 2),
            ("2001:db8::1", 3),
            ("2001:db9::1", 0),
        ] {
            let found = config.psk_for(remote.parse().unwrap()).unwrap();
            assert_eq!(found.credential, CredentialId(credential), "{remote}");
        }
    }

    #[test]
    fn gates_are_closed_unless_opened_for_the_address() {
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let other: IpAddr = "192.0.2.2".parse().unwrap();
        let gate = Gate {
            local: Some(address),
            modp_1024: true,
            ..Gate::default()
        };
        let config = Config {
            psks: Vec::new(),
            gates: vec![gate],
            cores: Vec::new(),
            limits: Limits::default(),
        };
        assert!(config.gate(address).allows_group(Group::Modp1024));
        assert!(!config.gate(address).allows_cipher(Cipher::TripleDes));
        assert!(!config.gate(other).allows_group(Group::Modp1024));
        assert!(config.gate(other).allows_group(Group::Ecp256));
    }
}
