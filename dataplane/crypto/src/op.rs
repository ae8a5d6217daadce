//! One packet to seal or open: which bytes, which context, which IV.

use std::fmt;

use aes_gcm::aead::inout::InOutBuf;

use crate::context::{OpenContext, SealContext};
use crate::suite::Suite;

/// Longest plaintext or sealed payload in bytes: what an IP packet can carry.
const MAX_LEN: usize = 65_535;

/// Operands of an op do not fit together; nothing was sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperandWrong {
    /// The source is too long, or not whole blocks, or shorter than IV and ICV.
    Source {
        /// Its length in bytes.
        len: usize,
    },
    /// The destination is not exactly as long as the result.
    Destination {
        /// Its length in bytes.
        len: usize,
        /// The length of the result in bytes.
        needed: usize,
    },
    /// The additional data of a CBC suite are neither 8 nor 12 bytes.
    Aad {
        /// Their length in bytes.
        len: usize,
    },
}

impl fmt::Display for OperandWrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source { len } => write!(f, "source of {len} bytes does not fit the suite"),
            Self::Destination { len, needed } => {
                write!(f, "destination of {len} bytes, {needed} needed")
            }
            Self::Aad { len } => write!(f, "additional data of {len} bytes, 8 or 12 needed"),
        }
    }
}

impl std::error::Error for OperandWrong {}

/// What the IV of a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Iv {
    /// Made of the packet's sequence number as by [`SealContext::iv`]; the same number must never be used twice with the same keys.
    Sequence(u64),
    /// These bytes.
    Bytes([u8; 16]),
}

impl From<[u8; 16]> for Iv {
    fn from(iv: [u8; 16]) -> Self {
        Self::Bytes(iv)
    }
}

/// One packet to seal.
pub struct SealOp<'a> {
    pub(crate) context: &'a SealContext,
    pub(crate) aad: &'a [u8],
    pub(crate) iv: [u8; 16],
    /// Whether the engine is yet to encrypt `iv`; only if the context is of a kind whose engine does.
    #[cfg(target_arch = "x86_64")]
    pub(crate) iv_is_plain: bool,
    buffers: Buffers<'a>,
}

impl<'a> SealOp<'a> {
    /// Names the operands and checks that they fit together.
    ///
    /// - `aad`: SPI and sequence number, 8 bytes; with extended sequence numbers SPI, high and low half, 12 bytes in this order for
    ///   every suite (RFC 4106 §5). AES-GCM takes any length.
    /// - `iv`: the sequence number that it is made of, or its bytes; suites whose IV is shorter use the first.
    /// - `source`: plaintext with padding and trailer, at most 65,535 bytes; in CBC mode whole blocks, at least one.
    /// - `destination`: exactly [`Suite::sealed_len`] bytes; all are written.
    ///
    /// # Errors
    /// [`OperandWrong`] if a length is not as above.
    #[inline]
    pub fn new(
        context: &'a SealContext,
        aad: &'a [u8],
        iv: impl Into<Iv>,
        source: &'a [u8],
        destination: &'a mut [u8],
    ) -> Result<Self, OperandWrong> {
        let suite = context.suite();
        check_text(suite, source.len())?;
        check_aad(suite, aad)?;
        let (len, needed) = (destination.len(), suite.sealed_len(source.len()));
        if len != needed {
            return Err(OperandWrong::Destination { len, needed });
        }
        let buffers = Buffers::Apart(source, destination);
        Ok(Self::ready(context, aad, iv.into(), buffers))
    }

    /// Like [`SealOp::new`], with one buffer for plaintext and result.
    ///
    /// - `buffer`: [`Suite::sealed_len`] bytes, the plaintext behind the first [`Suite::iv_len`]; all are written.
    ///
    /// # Errors
    /// [`OperandWrong`] if a length is not as above; the buffer counts as source.
    #[inline]
    pub fn in_place(
        context: &'a SealContext,
        aad: &'a [u8],
        iv: impl Into<Iv>,
        buffer: &'a mut [u8],
    ) -> Result<Self, OperandWrong> {
        let suite = context.suite();
        check_sealed(suite, buffer.len(), MAX_LEN + suite.sealed_len(0))?;
        check_aad(suite, aad)?;
        let buffers = Buffers::InPlace(buffer);
        Ok(Self::ready(context, aad, iv.into(), buffers))
    }

