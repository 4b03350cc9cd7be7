//! Requests that broke off while an instance had them: what its post-mortem names.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::api::InterruptedRequest;

/// How many requests an instance's post-mortem names.
const MAX_NAMED: usize = 20;

/// A request that broke off longer ago than this had to do with something else than the death
/// that comes now, and makes room.
const MAX_AGE: Duration = Duration::from_secs(30);

/// The requests of one instance that broke off lately. Written only when something has gone
/// wrong, so a lock costs nothing that matters.
#[derive(Debug, Default)]
pub struct InterruptedRequests(Mutex<Lately>);

#[derive(Debug, Default)]
struct Lately {
    named: VecDeque<(Instant, InterruptedRequest)>,
    /// How many more there were than are named.
    unnamed: u32,
}

impl InterruptedRequests {
    /// Takes a request in, unless as many as are named are there already.
    pub fn record(&self, now: Instant, describe: impl FnOnce() -> InterruptedRequest) {
        let mut lately = self.lately();
        let is_old = |at: Instant| now.saturating_duration_since(at) > MAX_AGE;
        while lately.named.front().is_some_and(|(at, _)| is_old(*at)) {
            lately.named.pop_front();
            lately.unnamed = 0;
        }
        if lately.named.len() < MAX_NAMED {
            lately.named.push_back((now, describe()));
        } else {
            lately.unnamed = lately.unnamed.saturating_add(1);
        }
    }

    /// How many there were lately, named or not.
    pub fn count(&self) -> u32 {
        let lately = self.lately();
        let named = u32::try_from(lately.named.len()).unwrap_or(u32::MAX);
        named.saturating_add(lately.unnamed)
    }

    /// Those that are named, the first first.
    pub fn list(&self) -> Vec<InterruptedRequest> {
        let lately = self.lately();
        let named = lately.named.iter();
        named.map(|(_, request)| request.clone()).collect()
    }

    fn lately(&self) -> MutexGuard<'_, Lately> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::RequestOutcome;

    #[test]
    fn first_twenty_are_named_and_old_ones_make_room() {
        let requests = InterruptedRequests::default();
        let begin = Instant::now();
        let record = |number: usize, at: Instant| {
            requests.record(at, || InterruptedRequest {
                method: "GET".to_owned(),
                path: format!("/{number}"),
                id: number.to_string(),
                elapsed_ms: 1,
                outcome: RequestOutcome::Failed,
            });
        };
        for number in 0..30 {
            record(number, begin);
        }
        let list = requests.list();
        assert_eq!((list.len(), requests.count()), (MAX_NAMED, 30));
        assert_eq!(
            (list[0].path.as_str(), list[19].path.as_str()),
            ("/0", "/19")
        );
        record(99, begin + MAX_AGE * 2);
        let list = requests.list();
        assert_eq!((list.len(), list[0].path.as_str()), (1, "/99"));
        assert_eq!(requests.count(), 1);
        let json = serde_json::to_value(&list[0]).unwrap();
        assert_eq!(json["outcome"], "failed");
    }
}
