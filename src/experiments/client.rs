//! A client of a balancer: of its API on the client port and on the admin listener.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use awc::error::SendRequestError;
use awc::http::Method;
use awc::{Client, ClientRequest, ClientResponse, Connector};
use serde::de::DeserializeOwned;

use super::admin_access::AdminAccess;
use super::error::ExperimentError;
use crate::api::{
    AddReplicas, Drill, Envelope, FleetStatus, ListPage, NewDrill, RemoveReplicas, ReplicaEvent,
    ReplicaList, RingChange, RingPatch, RingStatus, Status, Timestamp,
};

/// Shorter than a balancer's keep-alive timeout: a request on a connection that it closes at
/// that moment would count as its failure.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// A node may be drained for a minute, and it may take another until it is not.
const DRILL_TIMEOUT: Duration = Duration::from_secs(150);

/// An HTTP client without a limit on connections; `timeout` is for a whole response.
pub fn http_client(timeout: Duration) -> Client {
    let connector = Connector::new()
        .limit(0)
        .timeout(Duration::from_secs(30))
        .conn_keep_alive(KEEP_ALIVE_TIMEOUT);
    Client::builder()
        .connector(connector)
        .disable_redirects()
        .timeout(timeout)
        .finish()
}

/// `GET /rep`, `POST /add` and `DELETE /rm` of a balancer.
#[derive(Clone)]
pub struct ReplicaApi {
    client: Client,
    url: String,
}

impl ReplicaApi {
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
    pub async fn replicas(&self) -> Result<Vec<String>, ExperimentError> {
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
    ) -> Result<(), ExperimentError> {
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
    pub async fn remove(&self, names: &[String]) -> Result<(), ExperimentError> {
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

/// The admin listener of a balancer.
#[derive(Clone)]
pub struct AdminApi {
    client: Client,
    access: AdminAccess,
}

impl AdminApi {
    /// The one that is there.
    pub fn new(client: Client, access: AdminAccess) -> Self {
        Self { client, access }
    }

    /// How the balancer is.
    pub async fn status(&self) -> Result<Status, ExperimentError> {
        self.get("/status").await
    }

    /// How its fleet is.
    pub async fn fleet(&self) -> Result<FleetStatus, ExperimentError> {
        self.get(&format!("/fleets/{}", self.access.fleet)).await
    }

    /// What happened lately, the oldest first: as much as the balancer keeps.
    pub async fn events(&self) -> Result<Vec<ReplicaEvent>, ExperimentError> {
        let page: ListPage<ReplicaEvent> = self.get("/events?limit=1000").await?;
        Ok(page.items)
    }

    /// Has it carry out a drill; answered when that is over.
    pub async fn drill(&self, new: &NewDrill) -> Result<Drill, ExperimentError> {
        let path = format!("/fleets/{}/drills", self.access.fleet);
        let (what, request) = self.request(Method::POST, &path);
        let request = request.timeout(DRILL_TIMEOUT);
        read(&what, request.send_json(new).await).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ExperimentError> {
        let (what, request) = self.request(Method::GET, path);
        read(&what, request.send().await).await
    }

    /// A call with the token, and what it is in words.
    fn request(&self, method: Method, path: &str) -> (String, ClientRequest) {
        let url = format!("{}/api/v1{path}", self.access.url);
        let what = format!("{method} {url}");
        let request = self.client.request(method, url);
        let request = match &self.access.token {
            Some(token) => request.bearer_auth(token.secret()),
            None => request,
        };
        (what, request)
    }

    /// Rebuilds the ring by a strategy, with slots and virtual servers as given or else the
    /// strategy's own. Without a bound of the load, or as given: the bound would hide how
    /// uneven a strategy is.
    pub async fn rebuild(
        &self,
        strategy: &str,
        like: Option<&RingStatus>,
    ) -> Result<(), ExperimentError> {
        let change = RingPatch {
            strategy: Some(strategy.to_owned()),
            slots: like.map(|ring| ring.slots),
            virtual_servers: like.and_then(|ring| ring.virtual_servers),
            balance_factor: Some(like.and_then(|ring| ring.balance_factor)),
            ..RingPatch::default()
        };
        let path = format!("/fleets/{}/ring", self.access.fleet);
        let (what, request) = self.request(Method::PATCH, &path);
        read::<RingChange>(&what, request.send_json(&change).await).await?;
        Ok(())
    }

    /// The balancer's clock at `epoch`.
    ///
    /// Right to half the round trip of the fastest of a few calls, a fraction of a
    /// millisecond on one machine.
    pub async fn clock_at(&self, epoch: Instant) -> Result<Timestamp, ExperimentError> {
        const CALLS: usize = 8;

        let mut best = (self.status().await?.now, Duration::MAX);
        for _ in 0..CALLS {
            let before = epoch.elapsed();
            let status = self.status().await?;
            let round_trip = epoch.elapsed() - before;
            if round_trip < best.1 {
                best = (status.now - (before + round_trip / 2), round_trip);
            }
        }
        Ok(best.0)
    }
}

/// The JSON of a successful response.
async fn read<T: DeserializeOwned>(
    what: &str,
    answer: Result<ClientResponse, SendRequestError>,
) -> Result<T, ExperimentError> {
    /// More than a status with the longest history has.
    const MAX_BODY: usize = 4 << 20;

    let failed = |cause: String| ExperimentError::Call {
        what: what.to_owned(),
        cause,
    };
    let mut response = answer.map_err(|error| failed(error.to_string()))?;
    let status = response.status();
    let body = response.body().limit(MAX_BODY).await;
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
