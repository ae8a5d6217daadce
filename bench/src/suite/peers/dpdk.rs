//! DPDK's own measure of its crypto devices, as Debian builds it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use culvert_crypto::{AesKey, BURST, Integrity, Suite};
use tempfile::NamedTempFile;

use super::ours::{Crypto, Work};
use super::{PeerRow, child, our_name};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::measure::{Bench, Contest, Placement, Spread, Standing, Timing};

/// Its name in rows.
pub(super) const NAME: &str = "dpdk";
/// What to say where it is not.
const ABSENT: &str = "dpdk: left out. `apt-get install --no-install-recommends dpdk-dev` (Debian 12) brings dpdk-test-crypto-perf and its \
ipsec-mb devices";
/// What to say where it has no room.
const ONE_CORE: &str = "dpdk: left out. It wants two cores, one of which waits";

const PROGRAM: &str = "dpdk-test-crypto-perf";
/// Bytes of plaintext; with AES-CBC in whole blocks.
const BYTES: [usize; 3] = [64, 576, 1_420];
/// Runs of the program: each gives one sample of each size.
const RUNS: usize = 9;
/// How long a run may take; it takes less than a second.
const PATIENCE: Duration = Duration::from_secs(20);

/// A suite in one direction.
struct Task {
    name: &'static str,
    suite: Suite,
    work: Work,
    /// The program's words for it.
    words: &'static str,
    device: &'static str,
}

const TASKS: [Task; 6] = [
    Task {
        name: "aes-gcm-128 seal",
        suite: Suite::AesGcm(AesKey::Bits128),
        work: Work::Seal,
        words: "--optype aead --aead-algo aes-gcm --aead-op encrypt --aead-key-sz 16 --aead-iv-sz 12 --aead-aad-sz 8 --digest-sz 16",
        device: "crypto_aesni_gcm",
    },
    Task {
        name: "aes-gcm-128 open",
        suite: Suite::AesGcm(AesKey::Bits128),
        work: Work::Open,
        words: "--optype aead --aead-algo aes-gcm --aead-op decrypt --aead-key-sz 16 --aead-iv-sz 12 --aead-aad-sz 8 --digest-sz 16",
        device: "crypto_aesni_gcm",
    },
    Task {
        name: "aes-gcm-256 seal",
        suite: Suite::AesGcm(AesKey::Bits256),
        work: Work::Seal,
        words: "--optype aead --aead-algo aes-gcm --aead-op encrypt --aead-key-sz 32 --aead-iv-sz 12 --aead-aad-sz 8 --digest-sz 16",
        device: "crypto_aesni_gcm",
    },
    Task {
        name: "aes-gcm-256 open",
        suite: Suite::AesGcm(AesKey::Bits256),
        work: Work::Open,
        words: "--optype aead --aead-algo aes-gcm --aead-op decrypt --aead-key-sz 32 --aead-iv-sz 12 --aead-aad-sz 8 --digest-sz 16",
        device: "crypto_aesni_gcm",
    },
    Task {
        name: "aes-cbc-256-sha1 seal",
        suite: Suite::AesCbcHmac(AesKey::Bits256, Integrity::Sha1_96),
        work: Work::Seal,
        words: "--optype cipher-then-auth --cipher-algo aes-cbc --cipher-op encrypt --cipher-key-sz 32 --cipher-iv-sz 16 --auth-algo sha1-hmac --auth-op generate --auth-key-sz 20 --digest-sz 12",
        device: "crypto_aesni_mb",
    },
    Task {
        name: "aes-cbc-256-sha1 open",
        suite: Suite::AesCbcHmac(AesKey::Bits256, Integrity::Sha1_96),
        work: Work::Open,
        words: "--optype auth-then-cipher --cipher-algo aes-cbc --cipher-op decrypt --cipher-key-sz 32 --cipher-iv-sz 16 --auth-algo sha1-hmac --auth-op verify --auth-key-sz 20 --digest-sz 12",
        device: "crypto_aesni_mb",
    },
];

/// The installed program.
pub(super) struct Program {
    path: PathBuf,
    /// The core that waits, and the one that works.
    cores: [usize; 2],
}

