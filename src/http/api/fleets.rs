//! The state of the balancer and of its fleet.

use std::num::NonZeroU32;

use actix_web::web::{Data, Json, Query};
use actix_web::{HttpRequest, HttpResponse};

use super::conditional::read_response;
use super::error::ApiError;
use super::extract::{FleetPath, PageQuery};
use super::handles::AdminHandles;
use super::params;
use super::ring::ring_status;
use crate::actors::ring_view::RingView;
use crate::actors::supervisor::FleetReport;
use crate::api::{
    DEFAULT_FLEET, DefinitionDrift, FlagsOrRecord, FleetMaintenance, FleetPause, FleetRecordStatus,
    FleetSpares, FleetStatus, ListPage, ReplicaStatus, RuntimeStatus, Status, Timestamp,
};
use crate::fleet::FlagsEffect;
use crate::runtime::InstanceHandle;

/// How the balancer is.
#[utoipa::path(
    get,
    path = "/api/v1/status",
    tag = "balancer",
    responses((status = 200, description = "The balancer and its fleets", body = Status)),
)]
pub async fn status(handles: Data<AdminHandles>) -> Result<Json<Status>, ApiError> {
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        now: Timestamp::now(),
        started_at: handles.started_at,
        max_connections: handles.max_connections,
        fleets: vec![fleet_status(&handles).await?],
    }))
}

/// All fleets.
#[utoipa::path(
    get,
    path = "/api/v1/fleets",
    tag = "fleets",
    params(PageQuery),
    responses((status = 200, description = "A page of them", body = ListPage<FleetStatus>)),
)]
pub async fn list(
    handles: Data<AdminHandles>,
    page: Query<PageQuery>,
) -> Result<Json<ListPage<FleetStatus>>, ApiError> {
    let fleets = vec![fleet_status(&handles).await?];
    page.page(fleets, |fleet| &fleet.name).map(Json)
}

/// One fleet.
#[utoipa::path(
    get,
    path = "/api/v1/fleets/{fleet}",
    tag = "fleets",
    operation_id = "get_fleet",
    params(params::Fleet, params::IfNoneMatch),
    responses((status = 200, description = "The fleet", body = FleetStatus)),
)]
pub async fn get(
    _: FleetPath,
    request: HttpRequest,
    handles: Data<AdminHandles>,
) -> Result<HttpResponse, ApiError> {
    let version = handles.version().await?;
    read_response(&request, version, &fleet_status(&handles).await?)
}

pub async fn fleet_status(handles: &AdminHandles) -> Result<FleetStatus, ApiError> {
    let (fleet, view) = handles.look().await?;
    let pause = match fleet.pause {
        Some(pause) => Some(FleetPause {
            started_at: pause.started_at,
            ends_at: pause.ends_at,
            in_flight: handles.ring.count_in_flight().await?,
            waiting: handles.queue.waiting(),
        }),
        None => None,
    };
    Ok(FleetStatus {
        name: DEFAULT_FLEET.to_owned(),
        desired_replicas: view.table.members().len(),
        ready_replicas: view.ready_count(),
        key: handles.key_source.get().to_string(),
        sticky_cookie: handles.sticky_cookie.clone(),
        max_in_flight: handles.max_in_flight.map(NonZeroU32::get),
        epoch: view.epoch,
        ring: ring_status(view.table.spec(), view.balance_factor),
        runtime: RuntimeStatus {
            kind: fleet.runtime.to_owned(),
            last_error: fleet.runtime_error.clone(),
        },
        record: record_status(&fleet),
        rollout: fleet.rollout.clone(),
        pause,
        spares: (fleet.spares.wanted > 0).then_some(FleetSpares {
            wanted: fleet.spares.wanted,
            ready: fleet.spares.ready,
            starting: fleet.spares.starting,
        }),
        scaling: fleet.scaling.clone(),
        image_watch: fleet.image_watch.clone(),
        maintenance: fleet
            .maintenance
            .as_deref()
            .map(|present| FleetMaintenance {
                since: present.since,
                page_bytes: present.page.len(),
                retry_after_seconds: present.retry_after_seconds,
            }),
        counters: handles.tally.snapshot(),
        replicas: replica_statuses(&fleet, &view),
    })
}

fn record_status(fleet: &FleetReport) -> FleetRecordStatus {
    let record = fleet.record.clone();
    let outdated = fleet.outdated.contains(&true);
    let difference = record.difference;
    let difference = difference.filter(|d| d.effect != FlagsEffect::AtOnce || outdated);
    FleetRecordStatus {
        place: record.place,
        version: record.version,
        definition: record.definition,
        drift: difference.map(|difference| DefinitionDrift {
            in_effect: match difference.effect {
                FlagsEffect::Overruled | FlagsEffect::Rollout(_) => FlagsOrRecord::Record,
                FlagsEffect::AtOnce => FlagsOrRecord::Flags,
            },
            differences: difference.words,
        }),
        last_error: record.last_error,
    }
}

/// Every replica, those on their way in or out included.
pub fn replica_statuses(fleet: &FleetReport, view: &RingView) -> Vec<ReplicaStatus> {
    let status = |((replica, instance_handle), outdated): (
        (&crate::fleet::ReplicaStatus, &Option<InstanceHandle>),
        &bool,
    )| {
        let (pid, container, node) = match instance_handle {
            Some(InstanceHandle::Process(pid)) => (Some(*pid), None, None),
            Some(InstanceHandle::Container(name)) => (None, Some(name.clone()), None),
            Some(InstanceHandle::OnNode { node, container }) => {
                (None, container.clone(), Some(node.clone()))
            }
            None => (None, None, None),
        };
        let index = view.table.index_of(&replica.id.replica);
        let ready = index.and_then(|index| view.ready.get(index.get())?.as_ref());
        let present = view.any_of(&replica.id.replica);
        // One that is being replaced may still be there.
        let present = present.filter(|instance| *instance.id() == replica.id);
        ReplicaStatus {
            name: replica.id.replica.to_string(),
            weight: replica.weight.get(),
            state: replica.state,
            generation: replica.id.generation,
            endpoint: present
                .as_ref()
                .map(|instance| instance.endpoint().to_string()),
            pid,
            container,
            node,
            in_flight: present.as_ref().map_or(0, |instance| instance.in_flight()),
            ejected: ready.is_some_and(|instance| instance.is_ejected()),
            slow_start_share: ready.map(|instance| instance.slow_start_share()),
            outdated: *outdated,
            consecutive_deaths: replica.consecutive_deaths,
            drained: replica.drained,
            degraded: replica.degraded,
            last_error: replica.last_error.clone(),
        }
    };
    let replicas = fleet.replicas.iter().zip(&fleet.instance_handle);
    replicas.zip(&fleet.outdated).map(status).collect()
}
