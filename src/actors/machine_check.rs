//! Tells an instance that does not answer from a machine that is lost, or has lost its network.
//!
//! A server that is busy or stopped may answer later, and so may one to which its network is interrupted:
//! overlays are for a second, when a node has come back. So where a heartbeat's connection is not taken at
//! once, the machine is asked itself, beside the overlay. If it does not answer either, no more need be waited for.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::connection_watch::CONNECT_TIMEOUT;
use crate::upstream::ConnectionSlot;

/// How long the kernel of a machine may take to answer, however busy its programs are.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(250);

/// Where the machine of an instance can be asked.
#[derive(Debug)]
pub(super) struct MachineCheck {
    address: Option<SocketAddr>,
    state: Reachability,
}

#[derive(Debug, PartialEq, Eq)]
enum Reachability {
    NotTried,
    /// It has answered.
    Reachable,
    /// It has not while its instance did: its silence says nothing.
    Unreachable,
}

impl MachineCheck {
    /// Nothing is asked before it is known whether it can be.
    pub(super) fn new(address: Option<SocketAddr>) -> Self {
        let state = Reachability::NotTried;
        Self { address, state }
    }

    /// Finds out, once, whether the machine can be asked from here. Its instance answers.
    pub(super) async fn learn(&mut self) {
        if self.state == Reachability::NotTried
            && let Some(address) = self.address
        {
            self.state = match answers(address).await {
                true => Reachability::Reachable,
                false => Reachability::Unreachable,
            };
        }
    }

    /// Completes if neither the instance takes the connection for a heartbeat, which is being made, nor its machine
    /// answers. Never if that is not known.
    pub(super) async fn is_silent(&self, made: &ConnectionSlot) {
        let address = self.address;
        let Some(address) = address.filter(|_| self.state == Reachability::Reachable) else {
            return pending().await;
        };
        sleep(CONNECT_TIMEOUT).await;
        if made.is_made() || answers(address).await || made.is_made() {
            pending().await
        }
    }
}

/// Whether anything comes back: that nothing listens is an answer.
async fn answers(address: SocketAddr) -> bool {
    match timeout(ANSWER_TIMEOUT, TcpStream::connect(address)).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => error.kind() == io::ErrorKind::ConnectionRefused,
        Err(_) => false,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::fd::AsFd;

    use futures::FutureExt;
    use tokio::net::TcpListener;

    use super::*;

    /// From here on the kernel drops what comes to a socket, as if its machine were lost.
    pub(in super::super) fn lose(socket: &impl AsFd) {
        const RETURN: u16 = 0x06;
        let drop_all = [socket2::SockFilter::new(RETURN, 0, 0, 0)];
        let socket = socket2::SockRef::from(socket);
        socket.attach_filter(&drop_all).unwrap();
    }

    /// A machine, and a check of it.
    pub(in super::super) async fn machine() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    async fn is_silent(check: &MachineCheck, made: &ConnectionSlot) -> bool {
        let silent = timeout(
            2 * (CONNECT_TIMEOUT + ANSWER_TIMEOUT),
            check.is_silent(made),
        );
        silent.await.is_ok()
    }

    #[actix_web::test]
    async fn a_machine_is_silent_that_has_answered_before_and_does_not_now() {
        let (listener, address) = machine().await;
        let (mut check, not_made) = (MachineCheck::new(Some(address)), ConnectionSlot::default());
        check.learn().await;
        assert!(!is_silent(&check, &not_made).await);
        lose(&listener);
        assert!(!is_silent(&check, &ConnectionSlot::made()).await);
        // However late the timers of a busy machine are.
        let silent = timeout(Duration::from_secs(30), check.is_silent(&not_made));
        assert!(silent.await.is_ok());
        // The engine has ended, and its machine says so.
        drop(listener);
        assert!(!is_silent(&check, &not_made).await);
    }

    #[actix_web::test]
    async fn the_silence_of_a_machine_that_has_never_answered_says_nothing() {
        let (listener, address) = machine().await;
        lose(&listener);
        let mut behind_a_firewall = MachineCheck::new(Some(address));
        behind_a_firewall.learn().await;
        let mut unknown = MachineCheck::new(None);
        unknown.learn().await;
        let untried = MachineCheck::new(Some(address));
        for check in [behind_a_firewall, unknown, untried] {
            let not_made = ConnectionSlot::default();
            assert_eq!(check.is_silent(&not_made).now_or_never(), None);
            assert!(!is_silent(&check, &not_made).await, "{check:?}");
        }
    }
}
