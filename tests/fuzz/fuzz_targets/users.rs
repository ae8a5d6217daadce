//! See `culvert_tests::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| culvert_tests::fuzz::users_file(bytes));
