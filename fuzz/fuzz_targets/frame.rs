#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| posthorn_storage::log::segments::fuzz::frame(bytes));
