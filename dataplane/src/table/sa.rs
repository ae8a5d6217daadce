//! ESP security associations: an inbound one and its outbound twin share a row, which the inbound SPI names.
//!
//! ```text
//! inbound SPI   shard 10 │ row 10 │ tag 12        shard → block of this core, or none
//!               └──────── index ────┘             row = block · 1,024 + row; the tag is compared with the whole SPI
//! ```
//! A core holds only the shards it owns. The IPC thread expands keys, and gets them back to wipe.

use culvert_crypto::{OpenContext, SealContext};

use crate::api::{SessionRow, SetId, Spi, spi};
use crate::mem::prefetch;
use crate::moment::Moment;

/// A row of this core's tables, counted over its own shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaRow(pub u32);

/// An inbound SA as the path needs it.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct InboundSa {
    /// Our SPI.
    pub spi: Spi,
    /// Its set.
    pub set: SetId,
    /// Its keys.
    pub context: OpenContext,
    /// When its last valid packet came.
    pub last_used: Moment,
    /// Valid packets.
    pub packets: u64,
    /// Sealed bytes of valid packets.
    pub bytes: u64,
    /// The session of its last packet: most likely that of the next one too.
    pub session: SessionRow,
    /// Words of its replay window: 1 to 128, a power of two.
    pub window_words: u16,
    /// Where in the plaintext the last packet's inner IP header stood.
    pub place: u8,
    /// Whether a valid packet has come and control knows.
    pub is_used: bool,
}

const _: () = assert!(size_of::<Option<InboundSa>>() == 64, "one cache line");

/// An outbound SA as the path needs it.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct OutboundSa {
    /// The peer's SPI.
    pub spi: Spi,
    /// Its set.
    pub set: SetId,
    /// Its keys.
    pub context: SealContext,
    /// Index of its slot in the continuity memory.
    pub slot: u32,
    /// When it was installed, counted over the set's SAs.
    pub age: u32,
    /// Packets sealed.
    pub packets: u64,
    /// Bytes sealed.
    pub bytes: u64,
    /// What control has been told about its sequence numbers.
    pub told: Told,
}

const _: () = assert!(size_of::<Option<OutboundSa>>() == 64, "one cache line");

/// How much control knows of an SA's sequence numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Told {
    /// Nothing.
    #[default]
    Nothing,
    /// That half of them are used.
    Half,
    /// That all of them are used.
    All,
}

/// Marks a shard that another core owns.
const ELSEWHERE: u16 = u16::MAX;

/// All SA rows of one core.
#[derive(Debug)]
pub struct SaTable {
    blocks: Box<[u16]>,
    inbound: Box<[Option<InboundSa>]>,
    outbound: Box<[Option<OutboundSa>]>,
}

impl SaTable {
    /// Makes empty rows for the shards that this core owns; numbers beyond 1,023 are ignored.
    pub fn new(shards: impl Iterator<Item = u16>) -> Self {
        let mut blocks = vec![ELSEWHERE; spi::SHARDS as usize].into_boxed_slice();
        let mut count = 0;
        for shard in shards {
            if let Some(block) = blocks
                .get_mut(usize::from(shard))
                .filter(|block| **block == ELSEWHERE)
            {
                *block = count;
                count += 1;
            }
        }
        let rows = usize::from(count) * spi::ROWS as usize;
        Self {
            blocks,
            inbound: (0..rows).map(|_| None).collect(),
            outbound: (0..rows).map(|_| None).collect(),
        }
    }

    /// The row that `spi` names, if its shard is this core's; the row may hold another SA, or none.
    #[inline]
    pub fn row(&self, spi: Spi) -> Option<SaRow> {
        let block = *self.blocks.get(spi::shard(spi) as usize)?;
        (block != ELSEWHERE)
            .then(|| SaRow(u32::from(block) * spi::ROWS + spi::index(spi) % spi::ROWS))
    }

    /// The inbound SA of `spi`.
    #[inline]
    pub fn find(&self, spi: Spi) -> Option<SaRow> {
        let row = self.row(spi)?;
        (self.inbound(row)?.spi == spi).then_some(row)
    }

