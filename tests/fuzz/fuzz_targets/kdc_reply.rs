//! Fuzz target `kdc_reply`: see `sekisho_tests::fuzz::kdc_reply`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sekisho_tests::fuzz::kdc_reply(data));
