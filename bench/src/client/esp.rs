//! ESP in transport mode (RFC 4303) with AES-GCM (RFC 4106) or AES-CBC and HMAC (RFC 3602, RFC 2404, RFC 4868).
//!
//! ```text
//! | SPI 4 | sequence number 4 | IV 8 or 16 | payload … | padding | pad length 1 | next header 1 | ICV 12 or 16 |
//! |------------- header ---------------|--------------------- encrypted ---------------------|
//! ```

use std::ops::Range;

use aes::cipher::{BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit};
use aes::{Aes128, Aes256, Block};
use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::ike::keys::{BLOCK, Cipher};

/// Cipher and integrity algorithm of an SA pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// AES-GCM with a 16-byte ICV; the key is followed by a 4-byte salt.
    Gcm(Cipher),
    /// AES-CBC; the key is followed by that of the keyed hash.
    Cbc(Cipher, Integrity),
}

/// Keyed hash of an SA pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Integrity {
    /// HMAC-SHA1-96: 20-byte key.
    Sha1,
    /// HMAC-SHA2-256-128: 32-byte key.
    Sha256,
}

/// Why a packet is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too short, not whole blocks, or its padding does not fit.
    Malformed,
    /// Seen before, or left of the window.
    Replayed,
    /// The ICV is wrong.
    Forged,
}

/// Why a packet is not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsealed {
    /// All sequence numbers are used.
    Exhausted,
    /// The buffer has no room for trailer and ICV.
    NoRoom,
}

/// Payload of an opened packet and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Where it lies in the packet.
    pub payload: Range<usize>,
    /// Protocol number.
    pub next_header: u8,
}

const SPI_AND_SEQUENCE: usize = 8;
const TRAILER: usize = 2;
/// Largest ICV.
const MAX_ICV: usize = 16;

impl Suite {
    /// Bytes of key material for one direction.
    pub const fn key_len(self) -> usize {
        match self {
            Self::Gcm(cipher) => cipher.key_len() + 4,
            Self::Cbc(cipher, Integrity::Sha1) => cipher.key_len() + 20,
            Self::Cbc(cipher, Integrity::Sha256) => cipher.key_len() + 32,
        }
    }

    /// Where the payload begins: after SPI, sequence number and IV.
    pub const fn payload_at(self) -> usize {
        SPI_AND_SEQUENCE + self.iv_len()
    }

    /// Most bytes that sealing adds behind the payload.
    pub const fn max_tail(self) -> usize {
        self.alignment() - 1 + TRAILER + self.icv_len()
    }

    const fn iv_len(self) -> usize {
        match self {
            Self::Gcm(_) => 8,
            Self::Cbc(..) => BLOCK,
        }
    }

    const fn icv_len(self) -> usize {
        match self {
            Self::Gcm(_) | Self::Cbc(_, Integrity::Sha256) => 16,
            Self::Cbc(_, Integrity::Sha1) => 12,
        }
    }

    const fn alignment(self) -> usize {
        match self {
            Self::Gcm(_) => 4,
            Self::Cbc(..) => BLOCK,
        }
    }
}

/// The SA of packets to the gateway.
#[derive(Debug)]
pub struct Outbound {
    spi: u32,
    engine: Engine,
    sequence: u32,
}

impl Outbound {
    /// Makes it from the gateway's SPI and [`Suite::key_len`] bytes of key material.
    pub fn new(spi: u32, suite: Suite, keys: &[u8]) -> Self {
        Self {
            spi,
            engine: Engine::new(suite, keys),
            sequence: 0,
        }
    }

    /// The gateway's SPI.
    pub const fn spi(&self) -> u32 {
        self.spi
    }

    /// The suite.
    pub const fn suite(&self) -> Suite {
        self.engine.suite
    }

