//! What a client is told on its socket itself, where actix says nothing or next to nothing.
//!
//! actix answers what it cannot read by itself: with a status and an empty body, and every
//! reason but size is a 400. Such an answer is recognised as it is written, and replaced.

use std::fmt::Write as _;
use std::time::SystemTime;

use actix_web::ResponseError;
use actix_web::http::header::HttpDate;

use super::error::ProxyError;
use super::expect::GO_ON;
use crate::h1::connection;

/// An answer that ends its connection, as [`ProxyError`] gives it.
pub fn answer(error: &ProxyError) -> String {
    let body = error.body();
    let mut answer = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        answer,
        "HTTP/1.1 {}\r\ncontent-length: {}\r\nconnection: close\r\ncontent-type: application/json\r\ndate: {}\r\n\r\n{body}",
        error.status_code(),
        body.len(),
        HttpDate::from(SystemTime::now()),
    );
    answer
}

/// What to say instead of what actix says when no request is in hand.
pub fn instead_of(written: &[u8], other_version: bool) -> Option<ProxyError> {
    let status = written.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    match status {
        b"400" if other_version => Some(ProxyError::OtherVersion),
        b"400" => Some(ProxyError::Malformed("the request is not valid HTTP/1.1")),
        b"431" => Some(ProxyError::HeadTooLarge),
        _ => None,
    }
}

/// Whether an answer of actix's is the last one of its connection, by its head.
pub fn is_last(answer: &[u8]) -> bool {
    let answer = answer.strip_prefix(GO_ON).unwrap_or(answer);
    let lines = answer
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii_end)
        .take_while(|line| !line.is_empty());
    let mut options = lines
        .filter_map(|line| {
            let (name, value) = line.split_at_checked(b"connection:".len())?;
            name.eq_ignore_ascii_case(b"connection:").then_some(value)
        })
        .flat_map(connection::options);
    if answer.starts_with(b"HTTP/1.0 ") {
        !options.any(|option| option.eq_ignore_ascii_case(b"keep-alive"))
    } else {
        options.any(|option| option.eq_ignore_ascii_case(b"close"))
    }
}

/// Whether what comes first of a request says, in its first line, that it is in a version
/// of HTTP that is not spoken here.
pub fn is_other_version(first: &[u8]) -> bool {
    let Some(end) = first.iter().position(|byte| *byte == b'\n') else {
        return false;
    };
    let line = first.get(..end).unwrap_or_default().trim_ascii_end();
    match line.get(line.len().saturating_sub(9)..) {
        Some([b' ', b'H', b'T', b'T', b'P', b'/', major, b'.', minor]) => {
            major.is_ascii_digit()
                && minor.is_ascii_digit()
                && !(*major == b'1' && matches!(minor, b'0' | b'1'))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_answers() {
        for last in [
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 426 Upgrade Required\r\nconnection: close, upgrade\r\n\r\n",
            "HTTP/1.0 200 OK\r\ncontent-length: 24\r\n\r\nconnection: keep-alive\r\n",
        ] {
            assert!(is_last(last.as_bytes()), "{last}");
        }
        for other in [
            "HTTP/1.1 200 OK\r\ncontent-length: 19\r\n\r\nconnection: close\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n",
            "HTTP/1.0 426 Upgrade Required\r\nConnection: keep-alive, upgrade\r\n\r\n",
        ] {
            assert!(!is_last(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn versions() {
        for other in [
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "GET / HTTP/3.0\r\nHost: x\r\n\r\n",
            "GET / HTTP/1.2\nHost: x\n\n",
            "GET / HTTP/0.9\r\n",
        ] {
            assert!(is_other_version(other.as_bytes()), "{other}");
        }
        for ours in [
            "GET / HTTP/1.1\r\nHost: HTTP/2.0\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "GET /HTTP/2.0\r\n\r\n",
            "GET / HTTP/x.y\r\n",
            "GET / HTTP/2.0",
            "HTTP/2.0\r\n",
            "\r\n",
            "",
        ] {
            assert!(!is_other_version(ours.as_bytes()), "{ours}");
        }
    }
}
