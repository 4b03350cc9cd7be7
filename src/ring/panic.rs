//! Panic: when too few members are ready, requests go to unready ones, too.
//!
//! A member that is alive and reports that it cannot serve is off the ring while enough others
//! are left. If nearly all report it, the cause is something they share (a database that is down),
//! and the application's own error page serves a client best. The term is Envoy's panic
//! threshold.

/// The percentage of ready members below which unready ones get requests; 0: never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PanicThreshold(u8);

impl PanicThreshold {
    /// A threshold from 0 to 100 percent.
    pub fn new(percent: u8) -> Option<Self> {
        (percent <= 100).then_some(Self(percent))
    }

    /// Whether requests go to unready members, too: `ready / (ready + unready)` is below the
    /// threshold. Never if none is unready, since the threshold is at most all.
    pub fn is_panic(self, ready: usize, unready: usize) -> bool {
        ready.saturating_mul(100) < ready.saturating_add(unready).saturating_mul(self.0.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panic_begins_below_the_threshold_if_a_member_is_unready() {
        for (percent, ready, unready, expected) in [
            (50, 3, 0, false),
            (50, 0, 0, false),
            (50, 2, 1, false),
            // Exactly the threshold is not below it.
            (50, 1, 1, false),
            (50, 1, 2, true),
            (50, 0, 1, true),
            (100, 99, 1, true),
            (100, 99, 0, false),
            (0, 0, 5, false),
            (34, 1, 2, true),
            (33, 1, 2, false),
        ] {
            let threshold = PanicThreshold::new(percent).unwrap();
            let case = format!("{percent} % with {ready} ready and {unready} unready");
            assert_eq!(threshold.is_panic(ready, unready), expected, "{case}");
        }
        assert_eq!(PanicThreshold::new(101), None);
    }
}
