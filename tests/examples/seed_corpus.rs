//! Writes the fuzz corpus anew from the captures: `cargo run -p culvert-tests --example seed_corpus`.
//! Inputs that a fuzzer found are kept; seeds are named by their content.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::Path;

use culvert_dataplane::api::{Command, CoreId, Request, Ticket};
use culvert_dataplane::ipc;
use culvert_tests::fuzz::seeds;
use culvert_tests::keys::Keys;
use culvert_tests::pcap;

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut seen = BTreeSet::new();
    for capture in pcap::captures() {
        let keys = Keys::load(capture.parent().unwrap_or(&corpus))?;
        for frame in pcap::frames(&capture)? {
            for (name, input) in seeds(&frame, &keys) {
                if input.len() <= 512 && seen.insert((name, input.len())) {
                    write(&corpus.join(name), &input)?;
                }
            }
        }
    }
    write(&corpus.join("ipc"), &inventory_request())
}

fn inventory_request() -> Vec<u8> {
    let request = Request {
        ticket: Ticket(1),
        core: CoreId(0),
        command: Command::Inventory,
    };
    ipc::encode(&[request]).unwrap_or_default()
}

fn write(folder: &Path, input: &[u8]) -> io::Result<()> {
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    fs::create_dir_all(folder)?;
    fs::write(folder.join(format!("seed-{:016x}", hasher.finish())), input)
}
