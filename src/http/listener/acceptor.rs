//! A worker thread's part in accepting clients' connections.
//!
//! All threads watch the same socket, and each takes from its queue what it can: a connection
//! is accepted where it is served, without a thread in between that would have to wake the one
//! that serves. Only what would leave the threads' loads uneven is handed over
//! ([`loads`](crate::http::listener::loads)).
//!
//! The kernel wakes every idle thread for a new connection, and an `accept` in vain costs eight
//! times as much as asking whether there is one. So that is asked first.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use log::{debug, info, warn};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::yield_now;
use tokio::time::{Sleep, sleep};

use crate::http::connection::h1::byte_stream::ClientTcp;
use crate::http::connection::h1::{Application, H1Connection};
use crate::http::connection::sweeper::ConnectionSweeper;
use crate::http::listener::client_limit::{self, ClientLimit};
use crate::http::listener::loads::{ConnectionPermit, Loads, ThreadPermits};
use crate::human::duration;
use crate::sys::tcp;

/// At least so many connections are accepted before those that are open have their turn, and
/// at most so many. (The runtime ends a task's turn when it has done 128 things.)
const IN_A_ROW: (usize, usize) = (4, 100);

/// How long nothing is accepted when it has failed: most likely there are too many open files,
/// and trying at once would fail again.
const PAUSE: Duration = Duration::from_millis(500);

/// A connection that has been accepted, and where it comes from.
pub type Client = (TcpStream, Option<SocketAddr>);

/// What a worker thread is told.
pub enum Command {
    /// To serve a client whose permit has been taken.
    Adopt(Client),
    /// To accept nothing more, and to end when the last connection has.
    Shutdown,
}

/// What the worker threads know of each other.
pub struct WorkerGroup {
    loads: Arc<Loads>,
    /// Where each takes orders.
    mailboxes: Vec<UnboundedSender<Command>>,
    /// It has been said that nothing can be accepted.
    is_stuck: AtomicBool,
}

/// Accepts connections on a worker thread and serves them.
pub struct Acceptor<A> {
    host: Host<A>,
    listener: AsyncFd<TcpListener>,
    orders: UnboundedReceiver<Command>,
    group: Arc<WorkerGroup>,
    pause: Option<Pin<Box<Sleep>>>,
    /// The kernel has just said that somebody waits, and to no other thread.
    is_sure: bool,
}

impl<A> Acceptor<A>
where
    A: Application + 'static,
{
    /// That of this thread, which has this number in the group.
    ///
    /// # Errors
    ///
    /// The kernel's, if the listener cannot be watched.
    pub fn new(
        service: ClientService<A>,
        listener: TcpListener,
        thread: usize,
        orders: UnboundedReceiver<Command>,
        group: Arc<WorkerGroup>,
        client_limit: Option<Arc<ClientLimit>>,
    ) -> io::Result<Self> {
        let permits = ThreadPermits::of(&group.loads, thread);
        #[expect(
            deprecated,
            reason = "its successor is unsafe for the sake of what does not own its descriptor, \
                      as a listener does"
        )]
        let listener = AsyncFd::with_interest(listener, Interest::READABLE)?;
        Ok(Self {
            host: Host {
                service,
                permits,
                client_limit,
            },
            listener,
            orders,
            group,
            pause: None,
            is_sure: false,
        })
    }

    /// Accepts and serves until it is told to leave, and its last connection has ended.
    pub async fn run(mut self) {
        let mut left = self.host.turn();
        while let Some((client, permit)) = poll_fn(|cx| self.poll_next(cx)).await {
            self.host.serve(client, permit);
            left -= 1;
            if left == 0 {
                yield_now().await;
                left = self.host.turn();
            }
        }
        self.leave().await;
    }

    /// The next to be served; none: to leave.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Client, ConnectionPermit)>> {
        match self.orders.poll_recv(cx) {
            Poll::Ready(Some(Command::Adopt(client))) => {
                return Poll::Ready(Some((client, self.host.permits.taken())));
            }
            Poll::Ready(Some(Command::Shutdown) | None) => return Poll::Ready(None),
            Poll::Pending => {}
        }
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            let ready = self.listener.poll_read_ready(cx);
            if ready.is_pending() {
                self.is_sure = self.group.mailboxes.len() == 1;
            }
            let Ok(mut ready) = ready!(ready) else {
                // The runtime ends.
                return Poll::Ready(None);
            };
            let permit = ready!(self.host.permits.poll_take(cx));
            let is_sure = std::mem::take(&mut self.is_sure);
            match ready.try_io(|listener| tcp::accept(listener.get_ref(), is_sure)) {
                Ok(Ok(client)) => match permit.give() {
                    Err(permit) => return Poll::Ready(Some((client, permit))),
                    Ok(other) => self.group.hand_over(client, other),
                },
                Ok(Err(error)) if is_of_one(&error) => debug!("a client has gone: {error}"),
                Ok(Err(error)) => {
                    self.group.stuck(&error);
                    self.pause = Some(Box::pin(sleep(PAUSE)));
                }
                Err(_none_pending) => self.group.unstuck(),
            }
        }
    }

    /// Ends in order: who is in the queue is a client, too.
    async fn leave(self) {
        let Self {
            host,
            listener,
            mut orders,
            ..
        } = self;
        while let Some(permit) = host.permits.take() {
            match tcp::accept(listener.get_ref(), false) {
                Ok(client) => host.serve(client, permit),
                Err(error) if is_of_one(&error) => {}
                Err(_) => break,
            }
        }
        drop(listener);
        host.permits.close();
        // What clients have said is heard before those that say nothing are ended.
        yield_now().await;
        host.service.sweeper.end();
        poll_fn(|cx| {
            while let Poll::Ready(Some(Command::Adopt(client))) = orders.poll_recv(cx) {
                host.serve(client, host.permits.taken());
            }
            host.permits.poll_empty(cx)
        })
        .await;
    }
}

