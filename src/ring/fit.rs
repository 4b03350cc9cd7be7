//! Which member sets a recipe has room for.

use super::member::ReplicaName;
use super::spec::{RingSpec, Strategy};
use super::table::SlotTable;

/// The most points on a circle; at sixteen bytes a point that is 64 MiB while it is built.
const MAX_POINTS: u64 = 1 << 22;

/// Why no table can be built from a member set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// Two members share a name.
    #[error("replica {0} is there twice")]
    DuplicateName(ReplicaName),
    /// There are more members than slots, or than any table takes.
    #[error("{members} replicas are too many: this ring takes {allowed} at most")]
    TooManyMembers {
        /// How many there are.
        members: usize,
        /// How many there may be.
        allowed: usize,
    },
    /// The members' weights ask for more virtual servers than there is room for.
    #[error(
        "{needed} virtual servers (virtual servers times the sum of all weights) are too many: this ring takes {allowed} at most"
    )]
    TooManyVirtualServers {
        /// How many the members would have.
        needed: u64,
        /// How many there may be.
        allowed: u64,
    },
}

impl RingSpec {
    /// Whether a table of this recipe has room for so many members of so much weight in
    /// all, found out without building it.
    ///
    /// # Errors
    ///
    /// What there is too much of.
    pub fn room_for(&self, members: usize, total_weight: u64) -> Result<(), BuildError> {
        let allowed = SlotTable::MAX_MEMBERS.min(self.slots() as usize);
        if members > allowed {
            return Err(BuildError::TooManyMembers { members, allowed });
        }
        let allowed = match self.strategy() {
            Strategy::Classic | Strategy::Quadratic | Strategy::Modulo => u64::from(self.slots()),
            Strategy::Ring => MAX_POINTS,
            Strategy::Maglev | Strategy::Rendezvous => return Ok(()),
        };
        let needed = total_weight.saturating_mul(u64::from(self.virtual_servers().unwrap_or(1)));
        if needed > allowed {
            return Err(BuildError::TooManyVirtualServers { needed, allowed });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_strategy_says_what_it_has_too_little_room_for() {
        let room = |strategy, slots, virtual_servers, members, weight| {
            let spec = RingSpec::new(strategy, slots, virtual_servers).unwrap();
            spec.room_for(members, weight)
        };
        let points = |needed, allowed| Err(BuildError::TooManyVirtualServers { needed, allowed });
        let many = |members, allowed| Err(BuildError::TooManyMembers { members, allowed });
        for (found, expected) in [
            (room(Strategy::Classic, None, None, 56, 56), Ok(())),
            (
                room(Strategy::Classic, None, None, 57, 57),
                points(513, 512),
            ),
            (room(Strategy::Modulo, None, None, 1, 57), points(513, 512)),
            (
                room(Strategy::Ring, None, None, 30, 30_000),
                points(4_800_000, 1 << 22),
            ),
            (room(Strategy::Maglev, Some(2), None, 3, 3), many(3, 2)),
            (
                room(Strategy::Rendezvous, None, None, 4_096, 4_096_000),
                Ok(()),
            ),
            (
                room(Strategy::Rendezvous, None, None, 4_097, 4_097),
                many(4_097, 4_096),
            ),
        ] {
            assert_eq!(found, expected);
        }
    }
}