    /// Seals the payload of `payload_len` bytes at [`Suite::payload_at`] of `packet` in place; returns the packet's length.
    ///
    /// # Errors
    /// [`Unsealed`]; then `packet` is as it was.
    pub fn seal(
        &mut self,
        packet: &mut [u8],
        payload_len: usize,
        next_header: u8,
    ) -> Result<usize, Unsealed> {
        let suite = self.engine.suite;
        let unpadded = payload_len + TRAILER;
        let padding = unpadded.next_multiple_of(suite.alignment()) - unpadded;
        let end = suite.payload_at() + unpadded + padding;
        let packet = packet
            .get_mut(..end + suite.icv_len())
            .ok_or(Unsealed::NoRoom)?;
        self.sequence = self.sequence.checked_add(1).ok_or(Unsealed::Exhausted)?;
        pad(
            &mut packet[suite.payload_at() + payload_len..end],
            next_header,
        );
        packet[..4].copy_from_slice(&self.spi.to_be_bytes());
        packet[4..8].copy_from_slice(&self.sequence.to_be_bytes());
        self.engine.seal(packet, end, self.sequence);
        Ok(packet.len())
    }
}

/// Padding 1, 2, 3, …, its length, and the next header (RFC 4303 §2.4).
fn pad(tail: &mut [u8], next_header: u8) {
    for (byte, value) in tail.iter_mut().zip(1..) {
        *byte = value;
    }
    if let Some([len, next]) = tail.last_chunk_mut::<TRAILER>() {
        // Counting on through the padding has put one more than its length here.
        *len -= 1;
        *next = next_header;
    }
}

/// The SA of packets from the gateway.
#[derive(Debug)]
pub struct Inbound {
    spi: u32,
    engine: Engine,
    window: Window,
}

impl Inbound {
    /// Makes it from our SPI and [`Suite::key_len`] bytes of key material.
    pub fn new(spi: u32, suite: Suite, keys: &[u8]) -> Self {
        Self {
            spi,
            engine: Engine::new(suite, keys),
            window: Window::default(),
        }
    }

    /// Our SPI.
    pub const fn spi(&self) -> u32 {
        self.spi
    }

    /// Opens `packet`, from its SPI to its ICV, in place.
    ///
    /// # Errors
    /// [`Refused`]; then the packet's bytes are unspecified and the window is as it was.
    pub fn open(&mut self, packet: &mut [u8]) -> Result<Opened, Refused> {
        let suite = self.engine.suite;
        let end = packet
            .len()
            .checked_sub(suite.icv_len())
            .ok_or(Refused::Malformed)?;
        let encrypted = end
            .checked_sub(suite.payload_at())
            .ok_or(Refused::Malformed)?;
        if encrypted < TRAILER || !encrypted.is_multiple_of(suite.alignment()) {
            return Err(Refused::Malformed);
        }
        let sequence = packet[4..8]
            .first_chunk()
            .copied()
            .map_or(0, u32::from_be_bytes);
        self.window.check(sequence)?;
        self.engine.open(packet, end)?;
        self.window.mark(sequence);
        let padding = usize::from(packet[end - 2]) + TRAILER;
        let len = encrypted.checked_sub(padding).ok_or(Refused::Malformed)?;
        let payload = suite.payload_at()..suite.payload_at() + len;
        Ok(Opened {
            payload,
            next_header: packet[end - 1],
        })
    }
}

/// The SPI of an ESP packet.
pub fn spi(packet: &[u8]) -> Option<u32> {
    packet.first_chunk().copied().map(u32::from_be_bytes)
}

/// Which of the last 1,024 sequence numbers have come (RFC 4303 §3.4.3).
#[derive(Debug, Default)]
struct Window {
    last: u32,
    seen: [u64; Self::WORDS],
}

impl Window {
    const WORDS: usize = 16;
    const BITS: u32 = 64 * 16;

    fn check(&self, sequence: u32) -> Result<(), Refused> {
        let fresh = sequence > self.last
            || (self.last - sequence < Self::BITS && sequence != 0 && !self.bit(sequence));
        if fresh {
            Ok(())
        } else {
            Err(Refused::Replayed)
        }
    }

    fn mark(&mut self, sequence: u32) {
        let passed = sequence.saturating_sub(self.last).min(Self::BITS);
        for skipped in 0..passed {
            let (word, mask) = Self::place(sequence - skipped);
            self.seen[word] &= !mask;
        }
        self.last = self.last.max(sequence);
        let (word, mask) = Self::place(sequence);
        self.seen[word] |= mask;
    }

    fn bit(&self, sequence: u32) -> bool {
        let (word, mask) = Self::place(sequence);
        self.seen[word] & mask != 0
    }

