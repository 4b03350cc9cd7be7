//! What the fuzz targets do with their input. `tests/fuzz_bodies.rs` runs the same on random
//! input, so that these promises are held on every `cargo test`, without a fuzzer.

// Each target uses one of them.
#![allow(dead_code)]

use std::sync::LazyLock;

use ringmaster::ring::{Key, KeySource, Member, RingSpec, SlotTable, Strategy, Weight};
use ringmaster::ring_cli;

/// Small tables of every strategy.
static TABLES: LazyLock<Vec<SlotTable>> = LazyLock::new(|| {
    let members = ring_cli::members("Server1,Server2=3,api").expect("good members");
    let table = |strategy| {
        let spec = RingSpec::new(strategy, Some(127), None).expect("a good recipe");
        SlotTable::build(&spec, &members).expect("a good table")
    };
    Strategy::ALL.map(table).into()
});

/// Bytes that a client chose: any of them is a key, and every key has its place.
pub fn key(text: &[u8]) {
    let key = Key::from_bytes(text);
    assert_eq!(key, Key::from_bytes(text));
    // Digits are their number, so that leading zeros make no other key.
    if (1..18).contains(&text.len()) && text.iter().all(u8::is_ascii_digit) {
        assert_eq!(Key::from_bytes(&[b"0", text].concat()), key);
    }
    for table in TABLES.iter() {
        let slot = table.slot_of(key);
        assert!(slot.get() < table.spec().slots());
        let why = table.explain(key).expect("there are members");
        assert_eq!((why.slot, Some(why.owner)), (slot, table.owner(slot)));
        assert_eq!(table.failover(key).count(), 3);
        let explained = ringmaster::api::Explained::new(table, text);
        assert!(
            explained
                .text()
                .chars()
                .all(|c| c == '\n' || !c.is_control())
        );
    }
    if let Ok(text) = str::from_utf8(text) {
        // Where keys come from: what is read is written in a form that reads the same.
        if let Ok(source) = text.parse::<KeySource>() {
            assert_eq!(source.to_string().parse(), Ok(source));
        }
    }
}

/// A list that an operator wrote: refused, or members whose names and weights are good and
/// which, written down, read the same.
pub fn members(text: &str) {
    let Ok(members) = ring_cli::members(text) else {
        return;
    };
    let written: Vec<String> = members
        .iter()
        .map(|member| format!("{}={}", member.name, member.weight.get()))
        .collect();
    assert_eq!(ring_cli::members(&written.join(",")), Ok(members.clone()));
    assert!(members.iter().all(|m| m.weight.get() <= Weight::MAX));
    let spec = RingSpec::new(Strategy::Rendezvous, Some(64), None).expect("a good recipe");
    if let Ok(table) = SlotTable::build(&spec, &members) {
        assert!(names_are_there(&table, &members));
        let _ = ring_cli::picture(&table);
    }
}

fn names_are_there(table: &SlotTable, members: &[Member]) -> bool {
    members.iter().all(|m| table.index_of(&m.name).is_some())
}
