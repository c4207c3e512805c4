//! GHASH over up to 16 blocks with one reduction.
//!
//! Owns: the arithmetic in GF(2^128) on four lanes, and the running value. Blocks are kept
//! octet-reversed.

use core::arch::x86_64::*;

use super::lanes::{Lanes, evens, hold, join, load_blocks, odds, split, swap};
use crate::low::block::{POLYNOMIAL, multiply};
use crate::low::context::{Context, TABLE};

/// An unreduced sum of products.
#[derive(Clone, Copy)]
pub(super) struct Products {
    low: Lanes,
    middle: Lanes,
    high: Lanes,
}

impl Products {
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn zero() -> Self {
        let zero = _mm512_setzero_si512();
        Self { low: zero, middle: zero, high: zero }
    }

    /// `a` × `b`, lane by lane.
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    fn of(a: Lanes, b: Lanes) -> Self {
        let one = _mm512_clmulepi64_epi128::<0x01>(a, b);
        let other = _mm512_clmulepi64_epi128::<0x10>(a, b);
        Self {
            low: _mm512_clmulepi64_epi128::<0x00>(a, b),
            middle: _mm512_xor_si512(one, other),
            high: _mm512_clmulepi64_epi128::<0x11>(a, b),
        }
    }

    /// Adds `a` × `b`, lane by lane.
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    fn add(&mut self, a: Lanes, b: Lanes) {
        self.low = _mm512_xor_si512(self.low, _mm512_clmulepi64_epi128::<0x00>(a, b));
        self.high = _mm512_xor_si512(self.high, _mm512_clmulepi64_epi128::<0x11>(a, b));
        let one = _mm512_clmulepi64_epi128::<0x01>(a, b);
        let other = _mm512_clmulepi64_epi128::<0x10>(a, b);
        self.middle = _mm512_ternarylogic_epi64::<0x96>(self.middle, one, other);
    }

    /// Of `L` registers of plaintext, as they lie in memory, with zeros behind the last block; `powers`
    /// begins with the first block's.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vpclmulqdq")]
    pub(super) fn of_data<const L: usize>(data: [Lanes; L], powers: &[__m128i; 16]) -> Self {
        let mut sum = Self::of(swap(data[0]), load_blocks(powers, 0));
        for (i, data) in data.into_iter().enumerate().skip(1) {
            sum.add(swap(data), load_blocks(powers, 4 * i));
        }
        sum
    }

    /// The sum modulo the polynomial, lane by lane.
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    fn reduce(self) -> Lanes {
        fold_in(self.high, fold_in(self.middle, self.low))
    }
}

/// Takes the lower half of a product away, which the polynomial makes part of the upper.
#[inline]
#[target_feature(enable = "avx512f,vpclmulqdq")]
fn fold_in(upper: Lanes, lower: Lanes) -> Lanes {
    let polynomial = _mm512_broadcast_i32x4(_mm_set_epi64x(POLYNOMIAL, 1));
    _mm512_ternarylogic_epi64::<0x96>(
        upper,
        _mm512_shuffle_epi32::<0x4e>(lower),
        _mm512_clmulepi64_epi128::<0x01>(polynomial, lower),
    )
}

/// Fills the table of powers of H from the first, H^17 in front; four products at once.
#[inline]
#[target_feature(enable = "avx512f,pclmulqdq,vpclmulqdq")]
pub(super) fn fill_powers(one: __m128i, table: &mut [__m128i; TABLE]) {
    let two = multiply(one, one);
    let (three, four) = (multiply(two, one), multiply(two, two));
    let lowest = join([four, three, two, one]);
    let four = _mm512_broadcast_i32x4(four);
    let low = Products::of(lowest, four).reduce();
    let eight = _mm512_shuffle_i32x4::<0>(low, low);
    let high = Products::of(lowest, eight).reduce();
    let highest = Products::of(low, eight).reduce();
    table[0] = multiply(_mm512_castsi512_si128(highest), one);
    for (i, lanes) in [highest, high, low, lowest].into_iter().enumerate() {
        table[1 + 4 * i..][..4].copy_from_slice(&split(lanes));
    }
}

/// The hashes of at most four segments, octet-reversed: their blocks `A` times the powers, with the products
/// of their data.
#[inline]
#[target_feature(enable = "avx512f,pclmulqdq,vpclmulqdq")]
pub(super) fn hashes<const N: usize>(
    leads: [__m128i; N],
    powers: [__m128i; N],
    mut data: [Products; N],
) -> [__m128i; N] {
    let mut hashes = leads;
    if N == 4 {
        let four = hashes_of_four(
            [leads[0], leads[1], leads[2], leads[3]],
            [powers[0], powers[1], powers[2], powers[3]],
            [data[0], data[1], data[2], data[3]],
        );
        hashes.copy_from_slice(&four[..N]);
        return hashes;
    }
    for i in 0..N {
        data[i].add(_mm512_zextsi128_si512(leads[i]), _mm512_zextsi128_si512(powers[i]));
        hashes[i] = fold(data[i].reduce());
    }
    hashes
}

/// The same with one reduction.
#[inline]
#[target_feature(enable = "avx512f,vpclmulqdq")]
fn hashes_of_four(leads: [__m128i; 4], powers: [__m128i; 4], data: [Products; 4]) -> [__m128i; 4] {
    let lead = Products::of(join(leads), join(powers));
    let [a, b, c, d] = data;
    let low = sum_each([a.low, b.low, c.low, d.low]);
    let middle = sum_each([a.middle, b.middle, c.middle, d.middle]);
    let high = sum_each([a.high, b.high, c.high, d.high]);
    let sum = Products {
        low: _mm512_xor_si512(lead.low, low),
        middle: _mm512_xor_si512(lead.middle, middle),
        high: _mm512_xor_si512(lead.high, high),
    };
    split(sum.reduce())
}

