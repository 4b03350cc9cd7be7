//! awc clients: one for each instance on each worker thread.
//!
//! One client for all would share one pool; dropping an instance's client closes its idle
//! connections.

mod awc_transport;
mod connect;
mod connection;
mod idle_connections;
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

use actix_web::body;
use awc::error::{FreezeRequestError, InvalidUrl, SendRequestError};
use awc::http::Uri;
use awc::{Client, FrozenClientRequest, SendClientRequest};
use futures::FutureExt;

use crate::upstream::Instance;
use crate::upstream::framed_connection::UpstreamRequest;
use awc_transport::Transport;
pub use connect::NotConnected;
use connect::connect;
use idle_connections::Pool;
pub use one_shot::OneShotClient;
pub use raw_head::{FieldSlot, Fields, ResponseSlot};
pub use response::recycle;

/// An idle connection is closed before the replica does it: actix, for one, closes after
/// five seconds, and a request sent into that moment would be lost.
pub const IDLE_CONNECTION: Duration = Duration::from_secs(4);

/// The clients of one worker thread.
pub struct UpstreamPools {
    connect_timeout: Duration,
    /// Found by a few comparisons, which is quicker than a hash that nobody can steer.
    by_uid: RefCell<BTreeMap<u64, Entry>>,
}

struct Entry {
    /// What every request to the instance looks like to awc: its own head and body come
    /// with the [`UpstreamRequest`].
    request: Result<FrozenClientRequest, FreezeRequestError>,
    pool: Rc<Pool>,
}

impl Entry {
    fn new(instance: Arc<Instance>, connect_timeout: Duration) -> Self {
        let uri = Uri::builder()
            .scheme("http")
            .authority(instance.authority().clone())
            .path_and_query("/");
        let pool = Rc::new(Pool::new(move || {
            connect(Arc::clone(&instance), connect_timeout).boxed_local()
        }));
        let client = Client::builder()
            .wrap(Transport::new(Rc::clone(&pool)))
            .no_default_headers()
            .disable_redirects()
            // The proxy has time-outs of its own.
            .disable_timeout()
            .finish();
        // Authorities are valid, and so is the URI.
        let request = client.get(uri.build().unwrap_or_default());
        Self {
            // Or awc would decode what is meant for the client.
            request: request.no_decompress().freeze(),
            pool,
        }
    }

    fn send(&self, exchange: UpstreamRequest) -> SendClientRequest {
        match &self.request {
            Ok(request) => exchange.run(|| request.send_body(body::None::new())),
            Err(_) => SendRequestError::Url(InvalidUrl::MissingHost).into(),
        }
    }
}

impl UpstreamPools {
    /// No clients yet; `connect_timeout` is how long connecting may take.
    pub fn new(connect_timeout: Duration) -> Rc<Self> {
        Rc::new(Self {
            connect_timeout,
            by_uid: RefCell::default(),
        })
    }

    /// Sends a request by the client of an instance, made at the first request to it.
    pub fn send(&self, instance: &Arc<Instance>, exchange: UpstreamRequest) -> SendClientRequest {
        if let Some(entry) = self.by_uid.borrow().get(&instance.uid()) {
            return entry.send(exchange);
        }
        let entry = Entry::new(Arc::clone(instance), self.connect_timeout);
        let mut clients = self.by_uid.borrow_mut();
        let entry = clients.entry(instance.uid()).or_insert(entry);
        entry.send(exchange)
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

    /// Drops the clients of all instances but these, and with them their idle connections.
    pub fn retain(&self, uids: &HashSet<u64>) {
        let mut clients = self.by_uid.borrow_mut();
        clients.retain(|uid, _| uids.contains(uid));
    }
}
