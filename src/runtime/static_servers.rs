//! Servers that are started elsewhere (`--runtime static`).
//!
//! A launch looks up the address; nothing is ever stopped. From then on the name is looked up
//! again and again (`follow`): a container that is recreated has another address.

mod follow;
mod lookup;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use futures::stream::{self, LocalBoxStream, StreamExt};
use tokio::time::Instant;

use super::{
    Definition, Existing, InstanceId, LaunchAs, LaunchOrder, Launched, Runtime, RuntimeError,
    RuntimeEvent, Task,
};
use crate::ring::ReplicaName;
use follow::{Follower, Watched, WatchedReplicas};
use lookup::{Lookup, look_up};

/// A server that is started elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Upstream {
    /// Its name on the ring: the given one, else its address.
    pub name: ReplicaName,
    /// Its address as `HOST:PORT`; the host is a DNS name, an IPv4 address or an IPv6 address in
    /// brackets.
    pub address: String,
}

/// The runtime of servers that are started elsewhere.
#[derive(Debug)]
pub struct StaticRuntime {
    upstreams: Vec<Upstream>,
    watched: WatchedReplicas,
    trial: Duration,
}

impl StaticRuntime {
    /// A runtime of these servers. If a name has several addresses, each that accepts connections
    /// gets `trial` for its first good heartbeat before the next is tried.
    pub fn new(upstreams: Vec<Upstream>, trial: Duration) -> Self {
        Self {
            upstreams,
            watched: WatchedReplicas::default(),
            trial,
        }
    }
}

impl Runtime for StaticRuntime {
    fn kind(&self) -> &'static str {
        "static"
    }

    fn spawns(&self) -> bool {
        false
    }

    fn prepare(&self) -> LocalBoxFuture<'_, Result<Vec<Existing>, RuntimeError>> {
        // A name that does not resolve yet may do so later: that launch fails and is repeated.
        async { Ok(Vec::new()) }.boxed_local()
    }

    fn launch(&self, order: LaunchOrder, _: &Arc<Definition>, _: LaunchAs) -> Task<Launched> {
        let named = |upstream: &&Upstream| upstream.name == order.id.replica;
        let address = self.upstreams.iter().find(named).map(|u| u.address.clone());
        async move {
            let address = address.ok_or_else(|| RuntimeError("not an upstream".to_owned()))?;
            let endpoint = match look_up(&address).await {
                Lookup::Addresses(addresses) => follow::first_choice(&addresses).await,
                Lookup::NoAddress => None,
                Lookup::Unknown(error) => {
                    return Err(RuntimeError(format!("cannot resolve {address}: {error}")));
                }
            };
            let endpoint = endpoint.ok_or_else(|| {
                RuntimeError(format!("cannot resolve {address}: the name has no address"))
            })?;
            let id = order.id;
            Ok(Launched::ordered(id, endpoint))
        }
        .boxed_local()
    }

    fn stop(&self, _: InstanceId, _: Duration) -> Task<()> {
        async { Ok(()) }.boxed_local()
    }

    fn on_probing_started(&self, id: &InstanceId, endpoint: SocketAddr) {
        let watched = Watched {
            endpoint,
            unready_since: Some(Instant::now()),
        };
        let mut all = self.watched.borrow_mut();
        all.insert(id.replica.clone(), watched);
    }

    fn on_probing_stopped(&self, id: &InstanceId) {
        self.watched.borrow_mut().remove(&id.replica);
    }

    fn on_admitted(&self, id: &InstanceId) {
        if let Some(watched) = self.watched.borrow_mut().get_mut(&id.replica) {
            watched.unready_since = None;
        }
    }

    fn events(&self) -> LocalBoxStream<'static, RuntimeEvent> {
        let named = self
            .upstreams
            .iter()
            .filter(|upstream| upstream.address.parse::<SocketAddr>().is_err());
        let followed = named.map(|upstream| {
            let follower = Follower {
                upstream: upstream.clone(),
                watched: Rc::clone(&self.watched),
                trial: self.trial,
            };
            stream::unfold(follower, |follower| async move {
                Some((follower.next().await.into(), follower))
            })
            .boxed_local()
        });
        // Without names there are no events.
        let followed = stream::select_all(followed);
        followed.chain(stream::pending()).boxed_local()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::Weight;

    #[actix_web::test]
    async fn launch_looks_up_the_address() {
        let upstream = |name: &str, address: &str| Upstream {
            name: ReplicaName::from_address(name),
            address: address.to_owned(),
        };
        let runtime = StaticRuntime::new(
            vec![
                upstream("blue", "127.0.0.1:9002"),
                upstream("lost", "no-such-host.invalid:80"),
            ],
            Duration::ZERO,
        );
        let launch = |name: &str| {
            let order = LaunchOrder {
                id: InstanceId::new(ReplicaName::from_address(name), 1),
                weight: Weight::default(),
                ordinal: 1,
            };
            runtime.launch(order, &Arc::default(), LaunchAs::Replica)
        };
        let running = launch("blue").await.unwrap();
        assert_eq!(running.endpoint, "127.0.0.1:9002".parse().unwrap());
        assert_eq!(
            launch("red").await,
            Err(RuntimeError("not an upstream".to_owned()))
        );
        let error = launch("lost").await.unwrap_err().to_string();
        assert!(
            error.starts_with("cannot resolve no-such-host.invalid:80"),
            "{error}"
        );
    }
}
