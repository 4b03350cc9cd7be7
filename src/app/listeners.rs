//! The sockets that the servers listen on, and what to do about an address that cannot be had.

use std::io;
use std::net::{SocketAddr, TcpListener};

use log::info;

use super::AppError;
use crate::config::Settings;

/// Connections waiting to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// How far beyond a port that is taken a free one is looked for.
const PORTS_TRIED: u16 = 100;

/// The admin listener, if there is to be one. By default it takes the next free port where its own
/// is taken: by another balancer, most likely.
pub fn listen_for_admin(settings: &Settings) -> Result<Option<TcpListener>, AppError> {
    let Some(address) = settings.server.admin else {
        return Ok(None);
    };
    let listener = match listen("--admin", address) {
        Err(AppError::Listen { cause, .. })
            if settings.default_admin && cause.kind() == io::ErrorKind::AddrInUse =>
        {
            let others = ports_after(address).chain([SocketAddr::new(address.ip(), 0)]);
            let mut others = others.map(|other| listen("--admin", other));
            let listener = others.find_map(Result::ok);
            if let Some(Ok(other)) = listener.as_ref().map(TcpListener::local_addr) {
                info!("{address} is taken: the admin API is at {other}");
            }
            return Ok(listener);
        }
        listener => listener?,
    };
    Ok(Some(listener))
}

/// The addresses with the next ports.
fn ports_after(address: SocketAddr) -> impl Iterator<Item = SocketAddr> {
    let ports = (1..=PORTS_TRIED).filter_map(move |step| address.port().checked_add(step));
    ports.map(move |port| SocketAddr::new(address.ip(), port))
}

/// Listens on an address, which this option gives.
pub fn listen(flag: &'static str, address: SocketAddr) -> Result<TcpListener, AppError> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        // The standard library's backlog is 128: a burst of clients must not be refused.
        rustix::net::listen(&listener, BACKLOG)?;
        Ok(listener)
    });
    bound.map_err(|cause| AppError::Listen {
        flag,
        address,
        advice: listen_advice(flag, address, &cause),
        cause,
    })
}

/// What to do about an address that cannot be listened on.
fn listen_advice(flag: &str, address: SocketAddr, cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::AddrInUse => {
            let free = ports_after(address).find(|other| TcpListener::bind(other).is_ok());
            free.map_or_else(String::new, |free| format!("; {flag} {free} is free"))
        }
        io::ErrorKind::PermissionDenied => format!(
            "; ports below 1024 need root or CAP_NET_BIND_SERVICE: {flag} {}:8080 needs neither",
            address.ip()
        ),
        _ => String::new(),
    }
}