impl Program {
    /// Looks for it; it works on `core`, by default on the last one.
    ///
    /// # Errors
    /// Why it is left out.
    pub(super) fn find(core: Option<usize>) -> Result<Self, &'static str> {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::split_paths(&folders)
            .map(|folder| folder.join(PROGRAM))
            .find(|path| path.is_file())
            .ok_or(ABSENT)?;
        let cores = Placement::without(core_affinity::get_core_ids).unwrap_or_default();
        let ids = || cores.iter().map(|core| core.id);
        let works = core.or_else(|| ids().max()).ok_or(ONE_CORE)?;
        let waits = ids().find(|id| *id != works).ok_or(ONE_CORE)?;
        Ok(Self {
            path,
            cores: [waits, works],
        })
    }

    /// Every suite, direction and size.
    pub(super) fn rows(&self, bench: &mut Bench) -> Result<Vec<PeerRow>, Failure> {
        let vector = vector().map_err(Failure::io("test vector"))?;
        let tasks = if bench.quick { &TASKS[..1] } else { &TASKS[..] };
        let mut rows = Vec::new();
        for task in tasks {
            rows.extend(self.compare(task, vector.path(), bench)?);
        }
        Ok(rows)
    }

    /// The program and Culvert in turn.
    fn compare(
        &self,
        task: &Task,
        vector: &Path,
        bench: &mut Bench,
    ) -> Result<Vec<PeerRow>, Failure> {
        let runs = if bench.quick { 1 } else { RUNS };
        let mut samples: BTreeMap<usize, [Vec<f64>; 2]> = BTreeMap::new();
        for run in 1..=runs {
            bench
                .progress
                .update(|| format!("{NAME}: {}, {run} of {runs}", task.name));
            for (bytes, theirs) in self.once(task, vector, &bench.interrupt)? {
                let [_, core] = self.cores;
                let ours = Placement::hold(Some(core), |_| ours(task, bytes, bench))?;
                let [our_samples, their_samples] = samples.entry(bytes).or_default();
                our_samples.extend(ours);
                their_samples.push(theirs);
            }
        }
        let mut rows = Vec::new();
        for (bytes, samples) in samples {
            for (name, samples) in [our_name(), NAME.to_owned()].into_iter().zip(samples) {
                let standing = Spread::of(&samples).map(|spread| Standing {
                    name,
                    timing: Timing::new(&bench.clock, spread),
                });
                rows.extend(standing.map(|standing| PeerRow::of(task.name, 1, bytes, standing)));
            }
        }
        Ok(rows)
    }

    /// Runs the program once; returns size and cycles per packet.
    fn once(
        &self,
        task: &Task,
        vector: &Path,
        interrupt: &Interrupt,
    ) -> Result<Vec<(usize, f64)>, Failure> {
        let sizes = sizes(task);
        let mut arguments = arguments(self.cores, task, &sizes);
        if task.words.contains("--auth-op verify") {
            arguments.extend(["--test-file".to_owned(), vector.display().to_string()]);
        }
        let words = child::run(&self.path, &arguments, PATIENCE, interrupt)?;
        samples(&words, &sizes)
            .ok_or_else(|| Failure::Command(format!("{PROGRAM} {}", arguments.join(" ")), words))
    }
}

/// What the program wants to read where it verifies an HMAC. The digest is not that of the ciphertext: the devices hash, decrypt, and
/// then compare, so the work is the same.
fn vector() -> io::Result<NamedTempFile> {
    let mut file = NamedTempFile::new()?;
    let longest = BYTES.map(|bytes| bytes.next_multiple_of(16));
    let longest = longest.into_iter().max().unwrap_or_default();
    for (name, len) in [
        ("plaintext", longest),
        ("ciphertext", longest),
        ("cipher_key", 32),
        ("auth_key", 20),
        ("cipher_iv", 16),
        ("digest", 12),
    ] {
        let bytes: Vec<String> = (0..len).map(|at| format!("{:#04x}", at % 251)).collect();
        writeln!(file, "{name} =\n{}", bytes.join(", "))?;
    }
    file.flush()?;
    Ok(file)
}

/// Cycles per packet of Culvert at the same work; one sample.
fn ours(task: &Task, bytes: usize, bench: &mut Bench) -> Result<Option<f64>, Failure> {
    let mut crypto = Crypto::new(task.suite, 1, bytes)
        .ok_or_else(|| Failure::Wrong(format!("{} {}", our_name(), task.name)))?;
    let mut contest = Contest::new();
    contest.add(our_name(), BURST as u64, move || {
        crypto.burst(task.work);
    });
    let standings = contest.run(bench, task.name)?;
    Ok(standings.first().map(|standing| standing.timing.cycles))
}

/// Bytes that the program is given.
fn sizes(task: &Task) -> Vec<usize> {
    let block = |bytes: usize| bytes.next_multiple_of(task.suite.alignment());
    BYTES.into_iter().map(block).collect()
}