    /// Makes the IV, or leaves that to the engine where many are made side by side.
    #[inline]
    fn ready(context: &'a SealContext, aad: &'a [u8], iv: Iv, buffers: Buffers<'a>) -> Self {
        #[cfg(target_arch = "x86_64")]
        let iv_is_plain = matches!(iv, Iv::Sequence(_)) && context.engine_makes_ivs();
        let iv = match iv {
            Iv::Bytes(iv) => iv,
            #[cfg(target_arch = "x86_64")]
            Iv::Sequence(number) if iv_is_plain => u128::from(number).to_be_bytes(),
            Iv::Sequence(number) => context.iv(number),
        };
        Self {
            context,
            aad,
            iv,
            #[cfg(target_arch = "x86_64")]
            iv_is_plain,
            buffers,
        }
    }

    /// Asks the CPU to fetch the keys.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    pub(crate) fn prefetch(&self) {
        let (Buffers::Apart(_, sealed) | Buffers::InPlace(sealed)) = &self.buffers;
        self.context.prefetch(sealed.len());
    }

    /// The places of the IV, of the text, plaintext in and ciphertext out, and of the ICV.
    #[inline]
    pub(crate) fn parts(&mut self) -> (&mut [u8], InOutBuf<'_, '_, u8>, &mut [u8]) {
        let suite = self.context.suite();
        let (source, sealed) = match &mut self.buffers {
            Buffers::Apart(source, sealed) => (Some(*source), &mut **sealed),
            Buffers::InPlace(buffer) => (None, &mut **buffer),
        };
        let (iv, rest) = sealed.split_at_mut(suite.iv_len());
        let (ciphertext, icv) = rest.split_at_mut(rest.len() - suite.icv_len());
        (iv, text(source, ciphertext), icv)
    }

    /// The same for engines that work through pointers.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    pub(crate) fn pointers(&mut self) -> SealPointers {
        let suite = self.context.suite();
        self.pointers_within(suite.iv_len(), suite.sealed_len(0))
    }

    /// The same where the suite is known: bytes of the IV, and of IV and ICV.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    pub(crate) fn pointers_within(&mut self, iv_len: usize, around: usize) -> SealPointers {
        let (destination, sealed_len, source) = match &mut self.buffers {
            Buffers::Apart(source, sealed) => {
                (sealed.as_mut_ptr(), sealed.len(), Some(source.as_ptr()))
            }
            Buffers::InPlace(buffer) => (buffer.as_mut_ptr(), buffer.len(), None),
        };
        SealPointers {
            source: source.unwrap_or_else(|| destination.wrapping_add(iv_len)),
            destination,
            len: sealed_len - around,
        }
    }
}

/// Where a packet to seal lies.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct SealPointers {
    /// The plaintext, `len` bytes, readable as long as the op is borrowed.
    pub(crate) source: *const u8,
    /// IV, ciphertext (`len` bytes) and ICV, writable as long. The source is the ciphertext's place, or overlaps no byte of it.
    pub(crate) destination: *mut u8,
    /// Bytes of text.
    pub(crate) len: usize,
}

/// One packet to verify and open.
pub struct OpenOp<'a> {
    pub(crate) context: &'a OpenContext,
    pub(crate) aad: &'a [u8],
    buffers: Buffers<'a>,
}

impl<'a> OpenOp<'a> {
    /// Names the operands and checks that they fit together.
    ///
    /// - `aad`: as in [`SealOp::new`].
    /// - `source`: IV, ciphertext and ICV, at most 65,535 bytes, of a length for which [`Suite::opened_len`] is not `None`.
    /// - `destination`: exactly that many bytes; all are written, with zeros if the ICV is wrong.
    ///
    /// # Errors
    /// [`OperandWrong`] if a length is not as above. A wrong source is the sender's fault: drop the packet.
    #[inline]
    pub fn new(
        context: &'a OpenContext,
        aad: &'a [u8],
        source: &'a [u8],
        destination: &'a mut [u8],
    ) -> Result<Self, OperandWrong> {
        let suite = context.suite();
        let needed = check_sealed(suite, source.len(), MAX_LEN)?;
        check_aad(suite, aad)?;
        let len = destination.len();
        if len != needed {
            return Err(OperandWrong::Destination { len, needed });
        }
        let buffers = Buffers::Apart(source, destination);
        Ok(Self {
            context,
            aad,
            buffers,
        })
    }

    /// Like [`OpenOp::new`], with one buffer for sealed payload and plaintext.
    ///
    /// - `buffer`: IV, ciphertext and ICV as the source there. The plaintext takes the ciphertext's place, behind the first
    ///   [`Suite::iv_len`] bytes, with zeros if the ICV is wrong; IV and ICV stay.
    ///
    /// # Errors
    /// [`OperandWrong`] as there; the buffer counts as source.
    #[inline]
    pub fn in_place(
        context: &'a OpenContext,
        aad: &'a [u8],
        buffer: &'a mut [u8],
    ) -> Result<Self, OperandWrong> {
        let suite = context.suite();
        check_sealed(suite, buffer.len(), MAX_LEN)?;
        check_aad(suite, aad)?;
        let buffers = Buffers::InPlace(buffer);
        Ok(Self {
            context,
            aad,
            buffers,
        })
    }

