//! Maintenance: every request is answered with 503 and a page. Part of the fleet record, so that it
//! outlives the balancer.

use serde::{Deserialize, Serialize};

use crate::api::Timestamp;

/// The largest page: it is in the record, and in every answer.
pub const MAX_PAGE: usize = 64 * 1024;

/// The page of those who have none.
pub const DEFAULT_PAGE: &str = "<!doctype html>
<html lang=\"en\"><meta charset=\"utf-8\"><title>Maintenance</title>
<h1>Down for maintenance</h1>
<p>We will be back soon.</p>
</html>
";

/// What requests are answered with during a maintenance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintenance {
    /// Since when.
    pub since: Timestamp,
    /// The page, HTML.
    pub page: String,
    /// After how many seconds clients are to come again.
    pub retry_after_seconds: u32,
}
