//! Bytes as MIR text: read, validated, printed, optimised, run.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    lambdac_tests::fuzz::mir_text::run(data);
});
