#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| posthorn_domain::json::fuzz::tape_against_serde(bytes));
