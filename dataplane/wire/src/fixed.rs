//! Fields at fixed places of a header. The caller holds an array that contains the field, so the checks fold away.

use core::ops::Range;

/// Reads the bytes of `field`; zeros if `bytes` does not contain it.
#[inline(always)]
pub(crate) fn array<const LEN: usize>(bytes: &[u8], field: Range<usize>) -> [u8; LEN] {
    bytes
        .get(field)
        .and_then(|bytes| bytes.first_chunk())
        .copied()
        .unwrap_or([0; LEN])
}

/// Reads a 16-bit number.
#[inline(always)]
pub(crate) fn u16(bytes: &[u8], field: Range<usize>) -> u16 {
    u16::from_be_bytes(array(bytes, field))
}

/// Reads a 32-bit number.
#[inline(always)]
pub(crate) fn u32(bytes: &[u8], field: Range<usize>) -> u32 {
    u32::from_be_bytes(array(bytes, field))
}

/// Writes `value` at the start of `field`; nothing if it does not fit there.
#[inline(always)]
pub(crate) fn put<const LEN: usize>(bytes: &mut [u8], field: Range<usize>, value: [u8; LEN]) {
    if let Some(slot) = bytes
        .get_mut(field)
        .and_then(|bytes| bytes.first_chunk_mut())
    {
        *slot = value;
    }
}

/// Writes a 16-bit number.
#[inline(always)]
pub(crate) fn put_u16(bytes: &mut [u8], field: Range<usize>, value: u16) {
    put(bytes, field, value.to_be_bytes());
}

/// Writes a 32-bit number.
#[inline(always)]
pub(crate) fn put_u32(bytes: &mut [u8], field: Range<usize>, value: u32) {
    put(bytes, field, value.to_be_bytes());
}
