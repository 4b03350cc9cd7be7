//! What the Supervisor writes to the fleet record: members that join and leave, weights, the
//! ring. A change is answered once the record has it.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use log::{debug, error, info};

use super::{RingReconfigured, Supervisor};
use crate::actors::ring_state::ReconfigureRing;
use crate::fleet::{ChangeError, Event, FleetRecord, RecordChange, RingSettings};
use crate::ring::{KeySource, ReplicaName, Weight};
use crate::runtime::record::RecordKeeper;

/// The pause before a record that could not be written is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

impl Supervisor {
    /// Writes how the ring is now.
    pub(super) fn record_ring(&mut self, reshaped: RingReconfigured, ctx: &mut Context<Self>) {
        let changes = vec![
            RecordChange::Ring(reshaped.ring),
            RecordChange::SetWeights(reshaped.weights),
        ];
        self.write_record(changes, ctx);
    }

    /// A version of the record has gone: by a newer one, or by hand.
    pub(super) fn check_record(&mut self, version: u64, ctx: &mut Context<Self>) {
        let record = Rc::clone(&self.record);
        let checked = async move { record.check_removed(version).await }.into_actor(self);
        ctx.spawn(checked.map(|(), supervisor: &mut Self, ctx| {
            // Other balancers drain replicas and change the key here, too.
            if let Some(record) = supervisor.record.written() {
                supervisor.apply_event(Event::DrainedInRecord(record.drained()), ctx);
                supervisor.follow_rollout(&record, ctx);
                let followed = supervisor.follow_maintenance(record.maintenance.as_ref());
                ctx.spawn(followed);
                if let Some(key) = &record.key {
                    supervisor.take_key(key);
                }
                supervisor.follow_ring(&record, ctx);
            }
        }));
    }

    /// Has the ring built as the record says, and weighed, where another balancer has changed that.
    fn follow_ring(&mut self, record: &FleetRecord, ctx: &mut Context<Self>) {
        let present: HashMap<_, _> = (self.fleet.statuses().into_iter())
            .map(|status| (status.id.replica, status.weight))
            .collect();
        let weights: Vec<_> = (record.members().into_iter())
            .filter(|member| {
                present
                    .get(&member.name)
                    .is_some_and(|w| *w != member.weight)
            })
            .map(|member| (member.name, member.weight))
            .collect();
        let ring = record.ring;
        if weights.is_empty() && self.ring_settings.is_none_or(|present| present == ring) {
            return;
        }
        self.version.raise();
        let reconfigured = self.ring.reconfigure(ReconfigureRing {
            spec: ring.spec.into(),
            balance_factor: Some(ring.balance_factor),
            weights: weights.clone(),
            dry_run: false,
        });
        ctx.spawn(reconfigured.into_actor(self).map(
            move |reconfigured, supervisor: &mut Self, _| match reconfigured {
                Ok(Ok(_)) => supervisor.note_ring(ring, &weights),
                // A replica has left the ring meanwhile: the record has changed again, too.
                Ok(Err(error)) => debug!("the ring does not follow the fleet record: {error}"),
                Err(error) => error!("cannot reach the ring: {error}"),
            },
        ));
    }

    /// Notes how the ring is built, and weights.
    pub(super) fn note_ring(&mut self, ring: RingSettings, weights: &[(ReplicaName, Weight)]) {
        self.ring_settings = Some(ring);
        self.fleet.note_ring(ring.spec);
        for (name, weight) in weights {
            self.fleet.note_weight(name, *weight);
        }
    }

    /// Has something else hashed for a request, if it is something else.
    pub(super) fn take_key(&mut self, key: &KeySource) {
        if self.key_source.get() != *key {
            self.key_source.set(key.clone());
            self.version.raise();
            info!("what is hashed for a request (--key) is {key} from now on");
        }
    }

    pub(super) fn write_record(&mut self, changes: Vec<RecordChange>, ctx: &mut Context<Self>) {
        self.version.raise();
        self.record.note(changes);
        self.flush(ctx);
    }

    fn flush(&mut self, ctx: &mut Context<Self>) {
        let record = Rc::clone(&self.record);
        let written = async move { record.flush().await }.into_actor(self);
        ctx.spawn(written.map(|written, _, ctx: &mut Context<Self>| {
            if written.is_err() {
                ctx.run_later(RETRY_INTERVAL, |supervisor, ctx| supervisor.flush(ctx));
            }
        }));
    }
}

/// Done when every change up to now is in the record.
pub(super) async fn recorded(record: Rc<RecordKeeper>) -> Result<(), ChangeError> {
    let written = record.flush().await;
    written.map_err(|error| ChangeError::NotRecorded(error.to_string()))
}