fn arguments([waits, works]: [usize; 2], task: &Task, sizes: &[usize]) -> Vec<String> {
    let Task { words, device, .. } = task;
    let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
    let text = format!(
        "-l {waits},{works} --main-lcore {waits} --no-huge --no-shconf -m 512 --no-pci --no-telemetry --log-level error --vdev {device} -- \
         --ptest throughput --devtype {device} {words} --buffer-sz {} --burst-sz 32 --total-ops 300000 --pool-sz 4096 --silent \
         --csv-friendly",
        sizes.join(","),
    );
    text.split_whitespace().map(str::to_owned).collect()
}

/// Size and cycles per packet in what the program said; `None` unless each size was worked once and wholly, in this order.
fn samples(words: &str, sizes: &[usize]) -> Option<Vec<(usize, f64)>> {
    let samples: Vec<_> = words.lines().filter_map(sample).collect();
    let worked = samples.iter().map(|(bytes, _)| bytes);
    worked.eq(sizes).then_some(samples)
}

/// A line of results: `core,bytes,burst,enqueued,dequeued,failed,failed,Mops,Gbps,cycles`. What failed was tried again.
fn sample(line: &str) -> Option<(usize, f64)> {
    let fields: Vec<&str> = line.trim().split(',').collect();
    let [core, bytes, _, enqueued, dequeued, _, _, _, _, cycles] = fields.as_slice() else {
        return None;
    };
    core.parse::<u32>().ok()?;
    let cycles: f64 = cycles.parse().ok()?;
    let is_whole = enqueued == dequeued && cycles.is_finite() && cycles > 0.0;
    is_whole.then_some((bytes.parse().ok()?, cycles))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the program of Debian 12 says.
    const WORDS: &str = "Allocated pool \"sess_mp_0\" on socket 0\n\
        #lcore id,Buffer Size(B),Burst Size,Enqueued,Dequeued,Failed Enq,Failed Deq,Ops(Millions),Throughput(Gbps),Cycles/Buf\n\n\
        1,64,32,300000,300000,0,0,9.002,4.609,288.836\n\
        1,576,32,300000,300000,0,0,4.222,19.456,615.781\n\
        1,1424,32,300000,300000,12,7,1.747,19.906,1487.931\n\n";

    #[test]
    fn sizes_and_cycles_are_read_and_nothing_else() {
        let read = samples(WORDS, &[64, 576, 1_424]);
        let expected = vec![(64, 288.836), (576, 615.781), (1_424, 1_487.931)];
        assert_eq!(read, Some(expected));
    }

    #[test]
    fn what_is_not_whole_is_no_result() {
        let sizes = [64, 576, 1_424];
        for (from, to) in [
            ("1,576,32,300000,300000", "1,576,32,300000,299968"),
            ("615.781", "inf"),
            ("615.781", "0.000"),
            ("615.781", "-nan"),
            ("1,576,", "1,577,"),
            ("1,576,32,", "1,576,"),
            ("1,576,", "1,64,"),
        ] {
            assert!(WORDS.contains(from), "{from}");
            assert_eq!(samples(&WORDS.replace(from, to), &sizes), None, "{to}");
        }
        assert_eq!(samples("", &sizes), None);
        assert_eq!(samples(&WORDS.repeat(2), &sizes), None);
    }

    #[test]
    fn the_vector_has_a_line_of_bytes_under_each_name() {
        let text = std::fs::read_to_string(vector().unwrap().path()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let read: Vec<(&str, usize)> = lines
            .chunks(2)
            .map(|pair| (pair[0], pair[1].split(", ").count()))
            .collect();
        let (plain, sealed) = (("plaintext =", 1_424), ("ciphertext =", 1_424));
        assert_eq!(read[..2], [plain, sealed]);
        assert_eq!(read[5], ("digest =", 12));
        assert!(lines[1].starts_with("0x00, 0x01, "), "{}", lines[1]);
    }

    #[test]
    fn each_task_asks_for_its_sizes_on_its_core() {
        for task in &TASKS {
            let text = arguments([0, 3], task, &sizes(task)).join(" ");
            assert!(text.starts_with("-l 0,3 --main-lcore 0 "), "{text}");
            let is_cbc = task.name.starts_with("aes-cbc");
            let sizes = if is_cbc { "64,576,1424" } else { "64,576,1420" };
            assert!(text.contains(&format!("--buffer-sz {sizes} ")), "{text}");
            let device = if is_cbc {
                "crypto_aesni_mb"
            } else {
                "crypto_aesni_gcm"
            };
            assert!(text.contains(&format!("--devtype {device} ")), "{text}");
        }
    }
}
