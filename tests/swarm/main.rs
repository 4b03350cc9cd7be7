//! Services of a real Swarm of three nodes on this machine. It takes root and the script `swarm-nodes`:
//! `RINGMASTER_SWARM_NODES` names it, else it is looked for beside this repository. Without it these
//! tests say so and pass, but under `CI=true` they fail.

#![allow(clippy::unwrap_used, missing_docs)]

mod canary;
mod chaos;
#[path = "../support/docker/mod.rs"]
mod docker;
mod drills;
mod faults;
mod figures;
mod fixture;
mod images;
mod lifecycle;
mod load;
mod nodes;
mod polling;
mod rebalance;
mod rollouts;
mod scaling;
mod shared;
mod stack;
#[path = "../support/mod.rs"]
mod support;
mod timeline;
mod workers;
