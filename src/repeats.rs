//! What would fill the log by repeating: lines of which only some are written, and conditions
//! that are told when they begin, while they last, and when they end.
//!
//! The rules are pure: time and counts are arguments.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::human::{duration, thousands};

/// How often what repeats is told.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// How many lines of one kind are written within [`REPORT_INTERVAL`].
const MAX_LINES: u32 = 10;

/// Lets some lines of one kind through and counts the others.
#[derive(Debug)]
pub struct LineLimit(Mutex<Window>);

#[derive(Debug)]
struct Window {
    began: Option<Instant>,
    written: u32,
    suppressed: u64,
    /// Lines were suppressed and told as a count; the end is to be told.
    is_told: bool,
    /// Since the first line of them all: how many there were, and when the first and the last.
    all: u64,
    span: Option<(Instant, Instant)>,
}

impl LineLimit {
    /// A limit of which nothing is used up.
    pub const fn new() -> Self {
        Self(Mutex::new(Window {
            began: None,
            written: 0,
            suppressed: 0,
            is_told: false,
            all: 0,
            span: None,
        }))
    }

    /// Whether a line may be written now; it counts as written or as suppressed.
    pub fn admits(&self, now: Instant) -> bool {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |began| now.saturating_duration_since(began) >= REPORT_INTERVAL;
        // One in which lines were suppressed ends when that has been told.
        if window.suppressed == 0 && window.began.is_none_or(is_over) {
            window.began = Some(now);
            window.written = 0;
            if !window.is_told {
                window.all = 0;
                window.span = None;
            }
        }
        window.all += 1;
        let (first, _) = window.span.unwrap_or((now, now));
        window.span = Some((first, now));
        if window.written < MAX_LINES {
            window.written += 1;
            return true;
        }
        window.suppressed += 1;
        false
    }

    /// How many lines were suppressed, or of how many that was the end, once it is time to tell.
    pub fn report(&self, now: Instant) -> Option<ConditionReport> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let began = window.began?;
        if now.saturating_duration_since(began) < REPORT_INTERVAL {
            return None;
        }
        if window.suppressed == 0 {
            return window.end();
        }
        // What goes on is told as a count: only a quiet interval lets lines through again.
        window.began = Some(now);
        window.is_told = true;
        Some(ConditionReport::GoesOn(std::mem::take(
            &mut window.suppressed,
        )))
    }

    /// What is left to tell when the process ends.
    pub fn finish(&self) -> Option<ConditionReport> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        window.is_told |= window.suppressed > 0;
        window.suppressed = 0;
        window.end()
    }
}

impl Window {
    fn end(&mut self) -> Option<ConditionReport> {
        let (first, last) = self.span.filter(|_| self.is_told)?;
        self.is_told = false;
        self.began = None;
        let lasted = last.saturating_duration_since(first);
        Some(ConditionReport::Ends(self.all, lasted))
    }
}

impl Default for LineLimit {
    fn default() -> Self {
        Self::new()
    }
}

/// Something that happens to requests for a while, seen as a count that grows.
#[derive(Debug, Default)]
pub struct Condition {
    /// The count when it was looked at last.
    seen: u64,
    lasts: Option<Lasting>,
}

#[derive(Debug, Clone, Copy)]
struct Lasting {
    began: Instant,
    /// When the count was seen to grow last.
    grew: Instant,
    /// When it was told last, and the count then.
    told: Instant,
    told_count: u64,
    /// The count when it began.
    first_count: u64,
}

/// What is to be told of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionReport {
    /// It begins.
    Begins,
    /// It goes on: how often it has happened since it was told last.
    GoesOn(u64),
    /// It is over: how often it has happened in all, and how long it lasted.
    Ends(u64, Duration),
}

