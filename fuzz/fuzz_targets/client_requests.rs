#![no_main]

// The body lies with the server, because it reads as a connection does; `cargo test --lib connection::h1` runs
// it on random input and on the seeds.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringmaster::http::fuzz::fuzz(bytes));
