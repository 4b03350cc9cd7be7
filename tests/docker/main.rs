//! Containers on a real engine. Without one these tests say so and pass, but under `CI=true` they
//! fail.

#![allow(clippy::unwrap_used, missing_docs)]

mod canary;
mod compose;
mod compose_project;
#[path = "../support/docker/mod.rs"]
mod docker;
mod engine_failures;
mod examples;
mod flags_rollouts;
mod fleet_fixture;
mod fleet_record;
mod interventions;
mod like;
mod operator_actions;
mod private_images;
mod rollouts;
mod run_options;
mod runtime;
mod service;
mod service_recreation;
mod service_rollouts;
mod service_spares;
mod shared_fleet;
mod shared_rollouts;
mod spares;
#[path = "../support/mod.rs"]
mod support;

/// What tests take of the machine's engine: a shared fleet or a compose project one permit, since a few are
/// quick at once and many are not; an engine that fails both, for its networks are those of the kernel,
/// too, and so does a build of images.
pub static ENGINE: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(2);
