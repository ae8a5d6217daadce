//! Keys of IKEv1 with pre-shared keys (RFC 2409 §5, §5.5 and Appendix B), and its CBC encryption.

use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit};
use aes::{Aes128, Aes256, Block};
use zeroize::Zeroizing;

use super::hash::{Hash, Output};

/// Cipher of phase 1, always in CBC mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    /// AES-CBC with a 128-bit key (RFC 3602).
    Aes128,
    /// AES-CBC with a 256-bit key.
    Aes256,
}

impl Cipher {
    /// Bytes of its key.
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes256 => 32,
        }
    }
}

/// Bytes of an AES block, and of every IV here.
pub const BLOCK: usize = 16;

/// What main mode has exchanged when the keys can be made.
#[derive(Clone, Copy, Debug)]
pub struct Exchanged<'a> {
    /// The pre-shared key.
    pub psk: &'a [u8],
    /// g^xy.
    pub shared: &'a [u8],
    /// Ours: Ni.
    pub nonce_i: &'a [u8],
    /// The responder's: Nr.
    pub nonce_r: &'a [u8],
    /// CKY-I.
    pub cookie_i: [u8; 8],
    /// CKY-R.
    pub cookie_r: [u8; 8],
}

/// The keys of an IKE SA.
#[derive(Clone, Debug)]
pub struct Keys {
    hash: Hash,
    cipher: Cipher,
    skeyid: Output,
    skeyid_d: Output,
    skeyid_a: Output,
    encryption: Zeroizing<Vec<u8>>,
}

impl Keys {
    /// Derives them (RFC 2409 §5).
    pub fn derive(hash: Hash, cipher: Cipher, with: &Exchanged<'_>) -> Self {
        let Exchanged {
            shared,
            cookie_i,
            cookie_r,
            ..
        } = with;
        let skeyid = hash.prf(with.psk, &[with.nonce_i, with.nonce_r]);
        let next = |previous: &[u8], number: u8| {
            let parts = [previous, shared, cookie_i, cookie_r, &[number]];
            hash.prf(skeyid.as_slice(), &parts)
        };
        let skeyid_d = next(&[], 0);
        let skeyid_a = next(skeyid_d.as_slice(), 1);
        let skeyid_e = next(skeyid_a.as_slice(), 2);
        let encryption = stretch(hash, skeyid_e.as_slice(), cipher.key_len());
        Self {
            hash,
            cipher,
            skeyid,
            skeyid_d,
            skeyid_a,
            encryption,
        }
    }

    /// HASH_I or HASH_R over what the proof covers: prf under SKEYID.
    pub fn prove(&self, parts: &[&[u8]]) -> Output {
        self.hash.prf(self.skeyid.as_slice(), parts)
    }

    /// HASH(1), HASH(2), HASH(3) of phase 2: prf under SKEYID_a.
    pub fn authenticate(&self, parts: &[&[u8]]) -> Output {
        self.hash.prf(self.skeyid_a.as_slice(), parts)
    }

    /// KEYMAT of one ESP SA without PFS (RFC 2409 §5.5): `len` bytes.
    pub fn keymat(
        &self,
        spi: u32,
        nonce_i: &[u8],
        nonce_r: &[u8],
        len: usize,
    ) -> Zeroizing<Vec<u8>> {
        const PROTO_IPSEC_ESP: u8 = 3;
        let mut material = Zeroizing::new(Vec::with_capacity(len + Output::MAX));
        let mut last: Option<Output> = None;
        while material.len() < len {
            let previous = last.as_ref().map_or(&[][..], Output::as_slice);
            let parts = [
                previous,
                &[PROTO_IPSEC_ESP],
                &spi.to_be_bytes(),
                nonce_i,
                nonce_r,
            ];
            let block = self.hash.prf(self.skeyid_d.as_slice(), &parts);
            material.extend_from_slice(block.as_slice());
            last = Some(block);
        }
        material.truncate(len);
        material
    }

    /// The IV of phase 1: hash of both public values (RFC 2409 Appendix B).
    pub fn first_iv(&self, public_i: &[u8], public_r: &[u8]) -> [u8; BLOCK] {
        iv(&self.hash.digest(&[public_i, public_r]))
    }

    /// The IV of a new phase 2 exchange: hash of phase 1's last block and the message id.
    pub fn exchange_iv(&self, last_block: [u8; BLOCK], message_id: u32) -> [u8; BLOCK] {
        iv(&self.hash.digest(&[&last_block, &message_id.to_be_bytes()]))
    }

    /// Encrypts `bytes`, a whole number of blocks, in place; the IV becomes that of the next message.
    pub fn encrypt(&self, iv: &mut [u8; BLOCK], bytes: &mut [u8]) {
        let (blocks, _) = Block::slice_as_chunks_mut(bytes);
        match self.cipher {
            Cipher::Aes128 => encrypt::<Aes128>(&self.encryption, iv, blocks),
            Cipher::Aes256 => encrypt::<Aes256>(&self.encryption, iv, blocks),
        }
        if let Some(last) = blocks.last() {
            *iv = last.0;
        }
    }

