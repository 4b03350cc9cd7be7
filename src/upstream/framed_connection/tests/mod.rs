//! The guard without sockets: its framing in tables and by chance, its stream on a script.

mod chance;
mod responses;
mod stream;
