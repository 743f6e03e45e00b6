//! See `reconciler::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| reconciler::fuzzing::release(bytes));
