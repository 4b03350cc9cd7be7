//! Labels of services, and of their containers. Those of a service can be changed while its task
//! runs; those of its container begin another task.

/// The fleet of a service, network or config object.
pub(super) const FLEET: &str = "io.ringmaster.fleet";
pub(super) const REPLICA: &str = "io.ringmaster.replica";
pub(super) const GENERATION: &str = "io.ringmaster.generation";
pub(super) const WEIGHT: &str = "io.ringmaster.weight";
pub(super) const ORDINAL: &str = "io.ringmaster.ordinal";
/// The port it listens on: the setting may have changed when the task is adopted.
pub(super) const PORT: &str = "io.ringmaster.port";
/// The hash of the definition that it was started by.
pub(super) const DEFINITION: &str = "io.ringmaster.definition";
/// What a service is to its replica: see [`super::service::ServiceRole`]. A container has it only if it
/// plays none, which never changes.
pub(super) const ROLE: &str = "io.ringmaster.role";
/// Marks a config object as a fleet's record; its value is the version.
pub(super) const RECORD: &str = "io.ringmaster.record";
/// The record itself.
pub(super) const RECORD_JSON: &str = "io.ringmaster.record.json";
/// The load of that balancer, and the seconds since its last request.
pub(super) const LOAD: &str = "io.ringmaster.load";
pub(super) const IDLE: &str = "io.ringmaster.idle";
/// Marks a node that a balancer has drained for a drill; its value is the name of that one's presence.
pub(super) const DRAINED_BY: &str = "io.ringmaster.drained-by";
/// Marks a config object as the presence of a balancer; its value counts up while that lives.
pub(super) const BALANCER: &str = "io.ringmaster.balancer";
