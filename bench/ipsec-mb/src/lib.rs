//! Intel's ipsec-mb as a peer in the benchmarks: [`Manager::new`] is `None` where it was not installed when this was built.
//!
//! AES-GCM goes through its direct interface, AES-CBC with HMAC through its synchronous bursts. All that knows the library's structures is
//! `shim.c`; what must hold for its pointers is checked here, once per packet:
//!
//! 1. a manager lives as long as [`Manager`];
//! 2. key `n` is `size` bytes, expanded by the same manager's library for the same suite and direction;
//! 3. a packet is header, IV, text and ICV without a gap, and the text that it is read from or written to is as long as its own.

#[cfg(not(ipsec_mb))]
mod absent;
#[cfg(ipsec_mb)]
mod present;

#[cfg(not(ipsec_mb))]
pub use absent::{Keys, Manager};
#[cfg(ipsec_mb)]
pub use present::{Keys, Manager};

/// Most packets of one burst.
pub const BURST: usize = 64;
/// Bytes of SPI and sequence number.
pub const HEADER_LEN: usize = 8;

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suite {
    /// Bytes of the AES key: 16, 24 or 32.
    pub cipher_key_len: usize,
    /// The hash of the HMAC; `None` for AES-GCM.
    pub hash: Option<Hash>,
}

/// A hash, with the ICV that ESP cuts from its HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// HMAC-SHA1-96.
    Sha1,
    /// HMAC-SHA2-256-128.
    Sha256,
    /// HMAC-SHA2-384-192.
    Sha384,
    /// HMAC-SHA2-512-256.
    Sha512,
}

/// What is done with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Encrypt, then compute the ICV.
    Seal,
    /// Verify the ICV, then decrypt.
    Open,
}

/// One packet to seal or open.
#[derive(Debug)]
pub struct Job<'a> {
    /// Which key.
    pub key: usize,
    /// The IV as in the packet: 8 bytes for AES-GCM, 16 for AES-CBC.
    pub iv: [u8; 16],
    /// Seal: plaintext. Open: header, IV, ciphertext, ICV.
    pub source: &'a [u8],
    /// Seal: header, and room for IV, ciphertext and ICV. Open: room for the plaintext.
    pub destination: &'a mut [u8],
}

impl Suite {
    /// Bytes of all key material: AES key, then salt or integrity key.
    pub const fn key_len(self) -> usize {
        self.cipher_key_len
            + match self.hash {
                None => 4,
                Some(Hash::Sha1) => 20,
                Some(Hash::Sha256) => 32,
                Some(Hash::Sha384) => 48,
                Some(Hash::Sha512) => 64,
            }
    }

    /// Bytes of IV in a packet.
    pub const fn iv_len(self) -> usize {
        if self.hash.is_none() { 8 } else { 16 }
    }

    /// Bytes of ICV in a packet.
    pub const fn icv_len(self) -> usize {
        match self.hash {
            Some(Hash::Sha1) => 12,
            None | Some(Hash::Sha256) => 16,
            Some(Hash::Sha384) => 24,
            Some(Hash::Sha512) => 32,
        }
    }
}
