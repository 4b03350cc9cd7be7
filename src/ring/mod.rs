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
//! Whether a replica is alive is none of the table's business: the caller walks
//! [`SlotTable::failover`] and skips whom it knows to be down. A replica that dies and
//! comes back therefore finds its own keys again, and nobody else's have moved.

mod bounded;
mod classic;
mod explain;
mod failover;
mod fit;
mod hash;
mod key;
mod maglev;
mod matching;
mod member;
mod panic;
mod permutation;
mod points;
mod rendezvous;
mod session_key;
mod spec;
mod stats;
mod table;

pub use bounded::{BalanceFactor, InvalidBalanceFactor};
pub use explain::{Ask, Explanation, Hashing, Reason, VirtualServer, Wish};
pub use failover::Failover;
pub use fit::BuildError;
pub use key::Key;
pub use member::{InvalidName, Member, ReplicaName, Weight};
pub use panic::PanicThreshold;
pub use session_key::SessionKey;
pub use spec::{InvalidSpec, RingSpec, Strategy};
pub use stats::{Moved, Ownership};
pub use table::{MemberIndex, Slot, SlotTable};
