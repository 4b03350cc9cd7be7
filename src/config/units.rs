//! Numbers with units: durations, amounts of memory, shares of a CPU.
//!
//! Each parser says what is wrong with a text and leaves it to its caller to say what
//! is allowed.

use std::time::Duration;

/// Reads a duration such as `1s`, `250ms` or `1m 30s`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
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
pub(super) fn whole(text: &str) -> Result<u64, String> {
    let digits = text.trim();
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err("not a whole number".to_owned());
    }
    // Digits alone can only fail by being too many.
    digits.parse().map_err(|_| "too large".to_owned())
}

/// Whether a text is a value that there is none: no limit, or turned off. JSON calls it `null`, as
/// do templates that lack a value.
pub(super) fn is_none(text: &str) -> bool {
    let text = text.trim();
    let mut words = ["none", "null", "off"].into_iter();
    words.any(|none| text.eq_ignore_ascii_case(none))
}

/// Reads a number of bytes, at least `min`. Units are powers of 1024, whether they are written `m`,
/// `mb` or `MiB`. `what` says what is wanted.
pub(super) fn bytes(text: &str, min: u64, what: &str) -> Result<u64, String> {
    let wrong = || format!("not {what}");
    let text = text.trim().to_ascii_lowercase();
    let unit_at = text.find(|c: char| !(c.is_ascii_digit() || c == '.'));
    let (number, unit) = text.split_at(unit_at.unwrap_or(text.len()));
    let shift = match unit.trim_start() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(wrong()),
    };
    let billionths = decimal(number).ok_or_else(wrong)?.checked_mul(1 << shift);
    // The engine's numbers are signed.
    match billionths.map(|number| i64::try_from(number / NANOS)) {
        Some(Ok(bytes)) if bytes.cast_unsigned() < min => Err("too small".to_owned()),
        Some(Ok(bytes)) => Ok(bytes.cast_unsigned()),
        _ => Err("too large".to_owned()),
    }
}

/// Reads a number of CPUs such as `0.5`, in billionths.
pub(super) fn cpus(text: &str) -> Result<u64, String> {
    match decimal(text.trim()) {
        None => Err("not a number of CPUs such as 0.5".to_owned()),
        // The engine refuses less than a hundredth.
        Some(nanos) if nanos < NANOS / 100 => Err("too small".to_owned()),
        Some(nanos) if nanos > 1024 * NANOS => Err("too large".to_owned()),
        Some(nanos) => u64::try_from(nanos).map_err(|_| "too large".to_owned()),
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
