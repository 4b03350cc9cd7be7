//! Time as the fleet knows it.

use std::time::Duration;

/// A point in time: how long the balancer has been running. `fleet` has no clock.
pub type Time = Duration;
