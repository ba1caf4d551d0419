//! libFuzzer's way into `bodies::batch`, where it is said what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    bodies::batch(data);
});
