//! How a packet is worked, written once for every width.
//!
//! The instructions of a function are fixed where it is compiled, so this is a macro, and each width's file is the vocabulary it is written in:
//! `Vector`, `LANES`, `REGISTERS` (of a group), `load`, `store`, `load_part`, `store_part`, `part`, `xor`, `xor3`, `shuffle`, `round`,
//! `last_round`, `carryless`, `swap_halves`, `everywhere`, `first_lane`, `lowest_lane`, `in_lane`, `sum_of_lanes`, `counters`, `add_counters`.

/// Defines `crypt` with the given CPU features.
macro_rules! define_crypt {
    ($features:literal) => {
        /// Bytes in a register.
        const WIDTH: usize = LANES * BLOCK;

        /// Blocks with one reduction.
        const GROUP: usize = LANES * REGISTERS;

        /// Encrypts or decrypts the text and returns its tag.
        ///
        /// # Safety
        /// The CPU has these instructions. The packet's pointers are good for its length, and are the same or have no byte in common.
        #[target_feature(enable = $features)]
        pub(super) unsafe fn crypt<const OPEN: bool, const N: usize>(
            keys: &Schedule<N>,
            packet: Packet<'_>,
        ) -> __m128i {
            let hash = match packet.short_aad() {
                Some(aad) => aad,
                None => keys.hash_of(packet.aad),
            };
            let nonce = vector(u128::from(packet.iv) << 32);
            let mut work = Work {
                keys,
                base: everywhere(_mm_xor_si128(nonce, keys.round_key(0))),
                counter: counters(),
                hash: first_lane(vector(hash)),
                tag_mask: vector(0),
                source: packet.source.wrapping_sub(BLOCK),
                destination: packet.destination.wrapping_sub(BLOCK),
                head: BLOCK,
                left: BLOCK + packet.len,
                blocks: packet.len.div_ceil(BLOCK) + 2,
                lengths: packet.lengths(),
            };
            if work.left >= GROUP * BLOCK {
                // SAFETY: block 0 and the text fill a group.
                unsafe { work.group::<OPEN, REGISTERS, FIRST>() };
            }
            while work.left >= GROUP * BLOCK {
                // SAFETY: the text fills a group.
                unsafe { work.group::<OPEN, REGISTERS, WHOLE>() };
            }
            if work.blocks > GROUP {
                // SAFETY: what is no text is under a mask.
                unsafe { work.group::<OPEN, REGISTERS, CUT>() };
            }
            // SAFETY: as above.
            unsafe {
                match work.blocks.div_ceil(LANES) {
                    0 | 1 => work.group::<OPEN, 1, LAST>(),
                    2 => work.group::<OPEN, 2, LAST>(),
                    3 => work.group::<OPEN, 3, LAST>(),
                    4 => work.group::<OPEN, 4, LAST>(),
                    5 => work.group::<OPEN, { at_most(5) }, LAST>(),
                    6 => work.group::<OPEN, { at_most(6) }, LAST>(),
                    7 => work.group::<OPEN, { at_most(7) }, LAST>(),
                    _ => work.group::<OPEN, REGISTERS, LAST>(),
                }
            }
            let hash = _mm_shuffle_epi8(lowest_lane(work.hash), REVERSED.vector());
            _mm_xor_si128(work.tag_mask, hash)
        }

        /// Block 0, then text alone.
        const FIRST: u8 = 0;
        /// Text alone.
        const WHOLE: u8 = 1;
        /// A group in which the text ends, but for which the lengths are one block too many.
        const CUT: u8 = 2;
        /// The end of the text, and the lengths.
        const LAST: u8 = 3;

        /// So many registers, but not more than a group has.
        const fn at_most(registers: usize) -> usize {
            if registers < REGISTERS {
                registers
            } else {
                REGISTERS
            }
        }

        /// A packet on its way.
        struct Work<'a, const N: usize> {
            keys: &'a Schedule<N>,
            /// The first round key with the nonce worked in, the counter left out.
            base: Vector,
            /// Counters of the next register, as little-endian numbers in the last four bytes of each block.
            counter: Vector,
            /// The hash so far, in the first lane.
            hash: Vector,
            /// The encrypted counter 1.
            tag_mask: __m128i,
            /// The next register's place; block 0 lies before the text.
            source: *const u8,
            destination: *mut u8,
            /// Bytes before the text in the next register: 16, then 0.
            head: usize,
            /// Bytes to the end of the text.
            left: usize,
            /// Blocks to hash.
            blocks: usize,
            lengths: u128,
        }

        impl<'a, const N: usize> Work<'a, N> {
            /// Works so many registers; `KIND` says what is in them.
            ///
            /// # Safety
            /// `source` and `destination` are good for the bytes from `head` to `left`, which fill the registers of a [`FIRST`] or [`WHOLE`] group.
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn group<const OPEN: bool, const COUNT: usize, const KIND: u8>(&mut self) {
                let first_power = if KIND == LAST {
                    POWERS - self.blocks
                } else {
                    POWERS - GROUP
                };
                let mut product = Product::zero();
                let reversed = everywhere(REVERSED.vector());
                let stream = self.key_stream::<COUNT>();
                if self.head != 0 {
                    self.tag_mask = lowest_lane(stream[0]);
                }
                for n in 0..COUNT {
                    let at = n * WIDTH;
                    let source = self.source.wrapping_add(at);
                    let destination = self.destination.wrapping_add(at);
                    let head = if n == 0 { self.head } else { 0 };
                    let end = self.left.saturating_sub(at).min(WIDTH);
                    let is_whole = KIND == WHOLE || (KIND == FIRST && n > 0);
                    // SAFETY: of the caller.
                    let input = unsafe {
                        if is_whole {
                            load(source)
                        } else {
                            load_part(source, head, end)
                        }
                    };
                    let output = xor(input, stream[n]);
                    // SAFETY: of the caller.
                    unsafe {
                        if is_whole {
                            store(destination, output);
                        } else {
                            store_part(destination, output, head, end);
                        }
                    }
                    let text = match (OPEN, is_whole) {
                        (true, _) => input,
                        (false, true) => output,
                        (false, false) => part(output, head, end),
                    };
                    let mut data = shuffle(text, reversed);
                    if n == 0 {
                        data = xor(data, self.hash);
                    }
                    if KIND == LAST && n == COUNT - 1 {
                        data = xor(data, in_lane((self.blocks - 1) & (LANES - 1), self.lengths));
                    }
                    let place = first_power + n * LANES;
                    // SAFETY: begins within the powers, and ends at most three round keys behind them.
                    let power = unsafe { load(self.keys.place(place)) };
                    product.add(data, power);
                }
                self.hash = product.reduced();
                if KIND != LAST {
                    self.source = self.source.wrapping_add(GROUP * BLOCK);
                    self.destination = self.destination.wrapping_add(GROUP * BLOCK);
                    self.left = self.left.saturating_sub(GROUP * BLOCK);
                    self.blocks -= GROUP;
                    self.head = 0;
                }
            }

            /// The key stream of the next registers.
            #[inline]
            #[target_feature(enable = $features)]
            fn key_stream<const COUNT: usize>(&mut self) -> [Vector; COUNT] {
                let order = everywhere(COUNTER_REVERSED.vector());
                let mut blocks = [self.base; COUNT];
                for block in &mut blocks {
                    *block = xor(*block, shuffle(self.counter, order));
                    self.counter = add_counters(self.counter);
                }
                for n in 1..N - 1 {
                    let key = everywhere(self.keys.round_key(n));
                    for block in &mut blocks {
                        *block = round(*block, key);
                    }
                }
                let key = everywhere(self.keys.round_key(N - 1));
                for block in &mut blocks {
                    *block = last_round(*block, key);
                }
                blocks
            }
        }

        /// A sum of products, lane by lane, not reduced.
        struct Product {
            low: Vector,
            middle: Vector,
            high: Vector,
        }

        impl Product {
            #[inline]
            #[target_feature(enable = $features)]
            fn zero() -> Self {
                let zero = first_lane(vector(0));
                Self {
                    low: zero,
                    middle: zero,
                    high: zero,
                }
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn add(&mut self, a: Vector, b: Vector) {
                self.low = xor(self.low, carryless::<0x00>(a, b));
                self.middle = xor3(
                    self.middle,
                    carryless::<0x01>(a, b),
                    carryless::<0x10>(a, b),
                );
                self.high = xor(self.high, carryless::<0x11>(a, b));
            }

            /// The sum of all lanes in the first one, zeros in the others.
            #[inline]
            #[target_feature(enable = $features)]
            fn reduced(&self) -> Vector {
                let fold = everywhere(vector(FOLD as u128));
                let middle = xor3(
                    self.middle,
                    swap_halves(self.low),
                    carryless::<0x00>(self.low, fold),
                );
                let lanes = xor3(
                    self.high,
                    swap_halves(middle),
                    carryless::<0x00>(middle, fold),
                );
                first_lane(sum_of_lanes(lanes))
            }
        }
    };
}

pub(super) use define_crypt;
