//! Numbers with units: durations, amounts of memory, shares of a CPU.
//!
//! Each parser says what is wrong with a text and leaves it to its caller to say what
//! is allowed.

use std::time::Duration;

/// Reads a duration such as `1s`, `250ms` or `1m 30s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || c == '.') {
        // "Zero" needs no unit, but one rule is easier to remember than one and an exception.
        return Err(match text {
            "0" => "a duration needs a unit: write 0s".to_owned(),
            _ => format!("a duration needs a unit: write {text}s or {text}ms"),
        });
    }
    humantime::parse_duration(text).map_err(|_| "not a duration such as 5s or 500ms".to_owned())
}

/// Reads a whole number.
pub(crate) fn whole(text: &str) -> Result<u64, String> {
    let digits = text.trim();
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err("not a whole number".to_owned());
    }
    // Digits alone can only fail by being too many.
    digits.parse().map_err(|_| "too large".to_owned())
}

/// Whether a text sets no limit. JSON calls it `null`, as do templates that lack a value.
pub(crate) fn is_none(text: &str) -> bool {
    let text = text.trim();
    ["none", "null"]
        .iter()
        .any(|none| text.eq_ignore_ascii_case(none))
}

/// The least memory that the engine takes for a container.
const MIN_MEMORY: u64 = 6 << 20;

/// Reads an amount of memory as Docker writes it; `none` is no limit.
pub(super) fn memory(text: &str) -> Result<Option<u64>, String> {
    bytes(text, MIN_MEMORY, "an amount of memory such as 512m")
}

/// Reads the most bytes that a body may have; `none` is no limit.
pub(super) fn body(text: &str) -> Result<Option<u64>, String> {
    bytes(text, 1, "a number of bytes such as 10m")
}

/// Reads a number of bytes. Units are powers of 1024, whether they are written `m`, `mb` or
/// `MiB`; `none` is no limit. `what` says what is wanted.
fn bytes(text: &str, min: u64, what: &str) -> Result<Option<u64>, String> {
    if is_none(text) {
        return Ok(None);
    }
    let text = text.trim().to_ascii_lowercase();
    let unit_at = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let shift = match unit.trim_start() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(format!("not {what}")),
    };
    let nanos = decimal(number).ok_or_else(|| format!("not {what}"))?;
    let bytes = nanos
        .checked_mul(1 << shift)
        .map(|billionths| billionths / NANOS)
        // The engine's numbers are signed.
        .and_then(|bytes| i64::try_from(bytes).ok())
        .ok_or_else(|| "too large".to_owned())?
        .cast_unsigned();
    if bytes < min {
        return Err("too small".to_owned());
    }
    Ok(Some(bytes))
}

/// Reads a number of CPUs such as `0.5`, in billionths; `none` is no limit.
pub(super) fn cpus(text: &str) -> Result<Option<u64>, String> {
    if is_none(text) {
        return Ok(None);
    }
    let text = text.trim();
    let nanos = decimal(text).ok_or_else(|| "not a number of CPUs such as 0.5".to_owned())?;
    match u64::try_from(nanos) {
        // The engine refuses less than a hundredth.
        Ok(nanos) if nanos < 10_000_000 => Err("too small".to_owned()),
        Ok(nanos) if nanos <= 1024 * 1_000_000_000 => Ok(Some(nanos)),
        _ => Err("too large".to_owned()),
    }
}

/// Reads a limit on processes and threads; `none` is no limit.
pub(super) fn pids(text: &str) -> Result<Option<u32>, String> {
    /// The kernel's `PID_MAX_LIMIT`.
    const MAX_PIDS: u32 = 4_194_304;
    if is_none(text) {
        return Ok(None);
    }
    match u32::try_from(whole(text)?) {
        Ok(0) => Err("too small".to_owned()),
        Ok(pids) if pids <= MAX_PIDS => Ok(Some(pids)),
        _ => Err("too large".to_owned()),
    }
}

const NANOS: u128 = 1_000_000_000;

