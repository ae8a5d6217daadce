//! The library where it is installed. The numbers in the arguments for safety are those of the crate's page.
#![expect(
    unsafe_code,
    reason = "calls into C, each with its argument; docs/decisions/0004"
)]

use std::fmt;
use std::ptr::NonNull;

use arrayvec::ArrayVec;

use crate::{BURST, Direction, HEADER_LEN, Hash, Job, Suite};

/// The library, set up for the best instructions of this CPU.
pub struct Manager(NonNull<RawManager>);

/// Expanded keys of one suite and direction.
pub struct Keys {
    suite: Suite,
    direction: Direction,
    /// Cache lines of one key.
    lines: usize,
    memory: Vec<Line>,
    salts: Vec<[u8; 4]>,
}

/// The library wants its keys on cache lines.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// `struct packet` of the shim.
#[repr(C)]
struct RawPacket {
    key: *const Line,
    source: *const u8,
    destination: *mut u8,
    len: u64,
    nonce: [u8; 16],
}

/// `struct suite` of the shim.
#[repr(C)]
struct RawSuite {
    cipher_key_len: u32,
    hash: u32,
    icv_len: u32,
}

#[repr(C)]
struct RawManager {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    fn culvert_imb_new() -> *mut RawManager;
    fn culvert_imb_free(manager: *mut RawManager);
    fn culvert_imb_key_size(suite: &RawSuite) -> u64;
    fn culvert_imb_expand(
        manager: *mut RawManager,
        suite: &RawSuite,
        seal: i32,
        key: *const u8,
        expanded: *mut Line,
    );
    fn culvert_imb_burst(
        manager: *mut RawManager,
        suite: &RawSuite,
        seal: i32,
        packets: *const RawPacket,
        count: u64,
    ) -> u64;
}

impl Manager {
    /// Sets the library up; `None` if it has no memory.
    pub fn new() -> Option<Self> {
        // SAFETY: takes nothing, and gives null or a manager that is ours until it is freed (1).
        NonNull::new(unsafe { culvert_imb_new() }).map(Self)
    }

    /// Expands keys of [`Suite::key_len`] bytes for one direction; `None` if one has another length.
    pub fn expand<'k>(
        &mut self,
        suite: Suite,
        direction: Direction,
        keys: impl IntoIterator<Item = &'k [u8]>,
    ) -> Option<Keys> {
        let raw = RawSuite::from(suite);
        // SAFETY: reads the suite only.
        let size = usize::try_from(unsafe { culvert_imb_key_size(&raw) }).ok()?;
        let lines = size.div_ceil(64);
        let (mut memory, mut salts) = (Vec::new(), Vec::new());
        for key in keys {
            if key.len() != suite.key_len() {
                return None;
            }
            let begin = memory.len();
            memory.resize(begin + lines, Line([0; 64]));
            let room = memory[begin..].as_mut_ptr();
            // SAFETY: the manager lives (1), the key has the length that the suite says, and the room is `size` bytes or more on a
            // cache line (2).
            unsafe {
                culvert_imb_expand(self.0.as_ptr(), &raw, direction.into(), key.as_ptr(), room);
            }
            salts.push(*key.last_chunk()?);
        }
        Some(Keys {
            suite,
            direction,
            lines,
            memory,
            salts,
        })
    }

    /// Works a burst of at most [`BURST`] packets in the direction of `keys`, IVs written and ICVs compared.
    ///
    /// False if operands do not fit together, in which case nothing was done, or if an ICV was wrong.
    pub fn burst<'a>(&mut self, keys: &Keys, jobs: impl Iterator<Item = Job<'a>>) -> bool {
        let mut packets: ArrayVec<RawPacket, BURST> = ArrayVec::new();
        for job in jobs {
            let Some(packet) = keys.packet(job) else {
                return false;
            };
            if packets.try_push(packet).is_err() {
                return false;
            }
        }
        let count = packets.len() as u64;
        let raw = RawSuite::from(keys.suite);
        // SAFETY: the manager lives (1); each packet's pointers were made from operands that fit together (2, 3) and that the jobs
        // borrow for 'a, which outlives this call.
        let right = unsafe {
            culvert_imb_burst(
                self.0.as_ptr(),
                &raw,
                keys.direction.into(),
                packets.as_ptr(),
                count,
            )
        };
        right == count
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // SAFETY: the manager is ours and is not used again (1).
        unsafe { culvert_imb_free(self.0.as_ptr()) }
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Manager")
    }
}

impl Keys {
    /// Checks that the operands fit together (2, 3) and writes the IV.
    fn packet(&self, job: Job<'_>) -> Option<RawPacket> {
        let (iv_len, icv_len) = (self.suite.iv_len(), self.suite.icv_len());
        let begin = HEADER_LEN + iv_len;
        let first = job.key * self.lines;
        let key = self.memory.get(first..first + self.lines)?.as_ptr();
        let (source, destination, len) = match self.direction {
            Direction::Seal => {
                let len = job.source.len();
                if job.destination.len() != begin + len + icv_len {
                    return None;
                }
                job.destination[HEADER_LEN..begin].copy_from_slice(&job.iv[..iv_len]);
                let text = job.destination.as_mut_ptr().wrapping_add(begin);
                (job.source.as_ptr(), text, len)
            }
            Direction::Open => {
                let len = job.destination.len();
                if job.source.len() != begin + len + icv_len {
                    return None;
                }
                let text = job.source.as_ptr().wrapping_add(begin);
                (text, job.destination.as_mut_ptr(), len)
            }
        };
        if self.suite.hash.is_some() && (len == 0 || !len.is_multiple_of(16)) {
            return None;
        }
        Some(RawPacket {
            key,
            source,
            destination,
            len: len as u64,
            nonce: self.nonce(&job),
        })
    }

    /// Salt and IV, as AES-GCM takes them.
    fn nonce(&self, job: &Job<'_>) -> [u8; 16] {
        let mut nonce = [0; 16];
        nonce[..4].copy_from_slice(&self.salts[job.key]);
        nonce[4..12].copy_from_slice(&job.iv[..8]);
        nonce
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys {{ suite: {:?}, keys: [redacted] }}", self.suite)
    }
}

impl From<Suite> for RawSuite {
    fn from(suite: Suite) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "at most 32")]
        let [cipher_key_len, icv_len] = [suite.cipher_key_len, suite.icv_len()].map(|n| n as u32);
        Self {
            cipher_key_len,
            hash: match suite.hash {
                None => 0,
                Some(Hash::Sha1) => 1,
                Some(Hash::Sha256) => 256,
                Some(Hash::Sha384) => 384,
                Some(Hash::Sha512) => 512,
            },
            icv_len,
        }
    }
}

impl From<Direction> for i32 {
    fn from(direction: Direction) -> Self {
        Self::from(direction == Direction::Seal)
    }
}
