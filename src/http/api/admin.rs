//! The admin listener (`--admin`): the state of the balancer, and changes of its ring.
//!
//! It has an address of its own, so that none of its paths can be mistaken for one of the
//! replicas', and is off by default.
//!
//! * `GET /status`: the ring, request counts, replicas, and what happened to them lately.
//! * `GET /deaths`: what is known of the instances that died lately.
//! * `PATCH /ring`: changes strategy, slots, virtual servers, weights or balance factor; with
//!   `?dry_run=true` it only computes the effect.
//! * `GET /rep`, `POST /add`, `DELETE /rm`: as on the client port.

use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Payload, ServiceResponse};
use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, ResponseError};

use super::error::ApiError;
use super::guard::AdminGuard;
use super::json::read_json;
use super::replicas::{self, ReplicaHandles};
use crate::actors::ring_state::{ReconfigureRing, Reconfigured, RingHandle};
use crate::actors::ring_view::RingView;
use crate::actors::supervisor::{FleetReport, RingReconfigured, SupervisorHandle};
use crate::api::{
    Deaths, DefinitionDrift, Envelope, FlagsOrRecord, FleetRecordStatus, ReplicaOwnership,
    ReplicaStatus, RingChange, RingPatch, RingStatus, RuntimeStatus, Status, Timestamp,
};
use crate::http::server::{Answered, Site};
use crate::ring::{BalanceFactor, RingSpec, Weight};
use crate::runtime::InstanceHandle;
use crate::upstream::Stats;

/// The actors behind the admin listener's calls, and its settings.
pub struct AdminHandles {
    /// From whom calls are taken.
    pub guard: AdminGuard,
    /// The fleet.
    pub supervisor: SupervisorHandle,
    /// The ring.
    pub ring: RingHandle,
    /// What the worker threads count.
    pub tally: Arc<Stats>,
    /// Connections that clients may have open at once.
    pub max_connections: usize,
    /// Requests that a replica may have in flight, if there is a limit.
    pub max_in_flight: Option<NonZeroU32>,
    /// How long a client may pause within a body.
    pub body_timeout: Duration,
}

/// What the admin listener serves.
pub fn admin_site(handles: AdminHandles) -> Site {
    let handles = Rc::new(handles);
    Site::new(move |request, body| dispatch(Rc::clone(&handles), request, body))
}

async fn dispatch(handles: Rc<AdminHandles>, request: HttpRequest, mut body: Payload) -> Answered {
    let response = route(&handles, &request, &mut body).await;
    Ok(ServiceResponse::new(request, response))
}

async fn route(handles: &AdminHandles, request: &HttpRequest, body: &mut Payload) -> HttpResponse {
    if let Err(refusal) = handles.guard.check_admin(request) {
        return ApiError::Refused(refusal).error_response();
    }
    if matches!(request.uri().path(), "/rep" | "/add" | "/rm") {
        let handles = ReplicaHandles {
            supervisor: &handles.supervisor,
            body_timeout: handles.body_timeout,
        };
        return replicas::answer(&handles, request, body).await;
    }
    let answered = match (request.uri().path(), request.method()) {
        ("/status", &(Method::GET | Method::HEAD)) => status(handles).await,
        ("/status", _) => Err(ApiError::WrongMethod("GET, HEAD")),
        ("/deaths", &(Method::GET | Method::HEAD)) => deaths(handles).await,
        ("/deaths", _) => Err(ApiError::WrongMethod("GET, HEAD")),
        ("/ring", &Method::PATCH) => reshape(handles, request, body).await,
        ("/ring", _) => Err(ApiError::WrongMethod("PATCH")),
        _ => Err(ApiError::UnknownPath(
            "GET /status, GET /deaths, PATCH /ring, GET /rep, POST /add, DELETE /rm",
        )),
    };
    answered.unwrap_or_else(|error| error.error_response())
}

async fn status(handles: &AdminHandles) -> Result<HttpResponse, ApiError> {
    let unavailable = |_| ApiError::Unavailable;
    let fleet = handles.supervisor.fleet().await.map_err(unavailable)?;
    let view = handles.ring.get().await.map_err(unavailable)?;
    Ok(HttpResponse::Ok().json(Status {
        epoch: view.epoch,
        now: Timestamp::now(),
        max_connections: handles.max_connections,
        max_in_flight: handles.max_in_flight.map(NonZeroU32::get),
        ring: ring_status(view.table.spec(), view.balance_factor),
        runtime: RuntimeStatus {
            kind: fleet.runtime.to_owned(),
            last_error: fleet.runtime_error.clone(),
        },
        fleet: record_status(&fleet),
        counters: handles.tally.snapshot(),
        replicas: replica_statuses(&fleet, &view),
        events: fleet.events,
    }))
}

