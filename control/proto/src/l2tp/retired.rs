//! Ids that were in use a short time ago: packets for their former owners may still be on the way.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};

use crate::time::Time;

/// Time for which an id is not used again.
pub(super) const REST: Duration = Duration::from_secs(60);

/// Tries at a free random id; with all allowed ids in use each fails with a probability below a half.
const DRAWS: usize = 64;

/// 16-bit ids that rest, at most `limit` of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Retired {
    order: VecDeque<(Time, u16)>,
    ids: BTreeSet<u16>,
    limit: usize,
}

impl Retired {
    pub(super) const fn new(limit: usize) -> Self {
        Self {
            order: VecDeque::new(),
            ids: BTreeSet::new(),
            limit,
        }
    }

    /// Lets `id` rest from `now` on.
    pub(super) fn push(&mut self, now: Time, id: u16) {
        if self.ids.insert(id) {
            self.order.push_back((now + REST, id));
        }
    }

    /// Draws a random non-zero id that neither rests nor is `in_use`; none if too many rest.
    pub(super) fn draw(
        &mut self,
        now: Time,
        rng: &mut dyn CryptoRng,
        in_use: impl Fn(u16) -> bool,
    ) -> Option<u16> {
        self.wake(now);
        if self.ids.len() >= self.limit {
            return None;
        }
        (0..DRAWS)
            .map(|_| u16::from_be_bytes(random(rng)))
            .find(|&id| id != 0 && !self.ids.contains(&id) && !in_use(id))
    }

    /// Whether nothing rests at `now`.
    pub(super) fn is_empty(&mut self, now: Time) -> bool {
        self.wake(now);
        self.order.is_empty()
    }

    fn wake(&mut self, now: Time) {
        while let Some((_, id)) = self.order.pop_front_if(|&mut (until, _)| until <= now) {
            self.ids.remove(&id);
        }
    }
}

/// `N` random bytes.
pub(super) fn random<const N: usize>(rng: &mut dyn CryptoRng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill_bytes(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    #[test]
    fn an_id_rests_for_a_minute() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut retired = Retired::new(usize::MAX);
        let free = 77;
        for id in (1..=u16::MAX).filter(|&id| id != free) {
            retired.push(Time::ZERO, id);
        }
        let drawn = |retired: &mut Retired, at, rng: &mut ChaCha8Rng| {
            (0..20_000).find_map(|_| retired.draw(at, rng, |_| false))
        };
        let almost = Time::from_micros(59_999_999);
        assert_eq!(drawn(&mut retired, almost, &mut rng), Some(free));
        assert!(
            retired
                .draw(Time::ZERO + REST, &mut rng, |_| false)
                .is_some()
        );
        assert!(retired.is_empty(Time::ZERO + REST));
    }

    #[test]
    fn too_many_resting_ids_refuse_a_new_one() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut retired = Retired::new(2);
        retired.push(Time::ZERO, 1);
        assert!(retired.draw(Time::ZERO, &mut rng, |_| false).is_some());
        retired.push(Time::ZERO, 2);
        assert_eq!(retired.draw(Time::ZERO, &mut rng, |_| false), None);
    }

    #[test]
    fn ids_are_spread_over_all_bits() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut retired = Retired::new(1);
        let (mut ones, mut zeros) = (0, 0);
        for _ in 0..100 {
            let id = retired.draw(Time::ZERO, &mut rng, |_| false).unwrap();
            ones |= id;
            zeros |= !id;
        }
        assert_eq!((ones, zeros), (0xFFFF, 0xFFFF));
    }
}
