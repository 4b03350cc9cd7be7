//! What is waited for in a scene: states that its balancer tells of.

use std::time::{Duration, Instant};

use ringmaster::api::{ReplicaState, ReplicaStatus};

use crate::scene::{Instance, Scene, replica};
use crate::support::eventually;

/// Who died before may wait that long for its next beginning.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(90);

impl Scene {
    /// Every replica is on the ring, and none is passed over for what it did before.
    pub async fn all_ready(&self) {
        eventually("every replica is ready", || self.is_all_ready()).await;
    }

    pub async fn is_all_ready(&self) -> bool {
        let replicas = self.status().await.replicas;
        let is_ready = |one: &ReplicaStatus| one.state == ReplicaState::Ready && !one.ejected;
        replicas.iter().all(is_ready)
    }

    /// This one is not on the ring.
    pub async fn off_the_ring(&self, name: &str) {
        eventually("it is evicted", || async {
            let status = self.status().await;
            replica(&status, name).is_some_and(|one| one.state != ReplicaState::Ready)
        })
        .await;
    }

    /// It is told what keeps this one from starting.
    pub async fn in_trouble(&self, name: &str, expected: &str) {
        eventually("what keeps it from starting is told", || async {
            let status = self.status().await;
            let error = replica(&status, name).and_then(|one| one.last_error.as_ref());
            error.is_some_and(|error| error.contains(expected))
        })
        .await;
    }

    /// The engine is said to be in trouble, or not to be.
    pub async fn engine_in_trouble(&self, expected: bool) {
        eventually("the engine's state is told", || async {
            self.status().await.runtime.last_error.is_some() == expected
        })
        .await;
    }

    /// It has died so many times in a row, or failed to start.
    pub async fn has_died(&self, name: &str, times: u32) {
        eventually("it has been tried several times", || async {
            let status = self.status().await;
            replica(&status, name).is_some_and(|one| one.consecutive_deaths >= times)
        })
        .await;
    }

    /// Every one of these has a successor on the ring.
    pub async fn replaced(&self, harmed: &[Instance]) {
        let begun = Instant::now();
        loop {
            let status = self.status().await;
            let succeeded = harmed.iter().all(|instance| {
                replica(&status, &instance.name).is_some_and(|one| {
                    one.state == ReplicaState::Ready && one.generation > instance.generation
                })
            });
            if succeeded {
                break;
            }
            assert!(begun.elapsed() < LONGEST_BACK_OFF, "no successors");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.all_ready().await;
    }
}
