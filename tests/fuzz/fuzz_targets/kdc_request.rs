//! Fuzz target `kdc_request`: see `sekisho_tests::fuzz::kdc_request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sekisho_tests::fuzz::kdc_request(data));
