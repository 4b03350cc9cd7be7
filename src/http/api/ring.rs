//! `/api/v1/fleets/{fleet}/ring`: how it is built, and changes of it.

use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Deserializer};
use utoipa::IntoParams;

use super::conditional::{self, changed_response, read_response};
use super::error::ApiError;
use super::extract::{DryRunQuery, FleetPath, JsonBody, value};
use super::handles::AdminHandles;
use super::params;
use crate::actors::ring_state::{ReconfigureRing, Reconfigured};
use crate::actors::supervisor::RingReconfigured;
use crate::api::{ReplicaOwnership, RingChange, RingDetails, RingMember, RingPatch, RingStatus};
use crate::ring::{
    BalanceFactor, InvalidSpec, MemberIndex, Ownership, ReplicaName, RingSpec, Slot, SpecChange,
    Weight,
};

/// The most slots whose owners are listed.
const MAX_SAMPLES: u32 = 4096;

/// How much of the ring is asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RingQuery {
    /// Of how many evenly spaced slots to list the owners.
    #[serde(default, deserialize_with = "samples")]
    #[param(maximum = 4096, default = 0)]
    samples: Option<u32>,
}

fn samples<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    value(from, "samples", "from 0 to 4096")
}

/// How the ring is built, and what each replica owns.
#[utoipa::path(
    get,
    path = "/api/v1/fleets/{fleet}/ring",
    tag = "ring",
    operation_id = "get_ring",
    params(params::Fleet, RingQuery, params::IfNoneMatch),
    responses((status = 200, description = "The ring", body = RingDetails)),
)]
pub async fn get(
    _: FleetPath,
    request: HttpRequest,
    handles: Data<AdminHandles>,
    query: Query<RingQuery>,
) -> Result<HttpResponse, ApiError> {
    let version = handles.version().await?;
    let view = handles.ring.get().await?;
    let (table, slots) = (&view.table, view.table.spec().slots());
    let samples = query.samples.unwrap_or_default();
    if samples > MAX_SAMPLES {
        let wrong = format!("samples must be from 0 to {MAX_SAMPLES}");
        return Err(ApiError::InvalidQuery(wrong));
    }
    let ownership = Ownership::by_slots(table);
    let member = |index| RingMember {
        name: table.member(index).name.to_string(),
        weight: table.member(index).weight.get(),
        slots: ownership.owned(index),
    };
    let samples = samples.min(slots);
    let sampled = |n: u32| u64::from(n) * u64::from(slots) / u64::from(samples);
    // Below `slots`, which has 32 bits.
    let owner = |n: u32| {
        table
            .owner(Slot::new(sampled(n) as u32))
            .map(MemberIndex::get)
    };
    let details = RingDetails {
        epoch: view.epoch,
        ring: ring_status(table.spec(), view.balance_factor),
        replicas: table.indices().map(member).collect(),
        owners: (0..samples).filter_map(owner).collect(),
    };
    read_response(&request, version, &details)
}

/// Changes strategy, slots, virtual servers, weights or balance factor, or computes what that
/// would do.
#[utoipa::path(
    patch,
    path = "/api/v1/fleets/{fleet}/ring",
    tag = "ring",
    operation_id = "change_ring",
    params(params::Fleet, DryRunQuery, params::IfMatch),
    request_body(content = RingPatch, example = json!({"weights": {"Server1": 2}})),
    responses((status = 200, description = "What it has done, or would do", body = RingChange)),
)]
pub async fn patch(
    _: FleetPath,
    request: HttpRequest,
    handles: Data<AdminHandles>,
    query: Query<DryRunQuery>,
    JsonBody(patch): JsonBody<RingPatch>,
) -> Result<HttpResponse, ApiError> {
    let expected = conditional::expected(&request)?;
    let view = handles.ring.get().await?;
    let change = check(patch, view.table.spec(), query.dry_run)?;
    let is_change = !query.dry_run;
    let accepted = handles.supervisor.compare_version(expected, is_change);
    accepted.await??;
    let reconfigured = apply(&handles, change).await?;
    let version = handles.version().await?;
    let change = ring_change(reconfigured, query.dry_run);
    Ok(changed_response(version, &change))
}

