//! A connection that is kept open after its response, only to learn of its end: the kernel of a server
//! that dies closes its connections at once.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// More bytes than this after a response are none that belong to it.
const MAX_UNREAD: usize = 1 << 20;

/// Where a connection is put that is to be kept, as soon as it is made.
#[derive(Clone, Default)]
pub struct ConnectionSlot {
    is_made: Rc<Cell<bool>>,
    kept: Rc<RefCell<Option<KeptConnection>>>,
}

impl ConnectionSlot {
    #[cfg(test)]
    pub(crate) fn made() -> Self {
        let made = Self::default();
        made.is_made.set(true);
        made
    }

    pub(super) fn put(&self, stream: &TcpStream) {
        self.is_made.set(true);
        // Without a handle of its own it is not watched.
        self.kept.replace(KeptConnection::of(stream).ok());
    }

    /// Whether the connection has been made.
    pub fn is_made(&self) -> bool {
        self.is_made.get()
    }

    /// Takes it out.
    pub fn take(&self) -> Option<KeptConnection> {
        self.kept.take()
    }
}

/// A connection after its response.
#[derive(Debug)]
pub struct KeptConnection(TcpStream);

impl KeptConnection {
    #[cfg(test)]
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self(stream)
    }

    /// The same connection once more: it stays open when the other handle is closed.
    fn of(stream: &TcpStream) -> io::Result<Self> {
        let another = stream.as_fd().try_clone_to_owned()?;
        let another = std::net::TcpStream::from(another);
        Ok(Self(TcpStream::from_std(another)?))
    }

    /// Completes when the server has ended the connection.
    pub async fn ended(&mut self) {
        let (mut buffer, mut unread) = ([0; 1024], 0);
        while unread < MAX_UNREAD {
            match self.0.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                // The rest of a body that was not read.
                Ok(more) => unread += more,
            }
        }
        std::future::pending().await
    }
}
