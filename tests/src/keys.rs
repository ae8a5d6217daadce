//! The ESP keys recorded beside a capture, and what they open: Wireshark's `esp_sa` tables.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use culvert_crypto::{Engine, OpenContext, OpenOp, Suite};
use culvert_wire::esp;
use culvert_wire::id::Spi;

/// Contexts by SPI.
pub struct Keys(BTreeMap<Spi, OpenContext>);

impl Keys {
    /// Reads every `*-esp_sa` table in `folder`; SAs of suites that are not ours are left out.
    ///
    /// # Errors
    /// If the folder or a table cannot be read.
    pub fn load(folder: &Path) -> io::Result<Self> {
        let mut contexts = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.to_string_lossy().ends_with("-esp_sa") {
                let table = fs::read_to_string(path)?;
                contexts.extend(table.lines().filter_map(security_association));
            }
        }
        Ok(Self(contexts))
    }

    /// Opens an ESP packet: what follows the ESP header, without padding and trailer; `None` if no key opens it.
    pub fn open(&self, packet: &[u8]) -> Option<Vec<u8>> {
        let header = esp::Packet::parse(packet).ok()?;
        let context = self.0.get(&header.spi)?;
        let (aad, sealed) = packet.split_at(esp::HEADER_LEN);
        let mut plaintext = vec![0; context.suite().opened_len(sealed.len())?];
        let op = OpenOp::new(context, aad, sealed, &mut plaintext).ok()?;
        if Engine::PORTABLE.open_burst(&mut [op]).count() == 0 {
            return None;
        }
        let trailer = esp::Trailer::parse(&plaintext).ok()?;
        plaintext.truncate(trailer.payload_len);
        Some(plaintext)
    }
}

fn security_association(line: &str) -> Option<(Spi, OpenContext)> {
    let mut fields = line.split(',').map(|field| field.trim_matches('"'));
    let (spi, cipher, key) = (fields.nth(3)?, fields.next()?, fields.next()?);
    let (integrity, integrity_key) = (fields.next()?, fields.next()?);
    let mut key = bytes(key)?;
    key.extend(bytes(integrity_key)?);
    let suite = Suite::ALL.into_iter().find(|suite| {
        suite.key_len() == key.len()
            && match suite {
                Suite::AesGcm(_) => cipher.contains("AES-GCM"),
                Suite::AesCbcHmac(..) => cipher.contains("AES-CBC") && is_cut(integrity, *suite),
                Suite::TripleDesHmac(_) => {
                    cipher.contains("TripleDES") && is_cut(integrity, *suite)
                }
            }
    })?;
    let spi = Spi(u32::from_str_radix(spi.trim_start_matches("0x"), 16).ok()?);
    Some((spi, OpenContext::new(Engine::PORTABLE, suite, &key).ok()?))
}

/// Whether the integrity algorithm's name ends in the bits of the suite's ICV.
fn is_cut(integrity: &str, suite: Suite) -> bool {
    integrity.contains(&format!("-{}", suite.icv_len() * 8))
}

fn bytes(field: &str) -> Option<Vec<u8>> {
    hex::decode(field.trim_start_matches("0x")).ok()
}
