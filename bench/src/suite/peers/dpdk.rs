//! DPDK's own measure of its crypto devices, as Debian builds it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use culvert_crypto::{AesKey, BURST, Integrity, Suite};

use super::ours::{Crypto, Work};
use super::{PeerRow, our_name};
use crate::failure::Failure;
use crate::measure::{Bench, Contest, Spread, Standing, Timing};

/// Its name in rows.
pub(super) const NAME: &str = "dpdk";
/// What to say where it is not.
pub(super) const ABSENT: &str = "dpdk: left out. `apt-get install --no-install-recommends dpdk-dev` brings dpdk-test-crypto-perf and its ipsec-mb devices";

const PROGRAM: &str = "dpdk-test-crypto-perf";
/// Bytes of plaintext; with AES-CBC in whole blocks.
const BYTES: [usize; 3] = [64, 576, 1_420];
/// Runs of the program: each gives one sample of each size.
const RUNS: usize = 5;

/// A suite in one direction.
struct Task {
    name: &'static str,
    suite: Suite,
    work: Work,
    /// The program's words for it.
    words: &'static str,
}

const TASKS: [Task; 6] = [
    Task {
        name: "aes-gcm-128 seal",
        suite: Suite::AesGcm(AesKey::Bits128),
        work: Work::Seal,
        words: "--devtype crypto_aesni_gcm --optype aead --aead-algo aes-gcm --aead-op encrypt --aead-key-sz 16 --aead-iv-sz 12 --aead-aad-sz 8 --digest-sz 16",
    },
    Task {
        name: "aes-gcm-128 open",
        suite: Suite::AesGcm(AesKey::Bits128),
        work: Work::Open,
        words: "--devtype crypto_aesni_gcm --optype aead --aead-algo aes-gcm --aead-op decrypt --aead-key-sz 16 --aead-iv-sz 12 --aead-aad-sz 8 --digest-sz 16",
    },
    Task {
        name: "aes-gcm-256 seal",
        suite: Suite::AesGcm(AesKey::Bits256),
        work: Work::Seal,
        words: "--devtype crypto_aesni_gcm --optype aead --aead-algo aes-gcm --aead-op encrypt --aead-key-sz 32 --aead-iv-sz 12 --aead-aad-sz 8 --digest-sz 16",
    },
    Task {
        name: "aes-gcm-256 open",
        suite: Suite::AesGcm(AesKey::Bits256),
        work: Work::Open,
        words: "--devtype crypto_aesni_gcm --optype aead --aead-algo aes-gcm --aead-op decrypt --aead-key-sz 32 --aead-iv-sz 12 --aead-aad-sz 8 --digest-sz 16",
    },
    Task {
        name: "aes-cbc-256-sha1 seal",
        suite: Suite::AesCbcHmac(AesKey::Bits256, Integrity::Sha1_96),
        work: Work::Seal,
        words: "--devtype crypto_aesni_mb --optype cipher-then-auth --cipher-algo aes-cbc --cipher-op encrypt --cipher-key-sz 32 --cipher-iv-sz 16 --auth-algo sha1-hmac --auth-op generate --auth-key-sz 20 --digest-sz 12",
    },
    Task {
        name: "aes-cbc-256-sha1 open",
        suite: Suite::AesCbcHmac(AesKey::Bits256, Integrity::Sha1_96),
        work: Work::Open,
        words: "--devtype crypto_aesni_mb --optype auth-then-cipher --cipher-algo aes-cbc --cipher-op decrypt --cipher-key-sz 32 --cipher-iv-sz 16 --auth-algo sha1-hmac --auth-op verify --auth-key-sz 20 --digest-sz 12",
    },
];

/// The program, if it is installed.
pub(super) fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(PROGRAM))
        .find(|program| program.is_file())
}

