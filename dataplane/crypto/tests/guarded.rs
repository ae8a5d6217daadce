//! No engine touches a byte outside the buffers of its ops: they lie against pages that fault, for every length, before and behind.
#![allow(
    unsafe_code,
    clippy::unwrap_used,
    reason = "pages are mapped and protected; a test that is wrong may panic"
)]

use std::ptr::null_mut;

use culvert_crypto::{Engine, OpenContext, OpenOp, SealContext, SealOp, Suite};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

const PAGE: usize = 4_096;
/// Readable pages between the two that fault.
const PAGES: usize = 1;
const LONGEST: usize = 2_100;

/// At which guard page a buffer lies.
#[derive(Clone, Copy, Debug)]
enum Side {
    Front,
    Back,
}

/// Memory between two pages that fault at any access.
struct Guarded(*mut u8);

impl Guarded {
    const LEN: usize = (PAGES + 2) * PAGE;

    fn new() -> Self {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses disturbs no memory in use.
        let start = unsafe { mmap_anonymous(null_mut(), Self::LEN, access, MapFlags::PRIVATE) };
        let start = start.unwrap();
        for guard in [0, Self::LEN - PAGE] {
            let at = start.wrapping_byte_add(guard);
            // SAFETY: the page is in the mapping just made, to which nobody has a reference yet.
            unsafe { mprotect(at, PAGE, MprotectFlags::empty()) }.unwrap();
        }
        Self(start.cast())
    }

