//! The framed connection without sockets: its framing in tables and on random responses, its stream
//! on a script.

mod chance;
mod responses;
mod stream;
