//! Which member sets a table of a given recipe can hold.

use super::member::ReplicaName;
use super::spec::{RingSpec, Strategy};
use super::table::SlotTable;

/// The most points on a circle. At 16 bytes a point, building takes 64 MiB.
const MAX_POINTS: u64 = 1 << 22;

/// Why no table can be built from a member set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// Two members share a name.
    #[error("duplicate replica name {0}")]
    DuplicateName(ReplicaName),
    /// There are more members than slots, or than any table takes.
    #[error("too many replicas: {members}; this ring takes at most {allowed}")]
    TooManyMembers {
        /// Their number.
        members: usize,
        /// The most that the ring takes.
        allowed: usize,
    },
    /// The members' weights need more virtual servers than the ring takes.
    #[error(
        "too many virtual servers: {needed} (virtual servers times the sum of all weights); this ring takes at most {allowed}"
    )]
    TooManyVirtualServers {
        /// The number that the members would have.
        needed: u64,
        /// The most that the ring takes.
        allowed: u64,
    },
}

impl RingSpec {
    /// Checks without building a table that one of this recipe can hold `members` members
    /// whose weights add up to `total_weight`.
    ///
    /// # Errors
    ///
    /// The limit that is exceeded.
    pub fn check_limits(&self, members: usize, total_weight: u64) -> Result<(), BuildError> {
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
    fn limits_of_each_strategy_name_what_exceeds_them() {
        let check = |strategy, slots, virtual_servers, members, weight| {
            let spec = RingSpec::new(strategy, slots, virtual_servers).unwrap();
            spec.check_limits(members, weight)
        };
        let points = |needed, allowed| Err(BuildError::TooManyVirtualServers { needed, allowed });
        let many = |members, allowed| Err(BuildError::TooManyMembers { members, allowed });
        for (found, expected) in [
            (check(Strategy::Classic, None, None, 56, 56), Ok(())),
            (
                check(Strategy::Classic, None, None, 57, 57),
                points(513, 512),
            ),
            // Exactly the limit is allowed, and one beyond it is not.
            (check(Strategy::Quadratic, Some(18), None, 2, 2), Ok(())),
            (
                check(Strategy::Quadratic, Some(17), None, 2, 2),
                points(18, 17),
            ),
            (check(Strategy::Modulo, None, None, 1, 57), points(513, 512)),
            (check(Strategy::Ring, None, Some(1), 5, 1 << 22), Ok(())),
            (
                check(Strategy::Ring, None, Some(1), 5, (1 << 22) + 1),
                points((1 << 22) + 1, 1 << 22),
            ),
            (check(Strategy::Maglev, Some(2), None, 2, 2), Ok(())),
            (
                check(Strategy::Ring, None, None, 30, 30_000),
                points(4_800_000, 1 << 22),
            ),
            (check(Strategy::Maglev, Some(2), None, 3, 3), many(3, 2)),
            (
                check(Strategy::Rendezvous, None, None, 4_096, 4_096_000),
                Ok(()),
            ),
            (
                check(Strategy::Rendezvous, None, None, 4_097, 4_097),
                many(4_097, 4_096),
            ),
        ] {
            assert_eq!(found, expected);
        }
    }
}
