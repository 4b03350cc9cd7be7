//! Requests without a pause, and how they ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use awc::http::StatusCode;

use super::client::client;
use super::eventually;

/// Requests without a pause from several clients, until told to stop; counts how they ended.
pub struct Load {
    stop: Arc<AtomicBool>,
    good: Arc<AtomicUsize>,
    clients: Vec<actix_web::rt::task::JoinHandle<LoadResult>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadResult {
    pub good: usize,
    pub failures: Vec<String>,
}

impl Load {
    /// `clients` at once, each with connections of its own.
    pub fn start(url: &str, clients: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let good = Arc::new(AtomicUsize::new(0));
        let clients = (0..clients).map(|_| {
            let client = one_client(url.to_owned(), Arc::clone(&stop), Arc::clone(&good));
            actix_web::rt::spawn(client)
        });
        Self {
            clients: clients.collect(),
            stop,
            good,
        }
    }

    /// Waits for this many more successful responses.
    pub async fn go_on_for(&self, requests: usize) {
        let goal = self.good.load(Ordering::SeqCst) + requests;
        eventually("the load goes on", || async {
            self.good.load(Ordering::SeqCst) >= goal
        })
        .await;
    }

    pub async fn stop(self) -> LoadResult {
        self.stop.store(true, Ordering::SeqCst);
        let mut total = LoadResult::default();
        for client in self.clients {
            let result = client.await.unwrap();
            total.good += result.good;
            total.failures.extend(result.failures);
        }
        total
    }
}

async fn one_client(url: String, stop: Arc<AtomicBool>, good: Arc<AtomicUsize>) -> LoadResult {
    let client = client();
    let mut result = LoadResult::default();
    while !stop.load(Ordering::SeqCst) {
        match client.get(&url).send().await {
            Ok(mut response) => {
                let status = response.status();
                let body = response.body().await;
                match body {
                    Ok(_) if status == StatusCode::OK => {
                        result.good += 1;
                        good.fetch_add(1, Ordering::SeqCst);
                    }
                    Ok(body) => result.failures.push(format!("{status} {body:?}")),
                    Err(error) => result.failures.push(format!("{status}, then {error}")),
                }
            }
            Err(error) => result.failures.push(error.to_string()),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    result
}
