//! HMAC (RFC 2104) of a burst of ESP packets, many side by side: one packet per lane of a vector, whatever its key and length.

mod avx2;
mod avx512;
mod burst;
mod feed;
mod hash;
mod kernels;
mod lanes;
mod ni;
mod sha1;
mod sha2;

use feed::{Feed, Step, write_digest};
pub(crate) use hash::{Hash, Sha1, Sha256, Sha384, Sha512, Word};

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Widest vectors that may be used; what the CPU lacks is never used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// AVX-512: 16 packets side by side with SHA-1 and SHA-256, 8 with SHA-384 and SHA-512.
    Bits512,
    /// AVX2: 8 packets, or 4.
    Bits256,
    /// The SHA instructions, or plain code: one or two packets.
    Bits128,
}

/// States of the inner and outer hash after the block that holds the key: one pair per SA, wiped when dropped, never printed.
pub(crate) struct Midstates<H: Hash> {
    inner: H::State,
    outer: H::State,
}

impl<H: Hash> Midstates<H> {
    /// Works an integrity key in; `None` if it is longer than a block of the hash, as no key of ESP is (RFC 2404 §3, RFC 4868 §2.1.1).
    ///
    /// # Source
    /// RFC 2104 §2, §4.
    pub(crate) fn new(key: &[u8]) -> Option<Self> {
        (key.len() <= H::BLOCK_LEN).then(|| Self {
            inner: keyed::<H>(key, 0x36),
            outer: keyed::<H>(key, 0x5c),
        })
    }
}

/// The state after the first block: the key, zeros behind, each byte xored with `pad`.
fn keyed<H: Hash>(key: &[u8], pad: u8) -> H::State {
    let mut block = Zeroizing::new([pad; 128]);
    for (byte, key) in block.iter_mut().zip(key) {
        *byte ^= key;
    }
    let mut state = H::INITIAL;
    H::compress(&mut state, &block[..H::BLOCK_LEN]);
    state
}

impl<H: Hash> Drop for Midstates<H> {
    fn drop(&mut self) {
        self.inner.zeroize();
        self.outer.zeroize();
    }
}

impl<H: Hash> ZeroizeOnDrop for Midstates<H> {}

/// One ESP packet to authenticate.
pub(crate) struct Mac<'a, H: Hash> {
    /// Of the packet's SA.
    pub(crate) midstates: &'a Midstates<H>,
    /// SPI and sequence number.
    pub(crate) head: &'a [u8; 8],
    /// IV and ciphertext, of any length.
    pub(crate) text: &'a [u8],
    /// Empty, or the four high bytes of an extended sequence number (RFC 4303 §2.2.1).
    pub(crate) tail: &'a [u8],
    /// The whole HMAC in the first [`Hash::DIGEST_LEN`] bytes, of which the ICV is a prefix.
    pub(crate) digest: [u8; 64],
}

/// Writes the digest of every packet; keys and lengths may all differ.
///
/// `macs`: any number, 64 for the best speed.
pub(crate) fn authenticate<H: Hash>(width: Width, macs: &mut [Mac<'_, H>]) {
    H::authenticate(width, macs);
}

/// Authenticates one packet.
fn alone<H: Hash>(mac: &mut Mac<'_, H>) {
    let mut feed = Feed::idle(mac.midstates);
    let mut state = *feed.begin(mac);
    loop {
        let blocks = feed.blocks();
        let len = blocks.len();
        H::compress(&mut state, blocks);
        match feed.advance(len) {
            Step::Within => {}
            Step::InnerEnded => state = *feed.begin_outer(&state),
            Step::Ended => break,
        }
    }
    write_digest::<H>(&state, &mut mac.digest);
    state.zeroize();
}

#[cfg(test)]
mod tests;
