//! Figures and facts as report and charts put them.

/// What the original write-up says that three servers got.
pub const CLAIM: [u64; 3] = [3_342, 3_317, 3_341];
/// Of so many requests.
pub const CLAIM_OF: u64 = 10_000;

/// Where a strategy comes from, in a few words.
pub fn origin(strategy: &str) -> &'static str {
    match strategy {
        "classic" => "original, as printed: H = i+2i+1",
        "quadratic" => "original, as likely meant: i²+2i+17",
        "modulo" => "original, H = i mod M",
        "ring" => "ketama's idea, with a good hash",
        "maglev" => "Google's table, as in Envoy",
        "rendezvous" => "Ringmaster's default",
        _ => "",
    }
}

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

/// KiB as `12.3 MiB`.
pub fn mebibytes(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::Strategy;

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
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
    fn every_strategy_comes_from_somewhere() {
        for strategy in Strategy::ALL {
            assert_ne!(origin(strategy.name()), "", "{strategy}");
        }
    }
}
