//! The shape of JSON that others have written. To give a field to what is neither an object nor null
//! would end the process, so that is refused before.

use serde_json::Value;

/// Whether there is an object, null or nothing at each of these places: a path with `.` between its
/// fields, in which `*` stands for every field or item.
///
/// # Errors
///
/// The first place where there is something else.
pub(crate) fn check_objects(json: &Value, places: &[&str]) -> Result<(), String> {
    places.iter().try_for_each(|place| {
        let fields: Vec<_> = place.split('.').filter(|field| !field.is_empty()).collect();
        check(json, &fields, String::new())
    })
}

fn check(json: &Value, fields: &[&str], place: String) -> Result<(), String> {
    let Some((field, rest)) = fields.split_first() else {
        return match json {
            Value::Object(_) | Value::Null => Ok(()),
            other => {
                let place = if place.is_empty() { "it" } else { &place };
                Err(format!("{place} is {}; allowed is an object", kind(other)))
            }
        };
    };
    let below = |name: &str| match place.as_str() {
        "" => name.to_owned(),
        place => format!("{place}.{name}"),
    };
    match (json, *field) {
        (Value::Object(all), "*") => {
            let mut all = all.iter();
            all.try_for_each(|(name, json)| check(json, rest, below(name)))
        }
        (Value::Array(all), "*") => {
            let mut all = all.iter().enumerate();
            all.try_for_each(|(place, json)| check(json, rest, below(&place.to_string())))
        }
        (json, field) => match json.get(field) {
            Some(json) => check(json, rest, below(field)),
            None => Ok(()),
        },
    }
}

fn kind(json: &Value) -> &'static str {
    match json {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_no_object_is_named() {
        let json = json!({"a": {"b": {"x": {}, "y": 1}, "c": null}, "l": [{}, "t"], "n": 5});
        for (place, found) in [
            ("a", Ok(())),
            ("a.b", Ok(())),
            ("a.c", Ok(())),
            ("a.c.d", Ok(())),
            ("missing.too", Ok(())),
            ("n.a", Ok(())),
            ("n", Err("n is a number; allowed is an object")),
            ("a.b.*", Err("a.b.y is a number; allowed is an object")),
            ("l.*", Err("l.1 is a text; allowed is an object")),
            ("l", Err("l is a list; allowed is an object")),
        ] {
            let checked = check_objects(&json, &["a", place]);
            assert_eq!(checked, found.map_err(str::to_owned), "{place}");
        }
        let wrong = "it is a list; allowed is an object".to_owned();
        assert_eq!(check_objects(&json!([]), &[""]), Err(wrong));
    }
}
