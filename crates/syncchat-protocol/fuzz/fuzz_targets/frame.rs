#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| syncchat_protocol_fuzz::frame(data));
