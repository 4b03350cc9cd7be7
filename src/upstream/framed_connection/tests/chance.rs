//! Random responses, good and bad: pieces change nothing, awc and the framing agree.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::fuzz::{End, follow, fuzz};
use super::super::response_head::RequestInfo;

/// A well-formed response: its bytes, and where its body may not be cut off unnoticed.
#[derive(Debug, Clone)]
struct Good {
    head: bool,
    bytes: Vec<u8>,
    delimited: bool,
}

fn interim() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        4 => Just(""),
        1 => Just("HTTP/1.1 100 Continue\r\n\r\n"),
        1 => Just("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\ncontent-length: 7\r\n\r\n"),
    ]
}

fn chunks() -> impl Strategy<Value = Vec<u8>> {
    let chunk = (vec(any::<u8>(), 1..40), "(;[a-z]{1,3}(=\"[ a-z]{0,4}\")?)?");
    (vec(chunk, 0..4), "([a-z]{1,4}: [a-z]{0,4}\r\n){0,2}").prop_map(|(chunks, trailers)| {
        let mut bytes = Vec::new();
        for (data, extension) in chunks {
            bytes.extend_from_slice(format!("{:X}{extension}\r\n", data.len()).as_bytes());
            bytes.extend_from_slice(&data);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
        bytes
    })
}

fn good() -> impl Strategy<Value = Good> {
    let body = prop_oneof![
        vec(any::<u8>(), 0..80).prop_map(|body| (
            format!("Content-Length: {}\r\n", body.len()),
            body,
            true
        )),
        chunks().prop_map(|body| ("Transfer-Encoding: chunked\r\n".to_owned(), body, true)),
        vec(any::<u8>(), 0..80).prop_map(|body| (String::new(), body, false)),
    ];
    let status = prop_oneof![Just(200), Just(404), Just(204), Just(304), 200..600u16];
    let fields = "([A-Za-z]{1,8}: ?[ -~]{0,20}\r\n){0,5}";
    (interim(), interim(), status, fields, body, any::<bool>()).prop_map(
        |(one, two, status, fields, (framing, body, delimited), head)| {
            let mut bytes =
                format!("{one}{two}HTTP/1.1 {status} Why\r\n{fields}{framing}\r\n").into_bytes();
            let bodiless = head || status == 204 || status == 304;
            if !bodiless {
                bytes.extend_from_slice(&body);
            }
            Good {
                head,
                bytes,
                delimited: delimited || bodiless,
            }
        },
    )
}

/// Bytes cut at random places.
fn pieces(bytes: &[u8], cuts: &[prop::sample::Index]) -> Vec<Vec<u8>> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.sort_unstable();
    let mut pieces = Vec::new();
    let mut from = 0;
    for to in cuts.into_iter().chain([bytes.len()]) {
        pieces.push(bytes[from..to].to_vec());
        from = to;
    }
    pieces
}

fn follow_pieces(asked: RequestInfo, pieces: &[Vec<u8>]) -> (Vec<u8>, End) {
    follow(asked, pieces.iter().map(Vec::as_slice))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn good_responses_are_whole_however_they_are_cut(
        good in good(),
        cuts in vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let asked = RequestInfo { head: good.head, ..RequestInfo::default() };
        let (passed, end) = follow(asked, [&good.bytes[..]]);
        prop_assert!(matches!(end, End::Whole { .. }), "{end:?}");
        prop_assert_eq!(follow_pieces(asked, &pieces(&good.bytes, &cuts)), (passed, end));
        fuzz(&[&[u8::from(good.head), 3], &good.bytes[..]].concat());
    }

    #[test]
    fn a_delimited_response_that_is_cut_short_is_never_whole(
        good in good().prop_filter("delimited", |good| good.delimited),
        cut in any::<prop::sample::Index>(),
    ) {
        let asked = RequestInfo { head: good.head, ..RequestInfo::default() };
        let short = &good.bytes[..cut.index(good.bytes.len())];
        prop_assert!(matches!(follow(asked, [short]).1, End::Broken(_)));
    }

    #[test]
    fn bytes_behind_a_delimited_response_end_the_connection(
        good in good().prop_filter("delimited", |good| good.delimited),
        surplus in vec(any::<u8>(), 1..20),
        cuts in vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let asked = RequestInfo { head: good.head, ..RequestInfo::default() };
        let (alone, _) = follow(asked, [&good.bytes[..]]);
        let bytes = [good.bytes, surplus].concat();
        let (passed, end) = follow_pieces(asked, &pieces(&bytes, &cuts));
        prop_assert_eq!(passed, alone);
        prop_assert_eq!(end, End::Whole { reusable: false });
    }

    #[test]
    fn garbage_is_no_response(bytes in vec(any::<u8>(), 0..200)) {
        fuzz(&bytes);
    }

    #[test]
    fn damaged_responses_mean_the_same_to_awc(
        good in good(),
        flags in 0..4u8,
        cut in 1..9u8,
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = good.bytes;
        for (at, byte) in damage {
            // A line's end or a digit in the wrong place does more harm than most bytes.
            let byte = match byte {
                0..60 => b"\r\n\n\0 :;0"[usize::from(byte) % 8],
                other => other,
            };
            let at = at.index(bytes.len());
            if byte % 3 == 0 {
                bytes.insert(at, byte);
            } else {
                bytes[at] = byte;
            }
        }
        fuzz(&[&[flags, cut], &bytes[..]].concat());
    }
}

#[test]
fn the_fuzzers_seeds_hold() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/replica_response");
    let mut count = 0;
    for seed in std::fs::read_dir(seeds).unwrap() {
        let seed = std::fs::read(seed.unwrap().path()).unwrap();
        // Whatever was asked, and wherever it is cut.
        for flags in 0..4 {
            for cut in 0..=255 {
                fuzz(&[&[flags, cut], &seed[2..]].concat());
            }
        }
        count += 1;
    }
    assert!(count > 10);
}
