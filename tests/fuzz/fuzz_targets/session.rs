//! Fuzz target `session`: see `sekisho_tests::fuzz::session`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sekisho_tests::fuzz::session(data));
