//! The CPU's time-stamp counter, read between fences.
//!
//! Owns: a measure for benchmarks. Ciphers nothing and sees no key.

use core::arch::x86_64::{_mm_lfence, _rdtsc};

/// The counter's value once all earlier instructions have ended and before any later one begins.
#[inline]
pub(crate) fn ticks() -> u64 {
    fence();
    // SAFETY: every x86-64 CPU has the instruction; Linux lets programs use it.
    let ticks = unsafe { _rdtsc() };
    fence();
    ticks
}

#[inline]
fn fence() {
    // SAFETY: SSE2 belongs to x86-64.
    unsafe { _mm_lfence() };
}
