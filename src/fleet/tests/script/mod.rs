//! The language of the stories: one thing that happens a line, and behind `->` what the
//! fleet wants done about it.
//!
//! ```text
//! # A comment.
//! policy start-timeout=10s grace=5s hang-timeout=10s static ordinals       (all of them optional)
//! policy unready-timeout=5m | off   restart-limit=5/5m
//! policy parallelism=2 stop-first monitor=5s pause        (of rollouts)
//! start Server1 Server2                   adopt Server1/2 running, Server2/1 ended weight=5
//! launched Server1/1                      launch failed Server1/1: no such image
//! healthy Server1/1                       unresponsive Server1/1
//! unready Server1/1: status 503           probe failed Server1/1: status 404
//! healthcheck healthy Server1/1           healthcheck unhealthy Server1/1
//! name freed Server1
//! refused Server1/1                       exited Server1/1 signal 9 | code 1 | oom | gone
//! drained Server1/1                       stopped Server1/1
//! stop failed Server1/1: device busy      shut down     hand over
//! launch preempted Server1/2 by 3         discovered Server9/1 running ordinal=9
//! removed elsewhere Server1/1             recovered
//! relocated blue to 10.9.9.9:80: why      relocated blue to nowhere: why
//! moved Server1/1 to 10.9.9.9:80: why     moved Server1/1 to nowhere: why
//! drained in record Server1               drained in record
//! add #1 2 S4 S5 seed=7                   remove #2 1 S4               scale #3 5 seed=7
//! drain #1 Server1                        activate #2 Server1
//! restart #1 Server1                      restart #2 Server1 now
//! rollout start v2    rollout pause    rollout resume    rollout undo
//! rollout start v2 canary 10%             rollout promote
//! ejected Server1/2                       counted Server1/2 20 3      (requests, failed)
//! successor started Server1/2             succeeded Server1/2 running version=v2 ordinal=1
//! elsewhere v2 trial | onward Server1 | back | over       (a rollout, in the record)
//! take over v2: Server1/2 running version=v2 ordinal=1, Server2/1 running ordinal=2
//! after 2s    (and the fleet is told)     wait 2s    (and it is not)
//! desired?     wakes?     gone?            deaths Server1?
//! ```

mod read;
mod write;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use crate::api::Timestamp;
use crate::fleet::rollout_state::Course;
use crate::fleet::testing::recorded_rollout;
use crate::fleet::{
    self, Change, ChangeId, Definition, Desired, Event, Existing, FailureAction, Fleet, InstanceId,
    Policy, RecordedRollout, RestartLimit, RolloutError, RolloutPolicy, Stage, Step, Time,
};
use crate::ring::{CanaryShare, Member, ReplicaName};
use write::{duration, step_words, words};

/// One line of a story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// How the fleet is set up; before it starts.
    Policy { policy: Policy, ordinals: bool },
    /// A fleet that starts from nothing.
    Start(Vec<ReplicaName>),
    /// A fleet that takes over.
    Adopt(Vec<Existing>),
    /// A report.
    Report(Event),
    /// A request.
    Request(ChangeId, Change, u64),
    /// What an operator wants of rollouts.
    Rollout(RolloutOrder),
    /// What the fleet record says of a rollout of another balancer to this version: the replicas that have
    /// it, or that it is over.
    Elsewhere(String, Option<Course>, Vec<ReplicaName>),
    /// This balancer goes on with that, from what runs.
    TakeOver(String, Vec<Existing>),
    /// The end.
    ShutDown,
    /// The end of this balancer, and not of the replicas.
    HandOver,
    /// Time passes, and the fleet gets its tick.
    After(Duration),
    /// Time passes unnoticed.
    Wait(Duration),
    /// A question to the fleet.
    Ask(Question),
}

/// What an operator can want of rollouts: of the last one, or a new one of this version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RolloutOrder {
    Start(String, Option<CanaryShare>),
    Promote,
    Pause,
    Resume,
    Undo,
}

/// What the fleet can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    Desired,
    Wakes,
    Gone,
    Deaths(ReplicaName),
}

/// The policy of a story that does not set one.
pub const POLICY: Policy = Policy {
    start_timeout: Duration::from_secs(10),
    stop_grace: Duration::from_secs(5),
    hang_timeout: Duration::ZERO,
    unready_timeout: Some(Duration::from_secs(300)),
    restart_limit: RestartLimit {
        deaths: 5,
        window: Duration::from_secs(300),
    },
    rollout: RolloutPolicy {
        parallelism: 1,
        order: fleet::RolloutOrder::StartFirst,
        monitor: Duration::from_secs(5),
        max_errors: 5,
        on_failure: FailureAction::Rollback,
    },
    spawns: true,
    continues_names: false,
    names_have_generations: false,
    balancer: "here",
};

/// Where the instances of stories listen: each at an address of its own.
pub fn endpoint_of(id: &InstanceId) -> SocketAddr {
    let [.., c, d] = id.generation.to_be_bytes();
    let port = 1024 + xxh3_64(id.replica.as_str().as_bytes()) % 60_000;
    SocketAddr::from((Ipv4Addr::new(10, 0, c, d), port as u16))
}

/// A definition of this version; `v1` is what a fleet begins with.
pub fn definition_of(version: &str) -> Definition {
    Definition {
        image: (version != "v1").then(|| version.to_owned()),
        ..Definition::default()
    }
}

/// Another balancer's rollout to a version.
fn recorded(version: &str, course: Course, id: u64) -> RecordedRollout {
    RecordedRollout {
        stage: Stage::Running(course),
        ..recorded_rollout(id, definition_of(version), "other")
    }
}

