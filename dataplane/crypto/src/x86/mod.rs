//! Engines for x86-64: the only place in this crate with `unsafe` code.

#[cfg_attr(
    not(test),
    expect(dead_code, unused_imports, reason = "the AES-CBC engines call it")
)]
pub(crate) mod sha;
