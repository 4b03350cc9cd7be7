//! What the screen shows.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::keys::TopKey;
use super::load::{LoadSample, TopLoad};
use crate::api::{FleetStatus, ReplicaEvent, ReplicaStatus, Status, Timestamp};
use crate::ctl::output::{coarse, span};
use crate::ctl::status::note;
use crate::ring_cli::text::sort_key;

/// Rates and latencies are of this long.
const WINDOW: Duration = Duration::from_secs(10);

/// As many events as the largest terminal has rows.
const MAX_EVENTS: usize = 200;

const PAGE: usize = 10;

/// What the screen shows.
pub struct TopModel {
    url: String,
    fleet: String,
    status: Option<Status>,
    samples: VecDeque<LoadSample>,
    /// The newest first.
    pub events: VecDeque<ReplicaEvent>,
    /// Why the balancer does not answer, and since when.
    failure: Option<(String, Instant)>,
    /// The first replica that is shown.
    pub first: usize,
}

/// One replica's row.
pub struct TopRow<'s> {
    pub replica: &'s ReplicaStatus,
    pub load: TopLoad,
    pub restarts: f64,
    pub note: String,
}

impl TopModel {
    /// A screen about one fleet of a balancer.
    pub fn new(url: &str, fleet: &str) -> Self {
        Self {
            url: url.to_owned(),
            fleet: fleet.to_owned(),
            status: None,
            samples: VecDeque::new(),
            events: VecDeque::new(),
            failure: None,
            first: 0,
        }
    }

    /// Takes a state of the balancer.
    pub fn take_state(&mut self, status: Status, load: LoadSample) {
        if (self.samples.back()).is_some_and(|last| load.is_of_another_start(last)) {
            self.samples.clear();
        }
        // The first one is the last that is old enough.
        let newest = load.at;
        while (self.samples.get(1)).is_some_and(|second| newest - second.at >= WINDOW) {
            self.samples.pop_front();
        }
        self.samples.push_back(load);
        self.status = Some(status);
        self.failure = None;
    }

    /// Takes an event.
    pub fn take_event(&mut self, event: ReplicaEvent) {
        self.events.push_front(event);
        self.events.truncate(MAX_EVENTS);
    }

    /// Notes that the balancer does not answer.
    pub fn take_failure(&mut self, why: String) {
        let since = self.failure.take().map(|(_, since)| since);
        self.failure = Some((why, since.unwrap_or_else(Instant::now)));
    }

    /// Moves the table of replicas.
    pub fn scroll(&mut self, key: TopKey) {
        let last = self
            .fleet()
            .map_or(0, |fleet| fleet.replicas.len().saturating_sub(1));
        self.first = match key {
            TopKey::Up => self.first.saturating_sub(1),
            TopKey::Down => self.first + 1,
            TopKey::PageUp => self.first.saturating_sub(PAGE),
            TopKey::PageDown => self.first + PAGE,
            TopKey::Quit => self.first,
        }
        .min(last);
    }

    /// The fleet, if the balancer has it.
    pub fn fleet(&self) -> Option<&FleetStatus> {
        let mut fleets = self.status.as_ref()?.fleets.iter();
        fleets.find(|fleet| fleet.name == self.fleet)
    }

    /// The balancer's clock when it was asked last.
    pub fn now(&self) -> Timestamp {
        self.status
            .as_ref()
            .map_or_else(Timestamp::now, |status| status.now)
    }

    /// The balancer in a line.
    pub fn title(&self) -> String {
        let Some(status) = &self.status else {
            return self.url.clone();
        };
        let up = span(status.now, status.started_at);
        let ready = match self.fleet() {
            Some(fleet) => format!(
                "{} of {} ready",
                fleet.ready_replicas, fleet.desired_replicas
            ),
            None => "no such fleet".to_owned(),
        };
        format!(
            "Ringmaster {}  {}  up {up}  fleet {}: {ready}",
            status.version, self.url, self.fleet
        )
    }

    /// Why what is shown is old, and how old.
    pub fn failure(&self) -> Option<String> {
        let (why, since) = self.failure.as_ref()?;
        Some(format!("no answer for {}: {why}", coarse(since.elapsed())))
    }

    /// The load of the whole fleet.
    pub fn load(&self) -> TopLoad {
        self.load_of(None)
    }

    /// A row for each replica, by name.
    pub fn rows(&self) -> Vec<TopRow<'_>> {
        let Some(fleet) = self.fleet() else {
            return Vec::new();
        };
        let mut replicas: Vec<_> = fleet.replicas.iter().collect();
        replicas.sort_by_key(|replica| sort_key(&replica.name));
        replicas
            .into_iter()
            .map(|replica| TopRow {
                load: self.load_of(Some(&replica.name)),
                restarts: (self.samples.back()).map_or(0.0, |last| last.restarts(&replica.name)),
                note: note(replica),
                replica,
            })
            .collect()
    }

    fn load_of(&self, replica: Option<&str>) -> TopLoad {
        match (self.samples.front(), self.samples.back()) {
            (Some(first), Some(last)) => last.since(first, replica),
            _ => TopLoad::default(),
        }
    }
}