    /// Decrypts `bytes`, a whole number of blocks, in place; the IV becomes that of the next message.
    pub fn decrypt(&self, iv: &mut [u8; BLOCK], bytes: &mut [u8]) {
        let (blocks, _) = Block::slice_as_chunks_mut(bytes);
        let next = blocks.last().map_or(*iv, |last| last.0);
        match self.cipher {
            Cipher::Aes128 => decrypt::<Aes128>(&self.encryption, iv, blocks),
            Cipher::Aes256 => decrypt::<Aes256>(&self.encryption, iv, blocks),
        }
        *iv = next;
    }

    /// The negotiated hash.
    pub const fn hash(&self) -> Hash {
        self.hash
    }
}

/// RFC 2409 Appendix B: SKEYID_e as it is when long enough, otherwise K1 | K2 | …
fn stretch(hash: Hash, skeyid_e: &[u8], len: usize) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(Vec::with_capacity(len + Output::MAX));
    if skeyid_e.len() >= len {
        key.extend_from_slice(skeyid_e);
    } else {
        let mut block = hash.prf(skeyid_e, &[&[0]]);
        while key.len() < len {
            key.extend_from_slice(block.as_slice());
            block = hash.prf(skeyid_e, &[block.as_slice()]);
        }
    }
    key.truncate(len);
    key
}

fn iv(hash: &Output) -> [u8; BLOCK] {
    let first = hash.as_slice().first_chunk();
    *first.expect("every hash is longer than a block")
}

fn encrypt<C>(key: &[u8], iv: &[u8; BLOCK], blocks: &mut [Block])
where
    C: KeyInit + aes::cipher::BlockCipherEncrypt<BlockSize = aes::cipher::consts::U16>,
{
    let cipher = C::new_from_slice(key).expect("the key was stretched to the cipher's length");
    cbc::Encryptor::inner_iv_init(cipher, &(*iv).into()).encrypt_blocks(blocks);
}

fn decrypt<C>(key: &[u8], iv: &[u8; BLOCK], blocks: &mut [Block])
where
    C: KeyInit + aes::cipher::BlockCipherDecrypt<BlockSize = aes::cipher::consts::U16>,
{
    let cipher = C::new_from_slice(key).expect("the key was stretched to the cipher's length");
    cbc::Decryptor::inner_iv_init(cipher, &(*iv).into()).decrypt_blocks(blocks);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        hex::decode(hex).unwrap()
    }

    /// First cases of NIST CAVS 17.3, `ikev1_psk`: SHA-1 with g^xy of 256 bits.
    #[test]
    fn key_derivation_agrees_with_nist() {
        let with = Exchanged {
            psk: &bytes("75"),
            shared: &bytes("739003ba2c11c982946c65e26acf661fbf8ebb78011a9fead79efa12fe3e71cc"),
            nonce_i: &bytes("b9a2d0e922dc66dd"),
            nonce_r: &bytes("2130166863b5ddef"),
            cookie_i: bytes("83d374c30b3b5082").try_into().unwrap(),
            cookie_r: bytes("5afc0da06c728029").try_into().unwrap(),
        };
        let keys = Keys::derive(Hash::Sha1, Cipher::Aes128, &with);
        assert_eq!(
            keys.skeyid.as_slice(),
            bytes("62b04d112877e442fc3282fc37c076997718a0b9")
        );
        assert_eq!(
            keys.skeyid_d.as_slice(),
            bytes("369e5aad1bdb5faf6a3d929d500cdc236710a9ab")
        );
        assert_eq!(
            keys.skeyid_a.as_slice(),
            bytes("588e957d8d790d093b3a39f121473473af78e9bb")
        );
        assert_eq!(*keys.encryption, bytes("cd74b0c048219db81384d3fda8f6cda5"));
    }

    #[test]
    fn a_key_longer_than_the_hash_is_stretched() {
        let seed = [7; 20];
        let first = Hash::Sha1.prf(&seed, &[&[0]]);
        let second = Hash::Sha1.prf(&seed, &[first.as_slice()]);
        let expected = [first.as_slice(), second.as_slice()].concat();
        assert_eq!(*stretch(Hash::Sha1, &seed, 32), expected[..32]);
    }

    #[test]
    fn what_is_encrypted_decrypts_and_both_ivs_go_on_alike() {
        let with = Exchanged {
            psk: b"k",
            shared: &[1; 32],
            nonce_i: &[2; 16],
            nonce_r: &[3; 16],
            cookie_i: [4; 8],
            cookie_r: [5; 8],
        };
        let keys = Keys::derive(Hash::Sha256, Cipher::Aes256, &with);
        let (mut ours, mut theirs) = ([9; BLOCK], [9; BLOCK]);
        let mut message = [0x5A; 48];
        keys.encrypt(&mut ours, &mut message);
        assert_ne!(message, [0x5A; 48]);
        keys.decrypt(&mut theirs, &mut message);
        assert_eq!(message, [0x5A; 48]);
        assert_eq!(ours, theirs);
    }
}
