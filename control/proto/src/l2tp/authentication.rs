//! Proof of a tunnel's shared secret (RFC 2661 §5.1.1).

use culvert_wire::l2tp::message::MessageType;

use crate::crypto::chap;

/// Length of a challenge response in bytes.
const RESPONSE_LEN: usize = 16;

/// The response that proves `secret` for `challenge`, sent in a message of type `kind`: SCCRP or SCCCN.
pub(super) fn response(kind: MessageType, secret: &[u8], challenge: &[u8]) -> [u8; RESPONSE_LEN] {
    let [_, identifier] = kind.0.to_be_bytes();
    chap::response(identifier, secret, challenge)
}

/// Whether `received` is the right response, compared in constant time.
pub(super) fn proves(kind: MessageType, secret: &[u8], challenge: &[u8], received: &[u8]) -> bool {
    let [_, identifier] = kind.0.to_be_bytes();
    chap::verify(identifier, secret, challenge, received)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `l2tp-challenge-hidden`: the challenge of xl2tpd's SCCRQ (frame 11) and its peer's response (frame 12).
    #[test]
    fn a_captured_response_is_reproduced() {
        let challenge = hex::decode("d85bb34ffaa5dbf8f7443d0d650540b4").unwrap();
        let received = hex::decode("c93833fc35d5509beaac8c499ae6ebd6").unwrap();
        let proved = |secret: &[u8], received: &[u8]| {
            proves(MessageType::SCCRP, secret, &challenge, received)
        };
        assert!(proved(b"tunnelsecret", &received));
        assert!(!proved(b"tunnelsecreT", &received));
        assert!(!proved(b"tunnelsecret", &received[..15]));
        assert!(!proved(b"tunnelsecret", &[]));
    }
}
