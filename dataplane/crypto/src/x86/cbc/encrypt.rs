//! CBC encryption of packets side by side.
//!
//! Within a packet each block waits for the one before, so one packet keeps the AES unit idle most of the time. Packets of different
//! keys fill it: each register holds one block of each of 1, 2 or 4 packets, and up to eight registers are in flight.
//!
//! ```text
//!                register 0            register 1           …   register 7
//! block n     p0  p1  p2  p3        p4  p5  p6  p7              p28 p29 p30 p31     (4 packets a register: AVX-512)
//!                 ⊕ chain                ⊕ chain                    ⊕ chain
//! round 0..14  k0  k1  k2  k3        k4  k5  k6  k7             k28 k29 k30 k31     each packet under its own key
//!                 = chain                = chain                    = chain
//! ```
//! Packets are sorted, the longest first, so that those still running are the first ones: a register whose packets have all ended is
//! left out, and only the last blocks of a packet are read and written with a mask.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "the arms of a match do the same for different numbers of registers"
)]

use super::super::aes::Block;
use super::blocks::{BLOCK, Blocks, CHUNK, Lane, gather, scatter};

/// Most registers in flight: what hides the latency of an AES round on CPUs that start two a cycle.
pub(super) const REGISTERS: usize = 8;
/// Most lanes of a register.
const LANES: usize = 4;
/// Most packets of one group.
pub(super) const GROUP: usize = REGISTERS * LANES;
/// Round keys of AES-256, the most there are.
const ROUND_KEYS: usize = 15;
/// Chunks that are read and written at once. Frames often lie a multiple of 4 KiB apart, so that those of all lanes share few sets of
/// the cache: the more of a line is used at once, the less often it is fetched again.
const PARTS: usize = 4;

/// The lanes of each register, of which the first [`Blocks::LANES`] count.
type Lanes<const N: usize> = [[Lane; LANES]; N];
/// Text on its way: by part, register and row.
type Text<V, const N: usize> = [[[V; CHUNK]; N]; PARTS];

/// A packet to encrypt.
#[derive(Clone, Copy)]
pub(super) struct Packet<'a> {
    /// 11, 13 or 15.
    pub(super) round_keys: &'a [Block],
    /// IV, or the block that is encrypted to make it.
    pub(super) iv: Block,
    /// Whether `iv` is yet to be encrypted.
    pub(super) iv_is_plain: bool,
    /// Plaintext, and where the ciphertext goes: apart, or the same bytes. 16 bytes before the destination is the place of the IV.
    pub(super) lane: Lane,
}

impl<'a> Packet<'a> {
    /// A packet without text, of which only the IV is made.
    pub(super) fn iv_only(round_keys: &'a [Block], sequence: u64, iv: &mut Block) -> Self {
        let behind = iv.as_mut_ptr().wrapping_add(BLOCK);
        Self {
            round_keys,
            iv: u128::from(sequence).to_be_bytes(),
            iv_is_plain: true,
            lane: Lane::new(behind, behind, 0),
        }
    }
}

