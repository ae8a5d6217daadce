//! What must outlive this process: each SA's next outbound sequence number and inbound replay window.

use super::replay::Window;
use super::sa::SaRow;
use crate::api::Spi;

/// PLACEHOLDER until mem::continuity
#[derive(Debug)]
pub struct Continuity {
    slots: Vec<Slot>,
}

/// One SA pair.
#[derive(Clone, Debug)]
pub struct Slot {
    /// inbound
    pub spi: u32,
    /// outbound
    pub outbound: u32,
    /// next
    pub next: u32,
    /// top
    pub top: u32,
    /// words
    pub words: [u64; 128],
}
impl Continuity {
    /// n
    pub fn new(rows: u32) -> Self {
        Self {
            slots: vec![
                Slot {
                    spi: 0,
                    outbound: 0,
                    next: 0,
                    top: 0,
                    words: [0; 128]
                };
                rows as usize
            ],
        }
    }
    /// w
    pub fn window(&mut self, row: SaRow, _spi: Spi, words: u16) -> Option<Window<'_>> {
        let slot = self.slots.get_mut(row.0 as usize)?;
        Some(Window::new(
            &mut slot.top,
            slot.words.get_mut(..words as usize)?,
        ))
    }
    /// n
    pub fn next_sequence(&self, row: SaRow, _slot: u32) -> Option<u32> {
        self.slots.get(row.0 as usize).map(|slot| slot.next)
    }
    /// n
    pub fn set_next_sequence(&mut self, row: SaRow, _slot: u32, next: u32) {
        if let Some(slot) = self.slots.get_mut(row.0 as usize) {
            slot.next = next;
        }
    }
    /// s
    pub fn slot(&mut self, row: SaRow, _spi: Spi) -> Option<&mut Slot> {
        self.slots.get_mut(row.0 as usize)
    }
}
