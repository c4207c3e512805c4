//! GHASH over up to 16 blocks with one reduction.
//!
//! Owns: the arithmetic in GF(2^128) on four lanes, and the running value. Blocks are kept
//! octet-reversed.

use core::arch::x86_64::*;

use super::lanes::{Lanes, evens, hold, join, load_blocks, odds, split, swap};
use crate::low::block::POLYNOMIAL;
use crate::low::context::{Context, POWERS};

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

    /// Adds `N` lanes of plaintext, as they lie in memory, with zeros behind the last of `blocks`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vpclmulqdq")]
    pub(super) fn add_data<const N: usize>(
        &mut self,
        ctx: &Context,
        data: [Lanes; N],
        blocks: usize,
    ) {
        // No blocks are zeros, whatever they are multiplied by.
        let mut power = POWERS - blocks.max(1);
        for data in data {
            self.add(swap(data), load_blocks(&ctx.powers, power));
            power += 4;
        }
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

/// Hashes of four segments with one reduction: the sums of their data's products and, four lanes
/// at once, the products of their blocks `A`. `blocks` counts those of the data.
#[inline]
#[target_feature(enable = "avx512f,vpclmulqdq")]
pub(super) fn finish_four(
    ctx: [&Context; 4],
    associated: [__m128i; 4],
    data: [Products; 4],
    blocks: [usize; 4],
) -> [__m128i; 4] {
    let mut power = associated;
    for i in 0..4 {
        power[i] = ctx[i].powers[POWERS - 1 - blocks[i]];
    }
    let lead = Products::of(join(associated), join(power));
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

/// The hash of a segment of at most one step.
#[inline]
#[target_feature(enable = "avx512f,vpclmulqdq")]
pub(super) fn finish_one(
    ctx: &Context,
    associated: __m128i,
    mut data: Products,
    blocks: usize,
) -> __m128i {
    let power = _mm512_zextsi128_si512(ctx.powers[POWERS - 1 - blocks]);
    data.add(_mm512_zextsi128_si512(associated), power);
    fold(data.reduce())
}

/// The sum of the four lanes.
#[inline]
#[target_feature(enable = "avx512f")]
fn fold(lanes: Lanes) -> __m128i {
    let halves =
        _mm256_xor_si256(_mm512_castsi512_si256(lanes), _mm512_extracti64x4_epi64::<1>(lanes));
    _mm_xor_si128(_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves))
}

/// A running hash of a segment, step by step.
pub(super) struct Hash<'a> {
    ctx: &'a Context,
    /// Product of the block `A`, until the first step takes it in.
    lead: Products,
    /// The value so far, octet-reversed, in the lowest lane.
    value: Lanes,
}

impl<'a> Hash<'a> {
    /// Begins with the block `A` (octet-reversed); `blocks`, at most 16, come next.
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    pub(super) fn new(ctx: &'a Context, associated: __m128i, blocks: usize) -> Self {
        let power = _mm512_zextsi128_si512(ctx.powers[POWERS - 1 - blocks]);
        let lead = Products::of(_mm512_zextsi128_si512(associated), power);
        Self { ctx, lead, value: _mm512_setzero_si512() }
    }

    #[inline]
    pub(super) fn context(&self) -> &'a Context {
        self.ctx
    }

    /// Begins a step of `blocks` blocks, 1 to 16, as they lie in memory with zeros behind; its parts
    /// are to follow in the order of [`Step::all`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vpclmulqdq")]
    pub(super) fn begin_step(&mut self, data: [Lanes; 4], blocks: usize) -> Step<'a> {
        let products = core::mem::replace(&mut self.lead, Products::zero());
        let zero = _mm512_setzero_si512();
        Step {
            ctx: self.ctx,
            products,
            low: zero,
            high: zero,
            data,
            value: self.value,
            first: POWERS - blocks,
        }
    }

    /// Ends a step.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn end_step(&mut self, step: Step<'_>) {
        self.value = _mm512_zextsi128_si512(fold(step.products.high));
    }

    /// The hash, octet-reversed.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn value(&self) -> __m128i {
        _mm512_castsi512_si128(self.value)
    }
}

/// A full step of a hash, in parts that fit between the rounds of a keystream.
pub(super) struct Step<'a> {
    ctx: &'a Context,
    products: Products,
    /// Products of a lane that wait for the next one's.
    low: Lanes,
    high: Lanes,
    data: [Lanes; 4],
    value: Lanes,
    /// Place of the power that the first block takes.
    first: usize,
}

impl Step<'_> {
    /// Low and high products of a lane; lane 0 waits for the step before, so it comes last.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vpclmulqdq")]
    pub(super) fn outer(&mut self, lane: usize) {
        self.data[lane] = swap(self.data[lane]);
        if lane == 0 {
            self.data[0] = _mm512_xor_si512(self.data[0], self.value);
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
        }
    }

    /// Middle products of a lane.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vpclmulqdq")]
    pub(super) fn inner(&mut self, lane: usize) {
        let (data, power) = (self.data[lane], self.power(lane));
        let one = _mm512_clmulepi64_epi128::<0x01>(data, power);
        let other = _mm512_clmulepi64_epi128::<0x10>(data, power);
        let middle = self.products.middle;
        self.products.middle = hold(_mm512_ternarylogic_epi64::<0x96>(middle, one, other));
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn power(&self, lane: usize) -> Lanes {
        // Lanes without blocks are zeros, whatever they are multiplied by.
        load_blocks(&self.ctx.powers, (self.first + 4 * lane).min(POWERS - 1))
    }

    /// All parts of the step.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vpclmulqdq")]
    pub(super) fn all(&mut self) {
        for lane in [1, 2, 3, 0] {
            self.outer(lane);
            self.inner(lane);
        }
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
}
