//! The ring: which replica a key belongs to.
//!
//! A [`Key`] hashes to a [`Slot`], and a slot belongs to a member. All of it is a
//! pure function of the member set: neither order nor history leaves a trace, so
//! two balancers with the same members agree without talking.
//!
//! ```
//! use ringmaster::ring::{Key, Member, RingSpec, SlotTable};
//!
//! let members: Vec<Member> = ["Server1", "Server2", "Server3"]
//!     .iter()
//!     .map(|name| Member::new(name.parse().unwrap()))
//!     .collect();
//! let table = SlotTable::build(&RingSpec::default(), &members).unwrap();
//!
//! let key = Key::from_bytes(b"alice");
//! let owner = table.owner(table.slot_of(key)).unwrap();
//! let order: Vec<&str> = table.failover(key).map(|m| table.member(m).name.as_str()).collect();
//! assert_eq!(order[0], table.member(owner).name.as_str());
//! assert_eq!(order.len(), 3);
//! ```
//!
//! The table does not know which replicas are alive: the caller walks
//! [`SlotTable::failover`] and skips the replicas that are down. So a replica that dies and
//! comes back finds its own keys again, and no other replica's keys have moved.
//!
//! The files, from the bottom up: `slot`, `key`, `key_source`, `member`, `spec` and `hash`; the strategies
//! (`classic`, `ketama`, `maglev`, `rendezvous` with `permutation` and `bounded_assignment`);
//! `table`; `canary`; what works on a table: `build`, `failover`, `explain`, `stats`, `session_key`.

mod bounded;
mod bounded_assignment;
mod build;
mod canary;
mod classic;
mod explain;
mod explained;
mod failover;
mod hash;
mod ketama;
mod key;
mod key_source;
mod limits;
mod maglev;
mod member;
mod panic;
mod permutation;
mod rendezvous;
mod session_key;
mod slot;
mod spec;
mod stats;
mod table;
#[cfg(test)]
pub(crate) mod testing;

pub use bounded::{BalanceFactor, InvalidBalanceFactor};
pub use canary::{CanaryShare, InvalidCanaryShare};
pub use explain::{Explanation, Hashing, MemberScore, Preference, Reason, VirtualServer};
pub use failover::Failover;
pub use key::Key;
pub use key_source::KeySource;
pub use limits::BuildError;
pub use member::{InvalidName, Member, ReplicaName, Weight};
pub use panic::PanicThreshold;
pub use session_key::SessionKey;
pub use slot::{MemberIndex, Slot};
pub use spec::{InvalidSpec, RingSpec, SpecChange, Strategy};
pub use stats::{Moved, Ownership};
pub use table::SlotTable;
