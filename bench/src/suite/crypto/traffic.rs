//! Packets to seal or open, in frames, in a shuffled order that is the same in each run.

use std::fmt;

use culvert_crypto::Suite;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use super::{BURST, reference};

/// Bytes of SPI and sequence number, which are the additional data.
pub(super) const AAD_LEN: usize = 8;
/// Where plaintext and ciphertext begin in their frames: on a cache line, for all contestants alike.
const TEXT: usize = 64;

/// One combination to measure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    pub(super) suite: Suite,
    pub(super) direction: Direction,
    pub(super) keys: usize,
    /// Length of the plaintext, before AES-CBC pads it to whole blocks.
    pub(super) bytes: usize,
}

impl Work {
    /// Bytes that the cipher works.
    const fn text_len(self) -> usize {
        self.bytes.next_multiple_of(self.suite.alignment())
    }

    /// Packets of one lap: a burst, or one for each key.
    pub(super) fn packets(self) -> u64 {
        self.keys.max(BURST) as u64
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (suite, direction) = (reference::name(self.suite), self.direction.name());
        let Self { keys, bytes, .. } = self;
        write!(f, "{suite} {direction}, {keys} keys, {bytes} bytes")
    }
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Seal,
    Open,
}

impl Direction {
    pub(super) const BOTH: [Self; 2] = [Self::Seal, Self::Open];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::Open => "open",
        }
    }
}

/// Where a contestant reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Source and destination are two frames.
    Apart,
    /// The destination is overwritten, the source is not touched.
    InPlace,
    /// Copied to the destination, which is then overwritten.
    Copied,
}

impl Layout {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Apart => "apart",
            Self::InPlace => "in place",
            Self::Copied => "copied",
        }
    }
}

/// Room for one packet.
#[derive(Clone)]
#[repr(align(64))]
pub(super) struct Frame([u8; 2048]);

/// One packet's operands. A packet is header, IV, ciphertext and ICV.
pub(super) struct Job<'a> {
    /// Which key.
    pub(super) key: usize,
    /// SPI and sequence number.
    pub(super) aad: [u8; AAD_LEN],
    /// The IV; AES-GCM uses 8 bytes.
    pub(super) iv: [u8; 16],
    /// Seal: plaintext. Open: packet.
    pub(super) source: &'a [u8],
    /// Seal: packet. Open: plaintext; in place: packet, and behind it the ICV of the plaintext taken for a ciphertext.
    pub(super) destination: &'a mut [u8],
}

impl Job<'_> {
    /// Of a packet to be opened in place: the ciphertext, and the ICV of now and of the next lap. `begin`: where the ciphertext begins.
    pub(super) fn reversible(&mut self, begin: usize, icv_len: usize) -> (&mut [u8], &mut [u8]) {
        let packet = &mut self.destination[begin..];
        packet.split_at_mut(packet.len() - 2 * icv_len)
    }
}

/// The packets of one work, in the order in which they are visited.
pub(super) struct Traffic {
    work: Work,
    /// Key material by key.
    pub(super) keys: Vec<Vec<u8>>,
    packets: Vec<Packet>,
    plaintexts: Vec<Frame>,
    sealed: Vec<Frame>,
}

/// Which frames and which key a packet uses.
struct Packet {
    key: usize,
    source: usize,
    destination: usize,
}

impl Traffic {
    pub(super) fn new(work: Work) -> Self {
        let mut random = ChaCha20Rng::seed_from_u64(1);
        let count = work.keys.max(BURST);
        let mut traffic = Self {
            work,
            keys: (0..work.keys)
                .map(|_| bytes(&mut random, work.suite.key_len()))
                .collect(),
            packets: packets(&mut random, work.keys, count),
            plaintexts: vec![Frame([0; 2048]); count],
            sealed: vec![Frame([0; 2048]); count],
        };
        for index in 0..count {
            traffic.fill(index, &mut random);
        }
        traffic
    }

    pub(super) const fn work(&self) -> Work {
        self.work
    }

    /// Frames for one contestant's results.
    pub(super) fn destinations(&self) -> Vec<Frame> {
        vec![Frame([0; 2048]); self.packets.len()]
    }

    /// The jobs of a lap for a contestant that works as `layout` says.
    pub(super) fn jobs<'a>(&'a self, layout: Layout, frames: &'a mut [Frame]) -> Vec<Job<'a>> {
        let mut frames: Vec<Option<&mut Frame>> = frames.iter_mut().map(Some).collect();
        let job = |packet: &Packet| {
            let frame = frames.get_mut(packet.destination)?.take()?;
            Some(self.job(packet, layout, frame))
        };
        self.packets.iter().filter_map(job).collect()
    }

