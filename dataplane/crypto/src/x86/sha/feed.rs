//! What of one packet has still to be compressed: whole blocks, first of the inner hash, then the one block of the outer.

use super::{Hash, Mac, Midstates, Word};

/// The longest block, twice: what lies before and behind the text together with the padding fits.
const EDGE_LEN: usize = 256;

/// The bit 1 that ends every message and its length in bits (FIPS 180-4 §5.1): 9 or 17 bytes.
const fn padding_len<H: Hash>() -> usize {
    1 + H::BLOCK_LEN / 8
}

/// The blocks of one packet, some of them in place, the others assembled.
pub(super) struct Feed<'a, H: Hash> {
    midstates: &'a Midstates<H>,
    text: &'a [u8],
    tail: &'a [u8],
    message_len: usize,
    part: Part,
    at: usize,
    end: usize,
    edge: [u8; EDGE_LEN],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// SPI, sequence number and the first bytes of the text, assembled.
    First,
    /// The text in place.
    Middle,
    /// The last bytes and the padding, assembled.
    Last,
    /// The inner digest and its padding.
    Outer,
    Done,
}

/// What compressing some blocks led to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// More blocks of the same hash follow.
    Within,
    /// The state is the inner hash; [`Feed::begin_outer`] follows.
    InnerEnded,
    /// The state is the HMAC.
    Ended,
}

impl<'a, H: Hash> Feed<'a, H> {
    /// A lane without a packet.
    pub(super) const fn idle(midstates: &'a Midstates<H>) -> Self {
        Self {
            midstates,
            text: &[],
            tail: &[],
            message_len: 0,
            part: Part::Done,
            at: 0,
            end: 0,
            edge: [0; EDGE_LEN],
        }
    }

    /// Begins with a packet; the state to compress into is returned.
    pub(super) fn begin(&mut self, mac: &Mac<'a, H>) -> &'a H::State {
        self.midstates = mac.midstates;
        self.tail = mac.tail;
        let unpadded = mac.head.len() + mac.text.len() + mac.tail.len();
        self.message_len = H::BLOCK_LEN + unpadded;
        self.edge[..8].copy_from_slice(mac.head);
        if unpadded + padding_len::<H>() <= EDGE_LEN {
            self.text = mac.text;
            self.assemble_last(8);
        } else {
            let (first, rest) = mac.text.split_at(H::BLOCK_LEN - 8);
            self.edge[8..H::BLOCK_LEN].copy_from_slice(first);
            self.text = rest;
            (self.part, self.at, self.end) = (Part::First, 0, H::BLOCK_LEN);
        }
        &self.midstates.inner
    }

    /// Whole blocks to compress next; none when done.
    pub(super) fn blocks(&self) -> &[u8] {
        let source = if self.part == Part::Middle {
            self.text
        } else {
            &self.edge
        };
        &source[self.at..self.end]
    }

    /// Goes on by `len` bytes, now compressed.
    pub(super) fn advance(&mut self, len: usize) -> Step {
        if self.part == Part::Done {
            return Step::Within;
        }
        self.at += len;
        if self.at < self.end {
            return Step::Within;
        }
        match self.part {
            Part::First => {
                (self.part, self.at) = (Part::Middle, 0);
                self.end = self.text.len() - self.text.len() % H::BLOCK_LEN;
                if self.end == 0 {
                    self.assemble_last(0);
                }
            }
            Part::Middle => {
                self.text = &self.text[self.end..];
                self.assemble_last(0);
            }
            Part::Last => return Step::InnerEnded,
            Part::Outer | Part::Done => {
                (self.part, self.at, self.end) = (Part::Done, 0, 0);
                return Step::Ended;
            }
        }
        Step::Within
    }

    /// Goes on to the outer hash of the inner state; the state to compress into is returned.
    pub(super) fn begin_outer(&mut self, inner: &H::State) -> &'a H::State {
        write_digest::<H>(inner, &mut self.edge);
        self.part = Part::Outer;
        self.pad(H::DIGEST_LEN, H::BLOCK_LEN + H::DIGEST_LEN);
        &self.midstates.outer
    }

    /// Puts the rest of text, tail and padding behind the first `start` bytes of the edge.
    fn assemble_last(&mut self, start: usize) {
        let tail_start = start + self.text.len();
        let padding_start = tail_start + self.tail.len();
        self.edge[start..tail_start].copy_from_slice(self.text);
        self.edge[tail_start..padding_start].copy_from_slice(self.tail);
        self.part = Part::Last;
        self.pad(padding_start, self.message_len);
    }

    /// Pads the edge from `start` to whole blocks: a bit 1, zeros, the length in bits of `message_len` bytes.
    fn pad(&mut self, start: usize, message_len: usize) {
        let end = (start + padding_len::<H>()).next_multiple_of(H::BLOCK_LEN);
        let bits = (message_len as u64) << 3;
        self.edge[start] = 0x80;
        self.edge[start + 1..end - 8].fill(0);
        self.edge[end - 8..end].copy_from_slice(&bits.to_be_bytes());
        (self.at, self.end) = (0, end);
    }
}

/// The state's words in the order and byte order of a digest, cut to the hash's length.
pub(super) fn write_digest<H: Hash>(state: &H::State, bytes: &mut [u8]) {
    let word_len = size_of::<H::Word>();
    let words = state.as_ref().iter();
    for (word, bytes) in words.zip(bytes[..H::DIGEST_LEN].chunks_exact_mut(word_len)) {
        word.write(bytes);
    }
}
