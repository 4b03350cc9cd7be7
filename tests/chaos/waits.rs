//! What is waited for in a scene: states that its balancer tells of.

use std::time::{Duration, Instant};

use crate::scene::{Instance, Scene, line};
use crate::support::eventually;

/// Who died before may wait that long for its next beginning.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(90);

impl Scene {
    /// Every replica is on the ring, and none is passed over for what it did before.
    pub async fn all_ready(&self) {
        eventually("every replica is ready", || self.is_all_ready()).await;
    }

    pub async fn is_all_ready(&self) -> bool {
        let status = self.status().await;
        let mut replicas = status["replicas"].as_array().expect("replicas").iter();
        replicas.all(|replica| replica["state"] == "ready" && replica["ejected"] == false)
    }

    /// This one is not on the ring.
    pub async fn off_the_ring(&self, name: &str) {
        eventually("it is off the ring", || async {
            let status = self.status().await;
            line(&status, name).is_some_and(|line| line["state"] != "ready")
        })
        .await;
    }

    /// It is told what keeps this one from starting.
    pub async fn in_trouble(&self, name: &str, trouble: &str) {
        eventually("what keeps it from starting is told", || async {
            let status = self.status().await;
            let told = line(&status, name).and_then(|line| line["last_error"].as_str());
            told.is_some_and(|told| told.contains(trouble))
        })
        .await;
    }

    /// The engine is said to be in trouble, or not to be.
    pub async fn engine_in_trouble(&self, expected: bool) {
        eventually("the engine's state is told", || async {
            self.status().await["runtime"]["trouble"].is_string() == expected
        })
        .await;
    }

    /// It has died so many times in a row, or failed to start.
    pub async fn has_died(&self, name: &str, times: u64) {
        eventually("it has been tried several times", || async {
            let status = self.status().await;
            let died = line(&status, name).and_then(|line| line["deaths_in_a_row"].as_u64());
            died >= Some(times)
        })
        .await;
    }

    /// Every one of these has a successor on the ring.
    pub async fn replaced(&self, harmed: &[Instance]) {
        let begun = Instant::now();
        loop {
            let status = self.status().await;
            let succeeded = harmed.iter().all(|instance| {
                line(&status, &instance.name).is_some_and(|line| {
                    line["state"] == "ready"
                        && line["generation"].as_u64() > Some(instance.generation)
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
