//! What is known of instances that died, for people and tools.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use super::ring_state::Evicted;
use crate::fleet::{Exit, InstanceId, REFUSES_CONNECTIONS, death_hint};
use crate::ring::ReplicaName;
use crate::runtime::{ExitReport, with_output};
use crate::upstream::{InterruptedRequest, InterruptedRequests};

/// So many deaths are remembered.
const MAX_DEATHS: usize = 100;

/// One heartbeat of an instance, as it came out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProbeResult {
    /// When it was asked (RFC 3339).
    pub at: String,
    /// How long the answer, or the wait for it, took.
    pub took_ms: f64,
    /// Why it was missed, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed: Option<String>,
}

/// The record of one death.
#[derive(Debug, Clone, Serialize)]
pub struct Death {
    /// Which replica.
    pub replica: String,
    /// Which of its instances.
    pub generation: u64,
    /// When it was noticed (RFC 3339).
    pub at: String,
    /// By what it was noticed.
    pub first_sign: String,
    /// What it was, as far as is known by now: how the instance ended if it did so by
    /// itself, else the first sign.
    pub cause: String,
    /// The exit code, if it ended by itself.
    pub exit_code: Option<i32>,
    /// The signal that ended it, if it was not ours.
    pub signal: Option<i32>,
    /// The kernel's out-of-memory killer did it.
    pub out_of_memory: bool,
    /// Requests in flight when it was taken off the ring; none if it was not on it.
    pub in_flight: Option<u32>,
    /// Requests that it had when they broke off: 20 at most, the first first.
    pub requests: Vec<InterruptedRequest>,
    /// Its last heartbeats, the oldest first.
    pub heartbeats: Vec<ProbeResult>,
    /// The last lines that it printed, the oldest first.
    pub log: Vec<String>,
    /// What can be done about it, if that is known.
    pub hint: Option<&'static str>,
    #[serde(skip)]
    id: InstanceId,
    /// Where they are told of.
    #[serde(skip)]
    interrupted: Arc<InterruptedRequests>,
    #[serde(skip)]
    reported: bool,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} died: {}", self.id, self.cause)?;
        if self.cause != self.first_sign {
            write!(f, "; first sign: {}", self.first_sign)?;
        }
        if let Some(in_flight) = self.in_flight {
            write!(f, "; requests in flight: {in_flight}")?;
        }
        if let Some(first) = self.requests.first() {
            let InterruptedRequest {
                method, path, id, ..
            } = first;
            write!(f, ", {method} {path} (id {id}) among them")?;
        }
        let missed = self.heartbeats.iter().rev();
        let missed = missed.take_while(|beat| beat.missed.is_some()).count();
        if missed > 0 {
            write!(f, "; heartbeats missed last: {missed}")?;
        }
        match self.log.last() {
            Some(line) => write!(f, "; last line: {line:?}")?,
            None => f.write_str("; it printed nothing")?,
        }
        match self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// The last deaths, the oldest first.
#[derive(Debug, Default)]
pub struct DeathLog {
    deaths: VecDeque<Death>,
    /// What those that hang held when they were taken off the ring.
    held: HashMap<InstanceId, Evicted>,
    /// Instances run in containers with `--replica-security restricted`.
    restricted: bool,
}

impl DeathLog {
    /// A store of deaths; `restricted` says that instances run in containers with
    /// `--replica-security restricted`.
    pub fn new(restricted: bool) -> Self {
        Self {
            restricted,
            ..Self::default()
        }
    }

    /// An instance has died, or is about to be killed.
    pub fn record(
        &mut self,
        id: &InstanceId,
        first_sign: &str,
        exit: Option<Exit>,
        at: SystemTime,
    ) {
        if self.deaths.len() == MAX_DEATHS {
            self.deaths.pop_front();
        }
        let held = self.held.remove(id);
        self.deaths.push_back(Death {
            replica: id.replica.to_string(),
            generation: id.generation,
            at: humantime::format_rfc3339_millis(at).to_string(),
            first_sign: first_sign.to_owned(),
            cause: first_sign.to_owned(),
            exit_code: None,
            signal: None,
            out_of_memory: false,
            in_flight: held.as_ref().map(|held| held.in_flight),
            requests: Vec::new(),
            interrupted: held.unwrap_or_default().interrupted,
            heartbeats: Vec::new(),
            log: Vec::new(),
            hint: None,
            id: id.clone(),
            reported: false,
        });
        if let Some(exit) = exit {
            self.set_exit(id, &exit);
        }
    }

