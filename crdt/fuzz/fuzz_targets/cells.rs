//! libFuzzer's way into `bodies::cells`, where it is said what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    bodies::cells(data);
});
