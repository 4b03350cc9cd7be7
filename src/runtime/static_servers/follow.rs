//! Follows the name of one upstream: looks it up every second, and reports when its replica is to
//! move to another address.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures::future::join_all;
use log::debug;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::Upstream;
use super::lookup::{Lookup, look_up};
use crate::ring::ReplicaName;
use crate::runtime::Event;

/// The time between lookups. An address that the name has lost gets no requests after 2 s.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(1);

/// The time for a trial connection.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);

/// The address to which a replica's heartbeats go.
#[derive(Debug, Clone, Copy)]
pub struct Watched {
    pub endpoint: SocketAddr,
    /// The time since which no heartbeat has been answered; none while it is on the ring.
    pub unready_since: Option<Instant>,
}

/// All replicas that get heartbeats.
pub type WatchedReplicas = Rc<RefCell<HashMap<ReplicaName, Watched>>>;

/// Follows one name.
pub struct Follower {
    pub upstream: Upstream,
    pub watched: WatchedReplicas,
    /// The time in which one of several addresses has to answer its first heartbeat.
    pub trial: Duration,
}

impl Follower {
    /// Waits until the replica is to move to another address.
    pub async fn next(&self) -> Event {
        let address = &self.upstream.address;
        loop {
            sleep(LOOKUP_INTERVAL).await;
            let found = look_up(address).await;
            let watched = self.watched.borrow().get(&self.upstream.name).copied();
            let (endpoint, reason) = match (found, watched) {
                (Lookup::Unknown(error), _) => {
                    debug!("{}: cannot look {address} up: {error}", self.upstream.name);
                    continue;
                }
                (Lookup::NoAddress, None) => continue,
                (Lookup::NoAddress, Some(_)) => (None, format!("{address} has no address")),
                (Lookup::Addresses(addresses), watched) => {
                    let Some(endpoint) = self.choose(watched, &addresses).await else {
                        continue;
                    };
                    let reason = match watched {
                        Some(Watched { endpoint: old, .. }) if !addresses.contains(&old) => {
                            format!("{address} is at {} now", endpoint.ip())
                        }
                        _ => format!("{address} is tried at {}", endpoint.ip()),
                    };
                    (Some(endpoint), reason)
                }
            };
            debug!("{}: {reason}", self.upstream.name);
            return Event::Relocated {
                replica: self.upstream.name.clone(),
                endpoint,
                reason,
            };
        }
    }

    /// The address to which the replica is to move, if any.
    async fn choose(
        &self,
        watched: Option<Watched>,
        addresses: &[SocketAddr],
    ) -> Option<SocketAddr> {
        let stays = watched.is_some_and(|watched| {
            let alone = addresses.len() == 1 || watched.unready_since.is_none();
            addresses.contains(&watched.endpoint) && alone
        });
        if stays {
            return None;
        }
        let candidates = try_all(addresses).await;
        let position = watched.map(|watched| Position {
            endpoint: watched.endpoint,
            is_late: watched
                .unready_since
                .is_some_and(|since| since.elapsed() >= self.trial),
        });
        relocate(position, &candidates)
    }
}

/// An address of a name, and whether it accepts connections.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    address: SocketAddr,
    accepts: bool,
}

/// The present address of a replica that is not ready.
#[derive(Debug, Clone, Copy)]
struct Position {
    endpoint: SocketAddr,
    /// Its time to answer a heartbeat is over.
    is_late: bool,
}

/// Tries to connect to each of several addresses; a single one is not tried.
async fn try_all(addresses: &[SocketAddr]) -> Vec<Candidate> {
    let is_only = addresses.len() == 1;
    let tried = addresses.iter().map(|&address| async move {
        let accepts = is_only
            || timeout(CONNECT_TIMEOUT, TcpStream::connect(address))
                .await
                .is_ok_and(|connected| connected.is_ok());
        Candidate { address, accepts }
    });
    join_all(tried).await
}

/// The address for a launch: the first that accepts connections.
pub async fn first_choice(addresses: &[SocketAddr]) -> Option<SocketAddr> {
    relocate(None, &try_all(addresses).await)
}

/// The address to which a replica that is not ready is to move, if any: one that accepts
/// connections; the next in turn if the present one accepts them and its time is over.
fn relocate(present: Option<Position>, candidates: &[Candidate]) -> Option<SocketAddr> {
    let place = present.and_then(|present| {
        let mut places = candidates.iter();
        places.position(|candidate| candidate.address == present.endpoint)
    });
    let Some((present, place)) = present.zip(place) else {
        let accepting = candidates.iter().find(|candidate| candidate.accepts);
        let chosen = accepting.or(candidates.first());
        return chosen.map(|candidate| candidate.address);
    };
    if candidates[place].accepts && !present.is_late {
        return None;
    }
    let (before, behind) = candidates.split_at(place);
    let mut others = behind.iter().skip(1).chain(before);
    let next = others.find(|candidate| candidate.accepts);
    next.map(|candidate| candidate.address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, host], 80))
    }

    #[test]
    fn addresses_of_a_name_are_tried_in_turn() {
        let is = |host, is_late| {
            Some(Position {
                endpoint: at(host),
                is_late,
            })
        };
        for (present, hosts, chosen) in [
            // Nowhere yet, or at an address that the name has lost: the first that accepts.
            (None, "1- 2+ 3+", Some(2)),
            (is(9, false), "1- 2+ 3+", Some(2)),
            // None accepts: the first, where it is waited for.
            (None, "1- 2-", Some(1)),
            (is(9, true), "1- 2-", Some(1)),
            // The present one has its time to answer a heartbeat, if it accepts connections.
            (is(1, false), "1+ 2+", None),
            (is(1, false), "1- 2+", Some(2)),
            // Then the next is tried, and behind the last the first.
            (is(1, true), "1+ 2- 3+", Some(3)),
            (is(3, true), "1+ 2- 3+", Some(1)),
            // No other accepts: it stays.
            (is(1, true), "1+ 2-", None),
            (is(1, true), "1- 2-", None),
            (is(1, true), "1+", None),
        ] {
            let candidates: Vec<_> = hosts
                .split(' ')
                .map(|word| Candidate {
                    address: at(word[..1].parse().unwrap()),
                    accepts: word.ends_with('+'),
                })
                .collect();
            assert_eq!(
                relocate(present, &candidates),
                chosen.map(at),
                "{present:?} {hosts}"
            );
        }
    }
}
