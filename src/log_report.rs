//! Tells the log, now and then, of what happens to many requests.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{info, warn};

use crate::access_log::AccessLogWriter;
use crate::actors::ring_state::SUPPRESSED_EJECTIONS;
use crate::api::RequestCounts;
use crate::http::{BROKEN_RESPONSES, ENDED_TUNNELS, FAILED_REQUESTS};
use crate::human::{duration, thousands};
use crate::repeats::{Condition, ConditionReport, LineLimit, REPORT_INTERVAL};
use crate::upstream::Stats;

/// How often the counts are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Lines of which only some are written, and what they are about.
static LIMITS: [(&LineLimit, &str); 4] = [
    (&FAILED_REQUESTS, "requests that failed"),
    (&BROKEN_RESPONSES, "responses that broke off"),
    (&ENDED_TUNNELS, "tunnels that ended"),
    (
        &SUPPRESSED_EJECTIONS,
        "ejections suppressed, half of the ready replicas being ejected",
    ),
];

/// Reports overload, outages and suppressed lines.
pub struct LogReport {
    tally: Arc<Stats>,
    access_log: Option<AccessLogWriter>,
    conditions: RefCell<[Condition; 3]>,
}

impl LogReport {
    /// Starts one on this thread.
    pub fn start(tally: Arc<Stats>, access_log: Option<AccessLogWriter>) -> Rc<Self> {
        let report = Rc::new(Self {
            tally,
            access_log,
            conditions: RefCell::default(),
        });
        let looking = Rc::downgrade(&report);
        actix::spawn(async move {
            loop {
                tokio::time::sleep(LOOK_INTERVAL).await;
                let Some(report) = looking.upgrade() else {
                    return;
                };
                report.look(Instant::now());
            }
        });
        report
    }

    fn look(&self, now: Instant) {
        self.each_condition(|condition, count| condition.observe(count, now));
        for (limit, what) in LIMITS {
            tell_lines(limit.report(now), what);
        }
    }

    /// Tells the ends of what lasts, because the process ends.
    pub fn finish(&self) {
        let now = Instant::now();
        self.each_condition(|condition, count| {
            // It may have begun since the last look.
            let begins = condition.observe(count, now);
            let begins = begins.filter(|report| *report == ConditionReport::Begins);
            condition.finish(count).or(begins)
        });
        for (limit, what) in LIMITS {
            tell_lines(limit.finish(), what);
        }
    }

    fn each_condition(&self, report: impl Fn(&mut Condition, u64) -> Option<ConditionReport>) {
        let RequestCounts {
            overloaded,
            unavailable,
            ..
        } = self.tally.snapshot();
        let unlogged = self.access_log.as_ref().map_or(0, AccessLogWriter::dropped);
        let [overload, outage, loss] = &mut *self.conditions.borrow_mut();
        for (condition, count, what, each) in [
            (
                overload,
                overloaded,
                "overload",
                "got 503 because every replica is as busy as --max-in-flight allows or too many wait",
            ),
            (
                outage,
                unavailable,
                "outage",
                "got 503 because no replica is ready",
            ),
            (
                loss,
                unlogged,
                "loss of lines of the access log",
                "got none because it is not written fast enough, or cannot be written",
            ),
        ] {
            match report(condition, count) {
                Some(report @ ConditionReport::Ends(..)) => info!("{}", report.line(what, each)),
                Some(report) => warn!("{}", report.line(what, each)),
                None => {}
            }
        }
    }
}

fn tell_lines(report: Option<ConditionReport>, what: &str) {
    match report {
        Some(ConditionReport::Ends(count, lasted)) => {
            let (count, lasted) = (thousands(count), duration(lasted));
            info!("{what}: over, {count} of them in {lasted}");
        }
        Some(ConditionReport::GoesOn(count)) => {
            let (count, time) = (thousands(count), duration(REPORT_INTERVAL));
            warn!("{count} more {what} in {time}, not told one by one");
        }
        Some(ConditionReport::Begins) | None => {}
    }
}