/// Changes the ring, and the fleet record with it.
pub async fn apply(
    handles: &AdminHandles,
    change: ReconfigureRing,
) -> Result<Reconfigured, ApiError> {
    let (dry_run, weights) = (change.dry_run, change.weights.clone());
    let reconfigured = handles.ring.reconfigure(change).await??;
    if !dry_run {
        let recorded = handles.supervisor.ring_reconfigured(RingReconfigured {
            ring: reconfigured.ring,
            weights,
        });
        recorded.await??;
    }
    Ok(reconfigured)
}

/// The change that gives one replica another weight.
pub fn weight_change(name: &str, weight: u32) -> Result<ReconfigureRing, ApiError> {
    let weights = vec![weight_of(name, weight).map_err(ApiError::InvalidBody)?];
    Ok(ReconfigureRing {
        spec: SpecChange::default(),
        balance_factor: None,
        weights,
        dry_run: false,
    })
}

fn weight_of(name: &str, weight: u32) -> Result<(ReplicaName, Weight), String> {
    let valid = Weight::new(weight).ok_or_else(|| {
        let most = Weight::MAX;
        format!("the weight of {name} is {weight}: 1 to {most} are allowed")
    })?;
    Ok((ReplicaName::from_address(name), valid))
}

/// A bound of the load, or none.
pub fn read_factor(factor: Option<f64>) -> Result<Option<BalanceFactor>, String> {
    let factor = factor.map(BalanceFactor::new).transpose();
    factor.map_err(|error| format!("balance_factor: {error}"))
}

/// How the ring is built.
pub fn ring_status(spec: &RingSpec, balance_factor: Option<BalanceFactor>) -> RingStatus {
    RingStatus {
        strategy: spec.strategy().name().to_owned(),
        slots: spec.slots(),
        virtual_servers: spec.virtual_servers(),
        balance_factor: balance_factor.map(BalanceFactor::get),
    }
}

fn check(patch: RingPatch, present: &RingSpec, dry_run: bool) -> Result<ReconfigureRing, ApiError> {
    let invalid = |field: &str, wrong: String| ApiError::InvalidBody(format!("{field}: {wrong}"));
    let strategy = patch.strategy.as_deref().map(str::parse).transpose();
    let strategy = strategy.map_err(|error: InvalidSpec| invalid("strategy", error.to_string()))?;
    let spec = SpecChange {
        strategy,
        slots: patch.slots,
        virtual_servers: patch.virtual_servers,
    };
    // By the time of its turn another change may have come before: what cannot be now is refused now.
    let possible = present.changed(spec);
    possible.map_err(|error| ApiError::InvalidRing(error.to_string()))?;
    let balance_factor = patch.balance_factor.map(read_factor).transpose();
    let balance_factor = balance_factor.map_err(ApiError::InvalidBody)?;
    let weights = patch.weights.iter();
    let weights = weights.map(|(name, weight)| weight_of(name, *weight));
    Ok(ReconfigureRing {
        spec,
        balance_factor,
        weights: weights
            .collect::<Result<_, _>>()
            .map_err(ApiError::InvalidBody)?,
        dry_run,
    })
}

fn ring_change(reconfigured: Reconfigured, dry_run: bool) -> RingChange {
    let ownership = reconfigured.ownership.into_iter();
    RingChange {
        dry_run,
        ring: ring_status(&reconfigured.ring.spec, reconfigured.ring.balance_factor),
        moved_share: reconfigured.moved,
        ownership: ownership
            .map(|change| ReplicaOwnership {
                replica: change.replica.to_string(),
                before: change.before,
                after: change.after,
            })
            .collect(),
    }
}
