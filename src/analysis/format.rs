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

/// KiB as `12.3 MiB`.
pub fn mebibytes(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::Strategy;

    #[test]
    fn every_strategy_comes_from_somewhere() {
        for strategy in Strategy::ALL {
            assert_ne!(origin(strategy.name()), "", "{strategy}");
        }
    }
}
