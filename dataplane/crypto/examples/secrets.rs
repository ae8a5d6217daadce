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

/// Packets in a burst: engines that work several side by side take them in groups, and some are left over.
const BURST: usize = 11;

/// Packets of secret keys and plaintext, sealed, published and opened; the first is opened forged too.
fn work(engine: Engine, suite: Suite, len: usize) {
    let mut key = vec![0x5A; suite.key_len()];
    mark(&mut key, Request::Undefined);
    let seal = SealContext::new(engine, suite, &key).unwrap();
    let open = OpenContext::new(engine, suite, &key).unwrap();
    let mut plaintext = vec![0xA5; len];
    mark(&mut plaintext, Request::Undefined);
    let aad = [7; 8];
    let mut sealed = vec![vec![0; suite.sealed_len(len)]; BURST];
    let mut ops: Vec<_> = sealed
        .iter_mut()
        .zip(0..)
        .map(|(sealed, number)| {
            SealOp::new(&seal, &aad, seal.iv(number), &plaintext, sealed).unwrap()
        })
        .collect();
    engine.seal_burst(&mut ops);
    sealed
        .iter_mut()
        .for_each(|sealed| mark(sealed, Request::Defined));
    sealed[0][suite.iv_len()] ^= 1;
    let mut opened = vec![vec![0; len]; BURST];
    let mut ops: Vec<_> = sealed
        .iter()
        .zip(&mut opened)
        .map(|(sealed, opened)| OpenOp::new(&open, &aad, sealed, opened).unwrap())
        .collect();
    let mut verified = [engine.open_burst(&mut ops)];
    mark(&mut verified, Request::Defined);
    assert_eq!(verified[0].bits(), (1 << BURST) - 2);
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
