//! A server in threads: one may block in the middle of a sentence, and the runtime of the test
//! is no bottleneck.

use std::net::{TcpListener, TcpStream};
use std::thread;

/// Listens on a free port, which is returned, and holds `talk` on each connection.
pub fn serve_in_threads(talk: impl Fn(TcpStream) + Send + Clone + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, talk) = (stream.unwrap(), talk.clone());
            thread::spawn(move || talk(stream));
        }
    });
    port
}