/// The version of a definition.
pub fn version_of(definition: &Definition) -> &str {
    definition.image.as_deref().unwrap_or("v1")
}

/// Plays lines to a fleet.
pub struct Player {
    policy: Policy,
    ordinals: bool,
    pub now: Time,
    /// What replicas have that no rollout has come to, by the record.
    version: String,
    /// How many rollouts have been begun.
    rollouts: u64,
    /// Why the last order about a rollout was refused.
    refused: Option<RolloutError>,
    /// None before the line that starts it.
    pub fleet: Option<Fleet>,
}

impl Player {
    pub fn new() -> Self {
        Self {
            policy: POLICY,
            ordinals: false,
            now: Time::ZERO,
            version: "v1".to_owned(),
            rollouts: 0,
            refused: None,
            fleet: None,
        }
    }

    /// The steps that the fleet answers with.
    pub fn play(&mut self, line: &Line) -> Vec<Step> {
        let (names, found) = match line {
            Line::Policy { policy, ordinals } => {
                (self.policy, self.ordinals) = (*policy, *ordinals);
                return Vec::new();
            }
            Line::Start(names) => (names.clone(), Vec::new()),
            Line::Adopt(found) => (Vec::new(), found.clone()),
            Line::After(time) | Line::Wait(time) => {
                self.now += *time;
                (Vec::new(), Vec::new())
            }
            _ => (Vec::new(), Vec::new()),
        };
        if matches!(line, Line::Start(_) | Line::Adopt(_)) {
            let desired: Vec<_> = names.into_iter().map(Member::new).collect();
            let desired = Desired::of(&desired);
            let (fleet, steps) = Fleet::new(self.policy, desired, found, self.now);
            self.fleet = Some(fleet);
            return steps;
        }
        let fleet = self.fleet.as_mut().expect("a story starts with `start`");
        match line {
            Line::Report(event) => fleet.apply(event.clone(), self.now),
            Line::Request(change_id, change, seed) => {
                fleet.request(*change_id, change.clone(), *seed, self.now)
            }
            Line::Rollout(order) => {
                let (id, now) = (self.rollouts, self.now);
                let done = match order {
                    RolloutOrder::Start(version, canary) => {
                        let (to, at) = (definition_of(version), Timestamp::EPOCH);
                        let began = fleet.rollout_to_record(id + 1, to, *canary, at);
                        let steps = began.and_then(|began| fleet.start_rollout(began, now));
                        self.rollouts += u64::from(steps.is_ok());
                        steps
                    }
                    RolloutOrder::Promote => fleet.promote_rollout(id, now),
                    RolloutOrder::Pause => fleet.pause_rollout(id, now),
                    RolloutOrder::Resume => fleet.resume_rollout(id, now),
                    RolloutOrder::Undo => fleet.undo_rollout(id, now),
                };
                self.refused = done.as_ref().err().cloned();
                done.unwrap_or_default()
            }
            Line::Elsewhere(version, course, updated) => {
                let rollout = course.map(|course| recorded(version, course, self.rollouts + 1));
                if rollout.is_none() {
                    self.rollouts += 1;
                    self.version.clone_from(version);
                }
                let desired = Desired {
                    definition: definition_of(&self.version),
                    rollout,
                    updated: updated.clone(),
                    ..Desired::default()
                };
                fleet.follow_rollout(desired, self.now)
            }
            Line::TakeOver(version, found) => {
                self.rollouts += 1;
                let mut rollout = recorded(version, Course::Onward, self.rollouts);
                rollout.executor = Some(self.policy.balancer.to_owned());
                let desired = Desired {
                    definition: definition_of(&self.version),
                    rollout: Some(rollout),
                    ..Desired::default()
                };
                fleet.take_over_rollout(desired, found.clone(), self.now)
            }
            Line::ShutDown => fleet.shut_down(self.now),
            Line::HandOver => fleet.hand_over(self.now),
            Line::After(_) => fleet.apply(Event::Tick, self.now),
            _ => Vec::new(),
        }
    }

    /// Plays a line and writes it down with what follows from it.
    pub fn tell(&mut self, line: &Line) -> String {
        let steps = self.play(line);
        let outcome = match line {
            Line::Policy { .. } => return line.to_string(),
            Line::Ask(question) => vec![self.reply(question)],
            Line::Rollout(_) if self.refused.is_some() => {
                let refused = self.refused.as_ref().map(ToString::to_string);
                vec![format!("refused ({})", refused.unwrap_or_default())]
            }
            _ if steps.is_empty() => vec!["nothing".to_owned()],
            _ => {
                let each = steps.iter().map(|step| step_words(step, self.ordinals));
                each.collect()
            }
        };
        let one_line = format!("{:<31} -> {}", line.to_string(), outcome.join(", "));
        if one_line.len() <= 100 || outcome.len() == 1 {
            return one_line;
        }
        format!("{line}\n    -> {}", outcome.join("\n    -> "))
    }

    fn reply(&self, question: &Question) -> String {
        let fleet = self.fleet.as_ref().expect("a story starts with `start`");
        match question {
            Question::Desired => words(fleet.desired()),
            Question::Wakes => match fleet.wakes_at() {
                None => "never".to_owned(),
                Some(at) if at < self.now => "overdue".to_owned(),
                Some(at) => format!("in {}", duration(at - self.now)),
            },
            Question::Gone => if fleet.is_shut_down() { "yes" } else { "no" }.to_owned(),
            Question::Deaths(name) => fleet.consecutive_deaths(name).to_string(),
        }
    }
}
