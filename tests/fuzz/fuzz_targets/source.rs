//! Bytes as program text, through the front end and, where it is clean, to optimised MIR.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    lambdac_tests::fuzz::source::run(data);
});
