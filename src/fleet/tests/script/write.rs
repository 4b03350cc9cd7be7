//! From [`Line`]s and steps to text.

use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::time::Duration;

use super::{Line, POLICY, Question, RolloutOrder, definition_of, endpoint_of, version_of};
use crate::api::RolloutState;
use crate::fleet::rollout_state::Course;
use crate::fleet::{
    Change, ChangeId, DeferredStep, Event, Existing, ImmediateStep, InstanceEvent, InstanceId,
    LaunchAs, OperatorAction, RecordChange, RestartLimit, RolloutChange, Step,
};
use crate::ring::{Member, Weight};

impl Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy { policy, ordinals } => {
                f.write_str("policy")?;
                let compact = |time| duration(time).replace(' ', "");
                if policy.start_timeout != POLICY.start_timeout {
                    write!(f, " start-timeout={}", compact(policy.start_timeout))?;
                }
                if policy.stop_grace != POLICY.stop_grace {
                    write!(f, " grace={}", compact(policy.stop_grace))?;
                }
                if policy.hang_timeout != POLICY.hang_timeout {
                    write!(f, " hang-timeout={}", compact(policy.hang_timeout))?;
                }
                if policy.unready_timeout != POLICY.unready_timeout {
                    let timeout = policy.unready_timeout.map_or("off".to_owned(), compact);
                    write!(f, " unready-timeout={timeout}")?;
                }
                if policy.restart_limit != POLICY.restart_limit {
                    let RestartLimit { deaths, window } = policy.restart_limit;
                    write!(f, " restart-limit={deaths}/{}", compact(window))?;
                }
                let rollout = policy.rollout;
                if rollout.parallelism != POLICY.rollout.parallelism {
                    write!(f, " parallelism={}", rollout.parallelism)?;
                }
                if rollout.monitor != POLICY.rollout.monitor {
                    write!(f, " monitor={}", compact(rollout.monitor))?;
                }
                if rollout.order != POLICY.rollout.order {
                    f.write_str(" stop-first")?;
                }
                if rollout.on_failure != POLICY.rollout.on_failure {
                    f.write_str(" pause")?;
                }
                f.write_str(if policy.spawns { "" } else { " static" })?;
                f.write_str(if *ordinals { " ordinals" } else { "" })
            }
            Self::Start(names) => write!(f, "start {}", words(names)),
            Self::Adopt(found) => write!(f, "adopt {}", found_words(found)),
            Self::Report(event) => f.write_str(&report_words(event)),
            Self::Request(ChangeId(change_id), change, seed) => {
                match change {
                    Change::Add { n, hostnames, .. } => {
                        write!(f, "add #{change_id} {n}{}", listed(hostnames))?;
                    }
                    Change::Remove { n, hostnames } => {
                        write!(f, "remove #{change_id} {n}{}", listed(hostnames))?;
                    }
                    Change::Scale { n } => write!(f, "scale #{change_id} {n}")?,
                    Change::SetDrained { replica, drained } => {
                        let verb = if *drained { "drain" } else { "activate" };
                        write!(f, "{verb} #{change_id} {replica}")?;
                    }
                    Change::Restart { replica, now } => {
                        let how = if *now { " now" } else { "" };
                        write!(f, "restart #{change_id} {replica}{how}")?;
                    }
                    Change::Replace { replica } => write!(f, "replace #{change_id} {replica}")?,
                }
                match seed {
                    0 => Ok(()),
                    seed => write!(f, " seed={seed}"),
                }
            }
            Self::Rollout(RolloutOrder::Start(version, canary)) => {
                write!(f, "rollout start {version}")?;
                canary.map_or(Ok(()), |share| write!(f, " canary {share}"))
            }
            Self::Rollout(RolloutOrder::Promote) => f.write_str("rollout promote"),
            Self::Rollout(RolloutOrder::Pause) => f.write_str("rollout pause"),
            Self::Rollout(RolloutOrder::Resume) => f.write_str("rollout resume"),
            Self::Rollout(RolloutOrder::Undo) => f.write_str("rollout undo"),
            Self::Elsewhere(version, course, updated) => {
                let state = match course {
                    Some(Course::Trial) => "trial",
                    Some(Course::Canary) => "canary",
                    Some(Course::Onward) => "onward",
                    Some(Course::Back) => "back",
                    None => "over",
                };
                write!(f, "elsewhere {version} {state}{}", listed(updated))
            }
            Self::TakeOver(version, found) => {
                write!(f, "take over {version}: {}", found_words(found))
            }
            Self::ShutDown => f.write_str("shut down"),
            Self::HandOver => f.write_str("hand over"),
            Self::After(time) => write!(f, "after {}", duration(*time)),
            Self::Wait(time) => write!(f, "wait {}", duration(*time)),
            Self::Ask(Question::Desired) => f.write_str("desired?"),
            Self::Ask(Question::Wakes) => f.write_str("wakes?"),
            Self::Ask(Question::Gone) => f.write_str("gone?"),
            Self::Ask(Question::Deaths(name)) => write!(f, "deaths {name}?"),
        }
    }
}

