//! The replicas: small answers, large ones, uploads that are read to their end, and WebSockets.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy, sink};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Builder;

/// The path of a response that is too large for all buffers on its way.
pub const LARGE_PATH: &str = "/large";
const LARGE: usize = 100 * 1024 * 1024;
static PIECE: [u8; 64 * 1024] = [b'x'; 64 * 1024];

const SMALL: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nxx";

/// Bytes of large responses that have been written.
static WRITTEN: AtomicUsize = AtomicUsize::new(0);

/// Waits until the large responses make no more progress. The kernel first fills the buffers of
/// all connections, a gigabyte for hundreds of them, which is a load of another kind.
pub fn wait_until_stuck() {
    loop {
        let before = WRITTEN.load(Ordering::Relaxed);
        sleep(Duration::from_secs(1));
        if WRITTEN.load(Ordering::Relaxed) == before {
            return;
        }
    }
}

/// Serves on these ports of this machine, on a thread of its own, until the process ends.
pub fn start(ports: &[u16]) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    for port in ports {
        let _entered = runtime.enter();
        runtime.spawn(accept(listen(*port)?));
    }
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    Ok(())
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    // Hundreds of large responses would fill gigabytes of the kernel's buffers.
    socket.set_send_buffer_size(64 * 1024)?;
    socket.bind(([127, 0, 0, 1], port).into())?;
    socket.listen(4096)
}

async fn accept(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // Clients that leave break their connections.
        tokio::spawn(serve(BufReader::new(stream)));
    }
}

async fn serve(mut stream: BufReader<TcpStream>) -> io::Result<()> {
    loop {
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let begin = head.len();
            if stream.read_line(&mut head).await? == 0 {
                return Ok(());
            }
            if let Some(value) = head[begin..].strip_prefix("content-length: ") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        copy(&mut (&mut stream).take(length), &mut sink()).await?;
        if head.contains("upgrade: websocket") {
            let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                          upgrade: websocket\r\n\r\n";
            stream.write_all(switch.as_bytes()).await?;
            copy(&mut stream, &mut sink()).await?;
            return Ok(());
        }
        if head.split(' ').nth(1) != Some(LARGE_PATH) {
            stream.write_all(SMALL).await?;
            continue;
        }
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        for _ in 0..LARGE / PIECE.len() {
            stream.write_all(&PIECE).await?;
            WRITTEN.fetch_add(PIECE.len(), Ordering::Relaxed);
        }
    }
}