    /// `len` bytes right behind the first guard page or right before the second.
    fn bytes(&mut self, len: usize, side: Side) -> &mut [u8] {
        assert!(len <= PAGES * PAGE);
        let offset = match side {
            Side::Front => PAGE,
            Side::Back => PAGE + PAGES * PAGE - len,
        };
        // SAFETY: the bytes are in the mapping's readable pages, which live as long as `self` and are borrowed with it.
        unsafe { std::slice::from_raw_parts_mut(self.0.wrapping_add(offset), len) }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new`, and nothing borrows it any more.
        unsafe { munmap(self.0.cast(), Self::LEN) }.unwrap();
    }
}

/// Buffers of one packet.
struct Pages {
    aad: Guarded,
    plain: Guarded,
    sealed: Guarded,
    opened: Guarded,
}

fn pattern(seed: usize) -> impl Fn(usize) -> u8 {
    move |at| (at * 31 + seed * 7 + (at >> 8)).to_le_bytes()[0]
}

fn fill(bytes: &mut [u8], seed: usize) {
    let byte = pattern(seed);
    bytes
        .iter_mut()
        .enumerate()
        .for_each(|(at, to)| *to = byte(at));
}

/// Keys of one suite for one engine.
struct Keys {
    engine: Engine,
    suite: Suite,
    seal: SealContext,
    open: OpenContext,
}

impl Keys {
    fn new(engine: Engine, suite: Suite) -> Self {
        let key: Vec<u8> = (0..suite.key_len()).map(pattern(3)).collect();
        Self {
            engine,
            suite,
            seal: SealContext::new(engine, suite, &key).unwrap(),
            open: OpenContext::new(engine, suite, &key).unwrap(),
        }
    }

    /// Seals and opens a packet apart and in place; then the last byte is changed, and it is refused.
    fn pass(&self, pages: &mut Pages, len: usize, side: Side) {
        let (suite, what) = (
            self.suite,
            format!("{} {:?} {len} {side:?}", self.engine.name(), self.suite),
        );
        let aad = pages.aad.bytes([8, 12][len / suite.alignment() % 2], side);
        fill(aad, 1);
        let (plain, sealed) = (
            pages.plain.bytes(len, side),
            pages.sealed.bytes(suite.sealed_len(len), side),
        );
        fill(plain, len);
        let iv = self.seal.iv(len as u64);
        self.engine
            .seal_burst(&mut [SealOp::new(&self.seal, aad, iv, plain, sealed).unwrap()]);
        let apart = sealed.to_vec();

        let opened = pages.opened.bytes(len, side);
        let op = OpenOp::new(&self.open, aad, sealed, opened).unwrap();
        assert!(self.engine.open_burst(&mut [op]).contains(0), "{what}");
        assert_eq!(plain, opened, "{what}");

        let text = suite.iv_len()..suite.iv_len() + len;
        let op = OpenOp::in_place(&self.open, aad, sealed).unwrap();
        assert!(
            self.engine.open_burst(&mut [op]).contains(0),
            "{what} in place"
        );
        assert_eq!(plain, &sealed[text.clone()], "{what} in place");
        self.engine
            .seal_burst(&mut [SealOp::in_place(&self.seal, aad, iv, sealed).unwrap()]);
        assert_eq!(sealed, apart, "{what} in place");

        *sealed.last_mut().unwrap() ^= 1;
        let op = OpenOp::new(&self.open, aad, sealed, opened).unwrap();
        assert!(
            !self.engine.open_burst(&mut [op]).contains(0),
            "{what} forged"
        );
        let op = OpenOp::in_place(&self.open, aad, sealed).unwrap();
        assert!(
            !self.engine.open_burst(&mut [op]).contains(0),
            "{what} forged in place"
        );
        let is_zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
        assert!(
            is_zero(opened) && is_zero(&sealed[text]),
            "{what}: forged, and bytes left"
        );
    }
}

#[test]
fn no_engine_reads_or_writes_beyond_its_buffers_at_any_length() {
    let mut pages = Pages {
        aad: Guarded::new(),
        plain: Guarded::new(),
        sealed: Guarded::new(),
        opened: Guarded::new(),
    };
    for engine in Engine::available() {
        for suite in Suite::ALL {
            let keys = Keys::new(engine, suite);
            let (first, step) = match suite {
                Suite::AesGcm(_) => (0, 1),
                Suite::AesCbcHmac(..) | Suite::TripleDesHmac(_) => {
                    (suite.alignment(), suite.alignment())
                }
            };
            for len in (first..=LONGEST).step_by(step) {
                keys.pass(&mut pages, len, Side::Front);
                keys.pass(&mut pages, len, Side::Back);
            }
        }
    }
}

/// Bursts take other ways than single packets: ops of one key, and of all suites side by side.
#[test]
fn no_engine_reads_or_writes_beyond_the_buffers_of_a_burst() {
    for engine in Engine::available() {
        let keys: Vec<Keys> = Suite::ALL
            .into_iter()
            .map(|suite| Keys::new(engine, suite))
            .collect();
        let alone = |suite: usize, count: usize| (vec![suite; count], suite);
        let one_key = (0..keys.len()).flat_map(|suite| [alone(suite, 7), alone(suite, 64)]);
        let mixed =
            (0..64).map(|start| ((start..start + 64).map(|n| n % keys.len()).collect(), start));
        for (suites, seed) in one_key.chain(mixed) {
            for side in [Side::Front, Side::Back] {
                pass_burst(engine, &keys, &suites, seed, side);
            }
        }
    }
}

/// A buffer for each op: its length, and pages.
fn buffers(lens: impl Iterator<Item = usize>) -> Vec<(usize, Guarded)> {
    lens.map(|len| (len, Guarded::new())).collect()
}

fn pass_burst(engine: Engine, keys: &[Keys], suites: &[usize], seed: usize, side: Side) {
    let of = |at: usize| &keys[suites[at]];
    let len = |at: usize| {
        let step = of(at).suite.alignment();
        ((seed * 131 + at * 97) % 1_500 / step + 1) * step
    };
    let count = suites.len();
    let mut plain = buffers((0..count).map(len));
    let mut sealed = buffers((0..count).map(|at| of(at).suite.sealed_len(len(at))));
    let mut opened = buffers((0..count).map(len));
    let mut aad = Guarded::new();
    let aad: &[u8] = aad.bytes(8, side);
    let mut ops: Vec<_> = plain
        .iter_mut()
        .zip(&mut sealed)
        .enumerate()
        .map(|(at, ((len, plain), (sealed_len, sealed)))| {
            let (context, source) = (&of(at).seal, plain.bytes(*len, side));
            fill(source, at);
            SealOp::new(
                context,
                aad,
                context.iv(at as u64),
                source,
                sealed.bytes(*sealed_len, side),
            )
            .unwrap()
        })
        .collect();
    engine.seal_burst(&mut ops);
    let mut ops: Vec<_> = sealed
        .iter_mut()
        .zip(&mut opened)
        .enumerate()
        .map(|(at, ((sealed_len, sealed), (len, opened)))| {
            OpenOp::new(
                &of(at).open,
                aad,
                sealed.bytes(*sealed_len, side),
                opened.bytes(*len, side),
            )
            .unwrap()
        })
        .collect();
    assert_eq!(
        engine.open_burst(&mut ops).count() as usize,
        count,
        "{}",
        engine.name()
    );
    for ((len, plain), (_, opened)) in plain.iter_mut().zip(&mut opened) {
        assert_eq!(plain.bytes(*len, side), opened.bytes(*len, side));
    }
}
