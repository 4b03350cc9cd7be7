//! A connection that is kept open after its response, only to learn of its end: the kernel of a server
//! that dies closes its connections at once.

use std::io;
use std::os::fd::AsFd;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// More bytes than this after a response are none that belong to it.
const MAX_UNREAD: usize = 1 << 20;

/// A connection after its response.
#[derive(Debug)]
pub struct KeptConnection(TcpStream);

impl KeptConnection {
    #[cfg(test)]
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self(stream)
    }

    /// The same connection once more: it stays open when the other handle is closed.
    pub(super) fn of(stream: &TcpStream) -> io::Result<Self> {
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
