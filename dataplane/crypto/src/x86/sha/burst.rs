//! A burst on `N` lanes: the longest packets first, and a lane whose packet ends takes the next one.

use super::feed::{Feed, Step, write_digest};
use super::lanes::{Blocks, States};
use super::{Hash, Mac};

/// Most packets that are put in order together.
const BURST: usize = 64;

/// Authenticates packets with `compress`, which works blocks of `LEN` bytes of `N` messages into their states.
pub(super) fn work<H: Hash, const N: usize, const LEN: usize>(
    macs: &mut [Mac<'_, H>],
    compress: impl Fn(&mut States<H::Word, N>, &Blocks<'_, N, LEN>),
) {
    for burst in macs.chunks_mut(BURST) {
        let mut order = [0; BURST];
        let order = longest_first(burst, &mut order);
        if let Some(first) = burst.first() {
            let mut lanes = Lanes {
                states: States::new(),
                feeds: std::array::from_fn(|_| Feed::idle(first.midstates)),
                packets: [0; N],
                busy: 0,
            };
            lanes.run(burst, order, &compress);
        }
    }
}

/// The indices of a burst, those of longer packets before those of shorter ones.
fn longest_first<'o, H: Hash>(burst: &[Mac<'_, H>], order: &'o mut [usize; BURST]) -> &'o [usize] {
    let order = &mut order[..burst.len()];
    for (n, index) in order.iter_mut().enumerate() {
        *index = n;
    }
    let len = |index: &usize| burst[*index].text.len();
    if !order.is_sorted_by(|a, b| len(a) >= len(b)) {
        order.sort_unstable_by_key(|index| std::cmp::Reverse(len(index)));
    }
    order
}

/// Packets in work, one per lane.
struct Lanes<'a, H: Hash, const N: usize, const LEN: usize> {
    states: States<H::Word, N>,
    feeds: [Feed<'a, H>; N],
    /// Which packet of the burst a lane works on.
    packets: [usize; N],
    busy: usize,
}

impl<'a, H: Hash, const N: usize, const LEN: usize> Lanes<'a, H, N, LEN> {
    /// Works the packets of `burst` that `order` names.
    fn run(
        &mut self,
        burst: &mut [Mac<'a, H>],
        order: &[usize],
        compress: &impl Fn(&mut States<H::Word, N>, &Blocks<'_, N, LEN>),
    ) {
        let mut waiting = order.iter();
        for lane in 0..N {
            if let Some(&packet) = waiting.next() {
                self.begin(lane, packet, burst);
                self.busy += 1;
            }
        }
        while self.busy > 0 {
            let len = self.step(compress);
            for lane in 0..N {
                match self.feeds[lane].advance(len) {
                    Step::Within => {}
                    Step::InnerEnded => self.begin_outer(lane),
                    Step::Ended => {
                        self.finish(lane, burst);
                        match waiting.next() {
                            Some(&packet) => self.begin(lane, packet, burst),
                            None => self.busy -= 1,
                        }
                    }
                }
            }
        }
    }

    /// Gives a lane a packet.
    fn begin(&mut self, lane: usize, packet: usize, burst: &[Mac<'a, H>]) {
        let state = self.feeds[lane].begin(&burst[packet]);
        self.states.set(lane, state.as_ref());
        self.packets[lane] = packet;
    }

    /// Goes on from the inner hash of a lane to the outer.
    fn begin_outer(&mut self, lane: usize) {
        let mut inner = H::INITIAL;
        self.states.get(lane, inner.as_mut());
        let outer = self.feeds[lane].begin_outer(&inner);
        self.states.set(lane, outer.as_ref());
    }

    /// Writes the digest of a lane.
    fn finish(&self, lane: usize, burst: &mut [Mac<'a, H>]) {
        let mut state = H::INITIAL;
        self.states.get(lane, state.as_mut());
        write_digest::<H>(&state, &mut burst[self.packets[lane]].digest);
    }

    /// Compresses as many blocks as every busy lane has and gives their length in bytes.
    ///
    /// Idle lanes look at the blocks of a busy one and are ignored.
    fn step(&mut self, compress: &impl Fn(&mut States<H::Word, N>, &Blocks<'_, N, LEN>)) -> usize {
        let mut messages = self
            .feeds
            .each_ref()
            .map(|feed| feed.blocks().as_chunks().0);
        if self.busy < N {
            let some = *messages
                .iter()
                .find(|message| !message.is_empty())
                .unwrap_or(&messages[0]);
            for message in messages.iter_mut().filter(|message| message.is_empty()) {
                *message = some;
            }
        }
        let blocks = Blocks::new(messages);
        compress(&mut self.states, &blocks);
        blocks.count() * LEN
    }
}