/// A decimal number of up to nine places, in billionths: no rounding that floats would bring.
fn decimal(text: &str) -> Option<u128> {
    let (whole, places) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || whole.len() > 18 || places.len() > 9 || text.ends_with('.') {
        return None;
    }
    if !digits(whole) || !digits(places) {
        return None;
    }
    let whole: u128 = whole.parse().ok()?;
    let places: u128 = format!("{places:0<9}").parse().ok()?;
    Some(whole * NANOS + places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        for (text, expected) in [
            ("1s", Ok(1_000)),
            ("250ms", Ok(250)),
            ("1m 30s", Ok(90_000)),
            ("1m30s", Ok(90_000)),
            (" 2s ", Ok(2_000)),
            ("0s", Ok(0)),
            ("5", Err("a duration needs a unit: write 5s or 5ms")),
            ("0", Err("a duration needs a unit: write 0s")),
            ("1.5", Err("a duration needs a unit: write 1.5s or 1.5ms")),
            ("", Err("not a duration such as 5s or 500ms")),
            ("soon", Err("not a duration such as 5s or 500ms")),
            ("-1s", Err("not a duration such as 5s or 500ms")),
            ("5 parsecs", Err("not a duration such as 5s or 500ms")),
            (
                "99999999999999999999s",
                Err("not a duration such as 5s or 500ms"),
            ),
        ] {
            let expected = expected.map(Duration::from_millis).map_err(str::to_owned);
            assert_eq!(duration(text), expected, "{text:?}");
        }
    }

    #[test]
    fn memory_is_written_as_docker_does() {
        let wrong = "not an amount of memory such as 512m";
        for (text, expected) in [
            ("512m", Ok(Some(512 << 20))),
            ("512M", Ok(Some(512 << 20))),
            ("512mb", Ok(Some(512 << 20))),
            ("512 MiB", Ok(Some(512 << 20))),
            ("1.5g", Ok(Some(3 << 29))),
            ("6144k", Ok(Some(6 << 20))),
            ("6291456", Ok(Some(6 << 20))),
            ("none", Ok(None)),
            ("None", Ok(None)),
            ("null", Ok(None)),
            ("6291455", Err("too small")),
            ("0", Err("too small")),
            ("8388608t", Err("too large")),
            ("999999999999999999t", Err("too large")),
            ("512x", Err(wrong)),
            ("m", Err(wrong)),
            ("", Err(wrong)),
            ("-1m", Err(wrong)),
            ("1.m", Err(wrong)),
            ("1.2.3m", Err(wrong)),
            ("１m", Err(wrong)),
        ] {
            assert_eq!(memory(text), expected.map_err(str::to_owned), "{text:?}");
        }
    }

    #[test]
    fn a_body_may_be_small() {
        let wrong = "not a number of bytes such as 10m";
        for (text, expected) in [
            ("1", Ok(Some(1))),
            ("8k", Ok(Some(8192))),
            ("10 MiB", Ok(Some(10 << 20))),
            ("none", Ok(None)),
            ("null", Ok(None)),
            ("nil", Err(wrong)),
            ("0", Err("too small")),
            ("8388608t", Err("too large")),
            ("all", Err(wrong)),
        ] {
            assert_eq!(body(text), expected.map_err(str::to_owned), "{text:?}");
        }
    }

    #[test]
    fn cpus_are_decimal() {
        let wrong = "not a number of CPUs such as 0.5";
        for (text, expected) in [
            ("0.5", Ok(Some(500_000_000))),
            ("2", Ok(Some(2_000_000_000))),
            ("0.123456789", Ok(Some(123_456_789))),
            ("none", Ok(None)),
            ("null", Ok(None)),
            ("0.001", Err("too small")),
            ("0", Err("too small")),
            ("1025", Err("too large")),
            ("999999999999999999", Err("too large")),
            (".5", Err(wrong)),
            ("5.", Err(wrong)),
            ("1e3", Err(wrong)),
            ("0.1234567891", Err(wrong)),
            ("-1", Err(wrong)),
            ("half", Err(wrong)),
        ] {
            assert_eq!(cpus(text), expected.map_err(str::to_owned), "{text:?}");
        }
    }
}
