//! What RFC 9110 and 9112 forbid in a request, beside what is no request at all: targets and hosts
//! that two servers could read differently.

use actix_web::dev::RequestHead;
use actix_web::http::Method;

use crate::http::error::ProxyError;

/// Judges a request's target and Host.
pub fn check(request: &RequestHead, host: Option<&[u8]>) -> Result<(), ProxyError> {
    let uri = &request.uri;
    let authority = uri.authority().map(|authority| authority.as_str());
    match (uri.scheme_str(), authority) {
        // The origin form: a path; or the asterisk form.
        (None, None) if uri.path().starts_with('/') => {}
        (None, None) if uri.path() == "*" && request.method == Method::OPTIONS => {}
        // The absolute form, which names the host itself.
        (Some("http" | "https"), Some(host)) if !host.is_empty() && is_host(host.as_bytes()) => {}
        // The authority form, which is answered by its own refusal.
        (None, Some(_)) if request.method == Method::CONNECT => {}
        _ => return Err(ProxyError::Malformed("the request's target is malformed")),
    }
    // actix refuses none, where there must be one, and several.
    match host {
        Some(host) if !is_host(host) => {
            Err(ProxyError::Malformed("the request's Host is malformed"))
        }
        _ => Ok(()),
    }
}

/// `uri-host [ ":" port ]` (RFC 9110, section 7.2), which may be empty. Of the characters
/// that RFC 3986 allows in a name, a comma is refused: it would make a list.
fn is_host(text: &[u8]) -> bool {
    let rest = match text.strip_prefix(b"[") {
        Some(literal) => {
            let of_address = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
            match literal.iter().position(|byte| !of_address(byte)) {
                Some(end @ 1..) => literal.get(end..).and_then(|rest| rest.strip_prefix(b"]")),
                _ => None,
            }
        }
        None => {
            let end = text.iter().position(|byte| !is_of_name(*byte));
            text.get(end.unwrap_or(text.len())..)
        }
    };
    // Behind the host only a port may come.
    match rest {
        Some([]) => true,
        Some([b':', port @ ..]) => port.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

fn is_of_name(byte: u8) -> bool {
    OF_NAMES[usize::from(byte)]
}

/// Which bytes a name may have: a look into a table for each byte of each Host.
const OF_NAMES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut others: &[u8] = b"-._~%!$&'()*+;=";
    while let [byte, rest @ ..] = others {
        table[*byte as usize] = true;
        others = rest;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for good in [
            "",
            "x",
            "shop.example:81",
            "x:",
            "127.0.0.1:1",
            "[::1]",
            "[::1]:80",
            "a_b",
            "%41",
            "[::ffff:1.2.3.4]:",
            ":80",
        ] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "x y",
            "x/y",
            "x?y",
            "x#y",
            "user@x",
            "x,y",
            "x:y",
            "x:80:80",
            "[::1",
            "[]",
            "[::1]x",
            "[::1]x:80",
            "[x]",
            "::1",
            "b\u{fc}cher",
            "x\\y",
            "<x>",
            "[::1]:8x",
            "[::1]]",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }
}
