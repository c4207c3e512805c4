//! Fuzz target `burst`: see `sekisho_tests::fuzz::burst`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sekisho_tests::fuzz::burst(data));
