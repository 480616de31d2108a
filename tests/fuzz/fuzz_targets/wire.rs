//! Bytes as one datagram.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    lambdac_tests::fuzz::wire::run_header(data);
});
