//! The admin listener (`--admin`): how the balancer is, and changes of its ring.
//!
//! It has an address of its own, so that nothing of it can be mistaken for a path of the
//! replicas', and is off unless it is asked for.
//!
//! * `GET /status`: the ring, counts, replicas, and what happened lately.
//! * `GET /deaths`: what is known of the instances that died lately.
//! * `PATCH /ring`: another strategy, other slots, virtual servers, weights, balance
//!   factor; with `?dry_run=true` it only says what would happen.
//! * `GET /rep`, `POST /add`, `DELETE /rm`: as on the client port.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::Recipient;
use actix_web::dev::{Payload, ServiceResponse};
use actix_web::http::Method;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, ResponseError};
use serde::de::{Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::admin::{self, ReplicaLinks, read_json};
use super::admin_guard::AdminGuard;
use super::connection::ClientConnection;
use super::error::{AdminError, Envelope};
use super::fleet_status::FleetStatus;
use super::server::{Answered, Site};
use super::unread::Unread;
use super::wellformed;
use crate::actors::death_log::Death;
use crate::actors::history::HistoryEntry;
use crate::actors::ring_state::GetRing;
use crate::actors::ring_state::{ReconfigureRing, Reconfigured};
use crate::actors::ring_view::RingView;
use crate::actors::supervisor::GetDeaths;
use crate::actors::supervisor::{
    ChangeReplicas, FleetReport, GetFleet, ListReplicas, RingReconfigured,
};
use crate::ring::{BalanceFactor, RingSpec, Weight};
use crate::runtime::InstanceHandle;
use crate::upstream::{Counts, Tally};

/// What the admin listener's handlers may ask for, and whom.
pub struct ControlLinks {
    /// Who may use the calls.
    pub guard: AdminGuard,
    /// The desired replicas.
    pub list: Recipient<ListReplicas>,
    /// A change of the desired replicas.
    pub change: Recipient<ChangeReplicas>,
    /// The replicas and their history.
    pub fleet: Recipient<GetFleet>,
    /// The post-mortems.
    pub deaths: Recipient<GetDeaths>,
    /// The ring.
    pub ring: Recipient<GetRing>,
    /// A change of the ring.
    pub reshape: Recipient<ReconfigureRing>,
    /// Tells of what has become of the ring.
    pub reshaped: Recipient<RingReconfigured>,
    /// What the worker threads count.
    pub tally: Arc<Tally>,
    /// Connections that clients may have open at once.
    pub max_connections: usize,
    /// Requests that a replica may have in flight, if there is a limit.
    pub max_in_flight: Option<NonZeroU32>,
    /// How long a client may pause within a body.
    pub body_pause: Duration,
}

/// What the admin listener serves.
pub fn control_site(links: ControlLinks) -> Site {
    let links = Rc::new(links);
    Site::new(
        move |request, body| dispatch(Rc::clone(&links), request, body),
        Rc::new(wellformed::check),
    )
}

async fn dispatch(links: Rc<ControlLinks>, request: HttpRequest, mut body: Payload) -> Answered {
    let _in_hand = ClientConnection::of(&request).map(|client| client.begin(request.head()));
    let response = route(&links, &request, &mut body).await;
    let is_chunked = request.chunked().unwrap_or(false);
    let response = Unread::Payload(body).until_answered(is_chunked, response);
    Ok(ServiceResponse::new(request, response))
}

async fn route(links: &ControlLinks, request: &HttpRequest, body: &mut Payload) -> HttpResponse {
    if let Err(refusal) = links.guard.check_admin(request) {
        return AdminError::Refused(refusal).error_response();
    }
    if matches!(request.uri().path(), "/rep" | "/add" | "/rm") {
        let replicas = ReplicaLinks {
            list: &links.list,
            change: &links.change,
            body_timeout: links.body_pause,
        };
        return admin::answer(&replicas, request, body).await;
    }
    let answered = match (request.uri().path(), request.method()) {
        ("/status", &(Method::GET | Method::HEAD)) => status(links).await,
        ("/status", _) => Err(AdminError::WrongMethod("GET, HEAD")),
        ("/deaths", &(Method::GET | Method::HEAD)) => deaths(links).await,
        ("/deaths", _) => Err(AdminError::WrongMethod("GET, HEAD")),
        ("/ring", &Method::PATCH) => reshape(links, request, body).await,
        ("/ring", _) => Err(AdminError::WrongMethod("PATCH")),
        _ => Err(AdminError::UnknownPath(
            "GET /status, GET /deaths, PATCH /ring, GET /rep, POST /add, DELETE /rm",
        )),
    };
    answered.unwrap_or_else(|error| error.error_response())
}

/// The answer to `GET /status`.
#[derive(Debug, Serialize)]
struct Status {
    /// Counts the changes of the ring.
    epoch: u64,
    /// Milliseconds since the balancer's start.
    now_ms: f64,
    /// Connections that clients may have open at once.
    max_connections: usize,
    /// Requests that a replica may have in flight; null: no limit.
    max_in_flight: Option<NonZeroU32>,
    ring: RingStatus,
    runtime: RuntimeStatus,
    fleet: FleetStatus,
    counters: Counts,
    replicas: Vec<ReplicaLine>,
    /// The oldest first.
    events: Vec<HistoryEntry>,
}

#[derive(Debug, Serialize)]
struct RingStatus {
    strategy: &'static str,
    slots: u32,
    virtual_servers: Option<u32>,
    balance_factor: Option<f64>,
}

#[derive(Debug, Serialize)]
struct RuntimeStatus {
    /// `process`, `docker` or `static`.
    kind: &'static str,
    /// What keeps it from starting and stopping replicas, and from telling of their deaths.
    trouble: Option<String>,
}

#[derive(Debug, Serialize)]
struct ReplicaLine {
    name: String,
    weight: u32,
    state: &'static str,
    generation: u64,
    /// Where its instance listens, while it is ready or unready.
    endpoint: Option<String>,
    /// Its instance's process, if that is a child of ours.
    pid: Option<u32>,
    /// The name of its instance's container, if it is one.
    container: Option<String>,
    in_flight: u32,
    /// Passed over for a while because it fails requests.
    ejected: bool,
    /// The share of its own keys, 0.1 to 1, that it serves in its slow start; null while it
    /// is not ready.
    warmth: Option<f64>,
    /// Its instance was started by an earlier definition than that of the fleet record.
    outdated: bool,
    deaths_in_a_row: u32,
    /// It died five times within five minutes: it is started once a minute, until it has
    /// been healthy for one.
    degraded: bool,
    /// Why it could not be started when that was tried last, or is not ready.
    last_error: Option<String>,
}

async fn status(links: &ControlLinks) -> Result<HttpResponse, AdminError> {
    let unavailable = |_| AdminError::Unavailable;
    let fleet = links.fleet.send(GetFleet).await.map_err(unavailable)?;
    let view = links.ring.send(GetRing).await.map_err(unavailable)?;
    Ok(HttpResponse::Ok().json(Status {
        epoch: view.epoch,
        now_ms: fleet.now_ms,
        max_connections: links.max_connections,
        max_in_flight: links.max_in_flight,
        ring: ring_status(view.table.spec(), view.balance_factor),
        runtime: RuntimeStatus {
            kind: fleet.runtime,
            trouble: fleet.runtime_trouble.clone(),
        },
        fleet: FleetStatus::of(&fleet),
        counters: links.tally.counts(),
        replicas: replica_lines(&fleet, &view),
        events: fleet.events,
    }))
}

/// The answer to `GET /deaths`.
#[derive(Debug, Serialize)]
struct Deaths {
    /// The oldest first.
    deaths: Vec<Death>,
}

async fn deaths(links: &ControlLinks) -> Result<HttpResponse, AdminError> {
    let deaths = links.deaths.send(GetDeaths).await;
    let deaths = deaths.map_err(|_| AdminError::Unavailable)?;
    Ok(HttpResponse::Ok().json(Deaths { deaths }))
}

fn ring_status(spec: &RingSpec, balance_factor: Option<BalanceFactor>) -> RingStatus {
    RingStatus {
        strategy: spec.strategy().name(),
        slots: spec.slots(),
        virtual_servers: spec.virtual_servers(),
        balance_factor: balance_factor.map(BalanceFactor::get),
    }
}

fn replica_lines(fleet: &FleetReport, view: &RingView) -> Vec<ReplicaLine> {
    let line = |((status, instance_handle), outdated): (
        (&crate::fleet::ReplicaStatus, &Option<InstanceHandle>),
        &bool,
    )| {
        let (pid, container) = match instance_handle {
            Some(InstanceHandle::Process(pid)) => (Some(*pid), None),
            Some(InstanceHandle::Container(name)) => (None, Some(name.clone())),
            None => (None, None),
        };
        let index = view.table.index_of(&status.id.replica);
        let ready = index.and_then(|index| view.ready.get(index.get())?.as_ref());
        let unready = index.and_then(|index| view.unready.get(index.get())?.as_ref());
        let present = ready.or(unready);
        ReplicaLine {
            name: status.id.replica.to_string(),
            weight: status.weight.get(),
            state: status.state,
            generation: status.id.generation,
            endpoint: present.map(|instance| instance.endpoint().to_string()),
            pid,
            container,
            in_flight: present.map_or(0, |instance| instance.in_flight()),
            ejected: ready.is_some_and(|instance| instance.is_ejected()),
            warmth: ready.map(|instance| instance.warmth()),
            outdated: *outdated,
            deaths_in_a_row: status.deaths_in_a_row,
            degraded: status.degraded,
            last_error: status.last_error.clone(),
        }
    };
    let replicas = fleet.replicas.iter().zip(&fleet.instance_handle);
    replicas.zip(&fleet.outdated).map(line).collect()
}

/// The body of `PATCH /ring`. What is absent stays as it is; but another strategy begins
/// with its own slots and virtual servers.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RingPatch {
    strategy: Option<String>,
    slots: Option<u32>,
    virtual_servers: Option<u32>,
    /// A number, or null or "none" for none.
    #[serde(deserialize_with = "given")]
    balance_factor: Option<Option<f64>>,
    weights: BTreeMap<String, u32>,
}

