//! Trailers: which fields behind a body go on (RFC 9110, section 6.5).
//!
//! What reads a body leaves its trailer section in a cell (`Trailers`), and what writes the body
//! appends what [`relay`] lets through.

use httparse::{EMPTY_HEADER, Status, parse_headers};

use super::{forwarded, hop_by_hop};
use crate::h1::{HeaderLines, MAX_HEADERS, header_name, write_header};

/// Fields that frame, route or control a message, authenticate somebody, or say how the content is
/// to be handled: an application that merges them into the head would believe them, and nobody on
/// the way has seen them there (RFC 9110, section 6.5.1).
const FORBIDDEN: [&str; 25] = [
    "age",
    "authentication-info",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-range",
    "content-type",
    "date",
    "expires",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authentication-info",
    "range",
    "retry-after",
    "set-cookie",
    "vary",
    "via",
    "warning",
    "www-authenticate",
];

/// Writes the fields of a trailer section that go on, as lines; none of a section that is no list
/// of fields. `headers` are those of the same message, whose Connection may name some of them.
pub fn relay(section: &[u8], headers: &HeaderLines, to: &mut Vec<u8>) {
    let mut fields = [EMPTY_HEADER; MAX_HEADERS];
    let Ok(Status::Complete((_, fields))) = parse_headers(section, &mut fields) else {
        return;
    };
    for field in fields {
        let name = field.name.as_bytes();
        if may_follow(name) && !headers.is_named_by_connection(name) {
            write_header(to, field.name, field.value);
        }
    }
}

fn may_follow(name: &[u8]) -> bool {
    let is = |other: &&str| header_name::eq_ignore_case(name, other.as_bytes());
    !FORBIDDEN.iter().any(is) && !hop_by_hop::is_hop_by_hop(name) && forwarded::is_plain(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::raw_request::tests::raw;

    fn relayed(section: &str) -> String {
        let headers = [("Connection", "X-Private, close")];
        let mut to = Vec::new();
        relay(section.as_bytes(), &raw("/", &headers).headers, &mut to);
        String::from_utf8(to).unwrap()
    }

    #[test]
    fn trailers_go_on_unless_they_belong_into_the_head() {
        let plain = "X-Sum: 1\r\ngrpc-status: 0\r\nServer-Timing: a;dur=1\r\nX-Empty: \r\n";
        assert_eq!(relayed(&format!("{plain}\r\n")), plain);
        for name in FORBIDDEN.into_iter().chain([
            "Content-Length",
            "Transfer-Encoding",
            "TE",
            "Trailer",
            "Connection",
            "Keep-Alive",
            "Upgrade",
            "Host",
            "Cookie",
            "Expect",
            "Proxy-Authorization",
            "X-Forwarded-For",
            "x_forwarded_for",
            "Forwarded",
            "X-Real-IP",
            "X-Request-ID",
            "x-private",
            "SET-COOKIE",
        ]) {
            let section = format!("X-A: 1\r\n{name}: 2\r\nX-B: 3\r\n\r\n");
            assert_eq!(relayed(&section), "X-A: 1\r\nX-B: 3\r\n", "{name}");
        }
    }

    #[test]
    fn section_that_is_no_list_of_fields_is_dropped() {
        for section in [
            "",
            "\r\n",
            "X-A: 1\r\n",
            "X-A: 1\r\nno colon\r\n\r\n",
            "X-A: 1\r\n folded\r\n\r\n",
            "X-A : 1\r\n\r\n",
            "X-A: \u{1}\r\n\r\n",
        ] {
            assert_eq!(relayed(section), "", "{section:?}");
        }
        let many = "x: y\r\n".repeat(MAX_HEADERS + 1);
        assert_eq!(relayed(&format!("{many}\r\n")), "");
    }
}