/// Each behind a blank.
fn listed<T: Display>(list: &[T]) -> String {
    list.iter().map(|item| format!(" {item}")).collect()
}

pub(super) fn duration(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}

pub(super) fn words<T: Display>(list: impl IntoIterator<Item = T>) -> String {
    let words: Vec<String> = list.into_iter().map(|item| item.to_string()).collect();
    if words.is_empty() {
        "none".to_owned()
    } else {
        words.join(" ")
    }
}

fn id_words(id: &InstanceId) -> String {
    format!("{}/{}", id.replica, id.generation)
}

fn weight_words(weight: Weight) -> String {
    match weight.get() {
        1 => String::new(),
        weight => format!(" weight={weight}"),
    }
}

/// The version of a definition with this hash.
fn version_words(hash: Option<&str>) -> String {
    let mut known = (1..10).map(|number| format!("v{number}"));
    let version = known.find(|version| Some(definition_of(version).hash().as_str()) == hash);
    version.map_or_else(String::new, |version| format!(" version={version}"))
}

fn found_words(found: &[Existing]) -> String {
    let each = found.iter().map(
        |Existing {
             order,
             endpoint,
             definition,
         }| {
            let state = endpoint.map_or("ended", |_| "running");
            let (id, ordinal) = (id_words(&order.id), order.ordinal);
            let weight = weight_words(order.weight);
            let version = version_words(definition.as_deref());
            format!("{id} {state}{weight}{version} ordinal={ordinal}")
        },
    );
    each.collect::<Vec<_>>().join(", ")
}

fn report_words(event: &Event) -> String {
    match event {
        Event::Instance(id, event) => instance_event_words(&id_words(id), event),
        Event::Discovered(order, endpoint, definition)
        | Event::Succeeded(order, endpoint, definition) => {
            let found = Existing {
                order: order.clone(),
                endpoint: Some(*endpoint),
                definition: definition.clone(),
            };
            let verb = match event {
                Event::Succeeded(..) => "succeeded",
                _ => "discovered",
            };
            format!("{verb} {}", found_words(&[found]))
        }
        Event::SuccessorStarted(id) => format!("successor started {}", id_words(id)),
        Event::Relocated {
            replica,
            endpoint,
            reason,
        } => {
            let place = endpoint.map_or("nowhere".to_owned(), |endpoint| endpoint.to_string());
            format!("relocated {replica} to {place}: {reason}")
        }
        Event::NameFreed(replica) => format!("name freed {replica}"),
        Event::DrainedInRecord(names) => format!("drained in record{}", listed(names)),
        Event::Recovered => "recovered".to_owned(),
        Event::Tick => "after 0s".to_owned(),
    }
}

