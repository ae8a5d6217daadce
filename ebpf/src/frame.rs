//! The bytes of a frame in the kernel's hands: the only place that reads packet memory.
#![expect(
    unsafe_code,
    reason = "packet memory is reached through the pointers of the XDP context"
)]

use core::ptr;

use aya_ebpf::programs::XdpContext;
use culvert_wire::classify::Bytes;

/// Farther than any header that is read: two VLAN tags, IPv6 and eight of the longest extension headers end before it.
///
/// The verifier wants a bound on every offset, below its own of 65,535.
const MAX_OFFSET: usize = 0x7FFF;

/// The linear part of a frame.
pub(crate) struct Frame {
    start: usize,
    end: usize,
}

impl Frame {
    /// Takes the frame of `context`.
    #[inline(always)]
    pub(crate) fn new(context: &XdpContext) -> Self {
        Self {
            start: context.data(),
            end: context.data_end(),
        }
    }
}

impl Bytes for Frame {
    #[inline(always)]
    fn array<const LEN: usize>(&self, at: usize) -> Option<[u8; LEN]> {
        if at > MAX_OFFSET {
            return None;
        }
        let start = self.start + at;
        if start + LEN > self.end {
            return None;
        }
        // SAFETY: `start` to `start + LEN` lies between the context's data and data_end, which bound readable memory for as
        // long as the program runs; the verifier proves the same before it lets the program load.
        Some(unsafe { ptr::read_unaligned(start as *const [u8; LEN]) })
    }
}
