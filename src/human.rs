//! Numbers and times as people read them.

use std::time::Duration;

/// `12345` as `12,345`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things: `1 replica`, `2 replicas`, `12,345 lines`. The plural is the name with an s.
pub fn counted(number: u64, name: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{} {name}{s}", thousands(number))
}

/// A time as precisely as it matters: `3.4 ms`, `140 ms`, `2.3 s`.
pub fn milliseconds(ms: f64) -> String {
    if ms < 10.0 {
        format!("{ms:.1} ms")
    } else if ms < 1_000.0 {
        format!("{ms:.0} ms")
    } else {
        format!("{:.1} s", ms / 1e3)
    }
}

/// A duration as precisely as it matters: `3.4 ms`, `723 ms`, `2.3 s`, `5 min`.
pub fn duration(time: Duration) -> String {
    const TEN_MINUTES: u64 = 600;
    match time.as_secs() {
        seconds if seconds >= TEN_MINUTES => format!("{} min", seconds / 60),
        seconds if seconds > 0 && time.subsec_millis() == 0 => format!("{seconds} s"),
        _ => milliseconds(time.as_secs_f64() * 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_has_no_plural() {
        let all = [0, 1, 2, 1_204].map(|number| counted(number, "line"));
        assert_eq!(all, ["0 lines", "1 line", "2 lines", "1,204 lines"]);
    }

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [
            (0, "0"),
            (12, "12"),
            (999, "999"),
            (1_000, "1,000"),
            (65_537, "65,537"),
            (900_000, "900,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(thousands(number), text);
        }
    }

    #[test]
    fn times_are_no_more_precise_than_it_matters() {
        assert_eq!(milliseconds(3.42), "3.4 ms");
        assert_eq!(milliseconds(139.6), "140 ms");
        assert_eq!(milliseconds(2_345.0), "2.3 s");
    }

    #[test]
    fn durations_are_in_the_unit_that_fits() {
        for (ms, text) in [
            (0, "0.0 ms"),
            (723, "723 ms"),
            (2_345, "2.3 s"),
            (60_000, "60 s"),
            (3_600_000, "60 min"),
        ] {
            assert_eq!(duration(Duration::from_millis(ms)), text);
        }
    }
}
