//! The committed object in the kernel, by `BPF_PROG_TEST_RUN`: a table of frames, all their truncations, and a million random ones
//! on which it must agree with the classifier of user space. Needs root; without it every test says that it was skipped.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod frames;
mod kernel;
mod random;

use aya::maps::{Map, MapData};
use culvert_ebpf::{
    CLIENT_POOLS, COUNTERS, MAX_QUEUES, OBJECT, OUTER_ADDRESSES, Side, VERDICTS, counter,
};
use culvert_wire::classify::{Action, Verdict};

use crate::frames::{Sample, samples};
use crate::kernel::{DROP, Kernel, PASS, REDIRECT, SHORTEST, Sockets};

#[test]
fn every_frame_of_the_table_gets_its_verdict() {
    let Some(kernel) = Kernel::load(Sockets::Present) else {
        return;
    };
    for Sample {
        name,
        frame,
        side,
        verdict,
        ..
    } in samples()
    {
        assert_eq!(
            kernel.verdict(side, &frame),
            (verdict, action(verdict)),
            "{name}"
        );
        assert_eq!(
            frames::classify(side, &frame),
            verdict,
            "{name}, in user space"
        );
    }
}

#[test]
fn the_table_covers_every_verdict_of_each_side() {
    let seen = |side, verdict| {
        samples()
            .iter()
            .any(|sample| sample.side == side && sample.verdict == verdict)
    };
    for verdict in Verdict::ALL {
        let outer = !matches!(verdict, Verdict::Client | Verdict::NoSocket);
        assert_eq!(seen(Side::Outer, verdict), outer, "{verdict:?}");
        let core = matches!(
            verdict,
            Verdict::Client | Verdict::NotIp | Verdict::NotOurs | Verdict::Malformed
        );
        assert_eq!(seen(Side::Core, verdict), core, "{verdict:?}");
    }
}

/// A frame that ends before what decides about it is malformed, and from there on its verdict stands.
#[test]
fn every_truncation_is_malformed_until_the_verdict_is_certain() {
    let kernel = Kernel::load(Sockets::Present);
    for Sample {
        name,
        frame,
        side,
        verdict,
        decided_at,
    } in samples()
    {
        for len in 0..=frame.len() {
            let cut = &frame[..len];
            let expected = if len < decided_at {
                Verdict::Malformed
            } else {
                verdict
            };
            assert_eq!(
                frames::classify(side, cut),
                expected,
                "{name}, {len} bytes, in user space"
            );
            // The kernel takes no test frame without a whole Ethernet header.
            if let Some(kernel) = kernel.as_ref().filter(|_| len >= SHORTEST) {
                assert_eq!(
                    kernel.verdict(side, cut),
                    (expected, action(expected)),
                    "{name}, {len} bytes"
                );
            }
        }
    }
}

#[test]
fn without_a_socket_what_would_be_steered_is_dropped_and_counted() {
    let Some(kernel) = Kernel::load(Sockets::Absent) else {
        return;
    };
    for Sample {
        name,
        frame,
        side,
        verdict,
        ..
    } in samples()
    {
        let expected = match verdict.action() {
            Action::Steer => (Verdict::NoSocket, DROP),
            Action::Pass | Action::Drop => (verdict, PASS),
        };
        assert_eq!(kernel.verdict(side, &frame), expected, "{name}");
    }
}

/// Frames are compared one by one by what the kernel does with them, and batch by batch by its counters.
#[test]
fn kernel_and_user_space_agree_on_a_million_random_frames() {
    const FRAMES: usize = 1_000_000;
    const BATCH: usize = 500;
    const SEED: u64 = 0x00C0_1BE1_7051_7EE5;
    let Some(kernel) = Kernel::load(Sockets::Present) else {
        return;
    };
    let mut random = random::Random::new(SEED);
    let mut frame = Vec::new();
    let mut expected = [[0; Verdict::ALL.len()]; 2];
    for batch in 0..FRAMES / BATCH {
        for _ in 0..BATCH {
            random::fill(&mut random, &mut frame);
            // Each frame goes to one side, the outer one twice as often: it decides more.
            let side = if random.below(3) == 0 {
                Side::Core
            } else {
                Side::Outer
            };
            let verdict = frames::classify(side, &frame);
            expected[side as usize][verdict.index()] += 1;
            assert_eq!(
                kernel.run(side, &frame),
                action(verdict),
                "seed {SEED:x}, {side:?}, {verdict:?}: {frame:02x?}"
            );
        }
        let counted = Side::ALL.map(|side| kernel.counters(side));
        assert_eq!(counted, expected, "seed {SEED:x}, batch {batch}");
    }
    for (side, verdict) in samples().iter().map(|sample| (sample.side, sample.verdict)) {
        let count = expected[side as usize][verdict.index()];
        assert!(
            count > FRAMES / 1_000,
            "{side:?}, {verdict:?}: only {count}"
        );
    }
}

#[test]
fn the_object_has_the_maps_that_the_library_names() {
    let Some(kernel) = Kernel::load(Sockets::Absent) else {
        return;
    };
    let entries = |name: &str| {
        kernel
            .map(name)
            .map(|data| data.info().unwrap().max_entries())
    };
    assert_eq!(entries(OUTER_ADDRESSES), Some(culvert_ebpf::MAX_ADDRESSES));
    assert_eq!(entries(CLIENT_POOLS), Some(culvert_ebpf::MAX_POOLS));
    assert_eq!(entries(VERDICTS), Some(COUNTERS));
    for side in Side::ALL {
        assert_eq!(entries(side.sockets()), Some(MAX_QUEUES));
    }
    assert_eq!(entries("OTHER"), None);
}

#[test]
fn counters_of_sides_and_verdicts_do_not_overlap() {
    let mut places: Vec<u32> = Side::ALL
        .into_iter()
        .flat_map(|side| Verdict::ALL.map(|verdict| counter(side, verdict)))
        .collect();
    places.sort_unstable();
    assert_eq!(places, (0..COUNTERS).collect::<Vec<_>>());
}

#[test]
fn the_object_is_aligned_as_elf_readers_ask() {
    assert_eq!(OBJECT.as_ptr().addr() % 8, 0);
    assert!(OBJECT.starts_with(b"\x7fELF"));
}

fn action(verdict: Verdict) -> u32 {
    match verdict.action() {
        Action::Steer => REDIRECT,
        Action::Drop => DROP,
        Action::Pass => PASS,
    }
}

/// What a map of any of our kinds consists of.
fn data_of(map: &Map) -> &MapData {
    let (Map::HashMap(data) | Map::LpmTrie(data) | Map::XskMap(data) | Map::PerCpuArray(data)) =
        map
    else {
        panic!("no map of ours: {map:?}");
    };
    data
}
