//! Waits for states of a fixture's balancer.

use std::time::{Duration, Instant};

use ringmaster::api::{ReplicaState, ReplicaStatus};

use crate::fixture::{Fixture, Instance, replica};
use crate::support::eventually;

/// How long a replica that died before may back off.
const MAX_BACK_OFF: Duration = Duration::from_secs(90);

impl Fixture {
    /// Every replica is ready, and none is ejected.
    pub async fn all_ready(&self) {
        eventually("every replica is ready", || self.is_all_ready()).await;
    }

    pub async fn is_all_ready(&self) -> bool {
        let replicas = self.status().await.replicas;
        let is_ready = |one: &ReplicaStatus| one.state == ReplicaState::Ready && !one.ejected;
        replicas.iter().all(is_ready)
    }

    /// This one is not ready.
    pub async fn evicted(&self, name: &str) {
        eventually("it is evicted", || async {
            let status = self.status().await;
            replica(&status, name).is_some_and(|one| one.state != ReplicaState::Ready)
        })
        .await;
    }

    /// The status says what keeps this one from starting.
    pub async fn last_error(&self, name: &str, expected: &str) {
        eventually("the status says what keeps it from starting", || async {
            let status = self.status().await;
            let error = replica(&status, name).and_then(|one| one.last_error.as_ref());
            error.is_some_and(|error| error.contains(expected))
        })
        .await;
    }

    /// The engine works again, or does not.
    pub async fn engine_has_error(&self, expected: bool) {
        eventually("the engine's state is told", || async {
            self.status().await.runtime.last_error.is_some() == expected
        })
        .await;
    }

    /// It has died, or failed to start, this many times in a row.
    pub async fn has_died(&self, name: &str, times: u32) {
        eventually("it has been tried several times", || async {
            let status = self.status().await;
            replica(&status, name).is_some_and(|one| one.consecutive_deaths >= times)
        })
        .await;
    }

    /// Every one of these has a successor that is ready.
    pub async fn replaced(&self, before: &[Instance]) {
        let begun = Instant::now();
        loop {
            let status = self.status().await;
            let succeeded = before.iter().all(|instance| {
                replica(&status, &instance.name).is_some_and(|one| {
                    one.state == ReplicaState::Ready && one.generation > instance.generation
                })
            });
            if succeeded {
                break;
            }
            assert!(begun.elapsed() < MAX_BACK_OFF, "no successors");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.all_ready().await;
    }
}
