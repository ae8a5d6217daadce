//! Opens: authenticates a group of packets side by side, then decrypts those that verified.

use arrayvec::ArrayVec;
use subtle::ConstantTimeEq;

use super::super::Tier;
use super::super::sha::{Mac, Sha1, Sha256, Sha384, Sha512, authenticate};
use super::blocks::{BLOCK, Lane};
use super::encrypt::GROUP;
use super::keys::{Keyed, Keys, Kind};
use super::order::{Entry, HashKind, Order};
use super::{Header, decrypt, width};
use crate::context::OpenForm;
use crate::engine::Opened;
use crate::op::{OpenOp, OpenPointers};

/// Opens those ops of a burst, at most 64, whose contexts have keys of this module, and notes which verified.
pub(in super::super) fn open_burst(tier: Tier, ops: &mut [OpenOp<'_>], opened: &mut Opened) {
    let mut order = Order::default();
    for (index, op) in ops.iter_mut().enumerate() {
        if let OpenForm::Cbc(kind, _) = &op.context.0 {
            order.add(index, *kind, op.pointers().len);
        }
    }
    for group in order.groups(GROUP) {
        match group[0].hash() {
            HashKind::Sha1 => open_group::<Sha1>(tier, ops, group, opened),
            HashKind::Sha256 => open_group::<Sha256>(tier, ops, group, opened),
            HashKind::Sha384 => open_group::<Sha384>(tier, ops, group, opened),
            HashKind::Sha512 => open_group::<Sha512>(tier, ops, group, opened),
        }
    }
}

/// Opens ops of one AES key length and hash.
fn open_group<H: Keyed>(tier: Tier, ops: &mut [OpenOp<'_>], group: &[Entry], opened: &mut Opened) {
    let jobs: ArrayVec<Job<'_>, GROUP> = group
        .iter()
        .filter_map(|entry| Job::new(&mut ops[entry.index()], entry.index()))
        .collect();
    // SAFETY: no op's buffer is written until the hashes are made.
    let macs = jobs.iter().filter_map(|job| unsafe { job.mac::<H>() });
    let mut macs: ArrayVec<_, GROUP> = macs.collect();
    authenticate(width(tier), &mut macs);
    for (job, mac) in jobs.iter().zip(&macs) {
        let op = &mut ops[job.index];
        let (_, _, icv) = op.parts();
        let verified = bool::from(mac.digest[..icv.len()].ct_eq(icv));
        if verified {
            // SAFETY: a tier exists; the pointers are those of an op that is borrowed; the text was read to the end.
            unsafe { decrypt(tier, job.keys.round_keys(job.kind), job.lane()) };
        } else {
            op.wipe();
        }
        opened.insert_if(verified, job.index);
    }
}

/// A packet to open.
struct Job<'a> {
    index: usize,
    kind: Kind,
    keys: &'a Keys,
    header: Header<'a>,
    places: OpenPointers,
}

impl<'a> Job<'a> {
    /// What is to be done for the op at `index`, if its keys are of this module.
    fn new(op: &mut OpenOp<'a>, index: usize) -> Option<Self> {
        let OpenForm::Cbc(kind, keys) = &op.context.0 else {
            return None;
        };
        Some(Self {
            index,
            kind: *kind,
            keys,
            header: Header::of(op.aad),
            places: op.pointers(),
        })
    }

    /// Its part for the cipher.
    fn lane(&self) -> Lane {
        let ciphertext = self.places.source.wrapping_add(BLOCK);
        Lane::new(ciphertext, self.places.destination, self.places.len / BLOCK)
    }

    /// Its part for the hash.
    ///
    /// # Safety
    /// Nobody writes the source while the result lives.
    unsafe fn mac<H: Keyed>(&self) -> Option<Mac<'_, H>> {
        let len = BLOCK + self.places.len;
        // SAFETY: the source is that long and more; the caller's promise.
        let text = unsafe { std::slice::from_raw_parts(self.places.source, len) };
        self.header.mac(self.keys, text)
    }
}
