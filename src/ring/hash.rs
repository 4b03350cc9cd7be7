//! The hashes that the strategies share.
//!
//! Everything here is integer arithmetic, so that a table comes out the same on every
//! machine and in every release. The golden tables in `tests/golden` hold that.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::member::ReplicaName;

/// The finalizer of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
/// generators", OOPSLA 2014; the constants are Stafford's "Mix13"): a bijection of 64 bits
/// in which every input bit reaches every output bit.
///
/// Keys may be small consecutive numbers (see [`super::Key`]); this spreads them.
#[inline]
pub(super) const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Two multiplications with a shift between them, as in MurmurHash3's finalizer: spreads a
/// number of few bits over the 32 bits that come out, if `multiplier` is random and odd.
///
/// Folding a single 128-bit product is not enough: if only a few low bits of `x` vary, both
/// halves of the product are nearly linear in them, and a test of independence fails.
#[inline]
pub(super) const fn scramble(x: u64, multiplier: u64) -> u32 {
    let x = x.wrapping_mul(multiplier);
    ((x ^ (x >> 32)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 32) as u32
}

/// Maps a well-spread 64-bit number to 0..n without a division (Lemire: "Fast random
/// integer generation in an interval", 2019).
#[inline]
pub(super) const fn reduce(x: u64, n: u32) -> u32 {
    ((x as u128 * n as u128) >> 64) as u32
}

/// SplitMix64: an endless sequence of well-spread numbers from one seed.
#[derive(Debug, Clone)]
pub(super) struct HashRng(u64);

impl HashRng {
    /// A generator seeded by a replica's name alone.
    pub(super) fn of(name: &ReplicaName) -> Self {
        Self(xxh3_64_with_seed(name.as_str().as_bytes(), 0))
    }

    /// The next number.
    pub(super) fn draw(&mut self) -> u64 {
        // 2^64 over the golden ratio, made odd.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_rng_is_the_published_splitmix64() {
        // The first outputs of Vigna's reference implementation for this seed.
        let mut rng = HashRng(1_234_567);
        assert_eq!(rng.draw(), 6_457_827_717_110_365_317);
        assert_eq!(rng.draw(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn reduce_stays_below_its_bound_and_covers_it() {
        assert_eq!(reduce(0, 512), 0);
        assert_eq!(reduce(u64::MAX, 512), 511);
        assert_eq!(reduce(u64::MAX, 1), 0);
        assert_eq!(reduce(1 << 63, 512), 256);
    }
}
