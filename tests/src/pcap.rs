//! Reads the classic pcap format, as far as the captures beside these tests use it.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// Ethernet frames of a capture, in order.
///
/// # Errors
/// If the file cannot be read, or is not a whole little-endian classic pcap of Ethernet frames.
pub fn frames(path: &Path) -> io::Result<Vec<Vec<u8>>> {
    let bytes = fs::read(path)?;
    let bad = |what| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{}: {what}", path.display()),
        )
    };
    let header = bytes
        .get(..24)
        .ok_or_else(|| bad("shorter than a file header"))?;
    if !header.starts_with(&0xA1B2_C3D4_u32.to_le_bytes())
        || !header.ends_with(&1_u32.to_le_bytes())
    {
        return Err(bad("not a little-endian capture of Ethernet frames"));
    }
    let mut frames = Vec::new();
    let mut rest = bytes.get(24..).unwrap_or_default();
    while !rest.is_empty() {
        let (record, after) = rest
            .split_first_chunk::<16>()
            .ok_or_else(|| bad("ends in a record header"))?;
        let captured = u32::from_le_bytes([record[8], record[9], record[10], record[11]]);
        let captured = usize::try_from(captured).map_err(|_| bad("record too long"))?;
        let (frame, after) = after
            .split_at_checked(captured)
            .ok_or_else(|| bad("ends in a frame"))?;
        frames.push(frame.to_vec());
        rest = after;
    }
    Ok(frames)
}

/// Every capture beside these tests, sorted by name.
///
/// # Panics
/// If the folder is not there: the checkout is broken.
pub fn captures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let entries = fs::read_dir(&folder).expect("tests/fixtures is part of the checkout");
    let mut captures: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path().join("small.pcap"))
        .filter(|path| path.exists())
        .collect();
    captures.sort();
    captures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capture_reads_to_its_last_byte() {
        let captures = captures();
        assert_eq!(captures.len(), 12);
        for capture in captures {
            assert!(
                !frames(&capture).unwrap().is_empty(),
                "{}",
                capture.display()
            );
        }
    }
}
