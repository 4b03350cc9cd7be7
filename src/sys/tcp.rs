//! Options of TCP sockets, and accepting connections in few calls.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::SockRef;

/// How long the kernel defers a connection at most if no packet is lost: a second after the
/// handshake it repeats its part of it (RFC 6298, section 2), and the client's acknowledgement
/// ends the deferral.
pub const MAX_DEFERRAL: Duration = Duration::from_millis(1_250);

/// Makes the kernel hand over a connection when its first bytes have come, or after a second
/// without any (TCP_DEFER_ACCEPT, tcp(7); `deferred` with nginx, `defer-accept` with HAProxy).
///
/// A request can then be read as its connection is accepted, and a connection that ends with its
/// response is never registered with the runtime: a sixth of what a new connection costs.
pub fn enable_defer_accept(listener: &TcpListener) -> io::Result<()> {
    // The kernel rounds up to its retransmissions: the first comes after a second.
    set_defer_accept(listener, 1)
}

/// Makes the kernel hand over connections at once again, those that it has deferred included.
pub fn disable_defer_accept(listener: &TcpListener) -> io::Result<()> {
    set_defer_accept(listener, 0)
}

#[cfg(target_os = "linux")]
fn set_defer_accept(listener: &TcpListener, seconds: libc::c_int) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    let length = libc::socklen_t::try_from(size_of_val(&seconds)).map_err(io::Error::other)?;
    // No crate has this option.
    #[expect(unsafe_code, reason = "setsockopt(2) is declared so")]
    // SAFETY: the descriptor is open while it is borrowed, and the value is an int of that length.
    let result = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            length,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Elsewhere connections are accepted as they come.
#[cfg(not(target_os = "linux"))]
fn set_defer_accept(_: &TcpListener, _: i32) -> io::Result<()> {
    Ok(())
}

/// Makes the kernel drop every segment that would begin a connection. A client repeats its SYN
/// a second later, when nothing listens any more or the successor does.
#[cfg(target_os = "linux")]
pub fn drop_syns(listener: &TcpListener) -> io::Result<()> {
    use socket2::SockFilter;

    // Classic BPF (bpf(4)); a TCP socket's filter sees a segment from its TCP header on.
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    const FLAGS_OFFSET: u32 = 13;
    const SYN: u32 = 0x02;
    SockRef::from(listener).attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS_OFFSET),
        SockFilter::new(JUMP_IF_SET, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ])
}

/// Elsewhere clients that connect in the last moment are reset.
#[cfg(not(target_os = "linux"))]
pub fn drop_syns(_: &TcpListener) -> io::Result<()> {
    Ok(())
}

/// The next connection in the queue of a listener that does not block, and its peer; an error
/// of the kind `WouldBlock` if there is none. An `accept` in vain costs eight times as much as
/// `poll(2)`, so that comes first unless the listener is `known_ready`.
#[cfg(target_os = "linux")]
pub fn accept(
    listener: &TcpListener,
    known_ready: bool,
) -> io::Result<(TcpStream, Option<SocketAddr>)> {
    use rustix::net::{SocketFlags, acceptfrom_with};

    if !known_ready && !is_readable(listener)? {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    // All other options are inherited from the listener.
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (socket, peer) = acceptfrom_with(listener, flags)?;
    let peer = peer.and_then(|peer| peer.try_into().ok());
    Ok((socket.into(), peer))
}

/// The same where sockets inherit nothing.
#[cfg(not(target_os = "linux"))]
pub fn accept(listener: &TcpListener, _: bool) -> io::Result<(TcpStream, Option<SocketAddr>)> {
    let (socket, peer) = listener.accept()?;
    socket.set_nonblocking(true)?;
    socket.set_nodelay(true)?;
    Ok((socket, Some(peer)))
}

/// Whether something can be read, or accepted, at once.
pub fn is_readable(socket: &impl AsFd) -> io::Result<bool> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    let mut fds = [PollFd::new(socket, PollFlags::IN)];
    Ok(poll(&mut fds, Some(&Timespec::default()))? > 0)
}

/// How many bytes have come that have not been read (FIONREAD, tcp(7)).
pub fn unread_bytes(socket: &impl AsFd) -> io::Result<u64> {
    Ok(rustix::io::ioctl_fionread(socket)?)
}

/// Makes the socket end with a reset: its port is free at once, and the kernel does not keep what
/// the peer has not taken.
pub fn reset_on_close(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).set_linger(Some(Duration::ZERO))
}
