//! The fuzz targets' bodies on random input: a little of every `cargo fuzz` run, always. The
//! one for a replica's responses is run by unit tests (`src/upstream/framed_connection/tests/chance.rs`).

#[path = "../fuzz/bodies.rs"]
mod bodies;

use proptest::prelude::*;

proptest! {
    #[test]
    fn any_bytes_are_a_key(text in prop::collection::vec(any::<u8>(), 0..40)) {
        bodies::key(&text);
    }

    #[test]
    fn digits_are_a_key(text in "[0-9]{0,22}") {
        bodies::key(text.as_bytes());
    }

    #[test]
    fn what_looks_like_a_key_source_is_one_or_is_refused(
        text in "(id|path|client-ip|header|cookie|query)(:[!-~]{0,12})?"
    ) {
        bodies::key(text.as_bytes());
    }

    #[test]
    fn any_text_is_members_or_is_refused(text in any::<String>()) {
        bodies::members(&text);
    }

    #[test]
    fn what_looks_like_members_is_read(
        text in "([ ]?[a-c0-9.]{0,3}([ ]?=[ ]?[0-9+-]{0,4})?,){0,6}"
    ) {
        bodies::members(&text);
    }
}