/// Tells null, which lifts the bound, from nothing, which leaves it. `"none"`, as the flag has
/// it, is null.
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<f64>>, D::Error> {
    from.deserialize_any(NumberOrNone).map(Some)
}

struct NumberOrNone;

impl Visitor<'_> for NumberOrNone {
    type Value = Option<f64>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a number, null or \"none\"")
    }

    fn visit_f64<E>(self, number: f64) -> Result<Option<f64>, E> {
        Ok(Some(number))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "such factors are out of range, rounded or not"
    )]
    fn visit_u64<E>(self, number: u64) -> Result<Option<f64>, E> {
        Ok(Some(number as f64))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "such factors are out of range, rounded or not"
    )]
    fn visit_i64<E>(self, number: i64) -> Result<Option<f64>, E> {
        Ok(Some(number as f64))
    }

    fn visit_unit<E>(self) -> Result<Option<f64>, E> {
        Ok(None)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Option<f64>, E> {
        if crate::config::is_none(text) {
            Ok(None)
        } else {
            Err(E::invalid_value(Unexpected::Str(text), &self))
        }
    }
}

/// The answer to `PATCH /ring`.
#[derive(Debug, Serialize)]
struct ReshapedAnswer {
    dry_run: bool,
    ring: RingStatus,
    /// The share of keys, 0 to 1, that belong to another replica afterwards.
    moved: f64,
    ownership: Vec<OwnershipLine>,
}

