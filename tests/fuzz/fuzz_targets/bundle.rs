//! Bytes as the manifest of a bundle.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    lambdac_tests::fuzz::bundle::run_manifest(data);
});
