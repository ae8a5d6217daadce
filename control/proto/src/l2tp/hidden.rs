//! Values hidden with a shared secret (RFC 2661 §4.3).
//!
//! ```text
//! hidden = (length of value, 2 bytes | value | padding) xor (b1 | b2 | ...)
//! b1 = MD5(attribute type | secret | random vector),  b(n+1) = MD5(secret | nth block of hidden)
//! ```

use culvert_wire::l2tp::avp::AttributeType;
use culvert_wire::reader::Reader;
use md5::{Digest, Md5};

/// Opens a hidden value; `None` if the length inside is more than there is.
pub(super) fn unhide(
    attribute: AttributeType,
    secret: &[u8],
    random_vector: &[u8],
    hidden: &[u8],
) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(hidden.len());
    let mut pad = Md5::new()
        .chain_update(attribute.0.to_be_bytes())
        .chain_update(secret)
        .chain_update(random_vector)
        .finalize();
    for block in hidden.chunks(16) {
        plain.extend(block.iter().zip(&pad).map(|(byte, pad)| byte ^ pad));
        pad = Md5::new()
            .chain_update(secret)
            .chain_update(block)
            .finalize();
    }
    let mut reader = Reader::new(&plain);
    let len = reader.u16().ok()?;
    reader.take(usize::from(len)).ok().map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(attribute: u16, random_vector: &str, hidden: &str) -> Option<String> {
        unhide(
            AttributeType(attribute),
            b"l2tp-secret",
            &hex::decode(random_vector).unwrap(),
            &hex::decode(hidden).unwrap(),
        )
        .map(hex::encode)
    }

    /// Constructed from RFC 2661 §4.3 by an independent script: one block, several blocks, with padding.
    #[test]
    fn hidden_values_open() {
        for (attribute, random_vector, hidden, value) in [
            (9, "a213eac309901db7efdcb91fa2d83fbc", "0fd05a3a", "1234"),
            (14, "e65957e4", "5d0fe7b4", "abcd"),
            (
                11,
                "279c6376cc21a0b6325e354683dcef87",
                "cbd82e51f693627c3e77b79e6004e7400f30",
                "000102030405060708090a0b0c0d0e0f",
            ),
            (
                13,
                "ef8a7396cbcef5c83400fd4445b1fc6d",
                "4c774bef66ac5609be9919ebdfd89d747b2241cc46965259cf667557528e4918",
                "00000000000000000000000000000000",
            ),
            (
                7,
                "7e",
                "f897bd811603a4d9665cfbd2a8",
                "6c61632e6578616d706c65",
            ),
        ] {
            let plain = opened(attribute, random_vector, hidden);
            assert_eq!(plain.as_deref(), Some(value));
        }
    }

    /// Constructed likewise; the class of accel-ppp's commit 9554ce05.
    #[test]
    fn a_length_beyond_the_room_is_refused() {
        let zero = "00000000000000000000000000000000";
        for (hidden, accepted) in [
            ("7c6395375be54ef2390ee441c9a6b95c", false),
            ("839395375be54ef2390ee441c9a6b95c", false),
            ("839295375be54ef2390ee441c9a6b95c", true),
            ("839c95375be54ef2390ee441c9a6b95c", true),
            ("7c6795375be54ef2390ee441c9a6b95c", false),
            ("c2", false),
            ("", false),
        ] {
            assert_eq!(opened(7, zero, hidden).is_some(), accepted, "{hidden}");
        }
    }
}
