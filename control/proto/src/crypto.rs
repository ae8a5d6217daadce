//! Cryptography of the control plane: hashes, ciphers and Diffie-Hellman of IKE, password proofs of PPP.
//!
//! Thin wrappers over RustCrypto, and for curves AWS-LC, named as the RFCs name things. Nothing here has state, reads a clock or draws randomness of its
//! own. Where randomness is needed it is an argument of type `&mut dyn rand_core::CryptoRng`, which every machine passes on as it
//! got it: the trait is infallible and dyn-compatible, and seeded generators implement it in tests.
//!
//! Secrets are wiped when dropped and print as `[redacted]`; comparisons of bytes that depend on a secret take constant time.

pub mod chap;
pub mod cipher;
pub mod dh;
pub mod hash;
pub mod mschapv2;
pub mod self_test;
pub mod skeyid;

/// The features that wipe keys and passwords are on: without them this does not compile.
const _: () = {
    const fn wiped<T: zeroize::ZeroizeOnDrop>() {}
    wiped::<aes::Aes128>();
    wiped::<aes::Aes192>();
    wiped::<aes::Aes256>();
    wiped::<cbc::Encryptor<aes::Aes256>>();
    wiped::<cbc::Decryptor<aes::Aes256>>();
    wiped::<des::Des>();
    wiped::<des::TdesEde3>();
    wiped::<md4::Md4>();
    wiped::<md5::Md5>();
    wiped::<sha1::Sha1>();
    wiped::<sha2::Sha256>();
    wiped::<sha2::Sha384>();
    wiped::<sha2::Sha512>();
    wiped::<mschapv2::NtHash>();
};
