//! Resolves `HOST:PORT` with getaddrinfo(3), which reads `/etc/hosts` and `nsswitch.conf` again when
//! they change, asks the servers of `/etc/resolv.conf` (such as Docker's 127.0.0.11), and
//! distinguishes a name that does not exist from a server that fails.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use dns_lookup::LookupErrorKind;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// The time for a lookup. Its thread ends when the resolver gives up.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// The result of a lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// Every address of the name, the preferred one first; at least one.
    Addresses(Vec<SocketAddr>),
    /// The name does not exist, or has no address.
    NoAddress,
    /// The server failed (SERVFAIL) or did not answer.
    Unknown(String),
}

/// Looks up an address on a thread of its own: the resolver blocks, for seconds if a name server
/// is down. A thread of tokio's pool would delay the balancer's end by as long.
pub async fn look_up(address: &str) -> Lookup {
    if let Ok(address) = address.parse() {
        return Lookup::Addresses(vec![address]);
    }
    let (result_in, result) = oneshot::channel();
    let address = address.to_owned();
    let spawned = thread::Builder::new()
        .name("lookup".to_owned())
        .spawn(move || {
            // The one who asked may have given up.
            let _ = result_in.send(resolve(&address));
        });
    if let Err(error) = spawned {
        return Lookup::Unknown(format!("no thread for a lookup: {error}"));
    }
    match timeout(LOOKUP_TIMEOUT, result).await {
        Ok(Ok(found)) => found,
        Ok(Err(_)) => Lookup::Unknown("the lookup broke off".to_owned()),
        Err(_) => Lookup::Unknown(format!("no name server answers within {LOOKUP_TIMEOUT:?}")),
    }
}

fn resolve(address: &str) -> Lookup {
    let parts = address.rsplit_once(':');
    let parts = parts.and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    let Some((host, port)) = parts else {
        return Lookup::Unknown("not HOST:PORT".to_owned());
    };
    match dns_lookup::lookup_host(host) {
        Ok(found) => {
            let mut addresses: Vec<SocketAddr> = Vec::new();
            for ip in found {
                let address = SocketAddr::new(ip, port);
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            match addresses.is_empty() {
                true => Lookup::NoAddress,
                false => Lookup::Addresses(addresses),
            }
        }
        Err(error) => match error.kind() {
            LookupErrorKind::NoName | LookupErrorKind::NoData => Lookup::NoAddress,
            _ => Lookup::Unknown(std::io::Error::from(error).to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn an_address_is_not_looked_up_and_a_name_is() {
        for address in ["127.0.0.1:80", "[::1]:80"] {
            let expected = Lookup::Addresses(vec![address.parse().unwrap()]);
            assert_eq!(look_up(address).await, expected);
        }
        let Lookup::Addresses(found) = look_up("localhost:81").await else {
            panic!("localhost has no address");
        };
        assert!(found.iter().all(|address| address.ip().is_loopback()));
        assert!(found.iter().all(|address| address.port() == 81));
    }
}
