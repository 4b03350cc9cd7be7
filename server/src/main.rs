//! The demo replica as a program of its own, for a container without anything else in it.
//!
//! `ringmaster-server` serves on `0.0.0.0:$PORT` (5000) as `$SERVER_ID` (the host's
//! name). `ringmaster-server healthcheck` checks a running one, because the image has no
//! curl.

use std::env;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use ringmaster_server::{Options, serve};

/// The port without PORT.
const DEFAULT_PORT: u16 = 5000;

const USAGE: &str = "\
usage: ringmaster-server               serve; PORT (5000) and SERVER_ID come from the environment
       ringmaster-server healthcheck   exit with 0 if the server on PORT is healthy, else with 1";

fn main() -> ExitCode {
    // Logs warnings and errors only: a fleet of replicas shares one terminal.
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();

    // Which need not be Unicode.
    let mut arguments = env::args_os().skip(1);
    let first = arguments.next();
    let first = first.as_ref().map(|first| first.to_string_lossy());
    let outcome = match (first.as_deref(), arguments.next()) {
        (None, _) => port().and_then(start),
        (Some("healthcheck"), None) => port().and_then(check),
        (Some("--help" | "-h"), None) => {
            println!("{USAGE}");
            Ok(())
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringmaster-server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn port() -> io::Result<u16> {
    match env::var("PORT") {
        Err(_) => Ok(DEFAULT_PORT),
        Ok(text) => text.parse().map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("PORT={text:?} is not a port: a number from 0 to 65535 is allowed"),
            )
        }),
    }
}

fn start(port: u16) -> io::Result<()> {
    serve(Options {
        listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
        id: env::var("SERVER_ID").unwrap_or_else(|_| host_name()),
        keep_alive: true,
    })
}

/// The host's name, read where Linux shows it without a call into C.
fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "1".to_owned(), |name| name.trim().to_owned())
}

/// One heartbeat over a plain socket.
fn check(port: u16) -> io::Result<()> {
    let limit = Duration::from_secs(2);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut socket = TcpStream::connect_timeout(&address, limit)?;
    socket.set_read_timeout(Some(limit))?;
    socket.set_write_timeout(Some(limit))?;
    socket.write_all(b"GET /heartbeat HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut status = [0; "HTTP/1.1 200".len()];
    socket.read_exact(&mut status)?;
    if status == *b"HTTP/1.1 200" {
        Ok(())
    } else {
        let status = String::from_utf8_lossy(&status);
        Err(io::Error::other(format!("heartbeat answered {status:?}")))
    }
}
