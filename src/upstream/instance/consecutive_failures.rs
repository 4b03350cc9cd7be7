//! Consecutive failures of an instance, counted where requests end: passive health checks, as
//! Envoy's and linkerd's.
//!
//! A success reads a cache line that the request writes to anyway.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::fleet::InstanceId;

/// Reports instances that fail too often, and says how often that is.
pub struct FailureReporter {
    failures: u32,
    report: Box<dyn Fn(&InstanceId) + Send + Sync>,
}

impl FailureReporter {
    /// `report` is called at the `failures`-th consecutive failure and at each one after
    /// it; never if that is 0.
    pub fn new(failures: u32, report: impl Fn(&InstanceId) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            failures,
            report: Box::new(report),
        })
    }
}

impl Default for FailureReporter {
    fn default() -> Self {
        Self {
            failures: 0,
            report: Box::new(|_| {}),
        }
    }
}

impl fmt::Debug for FailureReporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailureReporter")
            .field("failures", &self.failures)
            .finish_non_exhaustive()
    }
}

/// One instance's count.
#[derive(Debug)]
pub(super) struct ConsecutiveFailures {
    count: AtomicU32,
    ejected: AtomicBool,
    reporter: Arc<FailureReporter>,
}

impl ConsecutiveFailures {
    pub(super) fn new(reporter: Arc<FailureReporter>) -> Self {
        Self {
            count: AtomicU32::new(0),
            ejected: AtomicBool::new(false),
            reporter,
        }
    }

    pub(super) fn record_success(&self) {
        if self.count.load(Ordering::Relaxed) != 0 {
            self.count.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn record_failure(&self, id: &InstanceId) {
        // What was in flight when it was ejected does not count.
        if self.reporter.failures == 0 || self.is_ejected() {
            return;
        }
        let before = self.count.fetch_add(1, Ordering::Relaxed);
        if before.saturating_add(1) >= self.reporter.failures {
            (self.reporter.report)(id);
        }
    }

    pub(super) fn is_ejected(&self) -> bool {
        self.ejected.load(Ordering::Relaxed)
    }

    pub(super) fn eject(&self) {
        self.ejected.store(true, Ordering::Relaxed);
    }

    /// The count stays: one more failure is reported, one success resets it.
    pub(super) fn readmit(&self) {
        self.ejected.store(false, Ordering::Relaxed);
    }

    pub(super) fn reset(&self) {
        self.count.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One letter a request: `.` good, `x` failed, `E` ejected, `R` readmitted, `S` reset;
    /// `!` where it is reported.
    fn story(failures: u32, told: &str) -> String {
        let reports = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&reports);
        let reporter = FailureReporter::new(failures, move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let counted = ConsecutiveFailures::new(reporter);
        let id = InstanceId::new("S1".parse().unwrap(), 1);
        let mut out = String::new();
        for event in told.chars() {
            match event {
                '.' => counted.record_success(),
                'x' => counted.record_failure(&id),
                'E' => counted.eject(),
                'R' => counted.readmit(),
                _ => counted.reset(),
            }
            out.push(event);
            if reports.swap(0, Ordering::Relaxed) > 0 {
                out.push('!');
            }
        }
        out
    }

    #[test]
    fn only_consecutive_failures_are_reported() {
        for (failures, told, expected) in [
            (3, "xx.xx.xxx", "xx.xx.xxx!"),
            (1, ".x", ".x!"),
            (0, "xxxxxxxx", "xxxxxxxx"),
            // What ends during an ejection does not count; after it, one failure is enough.
            (3, "xxxExxRx", "xxx!ExxRx!"),
            // And one success resets the count.
            (3, "xxxER.xxx", "xxx!ER.xxx!"),
            // After a reset it takes as many again.
            (3, "xxxSxxx", "xxx!Sxxx!"),
        ] {
            assert_eq!(story(failures, told), expected);
        }
    }
}
