//! The fleet record in `GET /status`.

use serde::Serialize;

use crate::actors::supervisor::FleetReport;

#[derive(Debug, Serialize)]
pub(super) struct FleetStatus {
    /// Where the record is kept: a container or a file; null: nowhere.
    record: Option<String>,
    /// Counts its changes.
    version: u64,
    /// A hash of what replicas are started as.
    definition: String,
    /// How the flags differ from those that the record came from, as long as that matters: null
    /// once every instance follows the flags.
    differs: Option<Differs>,
    /// Why the last change could not be written, while that is so.
    last_error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Differs {
    /// Each difference in words, the record first.
    differences: Vec<String>,
    /// Which of the two holds: `record` if other balancers serve the fleet, else `flags`.
    holds: &'static str,
}

impl FleetStatus {
    pub(super) fn of(report: &FleetReport) -> Self {
        let record = report.record.clone();
        let outdated = report.outdated.contains(&true);
        let difference = record.difference;
        let difference = difference.filter(|difference| difference.overruled || outdated);
        Self {
            record: record.place,
            version: record.version,
            definition: record.definition,
            differs: difference.map(|difference| Differs {
                holds: match difference.overruled {
                    true => "record",
                    false => "flags",
                },
                differences: difference.words,
            }),
            last_error: record.last_error,
        }
    }
}
