//! The connections to the instances: one pool, and one client that sends on it, for each instance on
//! each worker thread. Dropping an instance's pool closes its idle connections.
//!
//! How a request passes through awc, and what that costs in straightness, is in `awc_bridge`.

mod awc_bridge;
mod connect;
mod connection;
mod connection_pool;
mod kept_connection;
mod large_buffers;
mod one_shot;
mod raw_head;
mod response;
mod response_body;
mod send_request;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use awc::http::Uri;
use futures::FutureExt;

use super::framed_connection::UpstreamRequest;
use super::instance::Instance;
use awc_bridge::{AwcClient, Sent};
use connect::connect;
use connection_pool::ConnectionPool;
pub use kept_connection::{ConnectionSlot, KeptConnection};
pub use one_shot::OneShotClient;
pub use raw_head::RawResponseHead;
pub use response::UpstreamResponse;
pub use response_body::UpstreamBody;

/// An idle connection is closed before the replica does it: actix, for one, closes after
/// five seconds, and a request sent into that moment would be lost.
pub const IDLE_CONNECTION: Duration = Duration::from_secs(4);

/// The pools of one worker thread.
pub struct UpstreamPools {
    connect_timeout: Duration,
    /// By the instance's uid. A few comparisons are quicker than a hash that is safe from
    /// collisions.
    by_uid: RefCell<BTreeMap<u64, Entry>>,
}

struct Entry {
    client: AwcClient,
    pool: Rc<ConnectionPool>,
}

impl Entry {
    fn new(instance: Arc<Instance>, connect_timeout: Duration) -> Self {
        let uri = Uri::builder()
            .scheme("http")
            .authority(instance.authority().clone())
            .path_and_query("/");
        let pool = Rc::new(ConnectionPool::new(move || {
            connect(Arc::clone(&instance), connect_timeout).boxed_local()
        }));
        // Authorities are valid, and so is the URI.
        let client = AwcClient::new(uri.build().unwrap_or_default(), Rc::clone(&pool));
        Self { client, pool }
    }
}

impl UpstreamPools {
    /// No pools yet; `connect_timeout` is how long connecting may take.
    pub fn new(connect_timeout: Duration) -> Rc<Self> {
        Rc::new(Self {
            connect_timeout,
            by_uid: RefCell::default(),
        })
    }

    /// Sends a request on the pool of an instance, which is made at the first request to it.
    pub fn send(&self, instance: &Arc<Instance>, request: UpstreamRequest) -> Sent {
        if let Some(entry) = self.by_uid.borrow().get(&instance.uid()) {
            return entry.client.send(request);
        }
        let entry = Entry::new(Arc::clone(instance), self.connect_timeout);
        let mut pools = self.by_uid.borrow_mut();
        let entry = pools.entry(instance.uid()).or_insert(entry);
        entry.client.send(request)
    }

    /// Closes the connections that have been idle since before the last call: to be called
    /// twice in every [`IDLE_CONNECTION`].
    pub fn reap_idle(&self) {
        for entry in self.by_uid.borrow().values() {
            entry.pool.reap_idle();
        }
    }

    /// Closes every idle connection; those in use are closed after their requests.
    pub fn close_idle(&self) {
        for entry in self.by_uid.borrow().values() {
            entry.pool.close_idle();
        }
    }

    /// Drops the pools of all instances but these, and with them their idle connections.
    pub fn retain(&self, uids: &HashSet<u64>) {
        let mut pools = self.by_uid.borrow_mut();
        pools.retain(|uid, _| uids.contains(uid));
    }
}
