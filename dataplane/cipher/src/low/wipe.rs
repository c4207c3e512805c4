//! Clearing the vector registers after a batch.
//!
//! Owns: that no round key, keystream or power of H stays in a register for whatever runs next.

use core::arch::asm;
use core::arch::x86_64::_mm256_zeroall;

use super::{Available, Kind};

/// Clears all vector registers that the kernel writes.
#[inline]
pub(super) fn registers(kernel: Available) {
    match kernel.0 {
        // SAFETY: the kernel's features contain those that are needed.
        Kind::Vaes512 => unsafe { wide() },
        // SAFETY: as above.
        Kind::Vaes256 | Kind::AesNi => unsafe { narrow() },
    }
}

/// Registers 0 to 15, whole: the instruction clears what lies above its 256 bits too.
#[target_feature(enable = "avx")]
fn narrow() {
    _mm256_zeroall();
}

/// The other sixteen as well.
#[target_feature(enable = "avx,avx512f,avx512vl")]
fn wide() {
    // SAFETY: writes the registers that it names and nothing else.
    unsafe {
        asm!(
            "vpxord xmm16, xmm16, xmm16", "vpxord xmm17, xmm17, xmm17",
            "vpxord xmm18, xmm18, xmm18", "vpxord xmm19, xmm19, xmm19",
            "vpxord xmm20, xmm20, xmm20", "vpxord xmm21, xmm21, xmm21",
            "vpxord xmm22, xmm22, xmm22", "vpxord xmm23, xmm23, xmm23",
            "vpxord xmm24, xmm24, xmm24", "vpxord xmm25, xmm25, xmm25",
            "vpxord xmm26, xmm26, xmm26", "vpxord xmm27, xmm27, xmm27",
            "vpxord xmm28, xmm28, xmm28", "vpxord xmm29, xmm29, xmm29",
            "vpxord xmm30, xmm30, xmm30", "vpxord xmm31, xmm31, xmm31",
            out("zmm16") _, out("zmm17") _, out("zmm18") _, out("zmm19") _,
            out("zmm20") _, out("zmm21") _, out("zmm22") _, out("zmm23") _,
            out("zmm24") _, out("zmm25") _, out("zmm26") _, out("zmm27") _,
            out("zmm28") _, out("zmm29") _, out("zmm30") _, out("zmm31") _,
            options(nomem, nostack, preserves_flags)
        );
    }
    narrow();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_in_the_registers() {
        let Some(kernel) = Available::detect("vaes512") else {
            eprintln!("SKIPPED: this CPU has no VAES-512");
            return;
        };
        let left = |wiped: bool| {
            // SAFETY: `kernel` says that AVX-512 is there.
            unsafe { planted(kernel, wiped) }
        };
        assert_eq!(left(true), [0; 3]);
        assert_ne!(left(false), [0; 3]);
    }

    /// Plants a pattern in a low, a high and the last register; what is there afterwards.
    #[target_feature(enable = "avx,avx512f,avx512vl")]
    fn planted(kernel: Available, wiped: bool) -> [u64; 3] {
        let (first, middle, last): (u64, u64, u64);
        // SAFETY: registers only, all named.
        unsafe {
            asm!(
                "vpternlogd zmm5, zmm5, zmm5, 255", "vmovdqa64 zmm17, zmm5", "vmovdqa64 zmm31, zmm5",
                out("zmm5") _, out("zmm17") _, out("zmm31") _, options(nomem, nostack)
            );
        }
        if wiped {
            registers(kernel);
        }
        // SAFETY: reads what is in the registers; each holds some value.
        unsafe {
            asm!(
                "vextracti32x4 xmm5, zmm5, 3", "vmovq {0}, xmm5",
                "vextracti32x4 xmm17, zmm17, 3", "vmovq {1}, xmm17",
                "vextracti32x4 xmm31, zmm31, 3", "vmovq {2}, xmm31",
                out(reg) first, out(reg) middle, out(reg) last,
                out("zmm5") _, out("zmm17") _, out("zmm31") _, options(nomem, nostack)
            );
        }
        [first, middle, last]
    }
}
