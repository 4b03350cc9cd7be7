//! What is known of instances that died, for people and tools.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::ring_state::Evicted;
use crate::api::{Death, Heartbeat, InterruptedRequest};
use crate::fleet::{DeathCause, Exit, InstanceId, death_hint};
use crate::ring::ReplicaName;
use crate::runtime::{ExitReport, with_output};
use crate::upstream::InterruptedRequests;

/// How many deaths are kept.
const MAX_DEATHS: usize = 100;

/// The record of one death.
#[derive(Debug, Clone)]
struct DeathRecord {
    death: Death,
    id: InstanceId,
    first_sign: DeathCause,
    /// The requests that broke off, as they become known.
    interrupted: Arc<InterruptedRequests>,
    /// Whether the log has it.
    reported: bool,
}

impl fmt::Display for DeathRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let death = &self.death;
        write!(f, "{} died: {}", self.id, death.cause)?;
        if death.cause != death.detected_by {
            write!(f, "; detected by: {}", death.detected_by)?;
        }
        if let Some(in_flight) = death.in_flight {
            write!(f, "; requests in flight: {in_flight}")?;
        }
        if let Some(first) = death.requests.first() {
            let InterruptedRequest {
                method, path, id, ..
            } = first;
            write!(f, ", {method} {path} (id {id}) among them")?;
        }
        let failed = death.heartbeats.iter().rev();
        let failed = failed
            .take_while(|heartbeat| heartbeat.error.is_some())
            .count();
        if failed > 0 {
            write!(f, "; heartbeats failed last: {failed}")?;
        }
        match death.log.last() {
            Some(line) => write!(f, "; last line: {line:?}")?,
            None => f.write_str("; it printed nothing")?,
        }
        match &death.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// The last deaths, the oldest first.
#[derive(Debug, Default)]
pub struct DeathLog {
    records: VecDeque<DeathRecord>,
    /// Deaths since the balancer's start.
    count: u64,
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
    pub fn record(&mut self, id: &InstanceId, first_sign: DeathCause, at: SystemTime) {
        let detected_by = first_sign.to_string();
        if self.records.len() == MAX_DEATHS {
            self.records.pop_front();
        }
        let held = self.held.remove(id);
        self.count += 1;
        self.records.push_back(DeathRecord {
            death: Death {
                id: self.count,
                replica: id.replica.to_string(),
                generation: id.generation,
                at: at.into(),
                detected_by: detected_by.clone(),
                cause: detected_by,
                exit_code: None,
                signal: None,
                out_of_memory: false,
                in_flight: held.as_ref().map(|held| held.in_flight),
                requests: Vec::new(),
                heartbeats: Vec::new(),
                log: Vec::new(),
                hint: None,
            },
            id: id.clone(),
            first_sign: first_sign.clone(),
            interrupted: held.unwrap_or_default().interrupted,
            reported: false,
        });
        if let Some(exit) = first_sign.exit() {
            self.set_exit(id, exit);
        }
    }

    /// What requests an instance had when it was evicted.
    pub fn set_requests(&mut self, id: &InstanceId, held: Evicted) {
        match self.find(id) {
            Some(record) => {
                record.death.in_flight = Some(held.in_flight);
                record.interrupted = held.interrupted;
            }
            None => drop(self.held.insert(id.clone(), held)),
        }
    }

    /// An instance that was evicted is ready again, or gone for good.
    pub fn forget_in_flight(&mut self, id: &InstanceId) {
        self.held.remove(id);
    }

    /// How an instance ended. The report may come long after its death was detected.
    pub fn set_exit(&mut self, id: &InstanceId, exit: &Exit) {
        let Some(DeathRecord { death, .. }) = self.find(id) else {
            return;
        };
        let unknown = death.exit_code.is_none() && death.signal.is_none();
        // The engine reports a lack of memory apart from the end.
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
        if let Some(DeathRecord { death, .. }) = self.find(id) {
            let exit = Exit {
                code: death.exit_code,
                signal: death.signal,
                out_of_memory: death.out_of_memory,
            };
            death.hint = death_hint(&exit, &death.log, restricted).map(str::to_owned);
        }
    }

    /// Whether an instance's own end is likely to be reported yet: it refuses connections.
    pub fn awaits_exit(&self, id: &InstanceId) -> bool {
        let mut records = self.records.iter().rev();
        let record = records.find(|record| record.id == *id);
        record.is_some_and(
            |DeathRecord {
                 death, first_sign, ..
             }| {
                *first_sign == DeathCause::RefusesConnections
                    && death.exit_code.is_none()
                    && death.signal.is_none()
            },
        )
    }

    /// What an instance left behind.
    pub fn set_exit_report(&mut self, id: &InstanceId, words: ExitReport) {
        if let Some(exit) = &words.exit {
            self.set_exit(id, exit);
        }
        if let Some(record) = self.find(id)
            && !words.lines.is_empty()
        {
            record.death.log = words.lines;
        }
        self.set_hint(id);
    }

