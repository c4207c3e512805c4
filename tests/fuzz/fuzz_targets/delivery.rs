//! Fuzz target `delivery`: see `sekisho_tests::fuzz::delivery`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sekisho_tests::fuzz::delivery(data));