    /// Whether each of `jobs` gave what RustCrypto gives, after one lap.
    pub(super) fn is_done(&self, layout: Layout, jobs: &[Job<'_>]) -> bool {
        let packets = self.packets.iter().zip(jobs);
        packets.len() == self.packets.len()
            && packets.into_iter().all(|(packet, job)| {
                let plaintext = self.plaintext(packet);
                match (self.work.direction, layout) {
                    (Direction::Seal, _) => *job.destination == *self.packet(packet),
                    (Direction::Open, Layout::Apart | Layout::Copied) => {
                        *job.destination == *plaintext
                    }
                    (Direction::Open, Layout::InPlace) => {
                        let begin = AAD_LEN + self.work.suite.iv_len();
                        job.destination[begin..].starts_with(plaintext)
                    }
                }
            })
    }

    fn job<'a>(&'a self, packet: &Packet, layout: Layout, frame: &'a mut Frame) -> Job<'a> {
        let sealed = self.packet(packet);
        let (source, destination) = match (self.work.direction, layout) {
            (Direction::Seal, Layout::Apart | Layout::Copied) => {
                (self.plaintext(packet), self.room(frame))
            }
            (Direction::Seal, Layout::InPlace) => {
                let room = self.room(frame);
                let begin = AAD_LEN + self.work.suite.iv_len();
                room[begin..][..self.work.text_len()].copy_from_slice(self.plaintext(packet));
                (self.plaintext(packet), room)
            }
            (Direction::Open, Layout::Apart | Layout::Copied) => {
                (sealed, &mut frame.0[TEXT..][..self.work.text_len()])
            }
            (Direction::Open, Layout::InPlace) => (sealed, self.reversible(packet, frame)),
        };
        let mut iv = [0; 16];
        let iv_len = self.work.suite.iv_len();
        iv[..iv_len].copy_from_slice(&sealed[AAD_LEN..][..iv_len]);
        let mut aad = [0; AAD_LEN];
        aad.copy_from_slice(&sealed[..AAD_LEN]);
        if self.work.direction == Direction::Seal {
            destination[..AAD_LEN].copy_from_slice(&aad);
        }
        Job {
            key: packet.key,
            aad,
            iv,
            source,
            destination,
        }
    }

    /// A packet that can be opened in place for ever: AES-GCM opened twice is the ciphertext again, so with the ICV of the plaintext
    /// taken for a ciphertext, every second opening restores what the next one needs.
    fn reversible<'a>(&self, packet: &Packet, frame: &'a mut Frame) -> &'a mut [u8] {
        let suite = self.work.suite;
        let sealed = self.packet(packet);
        let text = AAD_LEN + suite.iv_len()..sealed.len() - suite.icv_len();
        let mut back = sealed.to_vec();
        reference::seal(
            suite,
            &self.keys[packet.key],
            &sealed[text.clone()],
            &mut back,
        );
        let begin = TEXT - text.start;
        let room = &mut frame.0[begin..][..sealed.len() + suite.icv_len()];
        room[..sealed.len()].copy_from_slice(sealed);
        room[sealed.len()..].copy_from_slice(&back[text.end..]);
        room
    }

    /// Makes a plaintext and what it is sealed.
    fn fill(&mut self, index: usize, random: &mut ChaCha20Rng) {
        let packet = &self.packets[index];
        let plaintext = bytes(random, self.work.text_len());
        let head = bytes(random, AAD_LEN + self.work.suite.iv_len());
        self.plaintexts[packet.source].0[TEXT..][..plaintext.len()].copy_from_slice(&plaintext);
        let room = self.range();
        let room = &mut self.sealed[packet.source].0[room];
        room[..head.len()].copy_from_slice(&head);
        reference::seal(self.work.suite, &self.keys[packet.key], &plaintext, room);
    }

    fn plaintext(&self, packet: &Packet) -> &[u8] {
        &self.plaintexts[packet.source].0[TEXT..][..self.work.text_len()]
    }

    fn packet(&self, packet: &Packet) -> &[u8] {
        &self.sealed[packet.source].0[self.range()]
    }

    fn room<'a>(&self, frame: &'a mut Frame) -> &'a mut [u8] {
        &mut frame.0[self.range()]
    }

    /// Where a packet stands in its frame.
    const fn range(&self) -> std::ops::Range<usize> {
        let suite = self.work.suite;
        TEXT - AAD_LEN - suite.iv_len()..TEXT + self.work.text_len() + suite.icv_len()
    }
}

fn packets(random: &mut ChaCha20Rng, keys: usize, count: usize) -> Vec<Packet> {
    let orders = [(); 3].map(|()| shuffled(random, count));
    let [by_key, by_source, by_destination] = orders;
    (0..count)
        .map(|index| Packet {
            key: by_key[index] % keys,
            source: by_source[index],
            destination: by_destination[index],
        })
        .collect()
}

/// The numbers below `count` in random order (Fisher and Yates).
fn shuffled(random: &mut ChaCha20Rng, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "64-bit targets only, and any number will do"
        )]
        let other = random.next_u64() as usize % (last + 1);
        order.swap(last, other);
    }
    order
}

fn bytes(random: &mut ChaCha20Rng, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    random.fill_bytes(&mut bytes);
    bytes
}
