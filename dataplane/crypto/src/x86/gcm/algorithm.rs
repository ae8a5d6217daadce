//! How a packet is worked, written once for every width.
//!
//! The instructions of a function are fixed where it is compiled, so this is a macro, and each width's file is the vocabulary it is written in:
//! `Vector`, `LANES`, `REGISTERS` (of a group), `SEALED_AT_ONCE`, `load`, `store`, `load_part`, `store_part`, `part`, `xor`, `xor3`, `shuffle`, `round`,
//! `last_round`, `carryless`, `swap_halves`, `everywhere`, `first_lane`, `sum_of_lanes`, `counters`, `add_counters`.
//!
//! `crypt` has to become one function without calls, so that hash and counter stay in registers: each step below is called at one place for each
//! set of its constants, which makes the compiler inline it.

/// Defines `crypt` with the given CPU features.
macro_rules! define_crypt {
    ($features:literal) => {
        /// Bytes in a register.
        const WIDTH: usize = LANES * BLOCK;

        /// Bytes in a group.
        const GROUP: usize = REGISTERS * WIDTH;

        /// Encrypts or decrypts the text and returns its tag.
        ///
        /// # Safety
        /// The CPU has these instructions. The packet's pointers are good for its length, and are the same or have no byte in common.
        #[inline]
        #[target_feature(enable = $features)]
        pub(super) unsafe fn crypt<const OPEN: bool, const N: usize>(
            keys: &Schedule<N>,
            packet: Packet<'_>,
        ) -> __m128i {
            let aad = match packet.short_aad() {
                Some(aad) => aad,
                None => keys.hash_of(packet.aad),
            };
            let aad = first_lane(vector(aad));
            let base = _mm_xor_si128(vector(u128::from(packet.iv) << 32), keys.round_key(0));
            let mut text = Text {
                keys,
                base: everywhere(base),
                counter: counters(),
                source: packet.source,
                destination: packet.destination,
                left: packet.len,
            };
            let mut product = Product::zero();
            let mut hash = first_lane(vector(0));
            let blocks = packet.len.div_ceil(BLOCK);
            if blocks + 2 <= POWERS {
                product.add(aad, first_lane(keys.power(blocks + 2)));
            } else {
                product.add(aad, first_lane(keys.power(1)));
                hash = product.reduced();
                hash = if OPEN {
                    // SAFETY: of the caller.
                    unsafe { text.open_groups(hash) }
                } else {
                    // SAFETY: of the caller.
                    unsafe { text.seal_groups(hash) }
                };
                product = Product::zero();
            }
            // SAFETY: of the caller; no more is left than there are powers.
            hash = unsafe { text.rest::<OPEN>(hash, &mut product) };
            let lengths = xor(first_lane(vector(packet.lengths())), hash);
            product.add(lengths, first_lane(keys.power(1)));
            let hash = _mm_shuffle_epi8(sum_of_lanes(product.reduced()), REVERSED.vector());
            _mm_xor_si128(hash, keys.encrypt_first_counter(base))
        }

        /// What is left of a packet's text.
        struct Text<'a, const N: usize> {
            keys: &'a Schedule<N>,
            /// The first round key with the nonce worked in, the counter left out.
            base: Vector,
            /// Counters of the next register, as little-endian numbers in the last four bytes of each block.
            counter: Vector,
            /// The next register's place.
            source: *const u8,
            destination: *mut u8,
            /// Bytes to the end.
            left: usize,
        }

        impl<'a, const N: usize> Text<'a, N> {
            /// Seals the text while there are whole groups; returns the hash of `hash` and their ciphertext, in the first lane.
            ///
            /// Groups are hashed while the next ones are on their way through the rounds.
            ///
            /// # Safety
            /// The packet's pointers are good, as for `crypt`.
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn seal_groups(&mut self, mut hash: Vector) -> Vector {
                let mut unhashed: *const u8 = self.destination;
                while self.left >= GROUP {
                    let end: *const u8 = self.destination;
                    if SEALED_AT_ONCE > REGISTERS && self.left >= SEALED_AT_ONCE * WIDTH {
                        // SAFETY: as many registers are left.
                        unsafe { self.crypt_registers::<SEALED_AT_ONCE>() };
                    } else {
                        // SAFETY: a group is left.
                        unsafe { self.crypt_registers::<REGISTERS>() };
                    }
                    while unhashed < end {
                        // SAFETY: the group was sealed before the last ones.
                        hash = unsafe { self.hash_group::<false>(unhashed, hash) };
                        unhashed = unhashed.wrapping_add(GROUP);
                    }
                }
                while SEALED_AT_ONCE > REGISTERS && unhashed.wrapping_add(GROUP) < self.destination
                {
                    // SAFETY: the group is sealed, and another behind it.
                    hash = unsafe { self.hash_group::<false>(unhashed, hash) };
                    unhashed = unhashed.wrapping_add(GROUP);
                }
                if unhashed < self.destination {
                    // SAFETY: the last group is sealed.
                    hash = unsafe { self.hash_group::<true>(unhashed, hash) };
                }
                hash
            }

            /// Opens the text while there are whole groups; returns as when sealing.
            ///
            /// # Safety
            /// The packet's pointers are good, as for `crypt`.
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn open_groups(&mut self, mut hash: Vector) -> Vector {
                while self.left >= GROUP {
                    hash = if self.left >= 2 * GROUP {
                        // SAFETY: a group is left.
                        unsafe { self.hash_group::<false>(self.source, hash) }
                    } else {
                        // SAFETY: as above.
                        unsafe { self.hash_group::<true>(self.source, hash) }
                    };
                    // SAFETY: as above.
                    unsafe { self.crypt_registers::<REGISTERS>() };
                }
                hash
            }

            /// Works what is left, at most as many blocks as there are powers, into `product`, in front of the lengths.
            ///
            /// `hash` is what the ciphertext before comes to. Returns what of it all is still to be added to the lengths.
            ///
            /// # Safety
            /// The packet's pointers are good, as for `crypt`.
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn rest<const OPEN: bool>(
                &mut self,
                mut hash: Vector,
                product: &mut Product,
            ) -> Vector {
                let blocks = self.left.div_ceil(BLOCK);
                let mut powers = self.keys.powers(POWERS.min(blocks + 1));
                while self.left >= WIDTH {
                    // SAFETY: the text is a register or longer; there are as many powers.
                    unsafe { self.work::<OPEN, false>(powers, hash, product) };
                    hash = first_lane(vector(0));
                    powers = powers.wrapping_add(WIDTH);
                }
                if self.left > 0 {
                    // SAFETY: there is less text than a register; the powers are followed by round keys.
                    unsafe { self.work::<OPEN, true>(powers, hash, product) };
                    hash = first_lane(vector(0));
                }
                if blocks == POWERS {
                    // None was left for the lengths.
                    hash = first_lane(sum_of_lanes(product.reduced()));
                    *product = Product::zero();
                }
                hash
            }

            /// Encrypts or decrypts the next registers.
            ///
            /// # Safety
            /// So many are left.
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn crypt_registers<const COUNT: usize>(&mut self) {
                let stream = self.key_stream::<COUNT>();
                for (n, stream) in stream.into_iter().enumerate() {
                    // SAFETY: of the caller.
                    let input = unsafe { load(self.source.wrapping_add(n * WIDTH)) };
                    let place = self.destination.wrapping_add(n * WIDTH);
                    // SAFETY: of the caller.
                    unsafe { store(place, xor(input, stream)) };
                }
                self.advance(COUNT * WIDTH);
            }

            /// The hash of `hash` and a group of ciphertext.
            ///
            /// It is as many sums as there are lanes, each due at its lane's first block of the next group: so all lanes take the same power, and
            /// none waits for another. `LAST`: one sum, in the first lane.
            ///
            /// # Safety
            /// `ciphertext` has a group of readable bytes.
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn hash_group<const LAST: bool>(
                &self,
                ciphertext: *const u8,
                hash: Vector,
            ) -> Vector {
                let reversed = everywhere(REVERSED.vector());
                let mut product = Product::zero();
                for n in 0..REGISTERS {
                    // SAFETY: of the caller.
                    let data = unsafe { load(ciphertext.wrapping_add(n * WIDTH)) };
                    let data = shuffle(data, reversed);
                    let data = if n == 0 { xor(data, hash) } else { data };
                    let distance = (REGISTERS - n) * LANES;
                    let power = if LAST {
                        // SAFETY: there are as many powers.
                        unsafe { load(self.keys.powers(distance)) }
                    } else {
                        everywhere(self.keys.power(distance))
                    };
                    product.add(data, power);
                }
                if LAST {
                    first_lane(sum_of_lanes(product.reduced()))
                } else {
                    product.reduced()
                }
            }

            /// Encrypts or decrypts the next register, and adds the product of its ciphertext with `powers` to `product`.
            ///
            /// `hash` is what the ciphertext before it comes to. `PART`: the text ends in the register.
            ///
            /// # Safety
            /// A register is left, or fewer bytes if it is a `PART`. `powers` has as many readable bytes as a register.
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn work<const OPEN: bool, const PART: bool>(
                &mut self,
                powers: *const u8,
                hash: Vector,
                product: &mut Product,
            ) {
                let [stream] = self.key_stream();
                // SAFETY: of the caller.
                let input = unsafe {
                    if PART {
                        load_part(self.source, self.left)
                    } else {
                        load(self.source)
                    }
                };
                let output = xor(input, stream);
                // SAFETY: of the caller.
                unsafe {
                    if PART {
                        store_part(self.destination, output, self.left);
                    } else {
                        store(self.destination, output);
                    }
                }
                let ciphertext = match (OPEN, PART) {
                    (true, _) => input,
                    (false, false) => output,
                    (false, true) => part(output, self.left),
                };
                let data = shuffle(ciphertext, everywhere(REVERSED.vector()));
                // SAFETY: of the caller.
                let power = unsafe { load(powers) };
                product.add(xor(data, hash), power);
                self.advance(WIDTH);
            }

            /// Leaves `bytes` behind, or the rest.
            #[inline]
            const fn advance(&mut self, bytes: usize) {
                self.source = self.source.wrapping_add(bytes);
                self.destination = self.destination.wrapping_add(bytes);
                self.left = self.left.saturating_sub(bytes);
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
            /// What the sum of both factors' words gives: `middle ^ low ^ high`.
            crossed: Vector,
            high: Vector,
        }

        impl Product {
            #[inline]
            #[target_feature(enable = $features)]
            fn zero() -> Self {
                let zero = first_lane(vector(0));
                Self {
                    low: zero,
                    crossed: zero,
                    high: zero,
                }
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn add(&mut self, a: Vector, b: Vector) {
                let (a_sum, b_sum) = (xor(a, swap_halves(a)), xor(b, swap_halves(b)));
                self.low = xor(self.low, carryless::<0x00>(a, b));
                self.crossed = xor(self.crossed, carryless::<0x00>(a_sum, b_sum));
                self.high = xor(self.high, carryless::<0x11>(a, b));
            }

            /// The same, reduced.
            #[inline]
            #[target_feature(enable = $features)]
            fn reduced(&self) -> Vector {
                let fold = everywhere(vector(FOLD as u128));
                let middle = xor3(self.crossed, self.low, self.high);
                let middle = xor3(
                    middle,
                    swap_halves(self.low),
                    carryless::<0x00>(self.low, fold),
                );
                xor3(
                    self.high,
                    swap_halves(middle),
                    carryless::<0x00>(middle, fold),
                )
            }
        }
    };
}

pub(super) use define_crypt;
