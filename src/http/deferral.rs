//! Connections on which nothing has been said yet are left to the kernel.
//!
//! It hands a connection over when its first bytes have come, or after a second without any
//! (TCP_DEFER_ACCEPT, tcp(7); `deferred` with nginx, `defer-accept` with HAProxy). So a request is
//! there when its connection is accepted: nobody waits for it, and if the connection ends with its
//! answer, nobody ever has (`lane/socket.rs`). That is a sixth of what a new connection costs.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

/// So long a connection may stay with the kernel if no packet is lost: until it says once more, a
/// second after the beginning (RFC 6298, section 2), that the connection stands, and the client
/// agrees.
pub const AT_MOST: Duration = Duration::from_millis(1_250);

/// Has the kernel keep back what says nothing.
pub fn begin(listener: &TcpListener) -> io::Result<()> {
    // It counts in times that it asks again: the first is after a second.
    defer(listener, 1)
}

/// Has it keep back nothing more.
pub fn end(listener: &TcpListener) -> io::Result<()> {
    defer(listener, 0)
}

#[cfg(target_os = "linux")]
fn defer(listener: &TcpListener, seconds: libc::c_int) -> io::Result<()> {
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
fn defer(_: &TcpListener, _: i32) -> io::Result<()> {
    Ok(())
}
