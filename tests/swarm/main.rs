//! Services of a real Swarm of three nodes on this machine. It takes root and the script `swarm-nodes`:
//! `RINGMASTER_SWARM_NODES` names it, else it is looked for beside this repository. Without it these
//! tests say so and pass, but under `CI=true` they fail.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../support/docker/mod.rs"]
mod docker;
mod faults;
mod figures;
mod fixture;
mod lifecycle;
mod load;
mod nodes;
mod rollouts;
mod shared;
mod stack;
#[path = "../support/mod.rs"]
mod support;
