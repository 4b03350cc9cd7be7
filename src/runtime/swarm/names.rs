//! The names of services and config objects. Pure.
//!
//! A Swarm takes names of at most 63 letters, digits, `-` and `_`; replicas and fleets may have a `.`
//! in theirs, and be longer together.

use xxhash_rust::xxh3::xxh3_64;

use crate::runtime::InstanceId;

/// The longest name of a service (swarmkit).
const MAX_LEN: usize = 63;

/// How much of a name is kept beside the hash that stands for all of it: with that and a generation
/// it has at most [`MAX_LEN`] characters.
const KEPT_LEN: usize = 24;

/// The name of the service that is an instance. It is the lock between balancers: a Swarm gives it
/// to one service only.
pub(super) fn service_name(fleet: &str, id: &InstanceId) -> String {
    let (replica, generation) = (id.replica.as_str(), id.generation);
    object_name(&format!("{fleet}-{replica}"), &generation.to_string())
}

/// The name of the config object that is a fleet's record.
pub(super) fn record_name(fleet: &str) -> String {
    object_name(fleet, "record")
}

/// The name of the config object that is a balancer's presence.
pub(super) fn presence_name(fleet: &str, balancer: &str) -> String {
    object_name(&format!("{fleet}-balancer"), balancer)
}

fn object_name(stem: &str, end: &str) -> String {
    let plain = format!("{stem}-{end}");
    if is_valid(&plain) {
        return plain;
    }
    let fits = |c: char| c.is_ascii_alphanumeric();
    let kept: String = stem
        .chars()
        .take(KEPT_LEN)
        .map(|c| if fits(c) { c } else { '-' })
        .collect();
    let kept = kept.trim_matches('-');
    format!("{kept}-{:016x}-{end}", xxh3_64(stem.as_bytes()))
}

/// Whether a Swarm takes it as a name.
fn is_valid(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric();
    name.len() <= MAX_LEN
        && name.starts_with(is_plain)
        && name.ends_with(is_plain)
        && name.chars().all(|c| is_plain(c) || matches!(c, '-' | '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(fleet: &str, replica: &str, generation: u64) -> String {
        service_name(
            fleet,
            &InstanceId::new(replica.parse().unwrap(), generation),
        )
    }

    #[test]
    fn names_are_plain_where_a_swarm_takes_them() {
        assert_eq!(name("zoo", "Server1", 7), "zoo-Server1-7");
        assert_eq!(name("zoo_x", "a-b_c", 1), "zoo_x-a-b_c-1");
        assert_eq!(record_name("zoo"), "zoo-record");
    }

    #[test]
    fn other_names_are_valid_and_differ() {
        let long = "x".repeat(63);
        let mut names = vec![
            name("zoo", "a.b", 1),
            name("zoo", "a-b", 1),
            name("zoo", "a.b", 2),
            name("zoo.a", "b", 1),
            name(&long, &long, u64::MAX),
            name(&long, &"x".repeat(62), u64::MAX),
            record_name(&long),
            presence_name(&long, "0123456789abcdef"),
        ];
        for name in &names {
            assert!(is_valid(name), "{name}");
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 8, "{names:?}");
        // Balancers of different builds must agree.
        assert_eq!(name("zoo", "a.b", 1), "zoo-a-b-eb1280d89bf7c139-1");
    }
}
