//! The demo replica as a process: starts, answers, stops on a signal.

#![allow(clippy::unwrap_used)]

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ringmaster-server");

/// A running replica; killed at the end of the test whatever happens.
struct Replica {
    child: Child,
    port: u16,
    _turn: MutexGuard<'static, ()>,
}

/// A free port may be given to another test before it is used: so the tests of this file, which
/// all need one, run one after the other.
static TURN: Mutex<()> = Mutex::new(());

impl Replica {
    /// Starts one and waits until it accepts.
    fn start(id: &str) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let any = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = any.local_addr().unwrap().port();
        drop(any);
        let child = Command::new(PROGRAM)
            .env("PORT", port.to_string())
            .env("SERVER_ID", id)
            .spawn()
            .unwrap();
        let replica = Self {
            child,
            port,
            _turn: turn,
        };
        wait_until("it accepts", || replica.connect().is_ok());
        replica
    }

    fn connect(&self) -> std::io::Result<TcpStream> {
        TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)))
    }

    fn send(&self, request: &str) -> TcpStream {
        let mut socket = self.connect().unwrap();
        write!(socket, "{request} HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        socket
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(status.success());
    }

    /// The exit status, and how long it took to come.
    fn wait(&mut self) -> (ExitStatus, Duration) {
        let since = Instant::now();
        let mut status = None;
        wait_until("it exits", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        (status.unwrap(), since.elapsed())
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "gave up waiting until {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Everything up to and including `end`.
fn read_until(socket: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    let mut byte = [0];
    while !text.ends_with(end) && socket.read(&mut byte).unwrap() == 1 {
        text.push(byte[0] as char);
    }
    text
}

#[test]
fn it_greets_under_its_own_id() {
    let replica = Replica::start("Server3");
    let answer = read_until(&mut replica.send("GET /home"), "}");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        answer.ends_with(r#"{"message":"Hello from Server: 3","status":"successful"}"#),
        "{answer}"
    );
}

#[test]
fn it_leaves_at_once_when_idle_even_with_connections_kept_alive() {
    for signal in ["-TERM", "-INT"] {
        let mut replica = Replica::start("a");
        let mut idle = replica.send("GET /heartbeat");
        read_until(&mut idle, "\r\n\r\n");
        replica.signal(signal);
        let (status, took) = replica.wait();
        assert!(status.success(), "{status}");
        // Waiting for idle connections would take their keep-alive time, five seconds.
        assert!(took < Duration::from_secs(3), "took {took:?}");
    }
}

#[test]
fn it_finishes_the_request_in_flight_and_takes_no_other() {
    let mut replica = Replica::start("a");
    let mut slow = replica.send("GET /slow?ms=600");
    // The next answer shows that the slow request has arrived, one thread serving both.
    read_until(&mut replica.send("GET /heartbeat"), "\r\n\r\n");
    replica.signal("-TERM");
    wait_until("it accepts no more", || replica.connect().is_err());
    let answer = read_until(&mut slow, "}");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let (status, _) = replica.wait();
    assert!(status.success(), "{status}");
}

#[test]
fn its_health_check_tells_a_live_one_from_none() {
    let mut replica = Replica::start("a");
    let check = |port: u16| {
        let mut check = Command::new(PROGRAM);
        check.arg("healthcheck").env("PORT", port.to_string());
        check.stderr(Stdio::null()).status().unwrap().code()
    };
    assert_eq!(check(replica.port), Some(0));
    replica.signal("-TERM");
    replica.wait();
    assert_eq!(check(replica.port), Some(1));
}

#[test]
fn wrong_use_is_named() {
    let run = |arguments: &[&OsStr], port: &str| {
        let mut run = Command::new(PROGRAM);
        let output = run.args(arguments).env("PORT", port).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), said)
    };
    for unknown in [OsStr::new("dance"), OsStr::from_bytes(b"\xff")] {
        let (code, said) = run(&[unknown], "0");
        assert_eq!(code, Some(2));
        assert!(said.starts_with("usage: "), "{said}");
    }
    let (code, said) = run(&[], "http");
    assert_eq!(code, Some(1));
    assert!(said.contains(r#"PORT="http" is not a port"#), "{said}");
}
