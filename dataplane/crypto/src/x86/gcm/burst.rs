//! How a burst is worked, written once for every width: the loop stands in a function with the width's instructions, and so do its packets.

/// Defines `seal_burst` and `open_burst` with the given CPU features, around `crypt`.
macro_rules! define_bursts {
    ($features:literal) => {
        /// Seals the packets of a burst that are AES-GCM's; whether there are others.
        #[target_feature(enable = $features)]
        pub(super) fn seal_burst(ops: &mut [SealOp<'_>]) -> bool {
            let mut has_others = false;
            ops.iter().take(AHEAD).for_each(SealOp::prefetch);
            for index in 0..ops.len() {
                if let Some(op) = ops.get(index + AHEAD) {
                    op.prefetch();
                }
                let Some(op) = ops.get_mut(index) else { break };
                match &op.context.0 {
                    SealForm::Gcm128(keys) => seal(keys, op),
                    SealForm::Gcm192(keys) => seal(keys, op),
                    SealForm::Gcm256(keys) => seal(keys, op),
                    SealForm::Portable(..) | SealForm::Cbc(..) => has_others = true,
                }
            }
            has_others
        }

        /// Verifies and opens the packets of a burst that are AES-GCM's; whether there are others.
        #[target_feature(enable = $features)]
        pub(super) fn open_burst(ops: &mut [OpenOp<'_>], opened: &mut Opened) -> bool {
            let mut has_others = false;
            ops.iter().take(AHEAD).for_each(OpenOp::prefetch);
            for index in 0..ops.len() {
                if let Some(op) = ops.get(index + AHEAD) {
                    op.prefetch();
                }
                let Some(op) = ops.get_mut(index) else { break };
                let verified = match &op.context.0 {
                    OpenForm::Gcm128(keys) => open(keys, op),
                    OpenForm::Gcm192(keys) => open(keys, op),
                    OpenForm::Gcm256(keys) => open(keys, op),
                    OpenForm::Portable(..) | OpenForm::Cbc(..) => {
                        has_others = true;
                        continue;
                    }
                };
                if !verified {
                    op.wipe();
                }
                opened.insert_if(verified, index);
            }
            has_others
        }

        /// Seals one packet.
        #[inline]
        #[target_feature(enable = $features)]
        fn seal<const N: usize>(keys: &Schedule<N>, op: &mut SealOp<'_>) {
            let place = op.pointers_within(IV_LEN, AROUND);
            let iv = u64::from_le_bytes(op.iv.first_chunk().copied().unwrap_or_default());
            let text = place.destination.wrapping_add(IV_LEN);
            let packet = Packet {
                aad: op.aad,
                iv,
                source: place.source,
                destination: text,
                len: place.len,
            };
            // SAFETY: 2, 3: as the op says.
            let tag = unsafe { crypt::<false, N>(keys, packet) };
            // SAFETY: 2: the ICV's 16 bytes follow the text.
            unsafe { _mm_storeu_si128(text.wrapping_add(place.len).cast(), tag) };
            // SAFETY: 2: the destination begins with 8 bytes of IV.
            unsafe { place.destination.cast::<u64>().write_unaligned(iv) };
        }

        /// Opens one packet; whether its ICV is right. If it is not, the caller wipes the destination.
        #[inline]
        #[target_feature(enable = $features)]
        fn open<const N: usize>(keys: &Schedule<N>, op: &mut OpenOp<'_>) -> bool {
            let place = op.pointers_within(IV_LEN, AROUND);
            let text = place.source.wrapping_add(IV_LEN);
            let packet = Packet {
                aad: op.aad,
                // SAFETY: 2: the source begins with 8 bytes of IV.
                iv: unsafe { place.source.cast::<u64>().read_unaligned() },
                source: text,
                destination: place.destination,
                len: place.len,
            };
            // SAFETY: 2: the ICV's 16 bytes follow the text.
            let icv = unsafe { _mm_loadu_si128(text.wrapping_add(place.len).cast()) };
            // SAFETY: 2, 3: as the op says.
            let tag = unsafe { crypt::<true, N>(keys, packet) };
            is_same(tag, icv)
        }
    };
}

pub(super) use define_bursts;
