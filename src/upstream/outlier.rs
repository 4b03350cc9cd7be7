//! Failures in a row, counted where requests end.
//!
//! A good answer costs one look at a cache line that the request writes to anyway.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::fleet::InstanceId;

/// Whom to tell of an instance that fails too often, and what too often is.
pub struct OutlierDesk {
    failures: u32,
    report: Box<dyn Fn(&InstanceId) + Send + Sync>,
}

impl OutlierDesk {
    /// `report` is called at the `failures`-th failure in a row and at each one after it;
    /// never if that is 0.
    pub fn new(failures: u32, report: impl Fn(&InstanceId) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            failures,
            report: Box::new(report),
        })
    }
}

impl Default for OutlierDesk {
    fn default() -> Self {
        Self {
            failures: 0,
            report: Box::new(|_| {}),
        }
    }
}

impl fmt::Debug for OutlierDesk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutlierDesk")
            .field("failures", &self.failures)
            .finish_non_exhaustive()
    }
}

/// One instance's record.
#[derive(Debug)]
pub(super) struct Strikes {
    in_a_row: AtomicU32,
    ejected: AtomicBool,
    desk: Arc<OutlierDesk>,
}

impl Strikes {
    pub(super) fn new(desk: Arc<OutlierDesk>) -> Self {
        Self {
            in_a_row: AtomicU32::new(0),
            ejected: AtomicBool::new(false),
            desk,
        }
    }

    pub(super) fn success(&self) {
        if self.in_a_row.load(Ordering::Relaxed) != 0 {
            self.in_a_row.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn failure(&self, id: &InstanceId) {
        // What was under way when it was ejected is of no account.
        if self.desk.failures == 0 || self.is_ejected() {
            return;
        }
        let in_a_row = self.in_a_row.fetch_add(1, Ordering::Relaxed);
        if in_a_row.saturating_add(1) >= self.desk.failures {
            (self.desk.report)(id);
        }
    }

    pub(super) fn is_ejected(&self) -> bool {
        self.ejected.load(Ordering::Relaxed)
    }

    pub(super) fn eject(&self) {
        self.ejected.store(true, Ordering::Relaxed);
    }

    /// The count stays: one more failure is one too many, one success is a clean slate.
    pub(super) fn readmit(&self) {
        self.ejected.store(false, Ordering::Relaxed);
    }

    pub(super) fn spare(&self) {
        self.in_a_row.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One letter a request: `.` good, `x` failed, `E` ejected, `R` readmitted, `S` spared;
    /// `!` where it is reported.
    fn story(failures: u32, told: &str) -> String {
        let reports = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&reports);
        let desk = OutlierDesk::new(failures, move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let strikes = Strikes::new(desk);
        let id = InstanceId {
            replica: "S1".parse().unwrap(),
            generation: 1,
        };
        let mut out = String::new();
        for event in told.chars() {
            match event {
                '.' => strikes.success(),
                'x' => strikes.failure(&id),
                'E' => strikes.eject(),
                'R' => strikes.readmit(),
                _ => strikes.spare(),
            }
            out.push(event);
            if reports.swap(0, Ordering::Relaxed) > 0 {
                out.push('!');
            }
        }
        out
    }

    #[test]
    fn only_failures_in_a_row_count() {
        for (failures, told, expected) in [
            (3, "xx.xx.xxx", "xx.xx.xxx!"),
            (1, ".x", ".x!"),
            (0, "xxxxxxxx", "xxxxxxxx"),
            // What ends while it is ejected says nothing; after that, one is enough.
            (3, "xxxExxRx", "xxx!ExxRx!"),
            // And one success wipes the slate.
            (3, "xxxER.xxx", "xxx!ER.xxx!"),
            // Who is spared has to fail as often again.
            (3, "xxxSxxx", "xxx!Sxxx!"),
        ] {
            assert_eq!(story(failures, told), expected);
        }
    }
}