    /// What requests an instance had when it was taken off the ring.
    pub fn set_requests(&mut self, id: &InstanceId, held: Evicted) {
        match self.find(id) {
            Some(death) => {
                death.in_flight = Some(held.in_flight);
                death.interrupted = held.interrupted;
            }
            None => drop(self.held.insert(id.clone(), held)),
        }
    }

    /// An instance that was off the ring is back, or gone for good.
    pub fn forget_in_flight(&mut self, id: &InstanceId) {
        self.held.remove(id);
    }

    /// How an instance ended. The report may come long after the first sign.
    pub fn set_exit(&mut self, id: &InstanceId, exit: &Exit) {
        let Some(death) = self.find(id) else {
            return;
        };
        let unknown = death.exit_code.is_none() && death.signal.is_none();
        // The engine tells of a lack of memory apart from the end.
        if unknown || (exit.out_of_memory && !death.out_of_memory) {
            death.exit_code = exit.code.or(death.exit_code);
            death.signal = exit.signal.or(death.signal);
            death.out_of_memory |= exit.out_of_memory;
            death.cause = exit.to_string();
        }
        self.set_hint(id);
    }

    fn set_hint(&mut self, id: &InstanceId) {
        let restricted = self.restricted;
        if let Some(death) = self.find(id) {
            let exit = Exit {
                code: death.exit_code,
                signal: death.signal,
                out_of_memory: death.out_of_memory,
            };
            death.hint = death_hint(&exit, &death.log, restricted);
        }
    }

    /// Whether an instance's own end is likely to be reported yet: it refuses connections.
    pub fn awaits_exit(&self, id: &InstanceId) -> bool {
        let mut deaths = self.deaths.iter().rev();
        let death = deaths.find(|death| death.id == *id);
        death.is_some_and(|death| {
            death.first_sign == REFUSES_CONNECTIONS
                && death.exit_code.is_none()
                && death.signal.is_none()
        })
    }

    /// What an instance left behind.
    pub fn set_exit_report(&mut self, id: &InstanceId, words: ExitReport) {
        if let Some(exit) = &words.exit {
            self.set_exit(id, exit);
        }
        if let Some(death) = self.find(id)
            && !words.lines.is_empty()
        {
            death.log = words.lines;
        }
        self.set_hint(id);
    }

    /// How its last heartbeats came out.
    pub fn set_probes(&mut self, id: &InstanceId, beats: Vec<ProbeResult>) {
        if let Some(death) = self.find(id) {
            death.heartbeats = beats;
        }
    }

    /// Whether this is the record of somebody that nobody has been told of.
    pub fn is_unreported(&self, id: &InstanceId) -> bool {
        self.deaths.iter().any(|d| d.id == *id && !d.reported)
    }

    /// The record, for the log, once.
    pub fn report(&mut self, id: &InstanceId) -> Option<String> {
        let death = self.find(id)?;
        let told = std::mem::replace(&mut death.reported, true);
        death.requests = death.interrupted.list();
        (!told).then(|| death.to_string())
    }

    /// All that are remembered.
    pub fn deaths(&self) -> Vec<Death> {
        let now = |death: &Death| Death {
            // Some break off long after the death: those that nothing could tell of it.
            requests: death.interrupted.list(),
            ..death.clone()
        };
        self.deaths.iter().map(now).collect()
    }

    /// Why a replica could not be started, together with what its last instance printed and
    /// what can be done about it. `reason` is the first sign of that instance's death; any
    /// other reason has nothing to do with it and stays as it is.
    pub fn explain_start_failure(&self, replica: &ReplicaName, reason: &str) -> String {
        let mut deaths = self.deaths.iter().rev();
        let death = deaths.find(|death| death.id.replica == *replica);
        let Some(death) = death.filter(|death| death.first_sign == reason) else {
            return reason.to_owned();
        };
        with_output(reason, &death.log, death.hint)
    }

