//! Clearing the vector registers after an expansion or a batch.
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
    use std::hint::black_box;

    use super::super::context::ROUND_KEYS;
    use super::*;
    use crate::kernel::Kernel;
    use crate::keys::{KeyContext, TrafficKeys};
    use crate::segment::{Associated, Payload, SegmentFlags};
    use crate::{open, seal};

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

    /// M6.5: neither in a register nor in the stack that was used.
    #[test]
    fn no_key_is_left_behind() {
        if Available::detect("vaes512").is_none() {
            eprintln!("SKIPPED: this CPU has no registers of 512 bits to look at");
            return;
        }
        let [old, keys] = [1, 9].map(|from| {
            let octet = |i| (from * 17) ^ (i as u8).wrapping_mul(29);
            TrafficKeys::from_bytes(&std::array::from_fn(octet), &std::array::from_fn(octet))
        });
        let associated = Associated { offset: 1, flags: SegmentFlags::default(), phase: 0 };
        let at = Payload { src: 0, dst: 16, len: 1448 };
        for name in Available::NAMES {
            let Some(kernel) = Available::detect(name) else { continue };
            let mut slot = Some(KeyContext::for_kernel(Kernel::Low(kernel), &old));
            let context = slot.as_mut().expect("just put there");
            let mut frame = [0x5a; 1500];
            let mut found = vec![left_by(|| context.rekey(&keys))];
            found.push(left_by(|| _ = black_box(seal(context, &associated, &mut frame, at))));
            let Payload { src, dst, len } = at;
            let at = Payload { src: dst, dst: src, len };
            found.push(left_by(|| _ = open(context, &associated, &mut frame, at, &[0; 12])));
            let secrets = context.low().secrets();
            assert!(secrets.len() > ROUND_KEYS + 16, "{name}: {}", secrets.len());
            for (left, work) in found.iter().zip(["expand", "seal", "open"]) {
                let is_left = |secret: &[u8; 16]| left.windows(16).any(|octets| octets == secret);
                let of: Vec<_> = (0..secrets.len()).filter(|i| is_left(&secrets[*i])).collect();
                // What the compiler spills on the way: of the powers one register, no round key.
                let may_be_left = if work == "expand" { 0 } else { 4 };
                assert!(of.len() <= may_be_left, "{name}: {work} leaves {of:?}");
                assert!(of.iter().all(|i| *i >= ROUND_KEYS), "{name}: {work} leaves {of:?}");
            }
            // What is looked for would be found.
            let moved =
                left_by(|| _ = black_box(KeyContext::for_kernel(Kernel::Low(kernel), &keys)));
            assert!(secrets.iter().any(|secret| moved.windows(16).any(|o| o == secret)), "{name}");
        }
    }

    /// Octets of stack that are looked at.
    const STACK: usize = 16 << 10;
    /// Octets of the vector registers.
    const REGISTERS: usize = 32 * 64;

    /// What is in the vector registers, and where the stack was used, after `work`.
    fn left_by(work: impl FnOnce()) -> Vec<u8> {
        zero_stack();
        let mut left = vec![0; REGISTERS + STACK];
        let mut called = Some(work);
        call(&mut || called.take().expect("called once")());
        // SAFETY: stores the registers and copies what lies below the stack pointer, which is mapped because it was used
        // above, into `left`, which is as long.
        unsafe {
            asm!(
                ".irp i, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
                "vmovdqu64 [rdi + 64 * \\i], zmm\\i",
                ".endr",
                "lea rsi, [rsp - {stack}]",
                "add rdi, {registers}",
                "rep movsb",
                stack = const STACK,
                registers = const REGISTERS,
                inout("rdi") left.as_mut_ptr() => _,
                inout("rcx") STACK => _,
                out("rsi") _,
                options(nostack, preserves_flags)
            );
        }
        left
    }

    #[inline(never)]
    fn zero_stack() {
        black_box(&mut [0_u8; 2 * STACK]);
    }

    /// A call that is one.
    #[inline(never)]
    fn call(work: &mut dyn FnMut()) {
        work();
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
