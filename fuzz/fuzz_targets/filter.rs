#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| posthorn_domain::filter::fuzz::filters(bytes));