    /// Asks the CPU to fetch the keys.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    pub(crate) fn prefetch(&self) {
        let (Buffers::Apart(_, text) | Buffers::InPlace(text)) = &self.buffers;
        self.context.prefetch(text.len());
    }

    /// The IV, the text, ciphertext in and plaintext out, and the ICV.
    #[inline]
    pub(crate) fn parts(&mut self) -> (&[u8], InOutBuf<'_, '_, u8>, &[u8]) {
        let suite = self.context.suite();
        match &mut self.buffers {
            Buffers::Apart(sealed, plaintext) => {
                let (iv, rest) = sealed.split_at(suite.iv_len());
                let (ciphertext, icv) = rest.split_at(plaintext.len());
                (iv, text(Some(ciphertext), plaintext), icv)
            }
            Buffers::InPlace(buffer) => {
                let (iv, rest) = buffer.split_at_mut(suite.iv_len());
                let (ciphertext, icv) = rest.split_at_mut(rest.len() - suite.icv_len());
                (iv, text(None, ciphertext), icv)
            }
        }
    }

    /// Fills the plaintext's place with zeros.
    pub(crate) fn wipe(&mut self) {
        self.parts().1.into_out().fill(0);
    }

    /// The same as [`Self::parts`] for engines that work through pointers.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    pub(crate) fn pointers(&mut self) -> OpenPointers {
        let suite = self.context.suite();
        self.pointers_within(suite.iv_len(), suite.sealed_len(0))
    }

    /// The same where the suite is known: bytes of the IV, and of IV and ICV.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    pub(crate) fn pointers_within(&mut self, iv_len: usize, around: usize) -> OpenPointers {
        match &mut self.buffers {
            Buffers::Apart(sealed, plaintext) => OpenPointers {
                source: sealed.as_ptr(),
                destination: plaintext.as_mut_ptr(),
                len: plaintext.len(),
            },
            Buffers::InPlace(buffer) => {
                let source = buffer.as_mut_ptr();
                OpenPointers {
                    source,
                    destination: source.wrapping_add(iv_len),
                    len: buffer.len() - around,
                }
            }
        }
    }
}

/// Where a packet to open lies.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct OpenPointers {
    /// IV, ciphertext (`len` bytes) and ICV, readable as long as the op is borrowed.
    pub(crate) source: *const u8,
    /// The plaintext, `len` bytes, writable as long. It is the ciphertext's place, or overlaps no byte of the source.
    pub(crate) destination: *mut u8,
    /// Bytes of text.
    pub(crate) len: usize,
}

/// The bytes of an op; what stands where depends on the direction.
enum Buffers<'a> {
    /// Source, destination.
    Apart(&'a [u8], &'a mut [u8]),
    /// IV, text and ICV, all in one.
    InPlace(&'a mut [u8]),
}

/// The text: from the source if there is one, else in place. Both are of the same length.
#[inline]
fn text<'a>(source: Option<&'a [u8]>, destination: &'a mut [u8]) -> InOutBuf<'a, 'a, u8> {
    match source {
        Some(source) => {
            let len = source.len().min(destination.len());
            let (source, destination) = (&source[..len], &mut destination[..len]);
            InOutBuf::new(source, destination)
                .unwrap_or_else(|_| InOutBuf::from(<&mut [u8]>::default()))
        }
        None => InOutBuf::from(destination),
    }
}

/// Checks the length of a plaintext.
const fn check_text(suite: Suite, len: usize) -> Result<(), OperandWrong> {
    if len > MAX_LEN || !suite.is_whole_text(len) {
        return Err(OperandWrong::Source { len });
    }
    Ok(())
}

/// Checks the length of IV, text and ICV; returns that of the text.
const fn check_sealed(suite: Suite, len: usize, most: usize) -> Result<usize, OperandWrong> {
    match suite.opened_len(len) {
        Some(text_len) if len <= most => Ok(text_len),
        _ => Err(OperandWrong::Source { len }),
    }
}

/// Checks the length of additional data.
const fn check_aad(suite: Suite, aad: &[u8]) -> Result<(), OperandWrong> {
    if suite.is_cbc() && !matches!(aad.len(), 8 | 12) {
        return Err(OperandWrong::Aad { len: aad.len() });
    }
    Ok(())
}
