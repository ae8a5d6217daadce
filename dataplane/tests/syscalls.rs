//! The packet path makes no system call and reads no clock: a thread in the kernel's strict secure computing mode passes packets.
//!
//! In that mode the kernel kills a thread at any system call but `read`, `write` and `exit`, and the processor's time stamp counter, which a
//! clock read without a system call needs, raises a fault. The only `write`s of a worker are the signals to its process and to other cores;
//! those are counted.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test that is wrong may panic"
)]
#![cfg(target_arch = "x86_64")]

use std::os::fd::OwnedFd;
use std::thread;

use culvert_crypto::{AesKey, Engine, Integrity, Suite};
use culvert_dataplane::api::Encapsulation;
use culvert_dataplane::moment::Moment;
use culvert_wire::ipv4::Protocol;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::thread::{SecureComputingMode, set_secure_computing_mode};

mod bench;

use bench::{Bench, HOST, Setting, benches, data, frame, ip};

/// Packets of each direction in a turn.
const BURST: u32 = 64;
const TURNS: u32 = 8;

/// What arrives in one turn from outside, and from the core side.
struct Burst {
    up: Vec<Vec<u8>>,
    down: Vec<Vec<u8>>,
}

/// What arrives on the first core in each turn, both ways, for the client of `owner`.
fn bursts(owner: &Bench) -> Vec<Burst> {
    let forward = data(&ip(owner.address(), HOST, Protocol::UDP, &[5; 600]));
    let down = frame(&ip(HOST, owner.address(), Protocol::UDP, &[3; 600]));
    let burst = |turn: u32| {
        let numbers = turn * BURST + 1..=(turn + 1) * BURST;
        let up = numbers
            .map(|number| owner.sealed(number, &forward))
            .collect();
        Burst {
            up,
            down: vec![down.clone(); BURST as usize],
        }
    };
    (0..TURNS).map(burst).collect()
}

/// Passes everything in a thread that may make no system call; it says on `done` when it is through, and waits for ever.
fn pass_in_strict_mode(mut benches: Vec<Bench>, done: OwnedFd, forever: OwnedFd) {
    let bursts = bursts(benches.last().unwrap());
    thread::spawn(move || {
        // The SA's first packet is told to control, and whatever a thread sets up at its first use is set up now.
        let (first, rest) = bursts.split_first().unwrap();
        pass(&mut benches, first);
        benches.iter().for_each(|bench| bench.link.acknowledge());
        set_secure_computing_mode(SecureComputingMode::Strict).unwrap();
        let each = BURST as usize;
        let is_good = rest
            .iter()
            .all(|burst| pass(&mut benches, burst) == (each, each))
            && benches.iter().all(is_silent);
        rustix::io::write(&done, &[u8::from(is_good)]).unwrap();
        let _ = rustix::io::read(&forever, &mut [0; 1]);
    });
}

/// Returns how many packets came out on either side of all cores.
fn pass(benches: &mut [Bench], burst: &Burst) -> (usize, usize) {
    benches[0].arrive(&burst.up, &burst.down);
    let mut passed = (0, 0);
    for bench in benches {
        // What is handed over comes in one batch in a turn, whichever way it goes.
        for _ in 0..2 {
            bench.worker.turn(Moment::from_micros(1));
            let (outer, core) = bench.take_all();
            passed = (passed.0 + outer, passed.1 + core);
        }
    }
    passed
}

/// Whether the worker has not signalled its process.
fn is_silent(bench: &Bench) -> bool {
    rustix::io::read(bench.link.ready(), &mut [0; 8]) == Err(Errno::AGAIN)
}

/// Whether the worker passed everything without a system call.
fn passes(setting: Setting, cores: u8) -> bool {
    let (told, done) = rustix::pipe::pipe().unwrap();
    let (forever, writer) = rustix::pipe::pipe().unwrap();
    pass_in_strict_mode(benches(setting, cores), done, forever);
    let patience = Timespec {
        tv_sec: 20,
        tv_nsec: 0,
    };
    let mut fds = [PollFd::new(&told, PollFlags::IN)];
    let mut answer = [0];
    // A thread that was killed says nothing.
    let is_told = poll(&mut fds, Some(&patience)).unwrap() == 1;
    let passes = is_told && rustix::io::read(&told, &mut answer) == Ok(1) && answer == [1];
    // A thread in that mode cannot end, so it waits until the process does.
    std::mem::forget(writer);
    passes
}

#[test]
fn packets_pass_without_a_system_call_or_clock() {
    let suites = [
        Suite::AesGcm(AesKey::Bits128),
        Suite::AesCbcHmac(AesKey::Bits256, Integrity::Sha1_96),
    ];
    let ways = [(Encapsulation::Esp, 1), (Encapsulation::EspInUdp, 2)];
    for engine in Engine::available() {
        for suite in suites {
            for (encapsulation, cores) in ways {
                let setting = Setting {
                    suite,
                    encapsulation,
                    engine,
                    mtu: 1_500,
                };
                assert!(passes(setting, cores), "{setting:?} on {cores} cores");
            }
        }
    }
}
