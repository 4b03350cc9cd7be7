//! The Docker runtime on a real engine. Without one these tests say so and pass, but
//! under `CI=true` they fail.

mod admin_calls;
mod ends;
mod health;
mod out_of_reach;
mod records;
mod shared;
mod starts;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use ringmaster::ring::Weight;
use ringmaster::runtime::docker::{DockerRuntime, Security};
use ringmaster::runtime::{
    Event, Exit, ExitReport, InstanceEvent, InstanceId, LaunchAs, LaunchOrder, Launched, Runtime,
    RuntimeEvent, Task,
};

use crate::docker::{CuttableSocket, TestFleet, docker as cli, get, inspect, until};

const GRACE: Duration = Duration::from_secs(5);

/// Launches as the runtime's own settings say.
pub trait Start {
    fn start(&self, order: LaunchOrder) -> Task<Launched>;
}

impl Start for DockerRuntime {
    fn start(&self, order: LaunchOrder) -> Task<Launched> {
        let definition = Arc::new(self.definition());
        self.launch(order, &definition, LaunchAs::Replica)
    }
}

fn id(replica: &str, generation: u64) -> InstanceId {
    InstanceId::new(replica.parse().unwrap(), generation)
}

pub fn order(replica: &str, generation: u64) -> LaunchOrder {
    LaunchOrder {
        id: id(replica, generation),
        weight: Weight::default(),
        ordinal: 1,
    }
}

/// Runs a test as the control thread would, if there is an engine to run it on.
pub fn on_engine<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    if crate::docker::engine_answers() {
        actix::System::new().block_on(async { test().await });
    }
}

/// An exit that was not requested.
#[derive(Debug, PartialEq)]
struct Death {
    id: InstanceId,
    exit: Exit,
}

/// The next death.
async fn next(events: &mut (impl futures::Stream<Item = RuntimeEvent> + Unpin)) -> Death {
    let news = async {
        loop {
            let event = events.next().await.unwrap();
            if let RuntimeEvent::Fleet(Event::Instance(id, InstanceEvent::Exited(exit))) = event {
                return Death { id, exit };
            }
        }
    };
    let death = tokio::time::timeout(Duration::from_secs(15), news).await;
    death.expect("a death is told")
}

fn killed() -> Exit {
    Exit {
        signal: Some(9),
        ..Exit::default()
    }
}