/// What serves the connections of a thread.
pub struct ClientService<A> {
    /// Answers requests.
    pub app: Rc<A>,
    /// Looks at the connections.
    pub sweeper: Rc<ConnectionSweeper>,
}

impl<A: Application> ClientService<A> {
    /// Serves a connection from there, whose socket does not block.
    fn serve(&self, (socket, peer): Client) -> H1Connection<A, ClientTcp> {
        let stream = ClientTcp::Fresh(socket);
        H1Connection::new(&self.app, self.sweeper.open(), stream, peer)
    }
}

/// Serves clients that have a permit.
struct Host<A> {
    service: ClientService<A>,
    permits: Rc<ThreadPermits>,
    client_limit: Option<Arc<ClientLimit>>,
}

impl<A> Host<A>
where
    A: Application + 'static,
{
    /// So many connections are accepted in a row: as many as are open. The more of those have
    /// something to do the longer their turn takes, and who comes meanwhile is not to wait for
    /// many of them; nor are they to wait for a crowd that comes all at once.
    fn turn(&self) -> usize {
        let (least, most) = IN_A_ROW;
        self.permits.open().clamp(least, most)
    }

    fn serve(&self, client: Client, permit: ConnectionPermit) {
        let client_permit = match self.client_limit.as_ref().zip(client.1) {
            None => None,
            Some((limit, address)) => match limit.try_acquire(address) {
                Some(permit) => Some(permit),
                None => {
                    client_limit::refuse(client.0, address);
                    return;
                }
            },
        };
        let served = self.service.serve(client);
        // One task for both cases, or the compiler would not inline what every request passes.
        actix_web::rt::spawn(async move {
            // A panic frees the permit, too.
            served.await;
            drop((permit, client_permit));
        });
    }
}

impl WorkerGroup {
    /// A group of as many threads as there are mailboxes.
    pub fn new(loads: Loads, mailboxes: Vec<UnboundedSender<Command>>) -> Self {
        Self {
            loads: Arc::new(loads),
            mailboxes,
            is_stuck: AtomicBool::new(false),
        }
    }

    /// Connections that are open, on all threads.
    pub fn open(&self) -> usize {
        self.loads.open()
    }

    /// Tells all threads to leave.
    pub fn leave(&self) {
        for mailbox in &self.mailboxes {
            let _ = mailbox.send(Command::Shutdown);
        }
    }

    /// A thread that has died takes nothing; then the server has failed.
    fn hand_over(&self, client: Client, thread: usize) {
        let _ = self.mailboxes[thread].send(Command::Adopt(client));
    }

    fn stuck(&self, error: &io::Error) {
        if !self.is_stuck.swap(true, Ordering::Relaxed) {
            let pause = duration(PAUSE);
            warn!("cannot accept connections: {error}; trying again every {pause}");
        }
    }

    /// No connection waits to be accepted.
    fn unstuck(&self) {
        if self.is_stuck.load(Ordering::Relaxed) && self.is_stuck.swap(false, Ordering::Relaxed) {
            info!("accepting connections again");
        }
    }
}

/// Sets up a listener, and with it what it accepts: on Linux sockets inherit these.
pub fn prepare(listener: &TcpListener, idle: Duration) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let socket = SockRef::from(listener);
    // What is written is meant to go out: Nagle's algorithm would keep the end of a large
    // response back until the client acknowledges the rest, which takes it 40 ms.
    socket.set_tcp_nodelay(true)?;
    // TCP_USER_TIMEOUT (RFC 5482): a client that takes nothing of what is sent to it is
    // disconnected by the kernel, because actix waits for ever. A window that stays shut
    // counts, too.
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(idle))?;
    if let Err(error) = tcp::enable_defer_accept(listener) {
        debug!("connections are accepted before they say anything: {error}");
    }
    Ok(())
}

/// Whether an error is that of one connection, so that the next may be accepted.
fn is_of_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    let kinds = [
        ConnectionAborted,
        ConnectionRefused,
        ConnectionReset,
        Interrupted,
    ];
    kinds.contains(&error.kind())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_is_accepted_is_set_up_as_the_listener_and_says_where_it_comes_from() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        prepare(&listener, Duration::from_secs(7)).unwrap();
        let none = tcp::accept(&listener, false).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::WouldBlock);

        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        #[cfg(target_os = "linux")]
        assert!(
            tcp::accept(&listener, false).is_err(),
            "it has said nothing"
        );
        client.write_all(b"G").unwrap();
        // On a busy machine the kernel may deliver the byte a moment later.
        let begun = std::time::Instant::now();
        let (accepted, peer) = loop {
            match tcp::accept(&listener, false) {
                Err(_) if begun.elapsed() < Duration::from_secs(30) => std::thread::yield_now(),
                accepted => break accepted.unwrap(),
            }
        };
        assert_eq!(peer, Some(client.local_addr().unwrap()));
        let accepted = SockRef::from(&accepted);
        assert!(accepted.tcp_nodelay().unwrap());
        assert!(accepted.nonblocking().unwrap());
        #[cfg(target_os = "linux")]
        assert_eq!(
            accepted.tcp_user_timeout().unwrap(),
            Some(Duration::from_secs(7))
        );
    }
}