#[derive(Debug, Serialize)]
struct OwnershipLine {
    replica: String,
    before: f64,
    after: f64,
}

async fn reshape(
    links: &ControlLinks,
    request: &HttpRequest,
    body: &mut Payload,
) -> Result<HttpResponse, AdminError> {
    let dry_run = match request.query_string() {
        "" | "dry_run=false" => false,
        "dry_run=true" => true,
        other => {
            let wrong = format!("{other:?} is not a query: allowed is dry_run=true");
            return Err(AdminError::BadBody(wrong));
        }
    };
    let example = r#"{"strategy":"maglev","weights":{"Server1":2}}"#;
    let patch: RingPatch = read_json(request, body, links.body_pause, example).await?;
    let view = links.ring.send(GetRing).await;
    let view = view.map_err(|_| AdminError::Unavailable)?;
    let change = check(patch, view.table.spec(), dry_run).map_err(AdminError::BadBody)?;
    let weights = change.weights.clone();
    let reshaped = links.reshape.send(change).await;
    let reshaped = reshaped
        .map_err(|_| AdminError::Unavailable)?
        .map_err(AdminError::Reshape)?;
    if !dry_run {
        let noted = links.reshaped.send(RingReconfigured {
            spec: reshaped.spec,
            balance_factor: reshaped.balance_factor,
            weights,
        });
        let recorded = noted.await.map_err(|_| AdminError::Unavailable)?;
        recorded.map_err(AdminError::Change)?;
    }
    Ok(HttpResponse::Ok().json(Envelope::successful(answer(reshaped, dry_run))))
}

fn check(patch: RingPatch, present: &RingSpec, dry_run: bool) -> Result<ReconfigureRing, String> {
    let spec = match &patch.strategy {
        Some(name) => {
            let strategy = name.parse().map_err(|error| format!("strategy: {error}"))?;
            Some(RingSpec::new(strategy, patch.slots, patch.virtual_servers))
        }
        None if patch.slots.is_none() && patch.virtual_servers.is_none() => None,
        None => Some(RingSpec::new(
            present.strategy(),
            patch.slots.or(Some(present.slots())),
            patch.virtual_servers.or(present.virtual_servers()),
        )),
    };
    let factor =
        |factor: f64| BalanceFactor::new(factor).map_err(|e| format!("balance_factor: {e}"));
    let balance_factor = match patch.balance_factor {
        Some(Some(number)) => Some(Some(factor(number)?)),
        Some(None) => Some(None),
        None => None,
    };
    let weights = patch.weights.into_iter().map(|(name, weight)| {
        let valid = Weight::new(weight).ok_or_else(|| {
            let most = Weight::MAX;
            format!("weights: {name} is {weight}: 1 to {most} are allowed")
        })?;
        Ok((crate::ring::ReplicaName::from_address(&name), valid))
    });
    Ok(ReconfigureRing {
        spec: spec.transpose().map_err(|error| error.to_string())?,
        balance_factor,
        weights: weights.collect::<Result<_, String>>()?,
        dry_run,
    })
}

fn answer(reshaped: Reconfigured, dry_run: bool) -> ReshapedAnswer {
    let ownership = reshaped.ownership.into_iter().map(|change| OwnershipLine {
        replica: change.replica.to_string(),
        before: change.before,
        after: change.after,
    });
    ReshapedAnswer {
        dry_run,
        ring: ring_status(&reshaped.spec, reshaped.balance_factor),
        moved: reshaped.moved,
        ownership: ownership.collect(),
    }
}
