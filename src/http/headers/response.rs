//! A replica's headers for the client, of final and of interim responses.

use actix_web::http::StatusCode;
use httparse::{EMPTY_HEADER, Response, Status};

use super::{cookies, hop_by_hop};
use crate::h1::{MAX_HEADERS, connection, header_name};
use crate::upstream::RawResponseHead;

/// A replica's headers as a client gets them, written as lines of a head: those that lie side
/// by side together. Whether Date was among them. What switches protocols, or asks for it with a
/// 426, says to which (RFC 9110, section 7.8 and 15.5.22).
pub fn relay_response(status: StatusCode, replica: &RawResponseHead, to: &mut Vec<u8>) -> bool {
    let mut has_date = false;
    let mut lines = 0..0;
    for header in replica.lines.iter() {
        let value = || replica.lines.part(header.value);
        if !goes_on(status, header.name, replica) || is_session_cookie(header.name, value) {
            continue;
        }
        has_date |= header_name::eq_ignore_case(header.name, b"date");
        match header.line {
            Some(line) if line.start == lines.end => lines.end = line.end,
            line => {
                to.extend_from_slice(replica.lines.part(&lines));
                lines = line.unwrap_or_else(|| {
                    for part in [
                        header.name,
                        b": ",
                        replica.lines.part(header.value),
                        b"\r\n",
                    ] {
                        to.extend_from_slice(part);
                    }
                    0..0
                });
            }
        }
    }
    to.extend_from_slice(replica.lines.part(&lines));
    // A 304 may tell the length that the body would have had (RFC 9110, section 8.6).
    if status == StatusCode::NOT_MODIFIED
        && let Some(length) = replica.content_length()
    {
        to.extend_from_slice(b"content-length: ");
        to.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
        to.extend_from_slice(b"\r\n");
    }
    to.extend_from_slice(replica.appended());
    has_date
}

/// Writes the interim responses whose heads lie in `heads`, one behind the other, as the client
/// gets them. 100 is left out: what the client waits for has been said to it before.
pub fn relay_interim(mut heads: &[u8], via: &'static [u8], to: &mut Vec<u8>) {
    loop {
        let mut fields = [EMPTY_HEADER; MAX_HEADERS];
        let mut head = Response::new(&mut fields);
        // They have been read before, so they are whole.
        let Ok(Status::Complete(length)) = head.parse(heads) else {
            return;
        };
        heads = heads.get(length..).unwrap_or_default();
        let status = head.code.unwrap_or_default();
        if status == StatusCode::CONTINUE {
            continue;
        }
        to.extend_from_slice(b"HTTP/1.1 ");
        to.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
        to.push(b' ');
        to.extend_from_slice(head.reason.unwrap_or_default().as_bytes());
        to.extend_from_slice(b"\r\n");
        let named: Vec<_> = head
            .headers
            .iter()
            .filter(|field| header_name::eq_ignore_case(field.name.as_bytes(), b"connection"))
            .flat_map(|field| connection::header_names(field.value))
            .collect();
        for field in &*head.headers {
            let name = field.name.as_bytes();
            if !hop_by_hop::is_hop_by_hop(name)
                && !is_session_cookie(name, || field.value)
                && !named.iter().any(|n| n.eq_ignore_ascii_case(name))
            {
                for part in [name, b": ", field.value, b"\r\n"] {
                    to.extend_from_slice(part);
                }
            }
        }
        to.extend_from_slice(via);
        to.extend_from_slice(b"\r\n");
    }
}

/// Whether a field of a replica's response is for the client, too.
fn goes_on(status: StatusCode, name: &[u8], replica: &RawResponseHead) -> bool {
    if hop_by_hop::is_hop_by_hop(name) {
        let is = |other: &[u8]| header_name::eq_ignore_case(name, other);
        return (names_upgrade(status) && is(b"upgrade"))
            || (replica.relays_trailers() && is(b"trailer"));
    }
    !replica.has_connection_headers() || !replica.lines.is_named_by_connection(name)
}

/// Whether a header would set the dashboard's session, which no replica may.
fn is_session_cookie<'v>(name: &[u8], value: impl FnOnce() -> &'v [u8]) -> bool {
    header_name::eq_ignore_case(name, b"set-cookie") && cookies::sets_session(value())
}

/// Whether a response says to which protocol it switches, or could be switched.
pub fn offers_upgrade(status: StatusCode, replica: &RawResponseHead) -> bool {
    names_upgrade(status) && replica.lines.get_all("upgrade").next().is_some()
}

