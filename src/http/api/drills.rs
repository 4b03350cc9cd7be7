//! `/api/v1/fleets/{fleet}/drills`: faults injected into replicas of this balancer.

use std::collections::BTreeSet;
use std::time::Duration;

use actix_web::web::{Data, Json, Path, Query};
use actix_web::{HttpRequest, HttpResponse};

use super::drill_run;
use super::error::ApiError;
use super::extract::{FleetPath, JsonBody, NumberPageQuery};
use super::fleets::replica_statuses;
use super::handles::AdminHandles;
use super::node_drill;
use super::params;
use super::prefer;
use crate::api::{Drill, DrillFault, ListPage, NewDrill, Problem, ReplicaState, ReplicaStatus};
use crate::fault_injection::{Fault, FaultTarget};

/// How long a fault that passes lasts by default, and at most.
const DEFAULT_DURATION: Duration = Duration::from_secs(2);
const MAX_DURATION: Duration = Duration::from_secs(60);

/// The last drills.
#[utoipa::path(
    get,
    path = "/api/v1/fleets/{fleet}/drills",
    tag = "drills",
    operation_id = "list_drills",
    params(params::Fleet, NumberPageQuery),
    responses((status = 200, description = "A page of them", body = ListPage<Drill>)),
)]
pub async fn list(
    _: FleetPath,
    handles: Data<AdminHandles>,
    page: Query<NumberPageQuery>,
) -> Result<Json<ListPage<Drill>>, ApiError> {
    page.page(handles.drills.all(), |drill| drill.id).map(Json)
}

/// One of them.
#[utoipa::path(
    get,
    path = "/api/v1/fleets/{fleet}/drills/{id}",
    tag = "drills",
    operation_id = "get_drill",
    params(params::Fleet, params::Number),
    responses((status = 200, description = "The drill", body = Drill)),
)]
pub async fn get(
    _: FleetPath,
    handles: Data<AdminHandles>,
    path: Path<(String, String)>,
) -> Result<Json<Drill>, ApiError> {
    let mut drills = handles.drills.all().into_iter();
    let drill = drills.find(|drill| drill.id.to_string() == path.1);
    drill
        .map(Json)
        .ok_or_else(|| ApiError::UnknownDrill(path.1.clone()))
}

/// Injects a fault into a replica that the balancer has started, or drains a node of a Swarm until the
/// replicas that ran there are ready elsewhere; answered when they have recovered.
#[utoipa::path(
    post,
    path = "/api/v1/fleets/{fleet}/drills",
    tag = "drills",
    operation_id = "start_drill",
    params(params::Fleet, params::Prefer),
    request_body(content = NewDrill, example = json!({"fault": "kill"})),
    responses(
        (status = 200, description = "What became of it", body = Drill),
        (status = 409, description = "Another drill runs, or there is nothing to inject it into", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn start(
    _: FleetPath,
    request: HttpRequest,
    handles: Data<AdminHandles>,
    JsonBody(new): JsonBody<NewDrill>,
) -> Result<HttpResponse, ApiError> {
    let fault = match read_fault(&new).map_err(ApiError::Contradiction)? {
        DrillOf::Node(node) => return drain(&request, &handles, node).await,
        DrillOf::Replica(fault) => fault,
    };
    let (replica, target) = choose(&handles, new.replica).await?;
    let run = handles.drills.begin(new.fault, fault, &replica)?;
    let location = format!("/api/v1/fleets/default/drills/{}", run.id());
    let supervisor = handles.supervisor.clone();
    prefer::run(&request, location, async move {
        let drill = drill_run::carry_out(run, &supervisor, &target, fault).await;
        Ok(HttpResponse::Ok().json(drill))
    })
    .await
}

/// What a drill is of.
enum DrillOf {
    /// A node is drained.
    Node(String),
    Replica(Fault),
}

/// Drains a node, and answers when the replicas that ran there are ready elsewhere.
async fn drain(
    request: &HttpRequest,
    handles: &AdminHandles,
    node: String,
) -> Result<HttpResponse, ApiError> {
    let (fleet, view) = handles.look().await?;
    let all = replica_statuses(&fleet, &view);
    let there = all
        .iter()
        .filter(|replica| replica.node.as_ref() == Some(&node));
    let replicas: Vec<_> = there.map(|replica| replica.name.clone()).collect();
    let nodes: BTreeSet<_> = all
        .iter()
        .filter_map(|replica| replica.node.as_deref())
        .collect();
    if replicas.is_empty() && !nodes.is_empty() {
        let nodes = nodes.into_iter().collect::<Vec<_>>().join(", ");
        let wrong = format!("no replica runs on node {node}; replicas run on {nodes}");
        return Err(ApiError::NoDrillTarget(wrong));
    }
    let run = handles.drills.begin_drain(&node)?;
    let location = format!("/api/v1/fleets/default/drills/{}", run.id());
    let supervisor = handles.supervisor.clone();
    prefer::run(request, location, async move {
        let drill = node_drill::carry_out(run, &supervisor, &node, replicas).await?;
        Ok(HttpResponse::Ok().json(drill))
    })
    .await
}

fn read_fault(new: &NewDrill) -> Result<DrillOf, String> {
    let lasts = new.lasts.as_deref().map(humantime::parse_duration);
    let lasts = lasts.transpose().map_err(|error| format!("for: {error}"))?;
    if let (DrillFault::Kill, Some(_)) = (new.fault, lasts) {
        return Err("for: a kill does not last".to_owned());
    }
    match (new.fault, &new.node) {
        (DrillFault::Drain, None) => return Err("drain: which node?".to_owned()),
        (DrillFault::Drain, Some(_)) if new.replica.is_some() || lasts.is_some() => {
            return Err("drain: a node alone, until its replicas are ready elsewhere".to_owned());
        }
        (DrillFault::Drain, Some(node)) => return Ok(DrillOf::Node(node.clone())),
        (_, Some(_)) => return Err("node: it can only be drained".to_owned()),
        (_, None) => {}
    }
    let lasts = lasts.unwrap_or(DEFAULT_DURATION);
    if lasts.as_millis() == 0 || lasts > MAX_DURATION {
        return Err("for: 1ms to 60s are allowed".to_owned());
    }
    Ok(DrillOf::Replica(match new.fault {
        DrillFault::Pause => Fault::Pause(lasts),
        DrillFault::Delay => Fault::Delay(lasts),
        DrillFault::Kill | DrillFault::Drain => Fault::Kill,
    }))
}

/// The replica of this name, or one at random of those that are ready and can be harmed from here.
async fn choose(
    handles: &AdminHandles,
    name: Option<String>,
) -> Result<(ReplicaStatus, FaultTarget), ApiError> {
    let (fleet, view) = handles.look().await?;
    let replicas = replica_statuses(&fleet, &view);
    if let Some(name) = name {
        let mut replicas = replicas.into_iter();
        let replica = replicas.find(|replica| replica.name == name);
        let replica = replica.ok_or(ApiError::UnknownReplica(name))?;
        let target = FaultTarget::find(&replica, None).await;
        let target = target.map_err(|error| ApiError::NoDrillTarget(error.to_string()))?;
        return Ok((replica, target));
    }
    let mut ready = replicas;
    ready.retain(|replica| replica.state == ReplicaState::Ready);
    fastrand::shuffle(&mut ready);
    let mut refused = "no replica is ready".to_owned();
    for replica in ready {
        match FaultTarget::find(&replica, None).await {
            Ok(target) => return Ok((replica, target)),
            Err(error) => refused = error.to_string(),
        }
    }
    Err(ApiError::NoDrillTarget(refused))
}
