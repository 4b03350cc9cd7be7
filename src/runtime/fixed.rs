//! Servers that somebody else runs (`--runtime static`; `static` itself is a keyword).
//!
//! "Starting" one is looking up its address; nothing is ever stopped.

use std::time::Duration;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use futures::stream::{LocalBoxStream, StreamExt};

use super::{Found, InstanceId, LaunchOrder, Running, Runtime, RuntimeError, RuntimeEvent};
use crate::ring::ReplicaName;

/// One server that somebody else runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Upstream {
    /// Its name on the ring: the one it was given, else its address.
    pub name: ReplicaName,
    /// Where it listens, as `HOST:PORT`; the host is a DNS name, an IPv4 address or
    /// an IPv6 address in brackets.
    pub address: String,
}

/// The runtime of servers that somebody else runs.
#[derive(Debug)]
pub struct FixedRuntime {
    upstreams: Vec<Upstream>,
}

impl FixedRuntime {
    /// A runtime of just these servers.
    pub fn new(upstreams: Vec<Upstream>) -> Self {
        Self { upstreams }
    }
}

impl Runtime for FixedRuntime {
    fn kind(&self) -> &'static str {
        "static"
    }

    fn spawns(&self) -> bool {
        false
    }

    fn prepare(&self) -> LocalBoxFuture<'_, Result<Vec<Found>, RuntimeError>> {
        // A name that does not resolve yet may do so later: that is a start that fails.
        async { Ok(Vec::new()) }.boxed_local()
    }

    fn launch(&self, order: LaunchOrder) -> LocalBoxFuture<'static, Result<Running, RuntimeError>> {
        let named = |upstream: &&Upstream| upstream.name == order.id.replica;
        let address = self.upstreams.iter().find(named).map(|u| u.address.clone());
        async move {
            let address = address.ok_or_else(|| RuntimeError("not an upstream".to_owned()))?;
            let mut addresses = tokio::net::lookup_host(&address)
                .await
                .map_err(|error| RuntimeError(format!("cannot resolve {address}: {error}")))?;
            let endpoint = addresses.next();
            let endpoint =
                endpoint.ok_or_else(|| RuntimeError(format!("{address} has no address")))?;
            let id = order.id;
            Ok(Running { id, endpoint })
        }
        .boxed_local()
    }

    fn stop(
        &self,
        _id: InstanceId,
        _grace: Duration,
    ) -> LocalBoxFuture<'static, Result<(), RuntimeError>> {
        async { Ok(()) }.boxed_local()
    }

    fn events(&self) -> LocalBoxStream<'static, RuntimeEvent> {
        futures::stream::pending().boxed_local()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::Weight;

    #[actix_web::test]
    async fn launching_is_looking_up_the_address() {
        let upstream = |name: &str, address: &str| Upstream {
            name: ReplicaName::from_address(name),
            address: address.to_owned(),
        };
        let runtime = FixedRuntime::new(vec![
            upstream("blue", "127.0.0.1:9002"),
            upstream("lost", "no-such-host.invalid:80"),
        ]);
        let launch = |name: &str| {
            runtime.launch(LaunchOrder {
                id: InstanceId {
                    replica: ReplicaName::from_address(name),
                    generation: 1,
                },
                weight: Weight::default(),
                ordinal: 1,
            })
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
