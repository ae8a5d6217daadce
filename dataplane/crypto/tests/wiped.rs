//! Keys are wiped from memory when a context is dropped: an allocator looks at every block that is given back.
#![allow(
    unsafe_code,
    clippy::unwrap_used,
    reason = "a global allocator is unsafe to write; a test that is wrong may panic"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};

use culvert_crypto::{Engine, OpenContext, SealContext, Suite};
use zeroize::Zeroizing;

/// Keeps what is in blocks that this thread frees while it is watched, and passes everything on.
struct Watching;

/// Bytes kept at most.
const KEPT: usize = 16_384;

thread_local! {
    static IS_WATCHED: Cell<bool> = const { Cell::new(false) };
    /// How many bytes were in blocks freed, and the bytes.
    static FREED: RefCell<(usize, [u8; KEPT])> = const { RefCell::new((0, [0; KEPT])) };
}

// SAFETY: every call is passed on to the system's allocator; watching reads the block before that and needs no memory.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Zeros, so that bytes that nobody writes are the same each time.
        // SAFETY: the caller keeps the contract of `alloc`, which is that of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if IS_WATCHED.get() {
            // SAFETY: the block is the caller's until it is passed on, and was filled with zeros when it was made.
            keep(unsafe { std::slice::from_raw_parts(at, layout.size()) });
        }
        // SAFETY: the caller keeps the contract of `dealloc`, and `alloc` came from the same allocator.
        unsafe { System.dealloc(at, layout) }
    }
}

fn keep(bytes: &[u8]) {
    FREED.with_borrow_mut(|(used, kept)| {
        if let Some(place) = kept.get_mut(*used..*used + bytes.len()) {
            place.copy_from_slice(bytes);
        }
        *used += bytes.len();
    });
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

/// What was in all blocks that `work` freed.
fn freed_by(work: impl FnOnce()) -> Vec<u8> {
    FREED.with_borrow_mut(|(used, _)| *used = 0);
    IS_WATCHED.set(true);
    work();
    IS_WATCHED.set(false);
    FREED.with_borrow(|(used, kept)| kept.get(..*used).expect("few bytes are freed").to_vec())
}

/// How many bytes in blocks that `work` freed depend on the key, and how many there were.
///
/// Bytes that nobody initialised may differ each time; what differs with the key and is the same with the same key comes from the key.
fn left_of_key(len: usize, work: impl Fn(&[u8])) -> (usize, usize) {
    let key = |seed: u8| -> Vec<u8> {
        (0..96)
            .take(len)
            .map(|at: u8| at.wrapping_mul(37) ^ seed)
            .collect()
    };
    let keys = [key(0x5A), key(0xA7)];
    // At first use more is set up than keys.
    keys.iter().for_each(|key| work(key));
    let runs: Vec<[Vec<u8>; 2]> = (0..4)
        .map(|_| [0, 1].map(|n: usize| freed_by(|| work(&keys[n]))))
        .collect();
    let count = runs[0][0].len();
    assert!(runs.iter().flatten().all(|freed| freed.len() == count));
    let is_steady = |n: usize, at: usize| runs.iter().all(|run| run[n][at] == runs[0][n][at]);
    let of_key =
        |at: &usize| is_steady(0, *at) && is_steady(1, *at) && runs[0][0][*at] != runs[0][1][*at];
    ((0..count).filter(of_key).count(), count)
}

#[test]
fn what_is_left_is_seen() {
    assert_eq!(left_of_key(32, |key| drop(key.to_vec())), (32, 32));
    assert_eq!(
        left_of_key(32, |key| drop(Zeroizing::new(key.to_vec()))),
        (0, 32)
    );
}

/// Bytes of key that a context may leave behind.
///
/// The portable kinds are enums of different sizes: a smaller one is moved to its box with whatever stood on the stack behind it, a few bytes of
/// which may come from expanding the key, and no drop reaches them.
const fn stale(suite: Suite) -> usize {
    match suite {
        Suite::AesGcm(_) => 0,
        Suite::AesCbcHmac(..) | Suite::TripleDesHmac(_) => 32,
    }
}

/// Neither in the context's own memory nor in any that was used to make it.
#[test]
fn a_dropped_context_leaves_no_key_behind() {
    for engine in Engine::available() {
        for suite in Suite::ALL {
            let sealing = |key: &[u8]| drop(SealContext::new(engine, suite, key).unwrap());
            let opening = |key: &[u8]| drop(OpenContext::new(engine, suite, key).unwrap());
            for (left, count) in [
                left_of_key(suite.key_len(), sealing),
                left_of_key(suite.key_len(), opening),
            ] {
                assert!(count >= suite.cipher_key_len());
                let what = format!("{} {suite:?}: {left} of {count} bytes", engine.name());
                assert!(left <= stale(suite), "{what}");
            }
        }
    }
}
