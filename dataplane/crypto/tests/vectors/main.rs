//! Published vectors against the packet crypto, through the burst interface. Every case whose algorithm and sizes are ours; the numbers
//! of cases are asserted.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

#[expect(unreachable_pub, reason = "included by several crates")]
#[path = "../../../../tests/vectors/reader.rs"]
mod reader;

mod cbc;
mod esp;
mod gcm;

use culvert_crypto::{Engine, OpenContext, OpenOp, SealContext, SealOp, Suite};

/// Seals one plaintext with a given IV on every engine: IV ‖ ciphertext ‖ ICV.
fn seal(suite: Suite, key: &[u8], aad: &[u8], iv: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let mut padded_iv = [0; 16];
    padded_iv[..iv.len()].copy_from_slice(iv);
    same(Engine::available().map(|engine| {
        let context = SealContext::new(engine, suite, key).unwrap();
        let mut sealed = vec![0xee; suite.sealed_len(plaintext.len())];
        let op = SealOp::new(&context, aad, padded_iv, plaintext, &mut sealed).unwrap();
        engine.seal_burst(&mut [op]);
        sealed
    }))
}

/// Opens one sealed payload on every engine; checks that a refused one leaves only zeros.
fn open(suite: Suite, key: &[u8], aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    same(Engine::available().map(|engine| {
        let context = OpenContext::new(engine, suite, key).unwrap();
        let mut plaintext = vec![0xee; suite.opened_len(sealed.len()).unwrap()];
        let op = OpenOp::new(&context, aad, sealed, &mut plaintext).unwrap();
        let opened = engine.open_burst(&mut [op]).contains(0);
        assert!(opened || plaintext.iter().all(|byte| *byte == 0));
        opened.then_some(plaintext)
    }))
}

/// What all engines agree on.
fn same<T: PartialEq>(mut results: impl Iterator<Item = T>) -> T {
    let first = results.next().unwrap();
    assert!(results.all(|result| result == first), "engines differ");
    first
}
