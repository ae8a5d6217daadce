//! Works packets whose keys and plaintexts valgrind's memcheck takes for undefined: it reports every branch and every address that depends on
//! them.
//!
//! ```text
//! valgrind --tool=memcheck secrets
//! ```
//! Ciphertexts are public once sealed, and so is whether a packet verified, but only once all of it is settled. Triple DES is left out: the
//! library's S-boxes are tables, looked up by secret bits. On a processor without a name of valgrind's, memcheck sees the engines that valgrind
//! has instructions for: portable and AES-NI.
#![allow(
    unsafe_code,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "requests to valgrind are instructions; a tool for developers prints what it did"
)]

use std::arch::asm;

use culvert_crypto::{Engine, OpenContext, OpenOp, SealContext, SealOp, Suite};

/// Requests to memcheck: see its manual, "Client Requests".
#[derive(Clone, Copy)]
enum Request {
    Undefined = 0x4D43_0001,
    Defined = 0x4D43_0002,
}

/// Tells memcheck what it shall think of `bytes`; without valgrind nothing happens.
fn mark<T>(value: &mut [T], request: Request) {
    let arguments = [
        request as usize,
        value.as_mut_ptr() as usize,
        size_of_val(value),
        0,
        0,
        0,
    ];
    // SAFETY: the rotations add up to none and the exchange is of a register with itself, so that only rdx changes; valgrind reads the
    // arguments and writes no memory of ours.
    unsafe {
        asm!(
            "rol rdi, 3", "rol rdi, 13", "rol rdi, 61", "rol rdi, 51", "xchg rbx, rbx",
            in("rax") arguments.as_ptr(),
            inout("rdx") 0_u64 => _,
        );
    }
}

fn lengths(suite: Suite) -> Vec<usize> {
    match suite {
        Suite::AesGcm(_) => (0..=80).chain([255, 256, 257, 576, 1_424, 2_100]).collect(),
        Suite::AesCbcHmac(..) | Suite::TripleDesHmac(_) => {
            [16, 32, 48, 64, 80, 256, 576, 1_424].to_vec()
        }
    }
}

/// A packet of secret keys and plaintext, sealed, published and opened.
fn work(engine: Engine, suite: Suite, len: usize) {
    let mut key = vec![0x5A; suite.key_len()];
    mark(&mut key, Request::Undefined);
    let seal = SealContext::new(engine, suite, &key).unwrap();
    let open = OpenContext::new(engine, suite, &key).unwrap();
    let mut plaintext = vec![0xA5; len];
    mark(&mut plaintext, Request::Undefined);
    let mut sealed = vec![0; suite.sealed_len(len)];
    let aad = [7; 8];
    let iv = seal.iv(len as u64);
    engine.seal_burst(&mut [SealOp::new(&seal, &aad, iv, &plaintext, &mut sealed).unwrap()]);
    mark(&mut sealed, Request::Defined);
    let mut opened = vec![0; len];
    for wrong in [false, true] {
        sealed[suite.iv_len()..]
            .iter_mut()
            .take(1)
            .for_each(|byte| *byte ^= u8::from(wrong));
        let op = OpenOp::new(&open, &aad, &sealed, &mut opened).unwrap();
        let mut verified = [engine.open_burst(&mut [op])];
        mark(&mut verified, Request::Defined);
        assert_eq!(verified[0].contains(0), !wrong);
    }
}

fn main() {
    for engine in Engine::available() {
        let suites = Suite::ALL
            .into_iter()
            .filter(|suite| !matches!(suite, Suite::TripleDesHmac(_)));
        for suite in suites {
            lengths(suite)
                .into_iter()
                .for_each(|len| work(engine, suite, len));
        }
        println!("{}", engine.name());
    }
}
