//! The packet path allocates nothing: a counting allocator watches a worker at work in both directions, in every suite.
#![allow(
    unsafe_code,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a global allocator is unsafe to write; a test that is wrong may panic"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use culvert_crypto::{Engine, Suite};
use culvert_dataplane::api::Encapsulation;
use culvert_dataplane::moment::Moment;
use culvert_dataplane::verdict::Reason;
use culvert_wire::ipv4::{self, Protocol};

mod bench;

use bench::{Bench, GATEWAY, HOST, Setting, benches, data, frame, ip};

/// Counts what this thread allocates and frees, and passes everything on.
struct Counting;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator unchanged; counting touches only a thread-local cell that needs no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller keeps the contract of `dealloc`, and `alloc` came from the same allocator.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as for `dealloc`.
        unsafe { System.realloc(at, layout, size) }
    }
}

fn count() {
    CALLS.with(|calls| calls.set(calls.get() + 1));
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BURSTS: u32 = 6;

/// What may be set in every way.
fn settings() -> Vec<Setting> {
    let mut settings = Vec::new();
    for engine in Engine::available() {
        for suite in Suite::ALL {
            for encapsulation in [Encapsulation::Esp, Encapsulation::EspInUdp] {
                settings.push(Setting {
                    suite,
                    encapsulation,
                    engine,
                    mtu: 1_500,
                });
            }
        }
    }
    settings
}

/// Calls of the allocator within one turn of the worker.
fn calls_in_turn(bench: &mut Bench, now: Moment) -> u64 {
    let before = CALLS.with(Cell::get);
    bench.worker.turn(now);
    CALLS.with(Cell::get) - before
}

fn seconds(count: u32) -> Moment {
    Moment::from_micros(1_000_000 * u64::from(count))
}

/// Every kind of packet that a busy core sees: forwarded, fragmented, answered, punted, forged, replayed, unknown.
fn outer_burst(bench: &Bench, burst: u32) -> Vec<Vec<u8>> {
    let first = burst * 64 + 1;
    let forward = data(&ip(bench.address(), HOST, Protocol::UDP, &[5; 600]));
    let mut frames: Vec<_> = (0..40)
        .map(|number| bench.sealed(first + number, &forward))
        .collect();
    let mut echo = [0; 16];
    echo[0] = 8;
    let checksum = culvert_wire::checksum::of(&echo);
    echo[2..4].copy_from_slice(&checksum.to_be_bytes());
    let echo = data(&ip(bench.address(), GATEWAY, Protocol::ICMP, &echo));
    frames.push(bench.sealed(first + 40, &echo));
    frames.push(bench.sealed(first + 41, &[0xC8, 2, 0, 12, 0, 1, 0, 0, 0, 0, 0, 0]));
    let lcp = [0, 2, 0, 1, 0, 2, 0xFF, 3, 0xC0, 0x21, 9, 1, 0, 4];
    frames.push(bench.sealed(first + 42, &lcp));
    frames.push(frames[0].clone());
    let mut forged = bench.sealed(first + 43, &forward);
    *forged.last_mut().unwrap() ^= 1;
    frames.push(forged);
    frames.push(bench.outer_frame(&[9; 80]));
    frames.extend(halves(&bench.sealed(first + 44, &forward)));
    frames
}

/// A frame's packet in two fragments, the second one first.
fn halves(whole: &[u8]) -> [Vec<u8>; 2] {
    let (front, back) = whole[34..].split_at(320);
    [(back, 320, false), (front, 0, true)].map(|(part, offset, more)| {
        let mut fragment = [&whole[..34], part].concat();
        let total_len = 20 + part.len() as u16;
        ipv4::set_fragment(
            &mut fragment[14..],
            total_len,
            ipv4::Fragment { offset, more },
        );
        fragment
    })
}

fn core_burst(bench: &Bench) -> Vec<Vec<u8>> {
    let packet = |len: usize| frame(&ip(HOST, bench.address(), Protocol::UDP, &vec![3; len]));
    let mut frames: Vec<_> = (0..40).map(|_| packet(700)).collect();
    frames.push(packet(3_000));
    frames.push(frame(&ip(HOST, GATEWAY, Protocol::UDP, &[0; 30])));
    let mut forbidden = ip(HOST, bench.address(), Protocol::UDP, &[0; 1_450]);
    forbidden[6] = 0x40;
    forbidden[10..12].fill(0);
    let checksum = culvert_wire::checksum::of(&forbidden[..20]);
    forbidden[10..12].copy_from_slice(&checksum.to_be_bytes());
    frames.push(frame(&forbidden));
    frames
}

#[test]
fn the_counter_counts() {
    let before = CALLS.with(Cell::get);
    drop(std::hint::black_box(vec![0_u8; 100]));
    assert_eq!(CALLS.with(Cell::get) - before, 2);
}

#[test]
fn a_busy_worker_allocates_nothing() {
    for setting in settings() {
        let mut bench = benches(setting, 1).remove(0);
        let core = core_burst(&bench);
        for burst in 0..BURSTS {
            bench.arrive(&outer_burst(&bench, burst), &core);
            let calls = calls_in_turn(&mut bench, seconds(burst + 1));
            assert_eq!(calls, 0, "{setting:?}, burst {burst}");
            bench.take_all();
        }
        assert_worked(&bench, setting);
    }
}

/// Forwarded, reassembled and answered; then cut, and whole; and each drop once in a burst.
fn assert_worked(bench: &Bench, setting: Setting) {
    let (counters, bursts) = (&bench.worker.rows().counters, u64::from(BURSTS));
    assert!(counters.is_balanced());
    assert_eq!(
        (counters.outer.sent, counters.outer.punted),
        (42 * bursts, 2 * bursts),
        "{setting:?}"
    );
    assert_eq!(
        (counters.core.sent, counters.core.split),
        (44 * bursts, 2 * bursts)
    );
    for reason in [
        Reason::Forged,
        Reason::ReplayDuplicate,
        Reason::UnknownSpi,
        Reason::NoRoute,
        Reason::TooBig,
    ] {
        assert_eq!(counters.dropped_for(reason), bursts, "{}", reason.name());
    }
}

/// Batches of one and of 64, in each direction and in both.
#[test]
fn a_batch_of_any_size_allocates_nothing() {
    for setting in settings() {
        let mut bench = benches(setting, 1).remove(0);
        let mut sequence = 0;
        for (up, down) in [(1, 0), (0, 1), (1, 1), (64, 0), (0, 64), (64, 64)] {
            let forward = data(&ip(bench.address(), HOST, Protocol::UDP, &[5; 100]));
            let outer: Vec<_> = (0..up)
                .map(|number| bench.sealed(sequence + number + 1, &forward))
                .collect();
            sequence += up;
            let packet = frame(&ip(HOST, bench.address(), Protocol::UDP, &[3; 100]));
            bench.arrive(&outer, &vec![packet; down]);
            let calls = calls_in_turn(&mut bench, seconds(1));
            assert_eq!(calls, 0, "{setting:?}, {up} up and {down} down");
            assert_eq!(bench.take_all(), (down, up as usize), "{setting:?}");
        }
    }
}

/// Handing over, taking, and sending frames home.
#[test]
fn a_hand_off_allocates_nothing() {
    for setting in settings() {
        let mut benches = benches(setting, 2);
        for burst in 0..BURSTS {
            let (outer, core) = (outer_burst(&benches[1], burst), core_burst(&benches[1]));
            benches[0].arrive(&outer, &core);
            for round in 0..4 {
                for (number, bench) in benches.iter_mut().enumerate() {
                    let calls = calls_in_turn(bench, seconds(burst + 1));
                    assert_eq!(
                        calls, 0,
                        "{setting:?}, burst {burst}, round {round}, core {number}"
                    );
                    bench.take_all();
                }
            }
        }
        let [first, second] = [0, 1].map(|core: usize| &benches[core].worker.rows().counters);
        assert!(first.is_balanced() && second.is_balanced());
        let (given, taken) = (first.outer.given, second.outer.taken);
        assert!(
            given == taken && given > 40 * u64::from(BURSTS),
            "{given} {taken}"
        );
        assert_eq!(first.core.given, second.core.taken);
        assert_eq!(second.outer.punted, 2 * u64::from(BURSTS));
    }
}
