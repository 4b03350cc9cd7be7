//! Tells the log, now and then, of what happens to many requests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{info, warn};

use crate::http::{BROKEN_RESPONSES, FAILED_REQUESTS};
use crate::human::{duration, thousands};
use crate::repeats::{Condition, ConditionReport, REPORT_INTERVAL};
use crate::upstream::Tally;

/// How often the counts are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Reports overload and suppressed lines for as long as it is polled.
pub async fn run(tally: Arc<Tally>) {
    let mut overload = Condition::default();
    let mut unserved = Condition::default();
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let (now, counts) = (Instant::now(), tally.counts());
        for (condition, count, what, each) in [
            (
                &mut overload,
                counts.overloaded,
                "overload",
                "got 503 because every replica is as busy as --max-in-flight allows or too many wait",
            ),
            (
                &mut unserved,
                counts.unserved,
                "outage",
                "got 503 because no replica is ready",
            ),
        ] {
            match condition.observe(count, now) {
                Some(report @ ConditionReport::Ends(..)) => info!("{}", report.line(what, each)),
                Some(report) => warn!("{}", report.line(what, each)),
                None => {}
            }
        }
        for (limit, what) in [
            (&FAILED_REQUESTS, "requests that failed"),
            (&BROKEN_RESPONSES, "responses that broke off"),
        ] {
            if let Some(count) = limit.suppressed(now) {
                let (count, time) = (thousands(count), duration(REPORT_INTERVAL));
                warn!("{count} more {what} in {time}, not told one by one");
            }
        }
    }
}
