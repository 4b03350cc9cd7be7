//! What this process is called among the balancers of a fleet.

use std::sync::OnceLock;

/// How much of the host's name is in it.
const KEPT_LEN: usize = 20;

/// The name of this process: the same for as long as it lives, and no other's.
pub fn balancer_name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname");
        name(&host.unwrap_or_default(), fastrand::u32(..))
    })
}

/// In a container the host's name is the beginning of its id.
fn name(host: &str, number: u32) -> String {
    let host = host.trim().chars();
    let host = host.filter(|c| c.is_ascii_alphanumeric() || *c == '-');
    let host: String = host.take(KEPT_LEN).collect();
    match host.as_str() {
        "" => format!("{number:08x}"),
        host => format!("{host}-{number:08x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_balancer_has_a_name_of_its_own_that_says_where_it_is() {
        assert_eq!(balancer_name(), balancer_name());
        for (host, expected) in [
            ("3f2a1b4c5d6e\n", "3f2a1b4c5d6e-000000ff"),
            (
                "a.very long_name.of-a-host.example",
                "averylongnameof-a-ho-000000ff",
            ),
            ("", "000000ff"),
        ] {
            assert_eq!(name(host, 255), expected);
        }
    }
}
