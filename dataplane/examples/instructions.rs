//! Passes packets through a worker for an instruction counter: `instructions ENGINE up|down gcm|cbc BYTES`, under callgrind.
//!
//! ```text
//! valgrind --tool=callgrind --collect-atstart=no --toggle-collect='*measured_turn*' instructions aesni up gcm 64
//! ```
//! Prints how many packets were counted. Without arguments it prints what of the processor it runs on decides which code is run, a line each:
//! instruction sets that libraries look for, and engines.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "a tool for developers: it prints figures, and panics if it is called wrongly"
)]

use culvert_crypto::{AesKey, Engine, Integrity, Suite};
use culvert_dataplane::api::Encapsulation;
use culvert_dataplane::moment::Moment;
use culvert_wire::ipv4::Protocol;

#[path = "../tests/bench/mod.rs"]
mod bench;

use bench::{Bench, HOST, Setting, benches, data, frame, ip};

/// Packets in a turn.
const BURST: u32 = 32;
/// Turns before counting: branches of a first packet are behind, pools and rings are filled.
const WARM: u32 = 4;
/// Turns counted.
const COUNTED: u32 = 8;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [engine, direction, suite, len] = &arguments[..] else {
        return print_processor();
    };
    let setting = Setting {
        suite: match &suite[..] {
            "gcm" => Suite::AesGcm(AesKey::Bits128),
            "cbc" => Suite::AesCbcHmac(AesKey::Bits256, Integrity::Sha1_96),
            other => panic!("no suite {other}"),
        },
        encapsulation: Encapsulation::Esp,
        engine: Engine::named(engine).expect("an engine of this processor"),
        mtu: 1_600,
    };
    let is_up = direction == "up";
    let mut bench = benches(setting, 1).remove(0);
    for turn in 0..WARM + COUNTED {
        let frames: Vec<_> = (0..BURST)
            .map(|number| {
                arriving(
                    &bench,
                    is_up,
                    turn * BURST + number + 1,
                    len.parse().unwrap(),
                )
            })
            .collect();
        let (outer, core) = if is_up {
            (&frames[..], &[][..])
        } else {
            (&[][..], &frames[..])
        };
        bench.arrive(outer, core);
        if turn < WARM {
            bench.worker.turn(Moment::from_micros(1));
        } else {
            measured_turn(&mut bench);
        }
        let all = BURST as usize;
        assert_eq!(bench.take_all(), if is_up { (0, all) } else { (all, 0) });
    }
    println!("{}", BURST * COUNTED);
}

/// What is counted: the name is what the counter looks for.
#[inline(never)]
fn measured_turn(bench: &mut Bench) {
    std::hint::black_box(&mut bench.worker).turn(Moment::from_micros(1));
}

/// A frame from the client, or to it, around an inner packet of `len` bytes.
fn arriving(bench: &Bench, is_up: bool, number: u32, len: usize) -> Vec<u8> {
    let payload = vec![number as u8; len - 20];
    if is_up {
        let inner = ip(bench.address(), HOST, Protocol::UDP, &payload);
        bench.sealed(number, &data(&inner))
    } else {
        frame(&ip(HOST, bench.address(), Protocol::UDP, &payload))
    }
}

fn print_processor() {
    #[cfg(target_arch = "x86_64")]
    for (name, is_there) in [
        ("ssse3", is_x86_feature_detected!("ssse3")),
        ("aes", is_x86_feature_detected!("aes")),
        ("pclmulqdq", is_x86_feature_detected!("pclmulqdq")),
        ("sha", is_x86_feature_detected!("sha")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("bmi2", is_x86_feature_detected!("bmi2")),
        ("vaes", is_x86_feature_detected!("vaes")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
    ] {
        println!("{name} {is_there}");
    }
    for engine in Engine::available() {
        println!("engine {}", engine.name());
    }
}
