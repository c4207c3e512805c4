//! Fuzz target `frame`: see `sekisho_tests::fuzz::frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sekisho_tests::fuzz::frame(data));