async fn deaths(handles: &AdminHandles) -> Result<HttpResponse, ApiError> {
    let deaths = handles.supervisor.deaths().await;
    let deaths = deaths.map_err(|_| ApiError::Unavailable)?;
    Ok(HttpResponse::Ok().json(Deaths { deaths }))
}

fn ring_status(spec: &RingSpec, balance_factor: Option<BalanceFactor>) -> RingStatus {
    RingStatus {
        strategy: spec.strategy().name().to_owned(),
        slots: spec.slots(),
        virtual_servers: spec.virtual_servers(),
        balance_factor: balance_factor.map(BalanceFactor::get),
    }
}

fn record_status(fleet: &FleetReport) -> FleetRecordStatus {
    let record = fleet.record.clone();
    let outdated = fleet.outdated.contains(&true);
    let difference = record.difference;
    let difference = difference.filter(|difference| difference.overruled || outdated);
    FleetRecordStatus {
        record: record.place,
        version: record.version,
        definition: record.definition,
        drift: difference.map(|difference| DefinitionDrift {
            in_effect: match difference.overruled {
                true => FlagsOrRecord::Record,
                false => FlagsOrRecord::Flags,
            },
            differences: difference.words,
        }),
        last_error: record.last_error,
    }
}

fn replica_statuses(fleet: &FleetReport, view: &RingView) -> Vec<ReplicaStatus> {
    let status = |((replica, instance_handle), outdated): (
        (&crate::fleet::ReplicaStatus, &Option<InstanceHandle>),
        &bool,
    )| {
        let (pid, container) = match instance_handle {
            Some(InstanceHandle::Process(pid)) => (Some(*pid), None),
            Some(InstanceHandle::Container(name)) => (None, Some(name.clone())),
            None => (None, None),
        };
        let index = view.table.index_of(&replica.id.replica);
        let ready = index.and_then(|index| view.ready.get(index.get())?.as_ref());
        let unready = index.and_then(|index| view.unready.get(index.get())?.as_ref());
        let present = ready.or(unready);
        ReplicaStatus {
            name: replica.id.replica.to_string(),
            weight: replica.weight.get(),
            state: replica.state,
            generation: replica.id.generation,
            endpoint: present.map(|instance| instance.endpoint().to_string()),
            pid,
            container,
            in_flight: present.map_or(0, |instance| instance.in_flight()),
            ejected: ready.is_some_and(|instance| instance.is_ejected()),
            slow_start_share: ready.map(|instance| instance.slow_start_share()),
            outdated: *outdated,
            consecutive_deaths: replica.consecutive_deaths,
            degraded: replica.degraded,
            last_error: replica.last_error.clone(),
        }
    };
    let replicas = fleet.replicas.iter().zip(&fleet.instance_handle);
    replicas.zip(&fleet.outdated).map(status).collect()
}

async fn reshape(
    handles: &AdminHandles,
    request: &HttpRequest,
    body: &mut Payload,
) -> Result<HttpResponse, ApiError> {
    let dry_run = match request.query_string() {
        "" | "dry_run=false" => false,
        "dry_run=true" => true,
        other => {
            let wrong = format!("unknown query {other:?}: allowed is dry_run=true");
            return Err(ApiError::Invalid(wrong));
        }
    };
    let example = r#"{"strategy":"maglev","weights":{"Server1":2}}"#;
    let patch: RingPatch = read_json(request, body, handles.body_timeout, example).await?;
    let view = handles.ring.get().await;
    let view = view.map_err(|_| ApiError::Unavailable)?;
    let change = check(patch, view.table.spec(), dry_run).map_err(ApiError::Invalid)?;
    let weights = change.weights.clone();
    let reshaped = handles.ring.reconfigure(change).await;
    let reshaped = reshaped
        .map_err(|_| ApiError::Unavailable)?
        .map_err(ApiError::Reshape)?;
    if !dry_run {
        let recorded = handles.supervisor.ring_reconfigured(RingReconfigured {
            ring: reshaped.ring,
            weights,
        });
        let recorded = recorded.await.map_err(|_| ApiError::Unavailable)?;
        recorded.map_err(ApiError::Change)?;
    }
    Ok(HttpResponse::Ok().json(Envelope::successful(ring_change(reshaped, dry_run))))
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

fn ring_change(reshaped: Reconfigured, dry_run: bool) -> RingChange {
    let ownership = reshaped.ownership.into_iter();
    RingChange {
        dry_run,
        ring: ring_status(&reshaped.ring.spec, reshaped.ring.balance_factor),
        moved_share: reshaped.moved,
        ownership: ownership
            .map(|change| ReplicaOwnership {
                replica: change.replica.to_string(),
                before: change.before,
                after: change.after,
            })
            .collect(),
    }
}
