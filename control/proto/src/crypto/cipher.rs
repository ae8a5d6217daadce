//! Ciphers of IKEv1 in CBC mode: RFC 2409 appendix B, RFC 3602 §5, RFC 2451 §2.4 for 3DES.

use std::fmt;

use aes::{Aes128, Aes192, Aes256};
use cbc::cipher::{
    Block, BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit,
    Iv as CipherIv, KeyInit,
};
use des::TdesEde3;
use serde::{Deserialize, Serialize};

use super::hash::Output;

/// A cipher that IKEv1 negotiates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Cipher {
    /// 3DES-CBC with three keys; only behind the legacy gate.
    TripleDes,
    /// AES-CBC with a 128-bit key.
    Aes128,
    /// AES-CBC with a 192-bit key.
    Aes192,
    /// AES-CBC with a 256-bit key.
    Aes256,
}

/// A message cannot be encrypted or decrypted; it is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CipherError {
    /// The key is not [`Cipher::key_len`] bytes long.
    Key {
        /// Its length in bytes.
        len: usize,
    },
    /// The IV is of a cipher with other blocks.
    Iv {
        /// Its length in bytes.
        len: usize,
    },
    /// The message is empty or not whole blocks.
    Blocks {
        /// Its length in bytes.
        len: usize,
    },
}

impl fmt::Display for CipherError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { len } => write!(f, "cipher key of {len} bytes"),
            Self::Iv { len } => write!(f, "iv of {len} bytes"),
            Self::Blocks { len } => write!(f, "{len} encrypted bytes are not whole blocks"),
        }
    }
}

impl std::error::Error for CipherError {}

/// One block of a cipher: what the next message is chained to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Iv {
    /// Of 3DES.
    Block64([u8; 8]),
    /// Of AES.
    Block128([u8; 16]),
}

impl Iv {
    /// Takes one block: `None` unless it is 8 or 16 bytes.
    pub fn new(block: &[u8]) -> Option<Self> {
        let block64 = block.try_into().map(Self::Block64);
        block64
            .or_else(|_| block.try_into().map(Self::Block128))
            .ok()
    }

    /// The first block of a hash.
    pub(super) fn head_of(cipher: Cipher, hash: &Output) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = hash.head();
        match cipher {
            Cipher::TripleDes => Self::Block64([a, b, c, d, e, f, g, h]),
            Cipher::Aes128 | Cipher::Aes192 | Cipher::Aes256 => Self::Block128(hash.head()),
        }
    }

    /// The block: 8 or 16 bytes.
    pub const fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Block64(block) => block,
            Self::Block128(block) => block,
        }
    }
}

impl Cipher {
    /// Every cipher.
    pub const ALL: [Self; 4] = [Self::TripleDes, Self::Aes128, Self::Aes192, Self::Aes256];

    /// Bytes of key: 16, 24 or 32.
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::TripleDes | Self::Aes192 => 24,
            Self::Aes256 => 32,
        }
    }

    /// Bytes of block and IV: 8 or 16.
    pub const fn block_len(self) -> usize {
        match self {
            Self::TripleDes => 8,
            Self::Aes128 | Self::Aes192 | Self::Aes256 => 16,
        }
    }

    /// Encrypts whole blocks in place and returns the last one, the IV of the next message.
    ///
    /// # Errors
    /// [`CipherError`] if a length is wrong; `bytes` are then unchanged.
    pub fn encrypt(self, key: &[u8], iv: &Iv, bytes: &mut [u8]) -> Result<Iv, CipherError> {
        self.check(iv, bytes)?;
        match self {
            Self::TripleDes => encrypt::<TdesEde3>(key, iv, bytes)?,
            Self::Aes128 => encrypt::<Aes128>(key, iv, bytes)?,
            Self::Aes192 => encrypt::<Aes192>(key, iv, bytes)?,
            Self::Aes256 => encrypt::<Aes256>(key, iv, bytes)?,
        }
        self.last_block(bytes)
    }

    /// Decrypts whole blocks in place and returns the last encrypted one, the IV of the next message.
    ///
    /// # Errors
    /// [`CipherError`] if a length is wrong; `bytes` are then unchanged.
    pub fn decrypt(self, key: &[u8], iv: &Iv, bytes: &mut [u8]) -> Result<Iv, CipherError> {
        self.check(iv, bytes)?;
        let last = self.last_block(bytes)?;
        match self {
            Self::TripleDes => decrypt::<TdesEde3>(key, iv, bytes)?,
            Self::Aes128 => decrypt::<Aes128>(key, iv, bytes)?,
            Self::Aes192 => decrypt::<Aes192>(key, iv, bytes)?,
            Self::Aes256 => decrypt::<Aes256>(key, iv, bytes)?,
        }
        Ok(last)
    }

    fn check(self, iv: &Iv, bytes: &[u8]) -> Result<(), CipherError> {
        let (iv_len, len) = (iv.as_bytes().len(), bytes.len());
        if iv_len != self.block_len() {
            return Err(CipherError::Iv { len: iv_len });
        }
        if len == 0 || !len.is_multiple_of(self.block_len()) {
            return Err(CipherError::Blocks { len });
        }
        Ok(())
    }

    fn last_block(self, bytes: &[u8]) -> Result<Iv, CipherError> {
        bytes
            .rchunks_exact(self.block_len())
            .next()
            .and_then(Iv::new)
            .ok_or(CipherError::Blocks { len: bytes.len() })
    }
}

fn encrypt<C: KeyInit + BlockCipherEncrypt>(
    key: &[u8],
    iv: &Iv,
    bytes: &mut [u8],
) -> Result<(), CipherError> {
    let cipher = expand::<C>(key)?;
    let iv = block::<cbc::Encryptor<C>>(iv)?;
    let (blocks, _) = Block::<C>::slice_as_chunks_mut(bytes);
    cbc::Encryptor::inner_iv_init(cipher, iv).encrypt_blocks(blocks);
    Ok(())
}

fn decrypt<C: KeyInit + BlockCipherDecrypt>(
    key: &[u8],
    iv: &Iv,
    bytes: &mut [u8],
) -> Result<(), CipherError> {
    let cipher = expand::<C>(key)?;
    let iv = block::<cbc::Decryptor<C>>(iv)?;
    let (blocks, _) = Block::<C>::slice_as_chunks_mut(bytes);
    cbc::Decryptor::inner_iv_init(cipher, iv).decrypt_blocks(blocks);
    Ok(())
}

fn expand<C: KeyInit>(key: &[u8]) -> Result<C, CipherError> {
    C::new_from_slice(key).map_err(|_| CipherError::Key { len: key.len() })
}

fn block<M: cbc::cipher::IvSizeUser>(iv: &Iv) -> Result<&CipherIv<M>, CipherError> {
    iv.as_bytes().try_into().map_err(|_| CipherError::Iv {
        len: iv.as_bytes().len(),
    })
}
