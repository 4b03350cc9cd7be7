//! Fields separated by commas, such as `type=volume,source=data,target=/data`, as Docker reads
//! them: with quotes (CSV) around a field that has a comma itself.

/// The fields of a text.
pub(super) fn split(text: &str) -> Result<Vec<String>, String> {
    let (mut fields, mut field) = (Vec::new(), String::new());
    let (mut chars, mut quoted) = (text.chars().peekable(), false);
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if quoted || field.is_empty() => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    if quoted {
        return Err("a quote is not closed".to_owned());
    }
    fields.push(field);
    Ok(fields)
}

/// Key and value of a field, if it has one.
pub(super) fn key_and_value(field: &str) -> (&str, Option<&str>) {
    match field.split_once('=') {
        Some((key, value)) => (key.trim(), Some(value)),
        None => (field.trim(), None),
    }
}

/// `KEY=VALUE`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some(("", _)) => Err("the name is empty".to_owned()),
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err(format!("{text:?} has no =VALUE")),
    }
}

/// A flag that is set, or has the value true or false.
pub(super) fn boolean(key: &str, value: Option<&str>) -> Result<bool, String> {
    match value {
        None | Some("" | "true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(value) => Err(format!("{key} is {value:?}, neither true nor false")),
    }
}

/// One of several words.
pub(super) fn one_of(what: &str, text: &str, words: &[&str]) -> Result<String, String> {
    match words.contains(&text) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "{text:?} is no {what}, of which there are {}",
            words.join(", ")
        )),
    }
}

/// An amount of memory as Docker writes it: `64m`, in units of 1024.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let text = text.trim().to_ascii_lowercase();
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let shift = match unit {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return Err(format!("{text:?} is no amount such as 64m")),
    };
    let number: u64 = (number.parse()).map_err(|_| format!("{text:?} is no amount such as 64m"))?;
    // The engine's numbers are signed.
    let bytes = number.checked_mul(1 << shift);
    bytes
        .filter(|bytes| i64::try_from(*bytes).is_ok())
        .ok_or_else(|| "too large".to_owned())
}

/// A text that a name may be: no white space, nothing invisible.
pub(super) fn word(what: &str, text: &str) -> Result<String, String> {
    let good = !text.is_empty() && text.chars().all(|c| !c.is_whitespace() && !c.is_control());
    match good {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is not {what}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_field_may_hold_commas_and_quotes() {
        assert_eq!(split("a=1,b").unwrap(), ["a=1", "b"]);
        assert_eq!(
            split(r#"a,"o=x,y","say ""hi""""#).unwrap(),
            ["a", "o=x,y", "say \"hi\""]
        );
        assert_eq!(split("").unwrap(), [""]);
        assert_eq!(split(r#"a,"b"#).unwrap_err(), "a quote is not closed");
    }

    #[test]
    fn amounts_have_dockers_units() {
        for (text, bytes) in [
            ("64m", 64 << 20),
            ("1g", 1 << 30),
            ("512", 512),
            ("2KiB", 2048),
        ] {
            assert_eq!(super::bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "m", "1.5g", "64x", "-1", "99999999999g"] {
            assert!(super::bytes(text).is_err(), "{text}");
        }
    }
}
