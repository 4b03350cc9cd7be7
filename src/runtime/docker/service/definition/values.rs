//! Values as compose writes them: numbers may be texts, times have units, and `$` is written twice.

use serde_json::{Map, Value};

/// The value with every `$$` as `$`: compose escapes it, so that its output is a compose file.
pub(super) fn unescape(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace("$$", "$")),
        Value::Array(items) => items.iter().map(unescape).collect(),
        Value::Object(fields) => {
            let fields = fields.iter();
            let fields = fields.map(|(name, value)| (name.replace("$$", "$"), unescape(value)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}

/// A scalar as text.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// One text or a list of them.
pub(super) fn texts(value: &Value) -> Result<Vec<String>, String> {
    let wrong = || "a text, or a list of texts, is expected".to_owned();
    match value {
        Value::Array(items) => {
            let items = items.iter().map(|item| text(item).ok_or_else(wrong));
            items.collect()
        }
        Value::Null => Ok(Vec::new()),
        other => Ok(vec![text(other).ok_or_else(wrong)?]),
    }
}

/// A map of texts.
pub(super) fn pairs(value: &Value) -> Result<Map<String, Value>, String> {
    let fields = value.as_object().ok_or("an object is expected")?;
    let pair = |(name, value): (&String, &Value)| {
        let value = text(value).unwrap_or_default();
        (name.clone(), Value::String(value))
    };
    Ok(fields.iter().map(pair).collect())
}

/// A whole number, written as one or as a text.
pub(super) fn whole(value: &Value) -> Result<i64, String> {
    let read = match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_i64(),
    };
    read.ok_or_else(|| format!("{value} is no whole number"))
}

/// A number, written as one or as a text.
pub(super) fn number(value: &Value) -> Result<f64, String> {
    let read = match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_f64(),
    };
    let read = read.filter(|number: &f64| number.is_finite());
    read.ok_or_else(|| format!("{value} is no number"))
}

/// A duration such as `1m30s`, in nanoseconds.
pub(super) fn duration(value: &Value) -> Result<i64, String> {
    let wrong = || format!("{value} is no duration such as 1m30s");
    let mut rest = value.as_str().ok_or_else(wrong)?;
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (digits, unit_on) = rest.split_at(end.ok_or_else(wrong)?);
        let end = unit_on.find(|c: char| c.is_ascii_digit());
        let (unit, after) = unit_on.split_at(end.unwrap_or(unit_on.len()));
        let nanoseconds = match unit {
            "h" => 3_600e9,
            "m" => 60e9,
            "s" => 1e9,
            "ms" => 1e6,
            "us" | "µs" => 1e3,
            "ns" => 1.0,
            _ => return Err(wrong()),
        };
        total += digits.parse::<f64>().map_err(|_| wrong())? * nanoseconds;
        rest = after;
    }
    // A float becomes the nearest whole number that there is.
    Ok(total.round() as i64)
}