    const fn place(sequence: u32) -> (usize, u64) {
        let bit = sequence % Self::BITS;
        ((bit / 64) as usize, 1 << (bit % 64))
    }
}

/// Expanded keys of one direction.
struct Engine {
    suite: Suite,
    keys: Keys,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} [redacted]", self.suite)
    }
}

enum Keys {
    Gcm128(Box<(Aes128Gcm, [u8; 4])>),
    Gcm256(Box<(Aes256Gcm, [u8; 4])>),
    Cbc128(Box<(Aes128, Signer)>),
    Cbc256(Box<(Aes256, Signer)>),
}

const INVARIANT: &str = "keys are cut to the suite's lengths";

impl Engine {
    fn new(suite: Suite, keys: &[u8]) -> Self {
        assert_eq!(
            keys.len(),
            suite.key_len(),
            "key material is of the suite's length"
        );
        let (Suite::Gcm(cipher) | Suite::Cbc(cipher, _)) = suite;
        let (key, rest) = keys.split_at(cipher.key_len());
        let salt = || *rest.first_chunk().expect(INVARIANT);
        let keys = match suite {
            Suite::Gcm(Cipher::Aes128) => Keys::Gcm128(Box::new((cipher_of(key), salt()))),
            Suite::Gcm(Cipher::Aes256) => Keys::Gcm256(Box::new((cipher_of(key), salt()))),
            Suite::Cbc(Cipher::Aes128, integrity) => {
                Keys::Cbc128(Box::new((cipher_of(key), Signer::new(integrity, rest))))
            }
            Suite::Cbc(Cipher::Aes256, integrity) => {
                Keys::Cbc256(Box::new((cipher_of(key), Signer::new(integrity, rest))))
            }
        };
        Self { suite, keys }
    }

    fn seal(&self, packet: &mut [u8], end: usize, sequence: u32) {
        match &self.keys {
            Keys::Gcm128(keys) => seal_gcm(&keys.0, keys.1, packet, end, sequence),
            Keys::Gcm256(keys) => seal_gcm(&keys.0, keys.1, packet, end, sequence),
            Keys::Cbc128(keys) => seal_cbc(&keys.0, &keys.1, packet, end, sequence),
            Keys::Cbc256(keys) => seal_cbc(&keys.0, &keys.1, packet, end, sequence),
        }
    }

    fn open(&self, packet: &mut [u8], end: usize) -> Result<(), Refused> {
        match &self.keys {
            Keys::Gcm128(keys) => open_gcm(&keys.0, keys.1, packet, end),
            Keys::Gcm256(keys) => open_gcm(&keys.0, keys.1, packet, end),
            Keys::Cbc128(keys) => open_cbc(&keys.0, &keys.1, packet, end),
            Keys::Cbc256(keys) => open_cbc(&keys.0, &keys.1, packet, end),
        }
    }
}

fn cipher_of<C: KeyInit>(key: &[u8]) -> C {
    C::new_from_slice(key).expect(INVARIANT)
}

/// A GCM engine: 12-byte nonces and 16-byte tags.
trait Gcm: AeadInOut<NonceSize = aes::cipher::consts::U12, TagSize = aes::cipher::consts::U16> {}
impl Gcm for Aes128Gcm {}
impl Gcm for Aes256Gcm {}

/// RFC 4106 §4: the nonce is salt and IV.
fn nonce(salt: [u8; 4], iv: [u8; 8]) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&salt);
    nonce[4..].copy_from_slice(&iv);
    nonce
}

fn seal_gcm(cipher: &impl Gcm, salt: [u8; 4], packet: &mut [u8], end: usize, sequence: u32) {
    let iv = u64::from(sequence).to_be_bytes();
    let (header, rest) = packet.split_at_mut(SPI_AND_SEQUENCE);
    let (iv_field, rest) = rest.split_at_mut(iv.len());
    let (text, icv) = rest.split_at_mut(end - SPI_AND_SEQUENCE - iv.len());
    iv_field.copy_from_slice(&iv);
    let nonce = nonce(salt, iv).into();
    let tag = cipher.encrypt_inout_detached(&nonce, header, text.into());
    icv.copy_from_slice(&tag.expect("a packet is shorter than the limit of GCM"));
}

