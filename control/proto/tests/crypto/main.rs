//! Published vectors against the control plane's cryptography. Every case of every file; the numbers of cases are asserted.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

#[expect(unreachable_pub, reason = "included by several crates")]
#[path = "../../../../tests/vectors/reader.rs"]
mod reader;

mod cipher;
mod dh;
mod hash;
mod mschapv2;
mod skeyid;