fn instance_event_words(id: &str, event: &InstanceEvent) -> String {
    match event {
        InstanceEvent::Launched(_) => format!("launched {id}"),
        InstanceEvent::LaunchFailed(reason) => format!("launch failed {id}: {reason}"),
        InstanceEvent::LaunchPreempted(by, _, hash) => {
            let version = version_words(hash.as_deref());
            format!("launch preempted {id} by {by}{version}")
        }
        InstanceEvent::Ending => format!("ending {id}"),
        InstanceEvent::Exited(exit) => {
            let how = match (exit.out_of_memory, exit.signal, exit.code) {
                (true, ..) => "oom".to_owned(),
                (_, Some(signal), _) => format!("signal {signal}"),
                (_, _, Some(code)) => format!("code {code}"),
                _ => "gone".to_owned(),
            };
            format!("exited {id} {how}")
        }
        InstanceEvent::BecameHealthy => format!("healthy {id}"),
        InstanceEvent::BecameUnresponsive => format!("unresponsive {id}"),
        InstanceEvent::BecameUnready(reason) => format!("unready {id}: {reason}"),
        InstanceEvent::ProbeFailed(reason) => format!("probe failed {id}: {reason}"),
        InstanceEvent::HealthcheckChanged(true) => format!("healthcheck healthy {id}"),
        InstanceEvent::HealthcheckChanged(false) => format!("healthcheck unhealthy {id}"),
        InstanceEvent::ConnectionRefused => format!("refused {id}"),
        InstanceEvent::Moved(to, reason) => {
            let place = to.map_or_else(|| "nowhere".to_owned(), |to| to.to_string());
            format!("moved {id} to {place}: {reason}")
        }
        InstanceEvent::Ejected => format!("ejected {id}"),
        InstanceEvent::RequestsCounted { requests, failed } => {
            format!("counted {id} {requests} {failed}")
        }
        InstanceEvent::Drained => format!("drained {id}"),
        InstanceEvent::Stopped => format!("stopped {id}"),
        InstanceEvent::StopFailed(reason) => format!("stop failed {id}: {reason}"),
        InstanceEvent::RemovedElsewhere => format!("removed elsewhere {id}"),
        InstanceEvent::StandsIn => format!("stands in {id}"),
        InstanceEvent::Destroyed => format!("destroyed {id}"),
    }
}

pub(super) fn step_words(step: &Step, ordinals: bool) -> String {
    match step {
        Step::Immediate(step) => immediate_words(step),
        Step::Deferred(step) => deferred_words(step, ordinals),
    }
}

fn member_words(members: &[Member]) -> String {
    words(members.iter().map(|member| match member.weight.get() {
        1 => member.name.to_string(),
        weight => format!("{}*{weight}", member.name),
    }))
}

fn immediate_words(step: &ImmediateStep) -> String {
    // Only a wrong address is worth a word.
    let place = |id: &InstanceId, endpoint: &SocketAddr| {
        if *endpoint == endpoint_of(id) {
            id_words(id)
        } else {
            format!("{} at {endpoint}", id_words(id))
        }
    };
    match step {
        ImmediateStep::Watch(id, endpoint) => format!("watch {}", place(id, endpoint)),
        ImmediateStep::Unwatch(id) => format!("unwatch {}", id_words(id)),
        ImmediateStep::Join(members) => format!("join {}", member_words(members)),
        ImmediateStep::Leave(names) => format!("leave {}", words(names)),
        ImmediateStep::OpenCanary(share, names) => {
            format!("open canary {share} {}", words(names))
        }
        ImmediateStep::CloseCanary => "close canary".to_owned(),
        ImmediateStep::Record(RecordChange::Add(members)) => {
            format!("record added {}", member_words(members))
        }
        ImmediateStep::Record(RecordChange::Remove(names)) => {
            format!("record removed {}", words(names))
        }
        ImmediateStep::Record(RecordChange::SetDrained(name, true)) => {
            format!("record drained {name}")
        }
        ImmediateStep::Record(RecordChange::SetDrained(name, false)) => {
            format!("record active {name}")
        }
        ImmediateStep::Record(change) => format!("record {change:?}"),
        ImmediateStep::Admit(id, endpoint) => format!("admit {}", place(id, endpoint)),
        ImmediateStep::Evict(id, reason) => format!("evict {} ({reason})", id_words(id)),
        ImmediateStep::MarkUnready(id, endpoint, reason) => {
            format!("mark unready {} ({reason})", place(id, endpoint))
        }
        ImmediateStep::MarkDrained(id, endpoint) => {
            format!("mark drained {}", place(id, endpoint))
        }
        ImmediateStep::EndDrain(id) => format!("end drain {}", id_words(id)),
        ImmediateStep::RecordAction(id, action) => {
            let action = match action {
                OperatorAction::Drained => "is drained",
                OperatorAction::StaysDrained => "stays drained",
                OperatorAction::Activated => "is active",
                OperatorAction::Restarting => "restarts",
            };
            format!("report {} {action}", id_words(id))
        }
        ImmediateStep::RecordDeath { id, cause, .. } => {
            format!("record death {} ({cause})", id_words(id))
        }
        ImmediateStep::RecordFailedStart { id, cause, .. } => {
            format!("record failed start {} ({cause})", id_words(id))
        }
        ImmediateStep::Rollout(change) => rollout_words(change),
        ImmediateStep::CountRequests(id) => format!("count requests {}", id_words(id)),
        ImmediateStep::ReportRequests(id) => format!("report requests {}", id_words(id)),
        ImmediateStep::RecordExit(id, _) => format!("record exit {}", id_words(id)),
        ImmediateStep::RecordStop(id) => format!("record stop {}", id_words(id)),
        ImmediateStep::AbortRequests(id) => format!("abort requests {}", id_words(id)),
        ImmediateStep::Warn(replica, message)
        | ImmediateStep::ReportDegraded {
            replica, message, ..
        } => format!("warn {replica} ({message})"),
    }
}

