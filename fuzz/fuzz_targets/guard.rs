#![no_main]

// The body lies with the guard, because it holds the guard's inside against awc's codec;
// `cargo test --lib guard` runs it on random input and on the seeds.
libfuzzer_sys::fuzz_target!(|response: &[u8]| ringmaster::upstream::guard::fuzz::fuzz(response));
