//! Whether requests are let through to the replicas, whatever these could take: an operator can have
//! them held, or answered with a page.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::fleet::Maintenance;

/// How many steps the release of held requests has, and how long they take together.
pub const RELEASE_STEPS: u32 = 50;
pub const RELEASE_TIME: Duration = Duration::from_secs(1);

/// Whether requests are let through to the replicas. Part of each epoch of the ring, so that every
/// thread has it where it has the replicas.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Admission {
    /// They are.
    #[default]
    Open,
    /// They wait: the fleet is paused, until this time at the latest.
    Held(Instant),
    /// They are answered with this.
    Refused(Arc<Maintenance>),
}

impl Admission {
    /// Whether requests go to replicas.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }
}
