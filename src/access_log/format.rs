//! The two formats of a line; JSON is in `json`.

use std::io::Write;
use std::net::IpAddr;

use super::record::AccessLine;
use super::time_text::TimeText;
use crate::config::AccessLogFormat;

impl AccessLine<'_> {
    /// Appends the line, with its end. (What is written to a vector cannot fail.)
    pub fn write(&self, format: AccessLogFormat, time: &mut TimeText, to: &mut Vec<u8>) {
        match format {
            AccessLogFormat::Combined => self.write_combined(time, to),
            AccessLogFormat::Json => self.write_json(time, to),
        }
        to.push(b'\n');
    }

    /// The combined format of Apache's httpd and nginx:
    /// `CLIENT - - [TIME] "METHOD TARGET PROTOCOL" STATUS BYTES "REFERER" "USER-AGENT"`.
    fn write_combined(&self, time: &mut TimeText, to: &mut Vec<u8>) {
        match self.client {
            Some(client) => write_ip(client, to),
            None => to.push(b'-'),
        }
        to.extend_from_slice(b" - - [");
        time.write_combined(self.time, to);
        to.extend_from_slice(b"] \"");
        to.extend_from_slice(self.method.as_bytes());
        to.push(b' ');
        write_escaped(&self.target, to);
        to.push(b' ');
        to.extend_from_slice(self.protocol.as_bytes());
        to.extend_from_slice(b"\" ");
        let mut digits = itoa::Buffer::new();
        to.extend_from_slice(digits.format(self.record.status).as_bytes());
        to.push(b' ');
        to.extend_from_slice(digits.format(self.record.bytes_out).as_bytes());
        for header in [&self.referer, &self.user_agent] {
            to.extend_from_slice(b" \"");
            write_escaped(header.as_deref().unwrap_or("-"), to);
            to.push(b'"');
        }
    }
}

/// A client's address.
pub(super) fn write_ip(address: IpAddr, to: &mut Vec<u8>) {
    let IpAddr::V4(address) = address else {
        return drop(write!(to, "{address}"));
    };
    let mut digits = itoa::Buffer::new();
    for (place, octet) in address.octets().into_iter().enumerate() {
        if place > 0 {
            to.push(b'.');
        }
        to.extend_from_slice(digits.format(octet).as_bytes());
    }
}

/// A client's text between quotation marks, escaped as nginx does: what could end it, or is not
/// printable ASCII, as `\xXX`.
fn write_escaped(text: &str, to: &mut Vec<u8>) {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    for &byte in text.as_bytes() {
        match is_plain(byte) {
            true => to.push(byte),
            false => drop(write!(to, "\\x{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use serde_json::{Value, json};

    use super::*;
    use crate::access_log::{AttemptRecord, RequestRecord};
    use crate::fleet::InstanceId;

    fn id(name: &str, generation: u64) -> InstanceId {
        InstanceId {
            replica: name.parse().unwrap(),
            generation,
        }
    }

    fn written(format: AccessLogFormat, record: &RequestRecord) -> String {
        let line = AccessLine {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_706_702_400_250),
            request_id: "4711".into(),
            client: Some([192, 0, 2, 7].into()),
            fleet: "default",
            method: "GET",
            target: "/a?b=\"c\"".into(),
            protocol: "HTTP/1.1",
            host: Some("shop.example".into()),
            record,
            total: Duration::from_micros(12_345),
            referer: None,
            user_agent: Some("curl\n8 \\ \u{fc}".into()),
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        };
        let mut bytes = Vec::new();
        line.write(format, &mut TimeText::default(), &mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn combined_line_escapes_what_a_client_chose() {
        let record = RequestRecord {
            status: 200,
            bytes_out: 17,
            ..RequestRecord::default()
        };
        assert_eq!(
            written(AccessLogFormat::Combined, &record),
            "192.0.2.7 - - [31/Jan/2024:12:00:00 +0000] \"GET /a?b=\\x22c\\x22 HTTP/1.1\" 200 17 \
             \"-\" \"curl\\x0A8 \\x5C \\xC3\\xBC\"\n"
        );
    }

    #[test]
    fn json_line_has_the_attempts_and_the_times() {
        let attempt = |name, generation, outcome| AttemptRecord {
            instance: id(name, generation),
            outcome,
            took: Duration::from_millis(1),
        };
        let record = RequestRecord {
            key_hash: Some(255),
            slot: Some(7),
            attempts: vec![
                attempt("Server1", 3, "not_connected"),
                attempt("Server2", 1, "response"),
            ],
            waited: Duration::ZERO,
            connect: Some(Duration::from_micros(250)),
            first_byte: Some(Duration::from_micros(2_500)),
            bytes_in: 3,
            bytes_out: 17,
            status: 200,
            ended: "complete",
        };
        let line = written(AccessLogFormat::Json, &record);
        assert_eq!(line.lines().count(), 1, "{line}");
        assert_eq!(
            serde_json::from_str::<Value>(&line).unwrap(),
            json!({
                "time": "2024-01-31T12:00:00.250Z",
                "request_id": "4711",
                "client": "192.0.2.7",
                "fleet": "default",
                "method": "GET",
                "target": "/a?b=\"c\"",
                "protocol": "HTTP/1.1",
                "host": "shop.example",
                "key_hash": "00000000000000ff",
                "slot": 7,
                "replica": "Server2",
                "generation": 1,
                "attempts": [
                    {"replica": "Server1", "generation": 3, "outcome": "not_connected", "ms": 1.0},
                    {"replica": "Server2", "generation": 1, "outcome": "response", "ms": 1.0},
                ],
                "waited_ms": 0.0,
                "connect_ms": 0.25,
                "first_byte_ms": 2.5,
                "bytes_in": 3,
                "bytes_out": 17,
                "status": 200,
                "ended": "complete",
                "total_ms": 12.345,
                "user_agent": "curl\n8 \\ \u{fc}",
                "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            })
        );
        // Without a replica nothing is said of one.
        let record = RequestRecord {
            status: 503,
            ended: "no_replica",
            ..RequestRecord::default()
        };
        let line: Value = serde_json::from_str(&written(AccessLogFormat::Json, &record)).unwrap();
        assert_eq!((line.get("replica"), line.get("slot")), (None, None));
        assert_eq!(line["attempts"], json!([]));
    }
}
