//! What heartbeats find, and what follows from it.

use actix::Handler;
use log::warn;

use super::Supervisor;
use crate::actors::heartbeat_prober::{
    DoubtEnded, DrainSilent, HealthChanged, InstanceSuspected, ProbeFailed, SuspectSign,
};
use crate::fleet::{Event, HealthTransition, InstanceEvent, InstanceId};

impl Handler<HealthChanged> for Supervisor {
    type Result = ();

    fn handle(&mut self, flipped: HealthChanged, ctx: &mut Self::Context) {
        let HealthChanged(id, transition, reason) = flipped;
        let event = match transition {
            HealthTransition::Up => InstanceEvent::BecameHealthy,
            HealthTransition::Unready => InstanceEvent::BecameUnready(reason),
            HealthTransition::Down => InstanceEvent::BecameUnresponsive,
        };
        self.apply_event(Event::Instance(id, event), ctx);
    }
}

impl Handler<ProbeFailed> for Supervisor {
    type Result = ();

    fn handle(&mut self, failed: ProbeFailed, ctx: &mut Self::Context) {
        let (id, mut reason) = (failed.id, failed.reason);
        if let Some(hint) = failed.refused.and_then(|port| self.runtime.port_hint(port)) {
            reason.push_str("; ");
            reason.push_str(&hint);
        }
        self.apply_event(Event::Instance(id, InstanceEvent::ProbeFailed(reason)), ctx);
    }
}

impl Handler<InstanceSuspected> for Supervisor {
    type Result = ();

    fn handle(&mut self, suspected: InstanceSuspected, ctx: &mut Self::Context) {
        let InstanceSuspected { id, sign } = suspected;
        let machine_answers = match sign {
            SuspectSign::ConnectionLost | SuspectSign::Refused => Some(true),
            SuspectSign::MachineSilent => Some(false),
            SuspectSign::Missed | SuspectSign::Unclear => None,
        };
        self.runtime.look_at(&id, machine_answers);
        match sign {
            SuspectSign::Refused => {
                self.apply_event(Event::Instance(id, InstanceEvent::ConnectionRefused), ctx);
            }
            SuspectSign::Missed | SuspectSign::MachineSilent => self.doubt(id),
            SuspectSign::ConnectionLost | SuspectSign::Unclear => {}
        }
    }
}

impl Supervisor {
    /// An instance has missed a heartbeat. It may be its machine that is lost, so the others there are asked
    /// at once.
    fn doubt(&self, id: InstanceId) {
        for other in self.runtime.others_on_machine(&id) {
            if let Some(prober) = &self.prober {
                prober.ask_now(other);
            }
        }
        self.ring.note_doubt(id, true);
    }
}

impl Handler<DoubtEnded> for Supervisor {
    type Result = ();

    fn handle(&mut self, DoubtEnded(id): DoubtEnded, _: &mut Self::Context) {
        self.ring.note_doubt(id, false);
    }
}

impl Handler<DrainSilent> for Supervisor {
    type Result = ();

    fn handle(&mut self, DrainSilent(id): DrainSilent, _: &mut Self::Context) {
        warn!(
            replica:% = id.replica, generation = id.generation;
            "{id} does not answer while it is to finish its requests: those that may be repeated go elsewhere"
        );
        self.ring.release_requests(id);
    }
}