fn open_gcm(
    cipher: &impl Gcm,
    salt: [u8; 4],
    packet: &mut [u8],
    end: usize,
) -> Result<(), Refused> {
    let (text, icv) = packet.split_at_mut(end);
    let (header, rest) = text.split_at_mut(SPI_AND_SEQUENCE);
    let (iv, text) = rest
        .split_first_chunk_mut::<8>()
        .ok_or(Refused::Malformed)?;
    let tag: [u8; MAX_ICV] = *icv.first_chunk().ok_or(Refused::Malformed)?;
    cipher
        .decrypt_inout_detached(&nonce(salt, *iv).into(), header, text.into(), &tag.into())
        .map_err(|_| Refused::Forged)
}

/// A cipher of 16-byte blocks in both directions.
trait BlockCipher:
    BlockCipherEncrypt<BlockSize = aes::cipher::consts::U16>
    + aes::cipher::BlockCipherDecrypt<BlockSize = aes::cipher::consts::U16>
{
}
impl BlockCipher for Aes128 {}
impl BlockCipher for Aes256 {}

fn seal_cbc(
    cipher: &impl BlockCipher,
    signer: &Signer,
    packet: &mut [u8],
    end: usize,
    sequence: u32,
) {
    // An IV must be unpredictable: a counter under the same key (NIST SP 800-38A, Appendix C).
    let mut iv = Block::default();
    iv[12..].copy_from_slice(&sequence.to_be_bytes());
    cipher.encrypt_block(&mut iv);
    packet[SPI_AND_SEQUENCE..SPI_AND_SEQUENCE + BLOCK].copy_from_slice(&iv);
    let (text, icv) = packet.split_at_mut(end);
    let (blocks, _) = Block::slice_as_chunks_mut(&mut text[SPI_AND_SEQUENCE + BLOCK..]);
    cbc::Encryptor::inner_iv_init(cipher, &iv).encrypt_blocks(blocks);
    let mac = signer.sign(text);
    icv.copy_from_slice(&mac[..icv.len()]);
}

fn open_cbc(
    cipher: &impl BlockCipher,
    signer: &Signer,
    packet: &mut [u8],
    end: usize,
) -> Result<(), Refused> {
    let (text, icv) = packet.split_at_mut(end);
    let genuine = signer.sign(text)[..icv.len()].ct_eq(icv);
    if !bool::from(genuine) {
        return Err(Refused::Forged);
    }
    let (iv, text) = text[SPI_AND_SEQUENCE..].split_at_mut(BLOCK);
    let iv = Block::try_from(&*iv).map_err(|_| Refused::Malformed)?;
    let (blocks, _) = Block::slice_as_chunks_mut(text);
    cbc::Decryptor::inner_iv_init(cipher, &iv).decrypt_blocks(blocks);
    Ok(())
}

enum Signer {
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
}

impl Signer {
    fn new(integrity: Integrity, key: &[u8]) -> Self {
        match integrity {
            Integrity::Sha1 => Self::Sha1(Hmac::new_from_slice(key).expect(INVARIANT)),
            Integrity::Sha256 => Self::Sha256(Hmac::new_from_slice(key).expect(INVARIANT)),
        }
    }