fn rollout_words(change: &RolloutChange) -> String {
    let because = |reason: &Option<String>| match reason {
        Some(reason) => format!(" ({reason})"),
        None => String::new(),
    };
    match change {
        RolloutChange::Began(rollout) => {
            format!(
                "rollout {} to {} begins",
                rollout.id,
                version_of(&rollout.to)
            )
        }
        RolloutChange::HandedOver { id, from, .. } => {
            let from = from.as_deref().unwrap_or("none");
            format!("rollout {id} is taken over from {from}")
        }
        RolloutChange::Moved { id, stage, reason } => {
            format!("rollout {id} is {}{}", stage.state(), because(reason))
        }
        RolloutChange::Replaced {
            instance, updated, ..
        } => {
            let version = if *updated { "new" } else { "earlier" };
            format!("note {} of the {version} version", id_words(instance))
        }
        RolloutChange::Ended {
            id,
            outcome,
            reason,
        } => {
            let state = RolloutState::from(*outcome);
            format!("rollout {id} is {state}{}", because(reason))
        }
    }
}

fn deferred_words(step: &DeferredStep, ordinals: bool) -> String {
    match step {
        DeferredStep::Launch(order, definition, launched_as) => {
            let beside = match launched_as {
                LaunchAs::Replica => "",
                LaunchAs::Successor => " beside",
                LaunchAs::Relief => " as relief",
                LaunchAs::Extra => " extra",
                LaunchAs::Spare => " spare",
            };
            let weight = weight_words(order.weight);
            let ordinal = match ordinals {
                false => String::new(),
                true => format!(" ordinal={}", order.ordinal),
            };
            let version = match version_of(definition) {
                "v1" => String::new(),
                version => format!(" of {version}"),
            };
            let id = id_words(&order.id);
            format!("launch {id}{beside}{version}{weight}{ordinal}")
        }
        DeferredStep::TakePlace(id) => format!("take place {}", id_words(id)),
        DeferredStep::Drain(id) => format!("drain {}", id_words(id)),
        DeferredStep::AnnounceRemoval(id) => format!("announce removal {}", id_words(id)),
        DeferredStep::Stop(id, Duration::ZERO) => format!("kill {}", id_words(id)),
        DeferredStep::Stop(id, grace) => {
            format!("stop {} within {}", id_words(id), duration(*grace))
        }
        DeferredStep::Reply(ChangeId(id), Ok(changed)) => {
            format!("answer #{id} {}", words(&changed.desired))
        }
        DeferredStep::Reply(ChangeId(id), Err(error)) => format!("refuse #{id} ({error})"),
    }
}
