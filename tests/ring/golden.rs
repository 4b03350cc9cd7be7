//! Golden tables: what each strategy makes of one small member set, slot by slot, and the
//! digest of its default table.
//!
//! Two balancers agree only if they build the same tables, and so must two releases: a
//! change of any table moves keys on the day of an upgrade. If that is meant, write the
//! files anew and say so in the changelog:
//!
//! ```text
//! RINGMASTER_GOLDEN=write cargo test --test ring_golden
//! ```

use std::fmt::Write;
use std::path::Path;

use ringmaster::ring::{
    Key, Member, MemberIndex, Ownership, RingSpec, SlotTable, Strategy, Weight,
};
use xxhash_rust::xxh3::xxh3_64;

fn members() -> Vec<Member> {
    let member = |(name, weight): (&str, u32)| Member {
        name: name.parse().unwrap(),
        weight: Weight::new(weight).unwrap(),
    };
    [
        ("Server1", 1),
        ("Server2", 1),
        ("Server3", 2),
        ("Server10", 4),
        ("cache.eu", 1),
    ]
    .map(member)
    .into()
}

fn small(strategy: Strategy) -> RingSpec {
    let slots = if strategy == Strategy::Maglev {
        127
    } else {
        128
    };
    let virtual_servers = RingSpec::new(strategy, None, None)
        .unwrap()
        .virtual_servers();
    RingSpec::new(strategy, Some(slots), virtual_servers.map(|_| 9)).unwrap()
}

/// Members by their letters: A is the first by name.
fn letter(member: Option<MemberIndex>) -> char {
    member.map_or('-', |m| char::from(b'A' + m.get() as u8))
}

fn picture(strategy: Strategy) -> String {
    let table = SlotTable::build(&small(strategy), &members()).unwrap();
    let mut text = format!("{strategy}, {} slots\n\n", table.spec().slots());
    let ownership = Ownership::by_slots(&table);
    for m in table.indices() {
        let member = table.member(m);
        let (owned, weight) = (ownership.owned(m), member.weight.get());
        let letter = letter(Some(m));
        writeln!(
            text,
            "{letter} {} weight {weight} owns {owned}",
            member.name
        )
        .unwrap();
    }
    text.push_str("\nslot   owners\n");
    let owners: Vec<char> = table
        .slots()
        .map(|slot| letter(table.owner(slot)))
        .collect();
    for (row, owners) in owners.chunks(32).enumerate() {
        writeln!(
            text,
            "{:4}   {}",
            row * 32,
            owners.iter().collect::<String>()
        )
        .unwrap();
    }
    text.push_str("\nkey      slot  failover\n");
    for key in ["123456", "999999", "0", "alice", "/home"] {
        let number = Key::from_bytes(key.as_bytes());
        let order: String = table.failover(number).map(|m| letter(Some(m))).collect();
        writeln!(text, "{key:8} {:4}  {order}", table.slot_of(number).get()).unwrap();
    }
    let table =
        SlotTable::build(&RingSpec::new(strategy, None, None).unwrap(), &members()).unwrap();
    let owners: Vec<u8> = table
        .slots()
        .map(|slot| letter(table.owner(slot)) as u8)
        .collect();
    let digest = xxh3_64(&owners);
    writeln!(text, "\n{} slots: digest {digest:016x}", owners.len()).unwrap();
    text
}

#[test]
fn tables_match_their_golden_files() {
    for strategy in Strategy::ALL {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden")
            .join(format!("ring-{strategy}.txt"));
        let picture = picture(strategy);
        if std::env::var("RINGMASTER_GOLDEN").is_ok_and(|value| value == "write") {
            std::fs::write(&path, &picture).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            picture,
            golden,
            "{}: see the top of ring_golden.rs",
            path.display()
        );
    }
}