    /// The results of its last heartbeats.
    pub fn set_probes(&mut self, id: &InstanceId, heartbeats: Vec<Heartbeat>) {
        if let Some(record) = self.find(id) {
            record.death.heartbeats = heartbeats;
        }
    }

    /// Whether an instance has died and the log does not have it yet.
    pub fn is_unreported(&self, id: &InstanceId) -> bool {
        (self.records.iter()).any(|record| record.id == *id && !record.reported)
    }

    /// The record, for the log, once.
    pub fn report(&mut self, id: &InstanceId) -> Option<String> {
        let record = self.find(id)?;
        let reported = std::mem::replace(&mut record.reported, true);
        record.death.requests = record.interrupted.list();
        (!reported).then(|| record.to_string())
    }

    /// All that are kept.
    pub fn deaths(&self) -> Vec<Death> {
        let now = |record: &DeathRecord| Death {
            // Some break off long after the death, if nothing could report it to them.
            requests: record.interrupted.list(),
            ..record.death.clone()
        };
        self.records.iter().map(now).collect()
    }

    /// Why a replica could not be started, together with what its last instance printed and
    /// what can be done about it. `reason` is what showed that instance's death; any other
    /// reason has nothing to do with it and stays as it is.
    pub fn explain_start_failure(&self, replica: &ReplicaName, reason: &str) -> String {
        let mut records = self.records.iter().rev();
        let record = records.find(|record| record.id.replica == *replica);
        match record.filter(|record| record.death.detected_by == reason) {
            Some(DeathRecord { death, .. }) => {
                with_output(reason, &death.log, death.hint.as_deref())
            }
            None => reason.to_owned(),
        }
    }

    fn find(&mut self, id: &InstanceId) -> Option<&mut DeathRecord> {
        let mut records = self.records.iter_mut().rev();
        records.find(|record| record.id == *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(generation: u64) -> InstanceId {
        InstanceId::new("Server1".parse().unwrap(), generation)
    }

    fn held(in_flight: u32) -> Evicted {
        Evicted {
            in_flight,
            ..Evicted::default()
        }
    }

    fn killed() -> Exit {
        Exit::signal(9)
    }

    #[test]
    fn refused_connection_detects_a_death_and_the_report_names_the_cause() {
        let mut death_log = DeathLog::default();
        death_log.record(
            &id(1),
            DeathCause::RefusesConnections,
            SystemTime::UNIX_EPOCH,
        );
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
            "Server1 (generation 1) died: killed by signal 9; detected by: refuses connections; \
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
        assert_eq!(death.at, SystemTime::UNIX_EPOCH.into());
    }

    #[test]
    fn what_a_hung_instance_held_is_remembered_until_it_dies_or_comes_back() {
        let mut death_log = DeathLog::default();
        death_log.set_requests(&id(1), held(7));
        death_log.set_requests(&id(2), held(8));
        death_log.forget_in_flight(&id(2));
        for generation in [1, 2] {
            death_log.record(
                &id(generation),
                DeathCause::Unresponsive,
                SystemTime::UNIX_EPOCH,
            );
        }
        let counts: Vec<_> = death_log.deaths().iter().map(|d| d.in_flight).collect();
        assert_eq!(counts, [Some(7), None]);
        assert!(death_log.held.is_empty());
    }

    #[test]
    fn start_failure_tells_what_was_printed_and_what_to_do() {
        let mut death_log = DeathLog::new(true);
        let ended = Exit::code(0);
        let reported = ended.to_string();
        death_log.record(&id(1), DeathCause::Ended(ended), SystemTime::UNIX_EPOCH);
        assert!(!death_log.awaits_exit(&id(1)));
        let lines = ["one", "two", "three", "", "bye"]
            .map(str::to_owned)
            .to_vec();
        death_log.set_exit_report(&id(1), ExitReport { exit: None, lines });
        let replica = id(1).replica;
        let told = death_log.explain_start_failure(&replica, &reported);
        assert!(
            told.starts_with(
                "exited with code 0; it printed: \"two\", \"three\", \"bye\"; a replica has to stay"
            ),
            "{told}"
        );
        assert!(
            death_log.records[0]
                .to_string()
                .contains("a replica has to stay")
        );
        for (replica, reason) in [("Server1", "no such image"), ("Server2", reported.as_str())] {
            let replica = replica.parse().unwrap();
            assert_eq!(death_log.explain_start_failure(&replica, reason), reason);
        }
    }

    #[test]
    fn only_so_many_are_remembered() {
        let mut death_log = DeathLog::default();
        for generation in 0..250 {
            let cause = DeathCause::Ended(killed());
            death_log.record(&id(generation), cause, SystemTime::UNIX_EPOCH);
        }
        let deaths = death_log.deaths();
        assert_eq!(deaths.len(), MAX_DEATHS);
        assert_eq!(deaths[0].generation, 150);
    }
}
