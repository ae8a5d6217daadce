//! CHAP with MD5: RFC 1994 §4.1, and the tunnel authentication of L2TP that borrows it (RFC 2661 §4.2).

use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

/// MD5(`identifier` ‖ `secret` ‖ `challenge`): the value of a Response.
///
/// In L2TP `identifier` is the message type of the message that carries it: 2 (SCCRP) or 3 (SCCCN).
pub fn response(identifier: u8, secret: &[u8], challenge: &[u8]) -> [u8; 16] {
    let mut md5 = Md5::new();
    md5.update([identifier]);
    md5.update(secret);
    md5.update(challenge);
    md5.finalize().into()
}

/// Whether `received` answers the challenge, found in constant time; a wrong length is a mismatch.
pub fn verify(identifier: u8, secret: &[u8], challenge: &[u8], received: &[u8]) -> bool {
    response(identifier, secret, challenge)
        .ct_eq(received)
        .into()
}
