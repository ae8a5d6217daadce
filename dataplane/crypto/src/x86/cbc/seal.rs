//! Seals: encrypts a group of packets side by side, then authenticates them while they are in the cache.

use arrayvec::ArrayVec;

use super::super::Tier;
use super::super::sha::{Mac, Sha1, Sha256, Sha384, Sha512, authenticate};
use super::blocks::{BLOCK, Lane};
use super::encrypt::{GROUP, Packet};
use super::keys::{Keyed, Keys, Kind};
use super::order::{Entry, HashKind, Order};
use super::{Header, encrypt, lanes, width};
use crate::context::SealForm;
use crate::op::{SealOp, SealPointers};

/// Seals those ops of a burst whose contexts have keys of this module.
pub(in super::super) fn seal_burst(tier: Tier, ops: &mut [SealOp<'_>]) {
    let mut order = Order::default();
    for (index, op) in ops.iter_mut().enumerate() {
        if let SealForm::Cbc(kind, _) = &op.context.0 {
            order.add(index, *kind, op.pointers().len);
        }
    }
    for group in order.groups(lanes(tier)) {
        match group[0].hash() {
            HashKind::Sha1 => seal_group::<Sha1>(tier, ops, group),
            HashKind::Sha256 => seal_group::<Sha256>(tier, ops, group),
            HashKind::Sha384 => seal_group::<Sha384>(tier, ops, group),
            HashKind::Sha512 => seal_group::<Sha512>(tier, ops, group),
        }
    }
}

/// Seals ops of one AES key length and hash, the longest first.
fn seal_group<H: Keyed>(tier: Tier, ops: &mut [SealOp<'_>], group: &[Entry]) {
    let jobs: ArrayVec<Job<'_>, GROUP> = group
        .iter()
        .filter_map(|entry| Job::new(&mut ops[entry.index()], entry.index()))
        .collect();
    let packets: ArrayVec<Packet<'_>, GROUP> = jobs.iter().map(Job::packet).collect();
    // SAFETY: a tier exists; the packets' pointers are those of ops, which are borrowed and overlap each other nowhere; all have round
    // keys of the same length, and there are no more than the tier's lanes.
    unsafe { encrypt(tier, &packets) };
    // SAFETY: ciphertexts are written, and no op's buffer is borrowed otherwise until the hashes are made.
    let macs = jobs.iter().filter_map(|job| unsafe { job.mac::<H>() });
    let mut macs: ArrayVec<_, GROUP> = macs.collect();
    authenticate(width(tier), &mut macs);
    for (job, mac) in jobs.iter().zip(&macs) {
        let (_, _, icv) = ops[job.index].parts();
        icv.copy_from_slice(&mac.digest[..icv.len()]);
    }
}

/// A packet to seal.
struct Job<'a> {
    index: usize,
    kind: Kind,
    keys: &'a Keys,
    header: Header<'a>,
    iv: [u8; BLOCK],
    iv_is_plain: bool,
    places: SealPointers,
}

impl<'a> Job<'a> {
    /// What is to be done for the op at `index`, if its keys are of this module.
    fn new(op: &mut SealOp<'a>, index: usize) -> Option<Self> {
        let SealForm::Cbc(kind, keys) = &op.context.0 else {
            return None;
        };
        Some(Self {
            index,
            kind: *kind,
            keys,
            header: Header::of(op.aad),
            iv: op.iv,
            iv_is_plain: op.iv_is_plain,
            places: op.pointers(),
        })
    }

    /// Its part for the cipher.
    fn packet(&self) -> Packet<'_> {
        let ciphertext = self.places.destination.wrapping_add(BLOCK);
        Packet {
            round_keys: self.keys.round_keys(self.kind),
            iv: self.iv,
            iv_is_plain: self.iv_is_plain,
            lane: Lane::new(self.places.source, ciphertext, self.places.len / BLOCK),
        }
    }

    /// Its part for the hash.
    ///
    /// # Safety
    /// IV and ciphertext are written, and nobody writes them while the result lives.
    unsafe fn mac<H: Keyed>(&self) -> Option<Mac<'_, H>> {
        let (sealed, len) = (self.places.destination, BLOCK + self.places.len);
        // SAFETY: the destination is that long and more; the caller's promise.
        let text = unsafe { std::slice::from_raw_parts(sealed.cast_const(), len) };
        self.header.mac(self.keys, text)
    }
}
