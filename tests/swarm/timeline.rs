//! Where the time goes between a fault and a replica's return, as a balancer's log and the engine of the replica's
//! node have it.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::fixture::{SwarmBalancer, SwarmFleet};

/// The moments of a replica's return: what the log says, of the instance that is lost or of the next one.
const MOMENTS: [(&str, &str); 7] = [
    ("first doubt", " missed a heartbeat"),
    ("off the ring", " is evicted"),
    ("start ordered", "starting "),
    ("has a node", " has a node"),
    ("runs", " runs"),
    (
        "started by another balancer",
        " has been started by another",
    ),
    ("ready", " is ready at"),
];

/// The moments of one replica's return.
pub struct Timeline {
    replica: String,
    moments: Vec<(&'static str, Duration)>,
}

impl Timeline {
    /// Those since the fault; none for what is not known.
    pub fn of(
        fleet: &SwarmFleet,
        balancer: &SwarmBalancer,
        replica: &str,
        from: SystemTime,
    ) -> Self {
        let log = balancer.dated_log();
        let name = format!("{replica} (generation ");
        let lines: Vec<_> = log
            .iter()
            .filter_map(|(at, line)| Some((at.duration_since(from).ok()?, line)))
            .filter(|(_, line)| line.contains(&name))
            .collect();
        let moments = MOMENTS.iter().filter_map(|(what, text)| {
            let line = lines.iter().find(|(_, line)| line.contains(text))?;
            Some((*what, line.0))
        });
        // It may have been replaced meanwhile.
        let container = fleet
            .try_place(replica)
            .and_then(|(node, container)| fleet.swarm.try_inspect(node, "container", &container))
            .unwrap_or_default();
        let of_container = [
            ("its container is made", &container["Created"]),
            ("and started", &container["State"]["StartedAt"]),
        ];
        let of_container = of_container.into_iter().filter_map(|(what, at)| {
            let at = humantime::parse_rfc3339(at.as_str()?).ok()?;
            Some((what, at.duration_since(from).ok()?))
        });
        let mut moments: Vec<_> = moments.chain(of_container).collect();
        moments.sort_by_key(|(_, at)| *at);
        Self {
            replica: replica.to_owned(),
            moments,
        }
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.replica)?;
        for (place, (what, at)) in self.moments.iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            write!(f, "{comma} {what} {:.2} s", at.as_secs_f64())?;
        }
        Ok(())
    }
}
