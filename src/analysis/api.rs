//! The balancer's public calls, and an HTTP client to make them with.

use std::collections::BTreeMap;
use std::time::Duration;

use awc::error::SendRequestError;
use awc::{Client, ClientResponse, Connector};
use serde::de::DeserializeOwned;

use super::error::AnalysisError;
use crate::api::{AddReplicas, Envelope, RemoveReplicas, ReplicaList};

/// An idle connection is closed before the balancer does it (after five seconds): a request
/// sent into that moment would count as the balancer's failure.
const IDLE_CONNECTION: Duration = Duration::from_secs(2);

/// A client that holds as many connections as it is asked to, and waits so long for answers.
pub fn client(timeout: Duration) -> Client {
    let connector = Connector::new()
        .limit(0)
        .timeout(Duration::from_secs(30))
        .conn_keep_alive(IDLE_CONNECTION);
    Client::builder()
        .connector(connector)
        .disable_redirects()
        .timeout(timeout)
        .finish()
}

/// `GET /rep`, `POST /add` and `DELETE /rm` of a balancer.
#[derive(Clone)]
pub struct Api {
    client: Client,
    url: String,
}

impl Api {
    /// At `http://HOST:PORT`.
    pub fn new(client: Client, url: &str) -> Self {
        Self {
            client,
            url: url.trim_end_matches('/').to_owned(),
        }
    }

    /// The address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// The replicas' names.
    pub async fn replicas(&self) -> Result<Vec<String>, AnalysisError> {
        let url = self.url("/rep");
        let answer = self.client.get(&url).send().await;
        let envelope: Envelope<ReplicaList> = read(&format!("GET {url}"), answer).await?;
        Ok(envelope.message.replicas)
    }

    /// Adds replicas of these names, with a weight other than 1 where one is given; they are
    /// on the ring when this returns.
    pub async fn add(
        &self,
        names: &[String],
        weights: &BTreeMap<String, u32>,
    ) -> Result<(), AnalysisError> {
        let url = self.url("/add");
        let mut weights = weights.clone();
        weights.retain(|name, weight| names.contains(name) && *weight != 1);
        let body = AddReplicas {
            n: names.len(),
            hostnames: names.to_owned(),
            weights,
        };
        let answer = self.client.post(&url).send_json(&body).await;
        read::<Envelope<ReplicaList>>(&format!("POST {url}"), answer).await?;
        Ok(())
    }

    /// Removes replicas of these names; they are gone when this returns.
    pub async fn remove(&self, names: &[String]) -> Result<(), AnalysisError> {
        let url = self.url("/rm");
        let body = RemoveReplicas {
            n: names.len(),
            hostnames: names.to_owned(),
        };
        let answer = self.client.delete(&url).send_json(&body).await;
        read::<Envelope<ReplicaList>>(&format!("DELETE {url}"), answer).await?;
        Ok(())
    }
}

/// A good answer's JSON.
pub(super) async fn read<T: DeserializeOwned>(
    what: &str,
    answer: Result<ClientResponse, SendRequestError>,
) -> Result<T, AnalysisError> {
    /// A history of many events fits; what is larger is no answer of a balancer.
    const LARGEST: usize = 4 << 20;

    let failed = |cause: String| AnalysisError::Call {
        what: what.to_owned(),
        cause,
    };
    let mut response = answer.map_err(|error| failed(error.to_string()))?;
    let status = response.status();
    let body = response.body().limit(LARGEST).await;
    let body = body.map_err(|error| failed(error.to_string()))?;
    if !status.is_success() {
        let text = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
        return Err(failed(format!("{status}: {text}")));
    }
    serde_json::from_slice(&body).map_err(|error| {
        failed(format!(
            "the answer is not a balancer's of this version: {error}"
        ))
    })
}
