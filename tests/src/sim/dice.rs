//! Seeded generators, one for each purpose. Owns the way from a seed to a generator; a purpose that
//! draws more or less than before shifts no other's numbers.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_core::Rng;
use siphasher::sip::SipHasher24;

/// A generator for one purpose.
pub(super) struct Dice(StdRng);

impl Dice {
    /// The generator of `seed` for what `purpose` names.
    pub(super) fn new(seed: u64, purpose: &str) -> Self {
        Self(generator(seed, purpose))
    }

    /// A number below `bound`; 0 if there is none.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        // The bias is below bound / 2^64.
        ((u128::from(self.0.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number of `low..=high`.
    pub(super) fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True `permille` times in a thousand.
    pub(super) fn chance(&mut self, permille: u64) -> bool {
        permille > 0 && self.below(1000) < permille
    }

    /// One of `choices`, which are some.
    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// Sixteen octets.
    pub(super) fn key(&mut self) -> [u8; 16] {
        let mut key = [0; 16];
        self.0.fill_bytes(&mut key);
        key
    }

    /// Thirty-two bits.
    pub(super) fn word(&mut self) -> u32 {
        self.0.next_u32()
    }
}

/// The generator itself, for the parts of the product that take one.
pub(super) fn generator(seed: u64, purpose: &str) -> StdRng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_be_bytes());
    for (at, salt) in (8..32).step_by(8).zip(1_u8..) {
        let hash = SipHasher24::new_with_key(&[salt; 16]).hash(purpose.as_bytes());
        key[at..at + 8].copy_from_slice(&hash.to_be_bytes());
    }
    StdRng::from_seed(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_and_seeds_are_apart_and_repeat() {
        let first = |seed, purpose| Dice::new(seed, purpose).word();
        assert_eq!(first(1, "a"), first(1, "a"));
        assert_ne!(first(1, "a"), first(2, "a"));
        assert_ne!(first(1, "a"), first(1, "b"));
    }

    #[test]
    fn bounds_hold() {
        let mut dice = Dice::new(3, "bounds");
        for _ in 0..1000 {
            assert!((5..=9).contains(&dice.within(5, 9)));
            assert!(!dice.chance(0));
            assert!(dice.chance(1000));
        }
        assert_eq!(dice.below(0), 0);
    }
}