    /// The inbound SA in `row`.
    #[inline]
    pub fn inbound(&self, row: SaRow) -> Option<&InboundSa> {
        self.inbound.get(row.0 as usize)?.as_ref()
    }

    /// The inbound SA in `row`, to change.
    #[inline]
    pub fn inbound_mut(&mut self, row: SaRow) -> Option<&mut InboundSa> {
        self.inbound.get_mut(row.0 as usize)?.as_mut()
    }

    /// Asks the CPU for the inbound half of `row`.
    #[inline]
    pub fn prefetch_inbound(&self, row: SaRow) {
        if let Some(sa) = self.inbound.get(row.0 as usize) {
            prefetch(sa);
        }
    }

    /// Asks the CPU for the outbound half of `row`.
    #[inline]
    pub fn prefetch_outbound(&self, row: SaRow) {
        if let Some(sa) = self.outbound.get(row.0 as usize) {
            prefetch(sa);
        }
    }

    /// The outbound SA in `row`.
    #[inline]
    pub fn outbound(&self, row: SaRow) -> Option<&OutboundSa> {
        self.outbound.get(row.0 as usize)?.as_ref()
    }

    /// The outbound SA in `row`, to change.
    #[inline]
    pub fn outbound_mut(&mut self, row: SaRow) -> Option<&mut OutboundSa> {
        self.outbound.get_mut(row.0 as usize)?.as_mut()
    }

    /// Puts an inbound SA into `row` and returns what was there.
    pub fn put_inbound(&mut self, row: SaRow, sa: Option<InboundSa>) -> Option<InboundSa> {
        std::mem::replace(self.inbound.get_mut(row.0 as usize)?, sa)
    }

    /// Puts an outbound SA into `row` and returns what was there.
    pub fn put_outbound(&mut self, row: SaRow, sa: Option<OutboundSa>) -> Option<OutboundSa> {
        std::mem::replace(self.outbound.get_mut(row.0 as usize)?, sa)
    }

    /// Number of rows.
    pub const fn len(&self) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "at most 2^20 rows")]
        let len = self.inbound.len() as u32;
        len
    }

    /// Whether this core owns no shard.
    pub const fn is_empty(&self) -> bool {
        self.inbound.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use culvert_crypto::{AesKey, Engine, Suite};

    use super::*;

    const SUITE: Suite = Suite::AesGcm(AesKey::Bits128);

    fn inbound(spi: Spi) -> InboundSa {
        InboundSa {
            spi,
            set: SetId(0),
            context: OpenContext::new(Engine::PORTABLE, SUITE, &[0; SUITE.key_len()]).unwrap(),
            last_used: Moment::START,
            packets: 0,
            bytes: 0,
            session: SessionRow(0),
            window_words: 16,
            place: 20,
            is_used: false,
        }
    }

    #[test]
    fn an_sa_is_found_by_its_whole_spi_only() {
        let mut table = SaTable::new([5, 810].into_iter());
        let ours = spi::compose(810, 7, 0x123);
        let row = table.row(ours).unwrap();
        assert_eq!(table.find(ours), None);
        table.put_inbound(row, Some(inbound(ours)));
        assert_eq!(table.find(ours), Some(row));
        assert_eq!(table.find(spi::compose(810, 7, 0x124)), None);
        assert_eq!(table.find(spi::compose(5, 7, 0x123)), None);
        assert_eq!(table.row(spi::compose(6, 7, 0x123)), None);
    }

    #[test]
    fn rows_of_different_shards_do_not_meet() {
        let table = SaTable::new(0..3);
        let rows: std::collections::BTreeSet<u32> = (0..3)
            .flat_map(|shard| (0..1_024).map(move |row| spi::compose(shard, row, 9)))
            .map(|spi| table.row(spi).unwrap().0)
            .collect();
        assert_eq!(rows.len(), 3 * 1_024);
        assert_eq!(rows.last(), Some(&(table.len() - 1)));
    }
}
