//! Bytes as what a memcached server answers.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    lambdac_tests::fuzz::memcached::run(data);
});