/// Encrypts a group of packets, at most [`REGISTERS`]` · `[`Blocks::LANES`], the longest first, and writes their IVs.
///
/// # Safety
/// The CPU has the instructions of `V`. Each packet's source can be read, its destination and the 16 bytes before can be written; no
/// destination overlaps anything of another packet. All have as many round keys.
#[inline(always)]
pub(super) unsafe fn encrypt<V: Blocks>(packets: &[Packet<'_>]) {
    // SAFETY: the caller's promise is passed on.
    unsafe {
        match packets.len().div_ceil(V::LANES) {
            0 => {}
            1 => Group::<V, 1>::run(packets),
            2 => Group::<V, 2>::run(packets),
            3 | 4 => Group::<V, 4>::run(packets),
            _ => Group::<V, REGISTERS>::run(packets),
        }
    }
}

/// What one group needs while it runs, for `N` registers.
struct Group<V, const N: usize> {
    /// By register, then by round: the keys of its packets side by side.
    keys: [[V; ROUND_KEYS]; N],
    rounds: usize,
    /// The last ciphertext block of each packet.
    chain: [V; N],
    lanes: Lanes<N>,
    text: Text<V, N>,
    zero: V,
}

impl<V: Blocks, const N: usize> Group<V, N> {
    /// # Safety
    /// As for [`encrypt`]; the packets fit `N` registers, and there is one.
    #[inline(always)]
    unsafe fn run(packets: &[Packet<'_>]) {
        // SAFETY: the caller's promise.
        let zero = unsafe { V::zero() };
        let mut group = Self {
            keys: [[zero; ROUND_KEYS]; N],
            rounds: packets[0].round_keys.len() - 1,
            chain: [zero; N],
            lanes: spread::<V, N>(packets, |packet| packet.lane),
            text: [[[zero; CHUNK]; N]; PARTS],
            zero,
        };
        // SAFETY: the caller's promise.
        unsafe {
            group.spread_keys(packets);
            group.start_chains(packets);
            group.encrypt_all();
        }
        group.wipe();
    }

    /// Puts each packet's round keys at its place.
    ///
    /// # Safety
    /// The CPU has the instructions of `V`.
    #[inline(always)]
    unsafe fn spread_keys(&mut self, packets: &[Packet<'_>]) {
        let sources = spread::<V, N>(packets, |packet| Lane::reading(packet.round_keys));
        for (keys, sources) in self.keys.iter_mut().zip(&sources) {
            for (n, keys) in keys.chunks_mut(CHUNK).enumerate() {
                // SAFETY: the caller's promise; the lanes are the packets' round keys.
                let rows = unsafe { gather::<V>(&sources[..V::LANES], n * CHUNK) };
                keys.copy_from_slice(&rows[..keys.len()]);
            }
        }
    }

    /// Makes the IVs, writes them and starts the chains with them.
    ///
    /// # Safety
    /// As for [`encrypt`].
    #[inline(always)]
    unsafe fn start_chains(&mut self, packets: &[Packet<'_>]) {
        let mut ivs = [[[0; BLOCK]; LANES]; N];
        for (ivs, packets) in ivs.iter_mut().zip(packets.chunks(V::LANES)) {
            for (iv, packet) in ivs.iter_mut().zip(packets) {
                *iv = packet.iv;
            }
        }
        // IVs are made here and not in the frames, whose cache lines may still be on their way.
        let base: *mut u8 = ivs.as_mut_ptr().cast();
        let mut places = [[Lane::new(base, base, 1); LANES]; N];
        for (n, place) in places.as_flattened_mut().iter_mut().enumerate() {
            let iv = base.wrapping_add(n * BLOCK);
            *place = Lane::new(iv, iv, 1);
        }
        // SAFETY: the lanes are places in `ivs`.
        unsafe { self.load_chains(&places) };
        if packets.iter().any(|packet| packet.iv_is_plain) {
            let mut plain = places;
            for (plain, packets) in plain.iter_mut().zip(packets.chunks(V::LANES)) {
                for (place, packet) in plain.iter_mut().zip(packets) {
                    place.blocks = usize::from(packet.iv_is_plain);
                }
            }
            // SAFETY: the lanes are places in `ivs`.
            unsafe {
                self.encrypt_ivs(&plain);
                self.load_chains(&places);
            }
        }
        for (places, packets) in places.iter().zip(packets.chunks(V::LANES)) {
            for (place, packet) in places.iter().zip(packets) {
                let before = packet.lane.destination.wrapping_sub(BLOCK);
                // SAFETY: `place` is in `ivs`; the caller's promise: 16 bytes before the ciphertext can be written.
                unsafe { before.copy_from_nonoverlapping(place.source, BLOCK) };
            }
        }
    }

    /// Starts the chains with the block at each lane.
    ///
    /// # Safety
    /// The CPU has the instructions of `V`; the lanes can be read.
    #[inline(always)]
    unsafe fn load_chains(&mut self, lanes: &Lanes<N>) {
        for (chain, lanes) in self.chain.iter_mut().zip(lanes) {
            // SAFETY: the caller's promise.
            [*chain, ..] = unsafe { gather(&lanes[..V::LANES], 0) };
        }
    }

    /// Encrypts the chains and writes them to the lanes that have a block.
    ///
    /// # Safety
    /// The lanes can be written.
    #[inline(always)]
    unsafe fn encrypt_ivs(&self, lanes: &Lanes<N>) {
        let mut made = self.chain;
        step(&mut made, &[self.zero; N], &self.keys, self.rounds);
        for (made, lanes) in made.iter().zip(lanes) {
            // SAFETY: the caller's promise.
            unsafe { scatter([*made; CHUNK], &lanes[..V::LANES], 0) };
        }
    }

    /// Encrypts all packets to their ends, in fewer registers as packets end.
    ///
    /// # Safety
    /// As for [`encrypt`].
    #[inline(always)]
    unsafe fn encrypt_all(&mut self) {
        let mut done = 0;
        while done < self.lanes[0][0].blocks {
            let firsts = self.lanes.iter().map(|lanes| lanes[0].blocks);
            let running = firsts.filter(|blocks| *blocks > done).count();
            // SAFETY: the caller's promise.
            done = unsafe {
                match running {
                    1 => self.advance::<1>(done),
                    2 => self.advance::<2>(done),
                    3 => self.advance::<3>(done),
                    4 => self.advance::<4>(done),
                    5 => self.advance::<5>(done),
                    6 => self.advance::<6>(done),
                    7 => self.advance::<7>(done),
                    _ => self.advance::<REGISTERS>(done),
                }
            };
        }
    }

    /// Encrypts the packets of the first `M` registers from block `done` on, until the last of them has no packet left; returns the
    /// block that was reached.
    ///
    /// # Safety
    /// As for [`encrypt`].
    #[inline(always)]
    unsafe fn advance<const M: usize>(&mut self, mut done: usize) -> usize {
        let (Some(keys), Some(chain)) = (self.keys.first_chunk(), self.chain.first_chunk::<M>())
        else {
            return usize::MAX;
        };
        let mut chain = *chain;
        let end = self.lanes[M - 1][0].blocks;
        while done < end {
            let left = self.lanes[0][0].left(done);
            let parts = left.div_ceil(CHUNK).min(PARTS);
            // SAFETY: the caller's promise.
            unsafe { read(&mut self.text[..parts], &self.lanes[..M], done) };
            let mut steps = left.min(PARTS * CHUNK);
            for text in &mut self.text[..parts] {
                chunk(&mut chain, text, steps, keys, self.rounds);
                steps = steps.saturating_sub(CHUNK);
            }
            // SAFETY: the caller's promise.
            unsafe { write(&self.text[..parts], &self.lanes[..M], done) };
            done += PARTS * CHUNK;
        }
        if let Some(chains) = self.chain.first_chunk_mut() {
            *chains = chain;
        }
        done
    }

    /// Leaves no key behind.
    #[inline(always)]
    fn wipe(&mut self) {
        self.keys = [[self.zero; ROUND_KEYS]; N];
        std::hint::black_box(&self.keys);
    }
}

/// The lane of each packet at its place in `N` registers; empty lanes behind.
#[inline(always)]
fn spread<V: Blocks, const N: usize>(
    packets: &[Packet<'_>],
    lane: impl Fn(&Packet<'_>) -> Lane,
) -> Lanes<N> {
    let mut lanes = [[Lane::idle(lane(&packets[0])); LANES]; N];
    for (lanes, packets) in lanes.iter_mut().zip(packets.chunks(V::LANES)) {
        for (place, packet) in lanes.iter_mut().zip(packets) {
            *place = lane(packet);
        }
    }
    lanes
}

/// Reads parts of the text of some registers, from block `done` on.
///
/// # Safety
/// The CPU has the instructions of `V`; the lanes can be read.
#[inline(always)]
unsafe fn read<V: Blocks, const N: usize>(
    text: &mut [[[V; CHUNK]; N]],
    lanes: &[[Lane; LANES]],
    done: usize,
) {
    for (n, lanes) in lanes.iter().enumerate() {
        for (part, text) in text.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            text[n] = unsafe { gather(&lanes[..V::LANES], done + part * CHUNK) };
        }
    }
}

/// Writes what [`read`] reads.
///
/// # Safety
/// The lanes can be written.
#[inline(always)]
unsafe fn write<V: Blocks, const N: usize>(
    text: &[[[V; CHUNK]; N]],
    lanes: &[[Lane; LANES]],
    done: usize,
) {
    for (n, lanes) in lanes.iter().enumerate() {
        for (part, text) in text.iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { scatter(text[n], &lanes[..V::LANES], done + part * CHUNK) };
        }
    }
}

/// Encrypts the first `steps` rows of `M` registers' text where they stand.
#[inline(always)]
fn chunk<V: Blocks, const N: usize, const M: usize>(
    chain: &mut [V; M],
    text: &mut [[V; CHUNK]; N],
    steps: usize,
    keys: &[[V; ROUND_KEYS]; M],
    rounds: usize,
) {
    for row in 0..steps.min(CHUNK) {
        let mut plain = *chain;
        for (plain, text) in plain.iter_mut().zip(text.iter()) {
            *plain = text[row];
        }
        step(chain, &plain, keys, rounds);
        for (text, chain) in text.iter_mut().zip(chain.iter()) {
            text[row] = *chain;
        }
    }
}

/// One block of every packet: adds it to the chains and encrypts them.
#[inline(always)]
fn step<V: Blocks, const M: usize>(
    chain: &mut [V; M],
    plain: &[V; M],
    keys: &[[V; ROUND_KEYS]; M],
    rounds: usize,
) {
    let rounds = rounds.min(ROUND_KEYS - 1);
    for ((chain, plain), keys) in chain.iter_mut().zip(plain).zip(keys) {
        // Text and key first: the chain is what everything waits for.
        *chain = chain.xor(plain.xor(keys[0]));
    }
    for round in 1..rounds {
        for (chain, keys) in chain.iter_mut().zip(keys) {
            *chain = chain.encrypt_round(keys[round]);
        }
    }
    for (chain, keys) in chain.iter_mut().zip(keys) {
        *chain = chain.encrypt_last(keys[rounds]);
    }
}
