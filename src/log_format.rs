//! A line of the log, for people and as a JSON object, and the lines that do not come from the log's
//! macros.

use std::io::{self, Write};
use std::time::SystemTime;

use env_logger::fmt::style::Style;
use log::kv::{Key, Value, VisitSource};
use log::{Level, Record};
use serde::Serializer as _;
use serde::ser::SerializeMap;

use crate::config::LogFormat;
use crate::human::counted;

/// Writes a record for people: time, level and message, whose further lines are indented.
///
/// (env_logger does the same with a feature that takes a whole library of dates and time zones.)
///
/// # Errors
///
/// Those of `output`.
pub fn write_human(
    mut output: impl Write,
    style: Style,
    at: SystemTime,
    record: &Record<'_>,
) -> io::Result<()> {
    let time = humantime::format_rfc3339_seconds(at);
    let level = record.level();
    let message = record.args().to_string().replace('\n', "\n    ");
    writeln!(output, "[{time} {style}{level:<5}{style:#}] {message}")
}

/// Writes a record as one line: time, level, target and message, then its structured fields.
///
/// # Errors
///
/// Those of `output`.
pub fn write_json(output: impl Write, at: SystemTime, record: &Record<'_>) -> io::Result<()> {
    let mut serializer = serde_json::Serializer::new(output);
    let mut map = serializer.serialize_map(None)?;
    let time = humantime::format_rfc3339_millis(at);
    map.serialize_entry("time", &format_args!("{time}"))?;
    map.serialize_entry("level", record.level().as_str())?;
    map.serialize_entry("target", record.target())?;
    map.serialize_entry("message", record.args())?;
    let fields = record.key_values();
    fields
        .visit(&mut Fields(&mut map))
        .map_err(io::Error::other)?;
    map.end()?;
    serializer.into_inner().write_all(b"\n")
}

/// Adds structured fields to a JSON object: whole numbers as numbers, all else as text.
struct Fields<'m, M>(&'m mut M);

impl<'kvs, M: SerializeMap> VisitSource<'kvs> for Fields<'_, M> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        let added = match value.to_u64() {
            Some(number) => self.0.serialize_entry(key.as_str(), &number),
            None => self
                .0
                .serialize_entry(key.as_str(), &format_args!("{value}")),
        };
        added.map_err(|_| log::kv::Error::msg("a field cannot be written"))
    }
}

impl LogFormat {
    /// The line that says that lines are missing here.
    pub fn dropped_line(self, count: u64) -> String {
        let lines = counted(count, "line");
        let message = format!("{lines} dropped: the log was not read fast enough");
        let now = SystemTime::now();
        match self {
            Self::Human => {
                let at = humantime::format_rfc3339_seconds(now);
                format!("[{at} WARN ] {message}\n")
            }
            Self::Json => json_line(now, Level::Warn, &message),
        }
    }

    /// The last line of a program that fails, which no filter keeps back.
    pub fn error_line(self, message: &str) -> String {
        match self {
            Self::Human => format!("error: {message}\n"),
            Self::Json => json_line(SystemTime::now(), Level::Error, message),
        }
    }
}

fn json_line(at: SystemTime, level: Level, message: &str) -> String {
    let mut line = Vec::new();
    let record = format_args!("{message}");
    let record = Record::builder()
        .level(level)
        .target("ringmaster")
        .args(record)
        .build();
    // A vector takes everything.
    let _ = write_json(&mut line, at, &record);
    String::from_utf8_lossy(&line).into_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn lines_for_people_have_time_and_level_and_indent_what_follows() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_500);
        for (style, expected) in [
            (Style::new(), "[1970-01-01T00:00:01Z WARN ] a\n    b\n"),
            (
                Style::new().bold(),
                "[1970-01-01T00:00:01Z \u{1b}[1mWARN \u{1b}[0m] a\n    b\n",
            ),
        ] {
            let mut line = Vec::new();
            let record = format_args!("a\nb");
            let record = Record::builder().level(Level::Warn).args(record).build();
            write_human(&mut line, style, at, &record).unwrap();
            assert_eq!(String::from_utf8(line).unwrap(), expected);
        }
    }

    #[test]
    fn json_line_is_one_object_with_the_structured_fields() {
        let fields: &[(&str, log::kv::Value<'_>)] = &[
            ("replica", log::kv::Value::from("Server1")),
            ("generation", log::kv::Value::from(2_u64)),
            ("left", log::kv::Value::from(-1)),
        ];
        let mut line = Vec::new();
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_706_702_400_250);
        let record = Record::builder()
            .level(Level::Warn)
            .target("replica")
            .key_values(&fields)
            .args(format_args!("two\nlines and a \"quote\""))
            .build();
        write_json(&mut line, at, &record).unwrap();
        let line = String::from_utf8(line).unwrap();
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(
            line.starts_with(r#"{"time":"2024-01-31T12:00:00.250Z","level":"WARN","target":"#),
            "{line}"
        );
        let object: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            object,
            json!({
                "time": "2024-01-31T12:00:00.250Z",
                "level": "WARN",
                "target": "replica",
                "message": "two\nlines and a \"quote\"",
                "replica": "Server1",
                "generation": 2,
                "left": "-1",
            })
        );
    }

    #[test]
    fn lines_of_the_writer_follow_the_format() {
        let human = LogFormat::Human.dropped_line(1_204);
        assert!(human.ends_with(" WARN ] 1,204 lines dropped: the log was not read fast enough\n"));
        let json: Value = serde_json::from_str(&LogFormat::Json.dropped_line(1)).unwrap();
        assert_eq!(json["level"], "WARN");
        assert!(
            json["message"]
                .as_str()
                .unwrap()
                .starts_with("1 line dropped")
        );
        assert_eq!(LogFormat::Human.error_line("no"), "error: no\n");
        let json: Value = serde_json::from_str(&LogFormat::Json.error_line("no")).unwrap();
        assert_eq!(
            (&json["level"], &json["message"]),
            (&json!("ERROR"), &json!("no"))
        );
    }
}
