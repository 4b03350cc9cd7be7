//! HTTP/1.1 messages as bytes: made by chance, written, and read by the book.

use std::fmt::Write;

use fastrand::Rng;
use tokio::io::{AsyncReadExt, BufReader};
use tokio::net::TcpStream;

/// A message with its framing taken off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub first_line: String,
    /// Names in lower case.
    pub fields: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

impl Message {
    /// Reads one; `None` at a connection's end before its first byte. A message without a
    /// length has no body, unless only the end can end it.
    pub async fn read(
        stream: &mut BufReader<&mut TcpStream>,
        bodiless: bool,
        until_end: bool,
    ) -> Option<Self> {
        let first_line = String::from_utf8(line(stream).await?).unwrap();
        let mut fields = Vec::new();
        loop {
            let line = line(stream).await.unwrap();
            if line.is_empty() {
                break;
            }
            let colon = line.iter().position(|&byte| byte == b':').unwrap();
            let name = str::from_utf8(&line[..colon]).unwrap().to_ascii_lowercase();
            fields.push((name, line[colon + 1..].trim_ascii().to_vec()));
        }
        let mut message = Self {
            first_line,
            fields,
            body: Vec::new(),
        };
        if bodiless {
            return Some(message);
        }
        if let Some(length) = message.text("content-length") {
            message.body = vec![0; length.parse().unwrap()];
            stream.read_exact(&mut message.body).await.unwrap();
        } else if message.text("transfer-encoding").as_deref() == Some("chunked") {
            loop {
                let size = line(stream).await.unwrap();
                let size = usize::from_str_radix(str::from_utf8(&size).unwrap(), 16).unwrap();
                let start = message.body.len();
                message.body.resize(start + size, 0);
                stream.read_exact(&mut message.body[start..]).await.unwrap();
                assert_eq!(line(stream).await.unwrap(), b"");
                if size == 0 {
                    break;
                }
            }
        } else if until_end {
            stream.read_to_end(&mut message.body).await.unwrap();
        }
        Some(message)
    }

    pub fn text(&self, name: &str) -> Option<String> {
        let (_, value) = self.fields.iter().find(|(field, _)| field == name)?;
        Some(String::from_utf8_lossy(value).into_owned())
    }

    /// Its fields but for some, in an order in which only those of one name have a place.
    pub fn fields_but(&self, but: &[&str]) -> Vec<(String, Vec<u8>)> {
        let mut fields = self.fields.clone();
        fields.retain(|(name, _)| !but.contains(&name.as_str()));
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        fields
    }
}

async fn line(stream: &mut BufReader<&mut TcpStream>) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(stream.read_u8().await.ok()?);
    }
    line.truncate(line.len() - 2);
    Some(line)
}

/// A request by chance, for a server at `host`.
pub fn request(rng: &mut Rng, host: &str) -> (String, Vec<u8>) {
    let methods = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW",
    ];
    let method = rng.choice(methods).unwrap();
    let target = text(rng, b"abcXYZ019-._~!$&'()*+,;=:@%/?", 40);
    let mut bytes = format!("{method} /x{target} HTTP/1.1\r\nHost: {host}\r\n").into_bytes();
    some_fields(rng, &mut bytes);
    let with_body = !matches!(method, "GET" | "HEAD") && rng.bool();
    framed_body(rng, &mut bytes, with_body, false);
    (method.to_owned(), bytes)
}

/// A response by chance; whether the connection's end ends it.
pub fn response(rng: &mut Rng, method: &str) -> (Vec<u8>, bool) {
    let statuses = [
        200, 201, 203, 204, 206, 299, 301, 304, 400, 404, 418, 429, 500, 503, 599,
    ];
    let status = rng.choice(statuses).unwrap();
    let mut bytes = format!("HTTP/1.1 {status} Whatever\r\n").into_bytes();
    some_fields(rng, &mut bytes);
    if rng.bool() {
        bytes.extend_from_slice(b"Date: Tue, 15 Nov 1994 08:12:31 GMT\r\n");
    }
    if method == "HEAD" || matches!(status, 204 | 304) {
        bytes.extend_from_slice(b"\r\n");
        return (bytes, false);
    }
    let until_end = rng.u8(..5) == 0;
    if until_end {
        let length = rng.usize(..3000);
        bytes.extend_from_slice(b"\r\n");
        bytes.extend((0..length).map(|_| rng.u8(..)));
    } else {
        framed_body(rng, &mut bytes, true, true);
    }
    (bytes, until_end)
}

fn some_fields(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let known = [
        "Accept",
        "Cookie",
        "Set-Cookie",
        "ETag",
        "User-Agent",
        "Server",
        "Content-Type",
    ];
    for _ in 0..rng.usize(..20) {
        let name = match rng.bool() {
            true => rng.choice(known).unwrap().to_owned(),
            false => format!("x-{}", text(rng, b"azAZ09!#$%&'*+-.^_`|~", 12)),
        };
        let length = rng.usize(..60);
        let value: Vec<u8> = (0..length)
            .map(|_| match rng.u8(..40) {
                0 => b'\t',
                1 => rng.u8(0x80..),
                _ => rng.u8(0x20..0x7f),
            })
            .collect();
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(if rng.bool() { b": " } else { b":" });
        bytes.extend_from_slice(&value);
        bytes.extend_from_slice(b"\r\n");
    }
}

/// The end of a head, and a body in a framing by chance.
fn framed_body(rng: &mut Rng, bytes: &mut Vec<u8>, with_body: bool, must_frame: bool) {
    if !with_body && !must_frame {
        bytes.extend_from_slice(b"\r\n");
        return;
    }
    let length = *rng.choice(&[0, 1, 100, 5000, 70_000]).unwrap();
    let length = rng.usize(..=length);
    let body: Vec<u8> = (0..length).map(|_| rng.u8(..)).collect();
    if rng.bool() {
        bytes.extend_from_slice(format!("Content-Length: {length}\r\n\r\n").as_bytes());
        bytes.extend_from_slice(&body);
        return;
    }
    bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
    let mut rest = &body[..];
    while !rest.is_empty() {
        let (chunk, others) = rest.split_at(rng.usize(1..=rest.len()));
        rest = others;
        let mut size = String::new();
        write!(size, "{:x}\r\n", chunk.len()).unwrap();
        bytes.extend_from_slice(size.as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
}

fn text(rng: &mut Rng, alphabet: &[u8], most: usize) -> String {
    let length = rng.usize(..most);
    (0..length)
        .map(|_| char::from(*rng.choice(alphabet).unwrap()))
        .collect()
}
