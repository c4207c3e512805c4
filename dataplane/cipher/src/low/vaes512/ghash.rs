//! GHASH over up to 32 blocks with one reduction.
//!
//! Owns: the arithmetic in GF(2^128) on four lanes, and the running value. Blocks are kept
//! octet-reversed.

use core::arch::x86_64::*;

use super::lanes::{Lanes, evens, hold, join, load_lanes, odds, split, swap};
use crate::low::block::{POLYNOMIAL, multiply};
use crate::low::context::{Context, POWERS, TABLE};

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
    pub(super) fn of_data<const L: usize>(data: [Lanes; L], powers: &[[__m128i; 4]; L]) -> Self {
        let mut sum = Self::of(swap(data[0]), load_lanes(&powers[0]));
        for i in 1..L {
            sum.add(swap(data[i]), load_lanes(&powers[i]));
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

/// Fills the table of powers of H from the first, H^33 in front; four products at once.
#[inline]
#[target_feature(enable = "avx512f,pclmulqdq,vpclmulqdq")]
pub(super) fn fill_powers(one: __m128i, table: &mut [__m128i; TABLE]) {
    let two = multiply(one, one);
    let (three, four) = (multiply(two, one), multiply(two, two));
    let first = join([four, three, two, one]);
    let four = _mm512_broadcast_i32x4(four);
    let second = Products::of(first, four).reduce();
    let eight = _mm512_shuffle_i32x4::<0>(second, second);
    let (third, fourth) =
        (Products::of(first, eight).reduce(), Products::of(second, eight).reduce());
    let sixteen = _mm512_shuffle_i32x4::<0>(fourth, fourth);
    let lower = [fourth, third, second, first];
    let mut fours = table[1..].as_chunks_mut::<4>().0.iter_mut();
    for (lanes, four) in lower.into_iter().zip(fours.by_ref()) {
        let lanes = Products::of(lanes, sixteen).reduce();
        *four = split(lanes);
    }
    for (lanes, four) in lower.into_iter().zip(fours) {
        *four = split(lanes);
    }
    table[0] = multiply(table[1], one);
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

/// A part of a hash, up to 32 blocks in `L` registers, in pieces that fit between the rounds of a keystream:
/// the registers but the first, [`Part::follow`], the first, [`Part::reduce_low`] and [`Part::reduce_middle`].
pub(super) struct Part<'a, const L: usize> {
    products: Products,
    /// Products of a register that wait for the next one's.
    low: Lanes,
    high: Lanes,
    /// Of each register's blocks.
    powers: [&'a [__m128i; 4]; L],
    /// Of the block before.
    before: &'a __m128i,
}

impl<'a, const L: usize> Part<'a, L> {
    /// Of `blocks` blocks that end in the last register.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn new(ctx: &'a Context, blocks: usize) -> Self {
        let (before, powers) = ctx.powers_from::<L>(blocks);
        Self::with(before, powers.each_ref())
    }

    /// Of `blocks` blocks that may end in any register; registers without blocks are zeros, whatever they are
    /// multiplied by.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn any(ctx: &'a Context, blocks: usize) -> Self {
        let from = POWERS - 1 - blocks;
        let (fours, first) = (TABLE - 4, &ctx.powers);
        let powers = core::array::from_fn(|i| {
            let from = (from + 1 + 4 * i).min(fours);
            first[from..].first_chunk().expect("four blocks")
        });
        Self::with(&ctx.powers[from], powers)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn with(before: &'a __m128i, powers: [&'a [__m128i; 4]; L]) -> Self {
        let zero = _mm512_setzero_si512();
        Self { products: Products::zero(), low: zero, high: zero, powers, before }
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

    /// The products of register `i`, octet-reversed. The first comes last, because the value of the part before
    /// goes into it.
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    pub(super) fn register(&mut self, i: usize, data: Lanes) {
        let power = load_lanes(self.powers[i]);
        let low = hold(_mm512_clmulepi64_epi128::<0x00>(data, power));
        let high = hold(_mm512_clmulepi64_epi128::<0x11>(data, power));
        // Of two registers at once: one addition of three terms for two of two.
        if i % 2 == 1 {
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
