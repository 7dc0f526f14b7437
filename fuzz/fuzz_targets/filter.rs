#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| posthorn_domain::filter::fuzz::filters(text));
