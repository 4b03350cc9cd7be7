#![no_main]

// The body lies with the framing, because it compares the framing's inside with awc's codec;
// `cargo test --lib framed_connection` runs it on random input and on the seeds.
libfuzzer_sys::fuzz_target!(|response: &[u8]| ringmaster::upstream::framed_connection::fuzz::fuzz(response));
