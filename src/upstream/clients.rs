//! awc clients: one for each instance on each worker thread.
//!
//! One client for all would share one pool; dropping an instance's client closes its idle
//! connections.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::ServiceConfig;
use awc::Client;

use super::instance::Instance;
use super::transport::{Pool, Transport};

/// An idle connection is closed before the replica does it: actix, for one, closes after
/// five seconds, and a request sent into that moment would be lost.
pub const IDLE_CONNECTION: Duration = Duration::from_secs(4);

/// What holds for every client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientSettings {
    /// How long connecting may take.
    pub connect_timeout: Duration,
}

/// The clients of one worker thread.
pub struct Clients {
    settings: ClientSettings,
    by_serial: RefCell<HashMap<u64, Entry>>,
    /// What awc's codec asks for: made with the first client, because it starts a task.
    codec: RefCell<Option<ServiceConfig>>,
}

struct Entry {
    client: Client,
    pool: Rc<Pool>,
}

impl Clients {
    /// No clients yet.
    pub fn new(settings: ClientSettings) -> Rc<Self> {
        Rc::new(Self {
            settings,
            by_serial: RefCell::default(),
            codec: RefCell::default(),
        })
    }

    /// The client of an instance, made at the first request to it.
    pub fn of(&self, instance: &Arc<Instance>) -> Client {
        if let Some(entry) = self.by_serial.borrow().get(&instance.serial()) {
            return entry.client.clone();
        }
        let entry = self.entry(Arc::clone(instance));
        let client = entry.client.clone();
        let mut clients = self.by_serial.borrow_mut();
        clients.insert(instance.serial(), entry);
        client
    }

    fn entry(&self, instance: Arc<Instance>) -> Entry {
        let codec = self.codec.borrow_mut().get_or_insert_default().clone();
        let pool = Rc::new(Pool::new(instance, self.settings.connect_timeout));
        let client = Client::builder()
            .wrap(Transport::new(Rc::clone(&pool), codec))
            .no_default_headers()
            .disable_redirects()
            // The proxy has time-outs of its own.
            .disable_timeout()
            .finish();
        Entry { client, pool }
    }

    /// Closes the connections that have been idle since before the last call: to be called
    /// twice in every [`IDLE_CONNECTION`].
    pub fn close_old(&self) {
        for entry in self.by_serial.borrow().values() {
            entry.pool.close_old();
        }
    }

    /// Closes every idle connection; those in use are closed after their requests.
    pub fn close_idle(&self) {
        for entry in self.by_serial.borrow().values() {
            entry.pool.close_idle();
        }
    }

    /// Drops the clients of all instances but these, and with them their idle connections.
    pub fn keep_only(&self, serials: &HashSet<u64>) {
        let mut clients = self.by_serial.borrow_mut();
        clients.retain(|serial, _| serials.contains(serial));
    }
}