impl Condition {
    /// Looks at the count, as often as once a second.
    pub fn observe(&mut self, count: u64, now: Instant) -> Option<ConditionReport> {
        let before = std::mem::replace(&mut self.seen, count);
        let grows = count > before;
        let Some(lasting) = &mut self.lasts else {
            if !grows {
                return None;
            }
            self.lasts = Some(Lasting {
                began: now,
                grew: now,
                told: now,
                told_count: before,
                first_count: before,
            });
            return Some(ConditionReport::Begins);
        };
        if grows {
            lasting.grew = now;
        } else if now.saturating_duration_since(lasting.grew) >= REPORT_INTERVAL {
            return self.finish(count);
        }
        if grows && now.saturating_duration_since(lasting.told) >= REPORT_INTERVAL {
            let since = count - lasting.told_count;
            (lasting.told, lasting.told_count) = (now, count);
            return Some(ConditionReport::GoesOn(since));
        }
        None
    }
}

impl Condition {
    /// The end of what lasts, if only because the process ends.
    pub fn finish(&mut self, count: u64) -> Option<ConditionReport> {
        let lasting = self.lasts.take()?;
        let lasted = lasting.grew.saturating_duration_since(lasting.began);
        Some(ConditionReport::Ends(count - lasting.first_count, lasted))
    }
}

impl ConditionReport {
    /// The line of the log: `what` is a noun, `each` says what happened to a request.
    pub fn line(self, what: &str, each: &str) -> String {
        let every = duration(REPORT_INTERVAL);
        match self {
            Self::Begins => format!("{what}: requests {each}"),
            Self::GoesOn(count) => {
                format!(
                    "{what} goes on: {} requests {each} in {every}",
                    thousands(count)
                )
            }
            Self::Ends(count, lasted) => format!(
                "{what} is over: {} requests {each} in {}",
                thousands(count),
                duration(lasted)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_lets_a_few_lines_through_and_counts_the_rest() {
        let limit = LineLimit::new();
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let written = |from: u64, lines: usize| {
            let admitted = (0..lines).filter(|_| limit.admits(at(from)));
            admitted.count()
        };
        assert_eq!(written(0, 35_000), 10);
        assert_eq!(limit.report(at(9)), None);
        let goes_on = |count| Some(ConditionReport::GoesOn(count));
        let ends = |count, lasted| {
            let lasted = Duration::from_secs(lasted);
            Some(ConditionReport::Ends(count, lasted))
        };
        assert_eq!(limit.report(at(10)), goes_on(34_990));
        // It goes on: a count only.
        assert_eq!(written(11, 100), 0);
        assert_eq!(limit.report(at(20)), goes_on(100));
        // The end is told once, and lines are written again.
        assert_eq!(limit.report(at(29)), None);
        assert_eq!(limit.report(at(30)), ends(35_100, 11));
        assert_eq!(limit.report(at(30)), None);
        assert_eq!(written(31, 3), 3);
        assert_eq!(limit.report(at(60)), None);
        // What is not told when the process ends is told then.
        assert_eq!(limit.finish(), None);
        assert_eq!(written(61, 12), 10);
        assert_eq!(limit.finish(), ends(12, 0));
    }

    #[test]
    fn condition_is_told_when_it_begins_every_ten_seconds_and_when_it_ends() {
        let mut condition = Condition::default();
        let begin = Instant::now();
        let mut told = Vec::new();
        let mut count = 0;
        for second in 0..60 {
            if (5..27).contains(&second) {
                count += 100;
            }
            let now = begin + Duration::from_secs(second);
            told.extend(condition.observe(count, now).map(|report| (second, report)));
        }
        assert_eq!(
            told,
            [
                (5, ConditionReport::Begins),
                (15, ConditionReport::GoesOn(1_100)),
                (25, ConditionReport::GoesOn(1_000)),
                (36, ConditionReport::Ends(2_200, Duration::from_secs(21))),
            ]
        );
        let lines: Vec<_> = told
            .iter()
            .map(|(_, report)| report.line("overload", "get 503"))
            .collect();
        assert_eq!(lines[0], "overload: requests get 503");
        assert_eq!(lines[1], "overload goes on: 1,100 requests get 503 in 10 s");
        assert_eq!(lines[3], "overload is over: 2,200 requests get 503 in 21 s");
    }
}