/// Lane `i` of the result is the sum of the lanes of `parts[i]`.
#[inline]
#[target_feature(enable = "avx512f")]
fn sum_each(parts: [Lanes; 4]) -> Lanes {
    let [a, b, c, d] = parts;
    let ab = _mm512_xor_si512(evens(a, b), odds(a, b));
    let cd = _mm512_xor_si512(evens(c, d), odds(c, d));
    _mm512_xor_si512(evens(ab, cd), odds(ab, cd))
}

/// The sum of the four lanes.
#[inline]
#[target_feature(enable = "avx512f")]
fn fold(lanes: Lanes) -> __m128i {
    let halves =
        _mm256_xor_si256(_mm512_castsi512_si256(lanes), _mm512_extracti64x4_epi64::<1>(lanes));
    _mm_xor_si128(_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves))
}

/// A part of a hash, up to 16 blocks, in pieces that fit between the rounds of a keystream: lanes 1, 2, 3 and 0,
/// then [`Part::reduce_low`] and [`Part::reduce_middle`].
pub(super) struct Part<'a> {
    products: Products,
    /// Products of a lane that wait for the next one's.
    low: Lanes,
    high: Lanes,
    data: [Lanes; 4],
    /// Of the first block and those behind; lanes without blocks are zeros, whatever they are multiplied
    /// by.
    powers: &'a [__m128i; 16],
    before: &'a __m128i,
    blocks: usize,
}

impl<'a> Part<'a> {
    /// Of `blocks` blocks, at most 16, as they lie in memory with zeros behind.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn new(ctx: &'a Context, data: [Lanes; 4], blocks: usize) -> Self {
        let zero = _mm512_setzero_si512();
        let (before, powers) = ctx.powers_from(blocks);
        Self { products: Products::zero(), low: zero, high: zero, data, powers, before, blocks }
    }

    #[inline]
    pub(super) fn blocks(&self) -> usize {
        self.blocks
    }

    /// Puts the block `A` (octet-reversed) before the first one.
    #[inline]
    #[target_feature(enable = "avx512f,pclmulqdq")]
    pub(super) fn lead(&mut self, associated: __m128i) {
        let power = *self.before;
        let one = _mm_clmulepi64_si128::<0x01>(associated, power);
        let other = _mm_clmulepi64_si128::<0x10>(associated, power);
        self.products = Products {
            low: _mm512_zextsi128_si512(_mm_clmulepi64_si128::<0x00>(associated, power)),
            middle: _mm512_zextsi128_si512(_mm_xor_si128(one, other)),
            high: _mm512_zextsi128_si512(_mm_clmulepi64_si128::<0x11>(associated, power)),
        };
    }

    /// Takes in the value of the segment's hash before this part.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn follow(&mut self, value: Lanes) {
        self.data[0] = _mm512_xor_si512(swap(self.data[0]), value);
    }

    /// The products of a lane, if it is one of `lanes`; lane 0 comes last and after [`Part::follow`], for it
    /// waits for the part before.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vpclmulqdq")]
    pub(super) fn lane(&mut self, lane: usize, lanes: usize) {
        if lane >= lanes {
            return;
        }
        if lane > 0 {
            self.data[lane] = swap(self.data[lane]);
        }
        let (data, power) = (self.data[lane], self.power(lane));
        let low = hold(_mm512_clmulepi64_epi128::<0x00>(data, power));
        let high = hold(_mm512_clmulepi64_epi128::<0x11>(data, power));
        // Of two lanes at once: one addition of three terms for two of two.
        if lane % 2 == 1 {
            (self.low, self.high) = (low, high);
        } else {
            self.products.low = _mm512_ternarylogic_epi64::<0x96>(self.products.low, self.low, low);
            self.products.high =
                _mm512_ternarylogic_epi64::<0x96>(self.products.high, self.high, high);
            (self.low, self.high) = (_mm512_setzero_si512(), _mm512_setzero_si512());
        }
        let one = _mm512_clmulepi64_epi128::<0x01>(data, power);
        let other = _mm512_clmulepi64_epi128::<0x10>(data, power);
        let middle = self.products.middle;
        self.products.middle = hold(_mm512_ternarylogic_epi64::<0x96>(middle, one, other));
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn power(&self, lane: usize) -> Lanes {
        load_blocks(self.powers, 4 * lane)
    }

    /// All pieces of `lanes` lanes, where no keystream is to be found.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vpclmulqdq")]
    pub(super) fn all(&mut self, lanes: usize, value: Lanes) {
        for lane in 1..lanes {
            self.lane(lane, lanes);
        }
        self.follow(value);
        self.lane(0, lanes);
        self.reduce_low();
        self.reduce_middle();
    }

    /// The first half of the reduction.
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    pub(super) fn reduce_low(&mut self) {
        let Products { low, middle, .. } = self.products;
        self.products.middle = hold(fold_in(middle, low));
    }

    /// The second half of the reduction.
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    pub(super) fn reduce_middle(&mut self) {
        let Products { middle, high, .. } = self.products;
        self.products.high = hold(fold_in(high, middle));
    }

    /// The value of the hash with this part, octet-reversed, in the lowest lane; the others are zero.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn value(&self) -> Lanes {
        _mm512_zextsi128_si512(fold(self.products.high))
    }
}