    /// The first 16 bytes of the keyed hash.
    fn sign(&self, text: &[u8]) -> [u8; MAX_ICV] {
        let mut mac = [0; MAX_ICV];
        match self {
            Self::Sha1(key) => {
                let full = key.clone().chain_update(text).finalize().into_bytes();
                mac.copy_from_slice(&full[..MAX_ICV]);
            }
            Self::Sha256(key) => {
                let full = key.clone().chain_update(text).finalize().into_bytes();
                mac.copy_from_slice(&full[..MAX_ICV]);
            }
        }
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUITES: [Suite; 6] = [
        Suite::Gcm(Cipher::Aes128),
        Suite::Gcm(Cipher::Aes256),
        Suite::Cbc(Cipher::Aes128, Integrity::Sha1),
        Suite::Cbc(Cipher::Aes128, Integrity::Sha256),
        Suite::Cbc(Cipher::Aes256, Integrity::Sha1),
        Suite::Cbc(Cipher::Aes256, Integrity::Sha256),
    ];

    fn pair(suite: Suite) -> (Outbound, Inbound) {
        let keys: Vec<u8> = (0..suite.key_len())
            .map(|i| u8::try_from(i).unwrap())
            .collect();
        (
            Outbound::new(0x1234, suite, &keys),
            Inbound::new(0x1234, suite, &keys),
        )
    }

    fn seal(sa: &mut Outbound, payload: &[u8]) -> Vec<u8> {
        let at = sa.suite().payload_at();
        let mut packet = vec![0; at + payload.len() + sa.suite().max_tail()];
        packet[at..at + payload.len()].copy_from_slice(payload);
        let len = sa.seal(&mut packet, payload.len(), 17).unwrap();
        packet.truncate(len);
        packet
    }

    #[test]
    fn every_length_opens_to_what_was_sealed() {
        for suite in SUITES {
            let (mut out, mut inbound) = pair(suite);
            for len in 0..80 {
                let payload = vec![0xA5; len];
                let mut packet = seal(&mut out, &payload);
                let opened = inbound.open(&mut packet).unwrap();
                assert_eq!(packet[opened.payload], payload);
                assert_eq!(opened.next_header, 17);
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_forged_and_leaves_the_window_alone() {
        for suite in SUITES {
            let (mut out, mut inbound) = pair(suite);
            let good = seal(&mut out, b"some payload");
            for at in 4..good.len() {
                let mut bad = good.clone();
                bad[at] ^= 1;
                // Flipping the sequence number to zero is a replay, the rest is a forgery.
                assert!(matches!(
                    inbound.open(&mut bad),
                    Err(Refused::Forged | Refused::Replayed)
                ));
            }
            assert!(inbound.open(&mut good.clone()).is_ok());
        }
    }

    #[test]
    fn a_packet_opens_once_in_any_order_within_the_window() {
        let (mut out, mut inbound) = pair(SUITES[0]);
        let packets: Vec<_> = (0..3000_u32)
            .map(|i| seal(&mut out, &i.to_be_bytes()))
            .collect();
        assert!(inbound.open(&mut packets[2000].clone()).is_ok());
        assert_eq!(
            inbound.open(&mut packets[2000].clone()),
            Err(Refused::Replayed)
        );
        assert!(inbound.open(&mut packets[1000].clone()).is_ok());
        assert!(inbound.open(&mut packets[977].clone()).is_ok());
        assert_eq!(
            inbound.open(&mut packets[976].clone()),
            Err(Refused::Replayed)
        );
        assert_eq!(
            inbound.open(&mut packets[1000].clone()),
            Err(Refused::Replayed)
        );
        assert!(inbound.open(&mut packets[2999].clone()).is_ok());
        assert_eq!(
            inbound.open(&mut packets[1500].clone()),
            Err(Refused::Replayed)
        );
        assert!(inbound.open(&mut packets[2001].clone()).is_ok());
    }

    #[test]
    fn truncations_are_refused() {
        for suite in SUITES {
            let (mut out, mut inbound) = pair(suite);
            let packet = seal(&mut out, b"some payload");
            for len in 0..packet.len() {
                assert!(inbound.open(&mut packet[..len].to_vec()).is_err());
            }
        }
    }

    /// draft-mcgrew-gcm-test-01, case 2.
    #[test]
    fn the_published_gcm_packet_opens() {
        let keys = hex::decode("feffe9928665731c6d6a8f9467308308cafebabe").unwrap();
        let mut packet = hex::decode(concat!(
            "0000a5f80000000afacedbaddecaf888deb22cd9b07c72c16e3a65beeb8df304a5a5897d33ae530f1ba76d5d114d2a5c",
            "3de81827c10e9a4f51330d0eec416642cfbb85a5b47e48a4ec3b9ba95d918bd183b70d3aa8bc6ee4c309e9d85a41ad4a"
        ))
        .unwrap();
        let opened = Inbound::new(0xA5F8, SUITES[0], &keys)
            .open(&mut packet)
            .unwrap();
        assert_eq!(
            opened,
            Opened {
                payload: 16..78,
                next_header: 1
            }
        );
        let inner = "4500003e698f000080114dccc0a80102c0a801010a980035";
        assert_eq!(hex::encode(&packet[16..40]), inner);
    }
}
