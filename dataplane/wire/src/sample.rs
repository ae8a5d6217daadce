//! Packets of real clients for the tests: strongSwan 5.9.8 and xl2tpd 1.3.18 on Debian 12, recorded in our own lab.

use std::vec::Vec;

/// Ethernet, IPv4 and ESP: server to client, AES-CBC with HMAC-SHA1 (direct-ss-cbcsha1, frame 24).
pub(crate) fn esp_frame() -> Vec<u8> {
    decode(
        "3ad3e80838c952aaa5f53a660800450000689ce10000403288acc633640ac6336465c3a91b19000000072cef706702be\
         5fb144b0b4cf0cd0785d584d917f539668459cd1bc9271f451ff88f39b8ba17097cc1a230fa5af8a62712681be36a79a\
         6da34ac5adc3444d587d443eb00de8b055ced28f50a8",
    )
}

fn decode(digits: &str) -> Vec<u8> {
    hex::decode(digits).expect("the samples are hexadecimal")
}
