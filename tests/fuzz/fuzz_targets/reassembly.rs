//! Bytes as a sequence of datagrams from several callers.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    lambdac_tests::fuzz::wire::run_packets(data);
});
