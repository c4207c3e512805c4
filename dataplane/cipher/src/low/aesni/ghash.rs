//! GHASH over up to 8 blocks with one reduction.
//!
//! Owns: the running value. Blocks are kept octet-reversed.

use core::arch::x86_64::*;

use super::blocks::{BLOCK, BLOCKS, Block, hold, load, load_part, swap};
use crate::low::block::POLYNOMIAL;
use crate::low::context::{Context, POWERS};

/// An unreduced sum of products, the middle after Karatsuba: with the outer two still in it.
#[derive(Clone, Copy)]
struct Products {
    low: Block,
    middle: Block,
    high: Block,
}

impl Products {
    #[inline]
    #[target_feature(enable = "avx")]
    fn zero() -> Self {
        let zero = _mm_setzero_si128();
        Self { low: zero, middle: zero, high: zero }
    }

    /// Adds `a` × `b`.
    #[inline]
    #[target_feature(enable = "avx,pclmulqdq")]
    fn add(&mut self, a: Block, b: Block) {
        let low = _mm_clmulepi64_si128::<0x00>(a, b);
        let high = _mm_clmulepi64_si128::<0x11>(a, b);
        let middle = _mm_clmulepi64_si128::<0x00>(halves(a), halves(b));
        self.low = hold(_mm_xor_si128(self.low, low));
        self.high = hold(_mm_xor_si128(self.high, high));
        self.middle = hold(_mm_xor_si128(self.middle, middle));
    }

    /// The sum modulo the polynomial.
    #[inline]
    #[target_feature(enable = "avx,pclmulqdq")]
    fn reduce(self) -> Block {
        let Self { low, middle, high } = self;
        let middle = _mm_xor_si128(middle, _mm_xor_si128(low, high));
        fold_in(high, fold_in(middle, low))
    }
}

/// The sum of the two halves, in the low one.
#[inline]
#[target_feature(enable = "avx")]
fn halves(block: Block) -> Block {
    _mm_xor_si128(block, _mm_shuffle_epi32::<0x4e>(block))
}

/// Takes the lower half of a product away, which the polynomial makes part of the upper.
#[inline]
#[target_feature(enable = "avx,pclmulqdq")]
fn fold_in(upper: Block, lower: Block) -> Block {
    let polynomial = _mm_set_epi64x(POLYNOMIAL, 1);
    let upper = _mm_xor_si128(upper, _mm_shuffle_epi32::<0x4e>(lower));
    _mm_xor_si128(upper, _mm_clmulepi64_si128::<0x01>(polynomial, lower))
}

/// A running hash.
#[derive(Clone, Copy)]
pub(super) struct Hash<'a> {
    pub(super) ctx: &'a Context,
    /// Product of the block `A`, until the first step takes it in.
    lead: Products,
    /// The value so far.
    value: Block,
}

impl<'a> Hash<'a> {
    /// Begins with the block `A` (octet-reversed) of a payload of `len` octets.
    #[inline]
    #[target_feature(enable = "avx,pclmulqdq")]
    pub(super) fn new(ctx: &'a Context, associated: Block, len: usize) -> Self {
        let blocks = len.div_ceil(BLOCK);
        let mut lead = Products::zero();
        lead.add(associated, ctx.powers[POWERS - 1 - blocks.min(BLOCKS)]);
        Self { ctx, lead, value: _mm_setzero_si128() }
    }

    /// Takes in at most eight blocks, the last padded with zeros.
    #[inline]
    #[target_feature(enable = "avx,pclmulqdq")]
    pub(super) fn absorb(&mut self, place: &[u8]) {
        let blocks = place.len().div_ceil(BLOCK);
        let powers = &self.ctx.powers[POWERS - blocks..POWERS];
        let mut products = self.lead;
        let mut value = self.value;
        for (i, power) in powers.iter().enumerate() {
            let data = load_part(place, i);
            products.add(_mm_xor_si128(swap(data), value), *power);
            value = _mm_setzero_si128();
        }
        self.end_step(products.reduce());
    }

    /// Begins a full step over `place`; its parts are to follow, all of them.
    #[inline]
    #[target_feature(enable = "avx")]
    pub(super) fn begin_step<'p>(&self, place: &'p [u8]) -> Step<'a, 'p> {
        Step { ctx: self.ctx, products: self.lead, place, value: self.value }
    }

    /// Ends a step with its value.
    #[inline]
    #[target_feature(enable = "avx,pclmulqdq")]
    pub(super) fn end_step(&mut self, value: Block) {
        self.lead = Products::zero();
        self.value = value;
    }

    /// The hash, octet-reversed.
    #[inline]
    #[target_feature(enable = "avx")]
    pub(super) fn value(&self) -> Block {
        self.value
    }
}

/// A full step of a hash, in parts that fit between the rounds of a keystream.
pub(super) struct Step<'a, 'p> {
    ctx: &'a Context,
    products: Products,
    place: &'p [u8],
    value: Block,
}

impl Step<'_, '_> {
    /// The products of a block; block 0 waits for the step before, so it comes last.
    #[inline]
    #[target_feature(enable = "avx,pclmulqdq")]
    pub(super) fn block(&mut self, i: usize) {
        let mut data = swap(load(self.place, i));
        if i == 0 {
            data = _mm_xor_si128(data, self.value);
        }
        self.products.add(data, self.ctx.powers[POWERS - BLOCKS + i]);
    }

    /// The value behind the step.
    #[inline]
    #[target_feature(enable = "avx,pclmulqdq")]
    pub(super) fn end(self) -> Block {
        self.products.reduce()
    }
}