/// Every suite, direction and size.
pub(super) fn rows(
    program: &Path,
    core: Option<usize>,
    bench: &mut Bench,
) -> Result<Vec<PeerRow>, Failure> {
    let (tasks, runs) = if bench.quick {
        (&TASKS[..1], 1)
    } else {
        (&TASKS[..], RUNS)
    };
    let mut rows = Vec::new();
    for task in tasks {
        let mut samples: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        for run in 1..=runs {
            bench
                .progress
                .update(|| format!("{NAME}: {}, {run} of {runs}", task.name));
            bench.interrupt.check()?;
            for (bytes, cycles) in once(program, core, task)? {
                samples.entry(bytes).or_default().push(cycles);
            }
        }
        for (bytes, samples) in samples {
            let theirs = Spread::of(&samples).map(|spread| Standing {
                name: NAME.to_owned(),
                timing: Timing::new(&bench.clock, spread),
            });
            let standings = ours(task, bytes, bench)?.into_iter().chain(theirs);
            rows.extend(standings.map(|standing| PeerRow::of(task.name, 1, bytes, standing)));
        }
    }
    Ok(rows)
}

fn ours(task: &Task, bytes: usize, bench: &mut Bench) -> Result<Vec<Standing>, Failure> {
    let mut crypto = Crypto::new(task.suite, 1, bytes)
        .ok_or_else(|| Failure::Wrong(format!("{} {}", our_name(), task.name)))?;
    let mut contest = Contest::new();
    contest.add(our_name(), BURST as u64, move || {
        crypto.burst(task.work);
    });
    contest.run(bench, task.name)
}

/// Runs the program once; returns cycles per packet by size.
fn once(program: &Path, core: Option<usize>, task: &Task) -> Result<Vec<(usize, f64)>, Failure> {
    let output = Command::new(program)
        .args(arguments(core, task))
        .stdin(Stdio::null())
        .output()
        .map_err(Failure::io(PROGRAM))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let samples: Vec<_> = text.lines().filter_map(sample).collect();
    if samples.len() == BYTES.len() {
        return Ok(samples);
    }
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Failure::Command(
        format!("{PROGRAM} {}", arguments(core, task).join(" ")),
        format!("{text}{words}"),
    ))
}

fn arguments(core: Option<usize>, task: &Task) -> Vec<String> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let worker = core.or_else(|| cores.iter().map(|core| core.id).max());
    let worker = worker.unwrap_or(1);
    // The main thread only waits; EAL wants another core for it.
    let main = if worker == 0 { 1 } else { 0 };
    let device = if task.words.contains("crypto_aesni_mb") {
        "crypto_aesni_mb"
    } else {
        "crypto_aesni_gcm"
    };
    let block = |bytes: &usize| bytes.next_multiple_of(task.suite.alignment());
    let sizes: Vec<String> = BYTES.iter().map(|bytes| block(bytes).to_string()).collect();
    let text = format!(
        "-l {main},{worker} --main-lcore {main} --no-huge -m 512 --no-pci --no-telemetry --log-level 1 --vdev {device} -- \
         --ptest throughput {} --buffer-sz {} --burst-sz 32 --total-ops 300000 --pool-sz 4096 --silent --csv-friendly",
        task.words,
        sizes.join(","),
    );
    text.split_whitespace().map(str::to_owned).collect()
}

/// Size and cycles per packet in a line of the program's: `core,bytes,burst,enqueued,dequeued,failed,failed,Mops,Gbps,cycles`.
fn sample(line: &str) -> Option<(usize, f64)> {
    let fields: Vec<&str> = line.split(',').collect();
    let [core, bytes, _, _, _, _, _, _, _, cycles] = fields.as_slice() else {
        return None;
    };
    core.parse::<u32>().ok()?;
    Some((bytes.parse().ok()?, cycles.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_and_cycles_are_read_and_nothing_else() {
        let line = "1,576,32,300000,300000,0,0,5.700,26.267,456.125";
        assert_eq!(sample(line), Some((576, 456.125)));
        let head = "#lcore id,Buffer Size(B),Burst Size,Enqueued,Dequeued,Failed Enq,Failed Deq,Ops(Millions),Throughput(Gbps),Cycles/Buf";
        assert_eq!(sample(head), None);
        assert_eq!(sample("Allocated pool \"sess_mp_0\" on socket 0"), None);
    }
}
