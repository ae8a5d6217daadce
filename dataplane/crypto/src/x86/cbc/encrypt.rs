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

use super::super::aes::Block;
use super::blocks::{BLOCK, Blocks, CHUNK, Lane, gather, scatter};

/// Most registers in flight: what hides the latency of an AES round on CPUs that start two a cycle.
pub(super) const REGISTERS: usize = 8;
/// Most packets of one group: four a register.
pub(super) const GROUP: usize = REGISTERS * 4;
/// Round keys of AES-256, the most there are.
const ROUND_KEYS: usize = 15;
/// Chunks that are read and written at once.
const PARTS: usize = 4;

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
    /// By register, then by round: those of up to four packets in each place.
    keys: [[V; ROUND_KEYS]; N],
    rounds: usize,
    /// The last ciphertext block of each packet.
    chain: [V; N],
    lanes: [Lane; GROUP],
    /// Text on its way: by part, register and row.
    text: [[[V; CHUNK]; N]; PARTS],
    /// Zeros.
    zero: V,
}

impl<V: Blocks, const N: usize> Group<V, N> {
    /// # Safety
    /// As for [`encrypt`]; the packets fit `N` registers.
    #[inline(always)]
    unsafe fn run(packets: &[Packet<'_>]) {
        // SAFETY: the caller's promise.
        let zero = unsafe { V::zero() };
        let mut group = Self {
            keys: [[zero; ROUND_KEYS]; N],
            rounds: packets[0].round_keys.len() - 1,
            chain: [zero; N],
            lanes: [Lane::idle(packets[0].lane); GROUP],
            text: [[[zero; CHUNK]; N]; PARTS],
            zero,
        };
        for (lane, packet) in group.lanes.iter_mut().zip(packets) {
            *lane = packet.lane;
        }
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
    /// As for [`encrypt`].
    #[inline(always)]
    unsafe fn spread_keys(&mut self, packets: &[Packet<'_>]) {
        let mut sources = [Lane::idle(Lane::reading(packets[0].round_keys)); GROUP];
        for (source, packet) in sources.iter_mut().zip(packets) {
            *source = Lane::reading(packet.round_keys);
        }
        for (keys, sources) in self.keys.iter_mut().zip(sources.chunks_exact(V::LANES)) {
            for (n, keys) in keys.chunks_mut(CHUNK).enumerate() {
                // SAFETY: the caller's promise: as many round keys can be read.
                let rows = unsafe { gather::<V>(sources, n * CHUNK) };
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
        let mut ivs = [[0; BLOCK]; GROUP];
        let base: *mut u8 = ivs.as_mut_ptr().cast();
        let mut lanes = [Lane::idle(Lane::new(base, base, 1)); GROUP];
        for ((n, lane), packet) in lanes.iter_mut().enumerate().zip(packets) {
            let iv = base.wrapping_add(n * BLOCK);
            // SAFETY: `n` is below `GROUP`, so there are 16 bytes of `ivs`.
            unsafe { iv.cast::<Block>().write(packet.iv) };
            *lane = Lane::new(iv, iv, 1);
        }
        // SAFETY: `lanes` are places in `ivs`.
        unsafe { self.load_chains(&lanes) };
        if packets.iter().any(|packet| packet.iv_is_plain) {
            let mut made = lanes;
            for (lane, packet) in made.iter_mut().zip(packets) {
                lane.blocks = usize::from(packet.iv_is_plain);
            }
            // SAFETY: the lanes are places in `ivs`.
            unsafe {
                self.encrypt_ivs(&made);
                self.load_chains(&lanes);
            }
        }
        for (lane, packet) in lanes.iter().zip(packets) {
            let place = packet.lane.destination.wrapping_sub(BLOCK);
            // SAFETY: `lanes` are places in `ivs`; the caller's promise for the other.
            unsafe { place.copy_from_nonoverlapping(lane.source, BLOCK) };
        }
    }

    /// Starts the chains with the block at each lane.
    ///
    /// # Safety
    /// The CPU has the instructions of `V`; the lanes can be read.
    #[inline(always)]
    unsafe fn load_chains(&mut self, lanes: &[Lane; GROUP]) {
        for (chain, lanes) in self.chain.iter_mut().zip(lanes.chunks_exact(V::LANES)) {
            // SAFETY: the caller's promise.
            [*chain, ..] = unsafe { V::gather_rest(lanes, 0) };
        }
    }

    /// Encrypts the chains and writes them to the lanes that have a block.
    ///
    /// # Safety
    /// The lanes can be written.
    #[inline(always)]
    unsafe fn encrypt_ivs(&self, lanes: &[Lane; GROUP]) {
        let mut made = self.chain;
        step(&mut made, &[self.zero; N], &self.keys, self.rounds);
        for (made, lanes) in made.iter().zip(lanes.chunks_exact(V::LANES)) {
            // SAFETY: the caller's promise.
            unsafe { V::scatter_rest([*made; CHUNK], lanes, 0) };
        }
    }

    /// Encrypts all packets to their ends, in fewer registers as packets end.
    ///
    /// # Safety
    /// As for [`encrypt`].
    #[inline(always)]
    unsafe fn encrypt_all(&mut self) {
        let mut done = 0;
        while done < self.lanes[0].blocks {
            let firsts = self.lanes.iter().step_by(V::LANES);
            let running = firsts.take(N).filter(|lane| lane.blocks > done).count();
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
                    _ => self.advance::<8>(done),
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
        let end = self.lanes[(M - 1) * V::LANES].blocks;
        while done < end {
            let left = self.lanes[0].left(done);
            let parts = left.div_ceil(CHUNK).min(PARTS);
            // SAFETY: the caller's promise.
            unsafe { read(&mut self.text[..parts], &self.lanes, M, done) };
            let mut steps = left.min(PARTS * CHUNK);
            for text in &mut self.text[..parts] {
                if let Some(text) = text.first_chunk_mut() {
                    chunk(&mut chain, text, steps, keys, self.rounds);
                }
                steps = steps.saturating_sub(CHUNK);
            }
            // SAFETY: the caller's promise.
            unsafe { write(&self.text[..parts], &self.lanes, M, done) };
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

/// Reads blocks of the first `registers` registers' lanes, from block `done` on.
///
/// # Safety
/// As for [`Blocks::gather`].
#[inline(always)]
unsafe fn read<V: Blocks, const N: usize>(
    text: &mut [[[V; CHUNK]; N]],
    lanes: &[Lane; GROUP],
    registers: usize,
    done: usize,
) {
    for (n, lanes) in lanes.chunks_exact(V::LANES).take(registers).enumerate() {
        for (part, text) in text.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            text[n] = unsafe { gather(lanes, done + part * CHUNK) };
        }
    }
}

/// Writes what [`read`] reads.
///
/// # Safety
/// As for [`Blocks::scatter`].
#[inline(always)]
unsafe fn write<V: Blocks, const N: usize>(
    text: &[[[V; CHUNK]; N]],
    lanes: &[Lane; GROUP],
    registers: usize,
    done: usize,
) {
    for (n, lanes) in lanes.chunks_exact(V::LANES).take(registers).enumerate() {
        for (part, text) in text.iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { scatter(text[n], lanes, done + part * CHUNK) };
        }
    }
}

/// Encrypts the first `steps` rows of each register's text where they stand.
#[inline(always)]
fn chunk<V: Blocks, const M: usize>(
    chain: &mut [V; M],
    text: &mut [[V; CHUNK]; M],
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
    for n in 0..M {
        // Text and key first: the chain is what everything waits for.
        chain[n] = chain[n].xor(plain[n].xor(keys[n][0]));
    }
    for round in 1..rounds {
        for n in 0..M {
            chain[n] = chain[n].encrypt_round(keys[n][round]);
        }
    }
    for n in 0..M {
        chain[n] = chain[n].encrypt_last(keys[n][rounds]);
    }
}
