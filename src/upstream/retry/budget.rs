//! How many requests may be sent a second time: what stops a retry storm.
//!
//! A replica that breaks every connection would otherwise double the load of all the others.
//! The budget is a bucket of re-sends, as Finagle's and Envoy's are: each request adds a
//! part of one, each second adds three, and each re-send takes one. It begins full, and holds
//! as many as one replica may have in flight, so that the death of a replica costs no request
//! at whatever load. Every worker thread has its own.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::time::Instant;

/// Re-sends that each second adds, however few the requests.
const PER_SECOND: u64 = 3;
/// What the bucket holds where replicas may have any number of requests in flight.
const MAX_WITHOUT_LIMIT: u32 = 1_024;
/// What a re-send counts in the bucket, in hundredths.
const ONE: u64 = 100;

/// The bucket of one thread.
#[derive(Debug)]
pub struct RetryBudget {
    /// In hundredths of a re-send.
    left: Cell<u64>,
    capacity: u64,
    /// What each request adds.
    percent: u64,
    filled: Cell<Instant>,
}

impl RetryBudget {
    /// A full bucket. Each request adds `percent` hundredths of a re-send, up to
    /// `max_in_flight` re-sends. With 0 percent it is empty and stays so.
    pub fn new(percent: u32, max_in_flight: Option<NonZeroU32>, now: Instant) -> Self {
        let capacity = match percent {
            0 => 0,
            _ => ONE * u64::from(max_in_flight.map_or(MAX_WITHOUT_LIMIT, NonZeroU32::get)),
        };
        Self {
            left: Cell::new(capacity),
            capacity,
            percent: u64::from(percent),
            filled: Cell::new(now),
        }
    }

    /// A request has come in.
    pub fn deposit(&self) {
        self.add(self.percent);
    }

    /// Takes one re-send, if there is one.
    pub fn withdraw(&self, now: Instant) -> bool {
        let millis = now.saturating_duration_since(self.filled.get()).as_millis();
        // What is less than a hundredth of a re-send stays to be counted the next time.
        let earned = u64::try_from(millis)
            .unwrap_or(u64::MAX)
            .saturating_mul(PER_SECOND)
            / 10;
        if earned > 0 {
            self.filled.set(now);
            self.add(earned);
        }
        match self.left.get().checked_sub(ONE) {
            Some(left) => {
                self.left.set(left);
                true
            }
            None => false,
        }
    }

    fn add(&self, hundredths: u64) {
        let left = self.left.get().saturating_add(hundredths);
        self.left.set(left.min(self.capacity));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn withdrawn(budget: &RetryBudget, now: Instant) -> usize {
        (0..10_000).take_while(|_| budget.withdraw(now)).count()
    }

    #[test]
    fn the_death_of_a_replica_is_within_the_budget_from_the_start() {
        let now = Instant::now();
        let budget = RetryBudget::new(20, NonZeroU32::new(256), now);
        assert_eq!(withdrawn(&budget, now), 256);
        assert_eq!(withdrawn(&RetryBudget::new(20, None, now), now), 1_024);
    }

    #[test]
    fn after_that_a_fifth_of_the_requests_and_three_a_second() {
        let now = Instant::now();
        let budget = RetryBudget::new(20, NonZeroU32::new(100), now);
        withdrawn(&budget, now);
        (0..100).for_each(|_| budget.deposit());
        assert_eq!(withdrawn(&budget, now), 20);
        assert_eq!(withdrawn(&budget, now + Duration::from_secs(2)), 6);
        assert_eq!(withdrawn(&budget, now + Duration::from_secs(2)), 0);
        // However long nothing happens, it is full at some time.
        assert_eq!(withdrawn(&budget, now + Duration::from_secs(3_600)), 100);
    }

    #[test]
    fn budget_of_nothing_is_none_however_long_one_waits() {
        let now = Instant::now();
        let budget = RetryBudget::new(0, NonZeroU32::new(100), now);
        (0..1_000).for_each(|_| budget.deposit());
        assert_eq!(withdrawn(&budget, now + Duration::from_secs(3_600)), 0);
    }

    #[test]
    fn seconds_add_up_however_often_they_are_asked_for() {
        let begun = Instant::now();
        let budget = RetryBudget::new(1, NonZeroU32::new(100), begun);
        withdrawn(&budget, begun);
        let asked = (1..=10_000).map(|millis| begun + Duration::from_millis(millis));
        let granted = asked.filter(|now| budget.withdraw(*now)).count();
        // Rounding costs at most what is less than a hundredth each time.
        assert!((20..=30).contains(&granted), "{granted}");
    }
}