    fn find(&mut self, id: &InstanceId) -> Option<&mut Death> {
        self.deaths.iter_mut().rev().find(|death| death.id == *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(generation: u64) -> InstanceId {
        InstanceId {
            replica: "Server1".parse().unwrap(),
            generation,
        }
    }

    fn held(in_flight: u32) -> Evicted {
        Evicted {
            in_flight,
            ..Evicted::default()
        }
    }

    fn killed() -> Exit {
        Exit {
            signal: Some(9),
            ..Exit::default()
        }
    }

    #[test]
    fn a_refused_connection_is_the_first_sign_and_the_report_names_the_cause() {
        let mut death_log = DeathLog::default();
        death_log.record(&id(1), "refuses connections", None, SystemTime::UNIX_EPOCH);
        death_log.set_requests(&id(1), held(3));
        death_log.set_exit_report(
            &id(1),
            ExitReport {
                exit: None,
                lines: vec!["hello".to_owned(), "oh no".to_owned()],
            },
        );
        assert_eq!(death_log.deaths()[0].cause, "refuses connections");
        assert!(death_log.awaits_exit(&id(1)) && !death_log.awaits_exit(&id(2)));
        death_log.set_exit(&id(1), &killed());
        // What comes later changes nothing, but for a lack of memory.
        death_log.set_exit(&id(1), &Exit::default());
        death_log.set_exit(&id(2), &killed());
        assert_eq!(
            death_log.report(&id(1)).unwrap(),
            "Server1 (generation 1) died: killed by signal 9; first sign: refuses connections; \
             requests in flight: 3; last line: \"oh no\""
        );
        assert_eq!(death_log.report(&id(1)), None);
        assert!(!death_log.is_unreported(&id(1)));
        let lack = Exit {
            out_of_memory: true,
            ..killed()
        };
        death_log.set_exit(&id(1), &lack);
        let death = &death_log.deaths()[0];
        assert_eq!(
            (death.cause.as_str(), death.signal),
            ("out of memory", Some(9))
        );
        assert_eq!(death.at, "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn what_a_hung_instance_held_is_remembered_until_it_dies_or_comes_back() {
        let mut death_log = DeathLog::default();
        death_log.set_requests(&id(1), held(7));
        death_log.set_requests(&id(2), held(8));
        death_log.forget_in_flight(&id(2));
        for generation in [1, 2] {
            death_log.record(&id(generation), "hung", None, SystemTime::UNIX_EPOCH);
        }
        let counts: Vec<_> = death_log.deaths().iter().map(|d| d.in_flight).collect();
        assert_eq!(counts, [Some(7), None]);
        assert!(death_log.held.is_empty());
    }

    #[test]
    fn start_failure_tells_what_was_printed_and_what_to_do() {
        let mut death_log = DeathLog::new(true);
        let ended = Exit {
            code: Some(0),
            ..Exit::default()
        };
        let first_sign = ended.to_string();
        death_log.record(&id(1), &first_sign, Some(ended), SystemTime::UNIX_EPOCH);
        assert!(!death_log.awaits_exit(&id(1)));
        let lines = ["one", "two", "three", "", "bye"]
            .map(str::to_owned)
            .to_vec();
        death_log.set_exit_report(&id(1), ExitReport { exit: None, lines });
        let replica = id(1).replica;
        let told = death_log.explain_start_failure(&replica, &first_sign);
        assert!(
            told.starts_with(
                "exited with code 0; it printed: \"two\", \"three\", \"bye\"; a replica has to stay"
            ),
            "{told}"
        );
        assert!(
            death_log.deaths()[0]
                .to_string()
                .contains("a replica has to stay")
        );
        for (replica, reason) in [
            ("Server1", "no such image"),
            ("Server2", first_sign.as_str()),
        ] {
            let replica = replica.parse().unwrap();
            assert_eq!(death_log.explain_start_failure(&replica, reason), reason);
        }
    }

    #[test]
    fn only_so_many_are_remembered() {
        let mut death_log = DeathLog::default();
        for generation in 0..250 {
            death_log.record(&id(generation), "x", Some(killed()), SystemTime::UNIX_EPOCH);
        }
        let deaths = death_log.deaths();
        assert_eq!(deaths.len(), MAX_DEATHS);
        assert_eq!(deaths[0].generation, 150);
    }
}
