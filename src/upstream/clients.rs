//! awc clients: one for each instance on each worker thread.
//!
//! One client for all would share one connection limit and one pool; dropping an
//! instance's client closes its idle connections.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use awc::{Client, Connector};

use super::connector::InstanceConnector;
use super::instance::Instance;

/// An idle connection is closed before the replica does it: actix, for one, closes after
/// five seconds, and a request sent into that moment would be lost.
pub const IDLE_CONNECTION: Duration = Duration::from_secs(4);
/// A connection may live as long as it is used.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

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
}

struct Entry {
    client: Client,
    /// Since the last call of [`Clients::drop_unused`].
    used: Cell<bool>,
}

impl Clients {
    /// No clients yet.
    pub fn new(settings: ClientSettings) -> Rc<Self> {
        Rc::new(Self {
            settings,
            by_serial: RefCell::default(),
        })
    }

    /// The client of an instance, made at the first request to it.
    pub fn of(&self, instance: &Arc<Instance>) -> Client {
        if let Some(entry) = self.by_serial.borrow().get(&instance.serial()) {
            entry.used.set(true);
            return entry.client.clone();
        }
        let client = build(Arc::clone(instance), self.settings);
        let entry = Entry {
            client: client.clone(),
            used: Cell::new(true),
        };
        let mut clients = self.by_serial.borrow_mut();
        clients.insert(instance.serial(), entry);
        client
    }

    /// Drops the clients that nobody has asked for since the last call. awc looks at its idle
    /// connections only when it needs one: without this, what the replica has closed would
    /// stay open here for as long as no request comes.
    pub fn drop_unused(&self) {
        let mut clients = self.by_serial.borrow_mut();
        clients.retain(|_, entry| entry.used.replace(false));
    }

    /// Closes every idle connection; those in use are closed after their requests.
    pub fn close_idle(&self) {
        self.by_serial.borrow_mut().clear();
    }

    /// Drops the clients of all instances but these, and with them their idle connections.
    pub fn keep_only(&self, serials: &HashSet<u64>) {
        let mut clients = self.by_serial.borrow_mut();
        clients.retain(|serial, _| serials.contains(serial));
    }
}

fn build(instance: Arc<Instance>, settings: ClientSettings) -> Client {
    let connector = Connector::new()
        .connector(InstanceConnector::new(instance))
        .timeout(settings.connect_timeout)
        // In-flight requests are bounded where they come in.
        .limit(0)
        .conn_keep_alive(IDLE_CONNECTION)
        .conn_lifetime(CONNECTION_LIFETIME);
    Client::builder()
        .connector(connector)
        .no_default_headers()
        .disable_redirects()
        // The proxy has time-outs of its own.
        .disable_timeout()
        .finish()
}
