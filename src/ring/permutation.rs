//! A member's own order of all slots, computed in both directions and stored nowhere.
//!
//! A Feistel network of four rounds is a random-looking permutation of the numbers below a
//! power of two (Luby, Rackoff: "How to construct pseudorandom permutations from
//! pseudorandom functions", 1988). Walking its cycles until a number is below M makes it a
//! permutation of the numbers below M (Black, Rogaway: "Ciphers with arbitrary finite
//! domains", 2002). It need not be secret, so the round function is a fast hash, not a cipher.

use super::hash::{self, HashRng};

/// The numbers 0 to M - 1, and how to halve them. A name has an independent permutation in
/// every domain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Domain {
    size: u32,
    /// Makes the permutations of this domain unlike those of others.
    tweak: u64,
    /// How many bits the lower half has; the upper one has as many or one more.
    low_bits: u32,
    low_mask: u32,
    high_mask: u32,
}

impl Domain {
    /// Domain `number` of those that have the numbers below `size`, which is from 1 to 2^30.
    #[inline]
    pub(super) fn new(number: u32, size: u32) -> Self {
        // At least two bits, or there would be nothing to halve.
        let bits = (u32::BITS - (size - 1).leading_zeros()).max(2);
        let low_bits = bits / 2;
        Self {
            size,
            // Above the bits of the halves.
            tweak: u64::from(number) << 16,
            low_bits,
            low_mask: (1 << low_bits) - 1,
            high_mask: (1 << (bits - low_bits)) - 1,
        }
    }

    /// A number that is unique to this domain, above the bits of its own numbers.
    #[inline]
    pub(super) fn tweak(&self) -> u64 {
        self.tweak
    }

    #[inline]
    fn split(&self, number: u32) -> (u32, u32) {
        (number >> self.low_bits, number & self.low_mask)
    }

    #[inline]
    fn join(&self, high: u32, low: u32) -> u32 {
        (high << self.low_bits) | low
    }
}

/// A permutation of a [`Domain`].
#[derive(Debug, Clone)]
pub(super) struct Permutation {
    keys: [u64; 4],
    multiplier: u64,
}

impl Permutation {
    /// The permutation that the next numbers of a generator decide.
    pub(super) fn new(rng: &mut HashRng) -> Self {
        Self {
            keys: std::array::from_fn(|_| rng.draw()),
            multiplier: rng.draw() | 1,
        }
    }

    /// A random odd number that belongs to this permutation.
    #[inline]
    pub(super) fn multiplier(&self) -> u64 {
        self.multiplier
    }

    #[inline]
    fn round(&self, domain: &Domain, key: usize, half: u32) -> u32 {
        let mixed = u64::from(half) ^ domain.tweak ^ self.keys[key];
        hash::scramble(mixed, self.multiplier)
    }

    /// The place of a number in this order.
    #[inline]
    pub(super) fn rank_of(&self, domain: &Domain, number: u32) -> u32 {
        let mut walk = number;
        loop {
            let (mut high, mut low) = domain.split(walk);
            high ^= self.round(domain, 0, low) & domain.high_mask;
            low ^= self.round(domain, 1, high) & domain.low_mask;
            high ^= self.round(domain, 2, low) & domain.high_mask;
            low ^= self.round(domain, 3, high) & domain.low_mask;
            walk = domain.join(high, low);
            // The cycle of a number below M always leads back to a number below M.
            if walk < domain.size {
                return walk;
            }
        }
    }

    /// The number at a place in this order: the inverse of [`Self::rank_of`].
    #[inline]
    pub(super) fn at_rank(&self, domain: &Domain, rank: u32) -> u32 {
        let mut walk = rank;
        loop {
            let (mut high, mut low) = domain.split(walk);
            low ^= self.round(domain, 3, high) & domain.low_mask;
            high ^= self.round(domain, 2, low) & domain.high_mask;
            low ^= self.round(domain, 1, high) & domain.low_mask;
            high ^= self.round(domain, 0, low) & domain.high_mask;
            walk = domain.join(high, low);
            if walk < domain.size {
                return walk;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permutation(name: &str) -> Permutation {
        Permutation::new(&mut HashRng::of(&name.parse().unwrap()))
    }

    #[test]
    fn every_number_has_one_rank_and_every_rank_one_number() {
        for size in [1, 2, 3, 4, 5, 7, 8, 100, 511, 512, 513, 4_093] {
            let domain = Domain::new(7, size);
            let order = permutation("Server1");
            let mut seen = vec![false; size as usize];
            for number in 0..size {
                let rank = order.rank_of(&domain, number);
                assert_eq!(order.at_rank(&domain, rank), number, "size {size}");
                assert!(!std::mem::replace(&mut seen[rank as usize], true));
            }
        }
    }

    /// The place of a slot in one order is independent of its place in another, be it of
    /// another name or of another domain: the joint distribution over a grid of 16 x 16 is
    /// flat. (Chi-squared with both margins fixed: 225 degrees of freedom, so a mean of 225
    /// and a standard deviation of 21.)
    #[test]
    fn the_orders_of_similar_names_and_of_neighbouring_domains_are_independent() {
        const SIZE: u32 = 4_096;
        let mut orders: Vec<Vec<u32>> = Vec::new();
        for name in 1..=8 {
            let order = permutation(&format!("Server{name}"));
            for number in 0..8 {
                let domain = Domain::new(number, SIZE);
                orders.push((0..SIZE).map(|n| order.rank_of(&domain, n)).collect());
            }
        }
        let (mut worst, mut sum, mut pairs) = (0.0f64, 0.0, 0.0);
        for (i, a) in orders.iter().enumerate() {
            for b in &orders[..i] {
                let mut grid = [0u32; 256];
                for (a, b) in a.iter().zip(b) {
                    grid[(a / 256 * 16 + b / 256) as usize] += 1;
                }
                let cell = |&n: &u32| (f64::from(n) - 16.0).powi(2) / 16.0;
                let chi: f64 = grid.iter().map(cell).sum();
                worst = worst.max(chi);
                sum += chi;
                pairs += 1.0;
            }
        }
        let bound = 225.0 + 6.0 * 21.0;
        assert!(worst < bound, "worst of {pairs} pairs: {worst}");
        assert!((sum / pairs - 225.0).abs() < 5.0, "mean: {}", sum / pairs);
    }
}
