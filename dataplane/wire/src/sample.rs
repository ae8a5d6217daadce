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

/// What that frame decrypts to: UDP, L2TP data, PPP, an LCP Configure-Ack, ESP trailer.
pub(crate) fn lcp_plaintext() -> Vec<u8> {
    decode(
        "06a506a500260000000291715dbfff03c0210201001401040500020600000000050653ae7fad01020304050607080811",
    )
}

/// UDP, L2TP data, PPP, IPv4, an echo request of 84 bytes, ESP trailer (direct-ss-cbcsha1, frame 38, decrypted).
pub(crate) fn ping_plaintext() -> Vec<u8> {
    decode(
        "06a506a5006600000002e4e0358eff03002145000054d513400040014fbc0a63010a0a63000a08005ecd03d00001e124\
         036b00000000eefe030000000000101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031\
         32333435363701020304050607080811",
    )
}

/// UDP, an L2TP acknowledgement without AVPs, ESP trailer (direct-ss-cbcsha1, frame 15, decrypted).
pub(crate) fn zlb_plaintext() -> Vec<u8> {
    decode("06a506a500140000c802000c91710000000100020102030405060708090a0a11")
}

/// Ethernet, IPv4, UDP 4500 and IKE: quick mode from behind a NAT (nat-ss-gcm, frame 9).
pub(crate) fn nat_ike_frame() -> Vec<u8> {
    decode(
        "027f04bbee099aa807c5918c08004500006cbab340003f112c20c633643cc633640a119411940058b16c00000000e271\
         2eb7aa5198585633cdd401f696bf08102001762747360000004c8fb1ab606696078fd3f09842ee955d943b2f82b5c4bd\
         8c0e03fc895793e56f4d133e09995918342d1335d950641ee421",
    )
}

/// Ethernet, IPv4, UDP 4500 and ESP: AES-GCM from behind a NAT (nat-ss-gcm, frame 12).
pub(crate) fn nat_esp_frame() -> Vec<u8> {
    decode(
        "027f04bbee099aa807c5918c08004500005cbacf40003f112c14c633643cc633640a1194119400480000c25303b80000\
         000206ba6fbf303ccf904665c3ae8c2c1c7df3b6cbcb21a7798d679ae3eabec0c210418f8e8a74e5dc75c510426619b4\
         85005b26607dd1cb1af9",
    )
}

/// TCP header of a SYN: Linux 6.18 over loopback, checksum left to the device.
pub(crate) fn tcp_syn() -> Vec<u8> {
    decode("b9d41f402745ec4700000000a002ffd7fe3000000204ffd70402080aeb026c9f000000000103030a")
}

/// IPv6 with a hop-by-hop router alert and an MLDv2 report: Linux 6.18, a veth that comes up.
pub(crate) fn listener_report() -> Vec<u8> {
    decode(
        "600000000024000100000000000000000000000000000000ff0200000000000000000000000000163a00050200000100\
         8f00dcfd0000000104000000ff0200000000000000000001ff31925b",
    )
}

fn decode(digits: &str) -> Vec<u8> {
    hex::decode(digits).expect("the samples are hexadecimal")
}
