//! Hostile bytes: every captured packet cut short at each length and with each bit flipped, and the committed fuzz corpus.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use culvert_tests::fuzz::{BODIES, mangle, seeds};
use culvert_tests::keys::Keys;
use culvert_tests::pcap;

/// Longer inputs are mangled only once per kind and length: a full-sized packet has 12,000 bits.
const SHORT: usize = 600;

#[test]
fn truncations_and_bit_flips_of_every_captured_packet_crash_no_parser() {
    let mut seen = BTreeSet::new();
    for capture in pcap::captures() {
        let keys = Keys::load(capture.parent().unwrap()).unwrap();
        for frame in pcap::frames(&capture).unwrap() {
            for (name, input) in seeds(&frame, &keys) {
                let shape = (name, input.len(), input.get(..2).map(<[u8]>::to_vec));
                if !seen.insert(shape) || input.len() > SHORT {
                    continue;
                }
                let (_, body) = BODIES.iter().find(|(body, _)| *body == name).unwrap();
                mangle(*body, &input);
            }
        }
    }
    let kinds: BTreeSet<_> = seen.iter().map(|(name, _, _)| *name).collect();
    assert_eq!(
        kinds,
        BTreeSet::from(["esp", "frame", "ike", "l2tp", "ppp"])
    );
}

#[test]
fn the_fuzz_corpus_replays() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, body) in BODIES {
        let folder = corpus.join(name);
        let mut replayed = 0;
        for entry in fs::read_dir(&folder).unwrap() {
            body(&fs::read(entry.unwrap().path()).unwrap());
            replayed += 1;
        }
        assert!(replayed > 0, "{} is empty", folder.display());
    }
}

#[test]
fn sealed_l2tp_in_every_capture_opens_with_its_keys() {
    for name in [
        "direct-ss-gcm",
        "direct-ss-cbcsha1",
        "direct-ss-cbcsha256",
        "nat-ss-gcm",
    ] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures")
            .join(name);
        let keys = Keys::load(&folder).unwrap();
        let frames = pcap::frames(&folder.join("small.pcap")).unwrap();
        let found: Vec<_> = frames
            .iter()
            .flat_map(|frame| seeds(frame, &keys))
            .collect();
        let count = |kind| found.iter().filter(|(name, _)| *name == kind).count();
        assert!(count("l2tp") > 20, "{name}: {} messages", count("l2tp"));
        assert!(count("ppp") > 10, "{name}: {} frames", count("ppp"));
    }
}