/// Whether a status goes with an Upgrade header for the client (RFC 9110, sections 7.8 and
/// 15.5.22).
fn names_upgrade(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::UPGRADE_REQUIRED | StatusCode::SWITCHING_PROTOCOLS
    )
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn interim_responses_go_on_without_what_concerns_one_connection() {
        let heads = "HTTP/1.1 100 Continue\r\n\r\n\
             HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\
             Set-Cookie: ringmaster_session_5001=x\r\nConnection: x-a\r\nX-A: 1\r\n\
             Content-Length: 3\r\n\r\n\
             HTTP/1.1 102 Working\r\n\r\n";
        let mut to = Vec::new();
        relay_interim(heads.as_bytes(), b"via: 1.1 x\r\n", &mut to);
        assert_eq!(
            String::from_utf8(to).unwrap(),
            "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nvia: 1.1 x\r\n\r\n\
             HTTP/1.1 102 Working\r\nvia: 1.1 x\r\n\r\n"
        );
    }

    /// A word in any case.
    fn spelt(word: &'static str) -> impl Strategy<Value = String> {
        let upper = vec(any::<bool>(), word.len());
        upper.prop_map(move |upper| {
            let letters = word.chars().zip(upper);
            let spell = |(letter, upper): (char, bool)| match upper {
                true => letter.to_ascii_uppercase(),
                false => letter,
            };
            letters.map(spell).collect()
        })
    }

    fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = String> {
        proptest::sample::select(words).prop_flat_map(spelt)
    }

    const NAMES: &[&str] = &[
        "x-a",
        "x-b",
        "set-cookie",
        "date",
        "via",
        "upgrade",
        "keep-alive",
        "te",
        "trailer",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "expect",
        "close",
        "age",
    ];
    const OPTIONS: &[&str] = &[
        "close",
        "keep-alive",
        "upgrade",
        "x-a",
        "x-b",
        "date",
        "via",
        "set-cookie",
        "age",
        "content-length",
        "",
        "no token",
        "\u{fc}",
    ];

    /// A line of a head: Connection, or another field, with the spaces and line ends that
    /// replicas may write.
    fn line() -> impl Strategy<Value = Vec<u8>> {
        let listed = vec(one_of(OPTIONS), 0..4).prop_map(|options| options.join(" ,").into_bytes());
        let connection = (spelt("connection"), listed);
        let value = proptest::string::bytes_regex(r"(?-u)([!-~\x80-\xff]([ \t]?[!-~])*)?").unwrap();
        let field = prop_oneof![1 => connection, 3 => (one_of(NAMES), value)];
        let space = proptest::sample::select(&[": ", ": ", ": ", ":", ":\t", ":  ", " : "][..]);
        let end = proptest::sample::select(&["\r\n", "\r\n", "\r\n", " \r\n", "\n"][..]);
        (field, space, end).prop_map(|((name, value), space, end)| {
            [name.as_bytes(), space.as_bytes(), &value, end.as_bytes()].concat()
        })
    }

    /// A status, and a head in which somewhere the length is told.
    fn head() -> impl Strategy<Value = (u16, Vec<u8>)> {
        let status = proptest::sample::select(&[200, 204, 304, 404, 426, 503][..]);
        let lines = (
            vec(line(), 0..8),
            vec(line(), 0..8),
            spelt("content-length"),
        );
        (status, lines).prop_map(|(status, (before, after, length))| {
            let mut head = format!("HTTP/1.1 {status} Hm\r\n").into_bytes();
            head.extend(before.concat());
            head.extend(format!("{length}: 7\r\n").as_bytes());
            head.extend(after.concat());
            head.extend(b"\r\n");
            (status, head)
        })
    }

    /// Lines in an order that does not depend on how they came about.
    fn sorted<'l>(lines: impl Iterator<Item = &'l [u8]>) -> Vec<String> {
        let mut lines: Vec<_> = lines.map(|line| line.escape_ascii().to_string()).collect();
        lines.sort();
        lines
    }

    /// A line whose name is in lower case, as it is in a map.
    fn lower_name(line: &[u8]) -> Vec<u8> {
        let colon = line.iter().position(|byte| *byte == b':').unwrap();
        let (name, rest) = line.split_at(colon);
        [&name.to_ascii_lowercase(), rest].concat()
    }

    /// What [`relay_response`] leaves of lines, of a map.
    fn keep_what_is_relayed(status: StatusCode, map: &mut HeaderMap) {
        let named: Vec<_> = map
            .get_all(header::CONNECTION)
            .flat_map(|value| connection::header_names(value.as_bytes()))
            .filter_map(|option| HeaderName::from_bytes(option).ok())
            .collect();
        map.retain(|name, _| {
            let is_upgrade = status == StatusCode::UPGRADE_REQUIRED && name == header::UPGRADE;
            let is_hop_by_hop = hop_by_hop::is_hop_by_hop(name.as_str().as_bytes());
            is_upgrade || (!is_hop_by_hop && !named.contains(name))
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Header lines and a header map keep the same headers. The map lacks the Content-Length of a
        /// 304, so the test adds it.
        #[test]
        fn lines_that_go_through_are_those_that_a_map_would_leave((status, head) in head()) {
            let status = StatusCode::from_u16(status).unwrap();
            let replica = RawResponseHead::parse(&head);
            let mut lines = Vec::new();
            let has_date = relay_response(status, &replica, &mut lines);
            let lines = lines.split_inclusive(|byte| *byte == b'\n').map(lower_name);
            let lines: Vec<_> = lines.collect();

            let mut map = HeaderMap::new();
            for line in replica.lines.iter() {
                map.append(
                    HeaderName::from_bytes(line.name).unwrap(),
                    HeaderValue::from_bytes(replica.lines.part(line.value)).unwrap(),
                );
            }
            keep_what_is_relayed(status, &mut map);
            if status == StatusCode::NOT_MODIFIED {
                map.insert(header::CONTENT_LENGTH, HeaderValue::from_static("7"));
            }
            let left: Vec<Vec<u8>> = map
                .iter()
                .map(|(name, value)| [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat())
                .collect();
            prop_assert_eq!(
                sorted(lines.iter().map(Vec::as_slice)),
                sorted(left.iter().map(Vec::as_slice))
            );
            prop_assert_eq!(has_date, map.contains_key(header::DATE));
            prop_assert_eq!(
                offers_upgrade(status, &replica),
                map.contains_key(header::UPGRADE)
            );
        }
    }
}
