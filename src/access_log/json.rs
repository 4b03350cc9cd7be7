//! A line as one JSON object.
//!
//! Written by hand: by serde_json a line cost 8,000 instructions, more than a third of what the rest of
//! a request costs in user space.

use std::time::Duration;

use super::record::{AccessLine, AttemptRecord, RequestRecord};
use super::time_text::{TimeText, write_three_digits};
use crate::fleet::InstanceId;

/// Appends a member's name, with what separates it from the one before.
macro_rules! member {
    ($to:expr, $name:literal) => {
        $to.extend_from_slice(concat!(",\"", $name, "\":").as_bytes())
    };
}

impl AccessLine<'_> {
    pub(super) fn write_json(&self, time: &mut TimeText, to: &mut Vec<u8>) {
        to.extend_from_slice(b"{\"time\":\"");
        time.write_rfc3339(self.time, to);
        to.extend_from_slice(b"\",\"request_id\":");
        text(&self.request_id, to);
        member!(to, "client");
        match self.client {
            Some(client) => {
                to.push(b'"');
                super::write_ip(client, to);
                to.push(b'"');
            }
            None => to.extend_from_slice(b"null"),
        }
        member!(to, "fleet");
        plain(self.fleet, to);
        member!(to, "method");
        text(self.method, to);
        member!(to, "target");
        text(&self.target, to);
        member!(to, "protocol");
        plain(self.protocol, to);
        member!(to, "host");
        match &self.host {
            Some(host) => text(host, to),
            None => to.extend_from_slice(b"null"),
        }
        write_record(self.record, to);
        member!(to, "total_ms");
        milliseconds(self.total, to);
        if let Some(referer) = &self.referer {
            member!(to, "referer");
            text(referer, to);
        }
        if let Some(user_agent) = &self.user_agent {
            member!(to, "user_agent");
            text(user_agent, to);
        }
        if let Some(traceparent) = &self.traceparent {
            member!(to, "traceparent");
            text(traceparent, to);
        }
        to.push(b'}');
    }
}

fn write_record(record: &RequestRecord, to: &mut Vec<u8>) {
    if let Some(hash) = record.key_hash {
        member!(to, "key_hash");
        to.push(b'"');
        for place in (0..16).rev() {
            to.push(b"0123456789abcdef"[(hash >> (place * 4)) as usize & 15]);
        }
        to.push(b'"');
    }
    if let Some(slot) = record.slot {
        member!(to, "slot");
        number(slot, to);
    }
    if let Some(last) = record.attempts.last() {
        member!(to, "replica");
        write_instance(&last.instance, to);
    }
    member!(to, "attempts");
    to.push(b'[');
    for (place, attempt) in record.attempts.iter().enumerate() {
        let AttemptRecord {
            instance,
            outcome,
            took,
        } = attempt;
        let begin: &[u8] = if place == 0 { b"{" } else { b",{" };
        to.extend_from_slice(begin);
        to.extend_from_slice(b"\"replica\":");
        write_instance(instance, to);
        member!(to, "outcome");
        plain(outcome, to);
        member!(to, "ms");
        milliseconds(*took, to);
        to.push(b'}');
    }
    to.push(b']');
    member!(to, "waited_ms");
    milliseconds(record.waited, to);
    if let Some(connect) = record.connect {
        member!(to, "connect_ms");
        milliseconds(connect, to);
    }
    if let Some(first_byte) = record.first_byte {
        member!(to, "first_byte_ms");
        milliseconds(first_byte, to);
    }
    member!(to, "bytes_in");
    number(record.bytes_in, to);
    member!(to, "bytes_out");
    number(record.bytes_out, to);
    member!(to, "status");
    number(record.status, to);
    member!(to, "ended");
    plain(record.ended, to);
}

fn write_instance(id: &InstanceId, to: &mut Vec<u8>) {
    text(id.replica.as_str(), to);
    member!(to, "generation");
    number(id.generation, to);
}

fn text(text: &str, to: &mut Vec<u8>) {
    let is_special = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    // To the end in any case: the compiler makes vectors of it.
    let has_special = |any: bool, byte: u8| any | is_special(byte);
    if !text.bytes().fold(false, has_special) {
        plain(text, to);
    } else {
        // What is written to a vector cannot fail.
        let _ = serde_json::to_writer(to, text);
    }
}

/// A text that needs no escaping: a word of ours.
fn plain(text: &str, to: &mut Vec<u8>) {
    to.push(b'"');
    to.extend_from_slice(text.as_bytes());
    to.push(b'"');
}

fn number(number: impl itoa::Integer, to: &mut Vec<u8>) {
    to.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// To the microsecond.
fn milliseconds(time: Duration, to: &mut Vec<u8>) {
    let micros = time.as_micros();
    number((micros / 1000) as u64, to);
    to.push(b'.');
    write_three_digits((micros % 1000) as u32, to);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_times_are_as_json_has_them() {
        for value in [
            "",
            "plain",
            "a\"b\\c",
            "tab\tnul\0del\u{7f}",
            "\u{fc}\u{2028}\u{1f600}",
        ] {
            let mut written = Vec::new();
            text(value, &mut written);
            let written = String::from_utf8(written).unwrap();
            assert_eq!(written, serde_json::to_string(value).unwrap());
        }
        for (micros, expected) in [
            (0, "0.000"),
            (7, "0.007"),
            (12_345, "12.345"),
            (1_000_000, "1000.000"),
        ] {
            let mut written = Vec::new();
            milliseconds(Duration::from_micros(micros), &mut written);
            assert_eq!(String::from_utf8(written).unwrap(), expected);
        }
    }
}
