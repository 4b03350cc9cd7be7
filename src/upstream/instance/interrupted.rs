//! Requests that broke off while an instance had them: what its post-mortem names.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::api::InterruptedRequest;

/// How many requests an instance's post-mortem names.
const MAX_NAMED: usize = 20;

/// A request that broke off longer ago than this had nothing to do with the death that is reported
/// now, and is dropped.
const MAX_AGE: Duration = Duration::from_secs(30);

/// The requests of one instance that broke off recently. Written only after an error, so the lock
/// does not matter.
#[derive(Debug, Default)]
pub struct InterruptedRequests(Mutex<Recent>);

#[derive(Debug, Default)]
struct Recent {
    named: VecDeque<(Instant, InterruptedRequest)>,
    /// How many more there were than are named.
    unnamed: u32,
}

impl InterruptedRequests {
    /// Records a request; beyond `MAX_NAMED` it is only counted.
    pub fn record(&self, now: Instant, describe: impl FnOnce() -> InterruptedRequest) {
        let mut recent = self.recent();
        let is_old = |at: Instant| now.saturating_duration_since(at) > MAX_AGE;
        while recent.named.front().is_some_and(|(at, _)| is_old(*at)) {
            recent.named.pop_front();
            recent.unnamed = 0;
        }
        if recent.named.len() < MAX_NAMED {
            recent.named.push_back((now, describe()));
        } else {
            recent.unnamed = recent.unnamed.saturating_add(1);
        }
    }

    /// How many there were recently, named or not.
    pub fn count(&self) -> u32 {
        let recent = self.recent();
        let named = u32::try_from(recent.named.len()).unwrap_or(u32::MAX);
        named.saturating_add(recent.unnamed)
    }

    /// Those that are named, the oldest first.
    pub fn list(&self) -> Vec<InterruptedRequest> {
        let recent = self.recent();
        let named = recent.named.iter();
        named.map(|(_, request)| request.clone()).collect()
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
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
