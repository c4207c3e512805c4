//! A step of up to 512 octets, register by register.
//!
//! Owns: which registers a step has and how its octets get into them and back. A step is a `const` here, so
//! that every step has straight code of its own: `L` registers, and what is known of the last.

use core::arch::x86_64::*;

use super::lanes::{LANES, Lanes, load, load_part, store, store_part};

/// Registers of a full step.
pub(super) const WIDE: usize = 8;
/// Octets of a full step.
pub(super) const STEP: usize = WIDE * LANES;

/// Its registers; those from `L` on are not used.
pub(super) type Data = [Lanes; WIDE];

/// How much there is in the registers.
pub(super) type Fill = u8;
/// All are full.
pub(super) const FULL: Fill = 0;
/// All but the last, which has 1 to 64 octets.
pub(super) const LAST: Fill = 1;
/// Nothing is known: any number of octets.
pub(super) const ANY: Fill = 2;

/// Whether all of register `i` is there for certain.
#[inline]
pub(super) const fn is_full<const L: usize, const F: Fill>(i: usize) -> bool {
    F == FULL || F == LAST && i < L - 1
}

/// The octets of a step.
///
/// # Panics
/// If there are fewer than its registers need.
#[inline]
pub(super) fn whole<const L: usize, const F: Fill>(octets: &[u8]) -> &[u8] {
    if F != ANY {
        assert!(octets.len() > (L - 1) * LANES, "a step of so many registers");
    }
    octets
}

/// Loads a step, with zeros behind its end.
#[inline]
#[target_feature(enable = "bmi2,avx512f,avx512bw")]
pub(super) fn load_step<const L: usize, const F: Fill>(octets: &[u8]) -> Data {
    let mut data = [_mm512_setzero_si512(); WIDE];
    let octets = whole::<L, F>(octets);
    for (i, data) in data.iter_mut().enumerate().take(L) {
        *data =
            if is_full::<L, F>(i) { load(octets, i * LANES) } else { load_part(octets, i * LANES) };
    }
    data
}

/// Stores a step; returns what was stored, with zeros behind.
#[inline]
#[target_feature(enable = "bmi2,avx512f,avx512bw")]
pub(super) fn store_step<const L: usize, const F: Fill>(octets: &mut [u8], mut data: Data) -> Data {
    whole::<L, F>(octets);
    for (i, data) in data.iter_mut().enumerate().take(L) {
        if is_full::<L, F>(i) {
            store(octets, i * LANES, *data);
        } else {
            *data = store_part(octets, i * LANES, *data);
        }
    }
    for data in data.iter_mut().skip(L) {
        *data = _mm512_setzero_si512();
    }
    data
}

/// The two halves of a step; only the first is used up to four registers.
#[inline]
pub(super) fn halves(data: Data) -> [[Lanes; 4]; 2] {
    let [a, b, c, d, e, f, g, h] = data;
    [[a, b, c, d], [e, f, g, h]]
}

/// Calls a function for the `L` registers, 1 to 8, that `len` octets, 1 to 512, take.
macro_rules! by_registers {
    ($len:expr, $L:ident => $body:expr) => {{
        macro_rules! arm {
            ($n:literal) => {{
                const $L: usize = $n;
                $body
            }};
        }
        match $len.div_ceil($crate::low::vaes512::lanes::LANES) {
            0 | 1 => arm!(1),
            2 => arm!(2),
            3 => arm!(3),
            4 => arm!(4),
            5 => arm!(5),
            6 => arm!(6),
            7 => arm!(7),
            _ => arm!(8),
        }
    }};
}
pub(super) use by_registers;
