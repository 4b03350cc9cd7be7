//! Nodes, where the runtime has some: how replicas are spread over them, and a node that is drained for a
//! drill. A replica that is moved is a change like any other: [`crate::fleet::Change::Replace`].

use actix::fut::ready;
use actix::{
    ActorFutureExt, Context, Handler, Message, ResponseActFuture, ResponseFuture, WrapFuture,
};

use super::Supervisor;
use crate::api::FleetSpread;
use crate::fleet::{ChangeError, RolloutError};
use crate::runtime::RuntimeError;

/// How are the replicas spread? Refused during a rollout, which places each of them anew.
#[derive(Debug, Message)]
#[rtype(result = "Result<FleetSpread, ChangeError>")]
pub struct GetSpread;

/// Have a node take no instances; answered when the runtime has told it so.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), ChangeError>")]
pub struct DrainNode(pub String);

/// Have it take instances again.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), RuntimeError>")]
pub struct RestoreNode;

impl Handler<DrainNode> for Supervisor {
    type Result = ResponseFuture<Result<(), ChangeError>>;

    fn handle(&mut self, DrainNode(node): DrainNode, _: &mut Context<Self>) -> Self::Result {
        let kind = self.runtime.kind();
        let drained = self.runtime.drain_node(node);
        Box::pin(async move {
            let drained = drained.ok_or(ChangeError::NoNodes(kind))?.await;
            drained.map_err(|error| ChangeError::NodeNotDrained(error.to_string()))
        })
    }
}

impl Handler<RestoreNode> for Supervisor {
    type Result = ResponseFuture<Result<(), RuntimeError>>;

    fn handle(&mut self, _: RestoreNode, _: &mut Context<Self>) -> Self::Result {
        self.runtime.restore_node()
    }
}

impl Handler<GetSpread> for Supervisor {
    type Result = ResponseActFuture<Self, Result<FleetSpread, ChangeError>>;

    fn handle(&mut self, _: GetSpread, _: &mut Context<Self>) -> Self::Result {
        let Some(spread) = self.runtime.spread(self.fleet.definition()) else {
            let kind = self.runtime.kind();
            return Box::pin(ready(Err(ChangeError::NoNodes(kind))));
        };
        match self.fleet.refusal_of_any_rollout() {
            Some(RolloutError::UnderWay(id)) => {
                return Box::pin(ready(Err(ChangeError::RolloutUnderWay(id))));
            }
            Some(RolloutError::ShuttingDown) => {
                return Box::pin(ready(Err(ChangeError::ShuttingDown)));
            }
            _ => {}
        }
        let spread = spread.into_actor(self);
        Box::pin(spread.map(|spread, _, _| {
            spread.map_err(|error| ChangeError::SpreadUnknown(error.to_string()))
        }))
    }
}
