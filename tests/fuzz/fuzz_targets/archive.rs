//! Bytes as the tar of a bundle.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    lambdac_tests::fuzz::archive::run(data);
});
