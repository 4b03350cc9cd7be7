//! A name server of a test's own, on port 53 of a loopback address of its own, and a program that
//! asks it alone.

use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the server says of every name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// Its address.
    Address(Ipv4Addr),
    /// NXDOMAIN.
    NoSuchName,
    /// SERVFAIL.
    Failure,
    /// Nothing at all.
    Nothing,
}

/// The name server; it ends when dropped.
pub struct NameServer {
    address: Ipv4Addr,
    says: Arc<Mutex<Says>>,
    asked: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
}

/// Whether a test may bind port 53 and bind-mount files. Under CI it has to be able to.
pub fn is_possible() -> bool {
    let tried = Command::new("unshare").args(["--mount", "true"]).output();
    let possible = tried.is_ok_and(|output| output.status.success());
    assert!(
        possible || std::env::var_os("CI").is_none(),
        "no mount namespace can be made: run the tests as root"
    );
    if !possible {
        eprintln!("SKIPPED: no mount namespace can be made; run as root");
    }
    possible
}

impl NameServer {
    pub fn start(says: Says) -> Self {
        // Each test program has one of its own; the last number tells its servers apart.
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let last = NEXT.fetch_add(1, Ordering::Relaxed) as u8;
        let address = Ipv4Addr::new(127, high | 0x80, low, last);
        let socket = UdpSocket::bind((address, 53)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        let server = Self {
            address,
            says: Arc::new(Mutex::new(says)),
            asked: Arc::default(),
            ended: Arc::default(),
        };
        let (says, asked) = (Arc::clone(&server.says), Arc::clone(&server.asked));
        let ended = Arc::clone(&server.ended);
        std::thread::spawn(move || {
            let mut query = [0; 512];
            while !ended.load(Ordering::SeqCst) {
                let Ok((length, client)) = socket.recv_from(&mut query) else {
                    continue;
                };
                let answer = answer(&query[..length], *says.lock().unwrap());
                if let Some(answer) = answer {
                    socket.send_to(&answer, client).unwrap();
                }
                asked.fetch_add(1, Ordering::SeqCst);
            }
        });
        server
    }

    pub fn say(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    /// How many questions it has had.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// A program that sees this server in `/etc/resolv.conf` and nothing else.
    pub fn only_for(&self, folder: &std::path::Path, program: &str) -> Command {
        let resolv = folder.join("resolv.conf");
        let options = "options timeout:1 attempts:1";
        let text = format!("nameserver {}\n{options}\n", self.address);
        std::fs::write(&resolv, text).unwrap();
        with_file(&resolv, "/etc/resolv.conf", program)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
    }
}

/// A program that sees `file` in the place of `place`; its process id is that of the command.
pub fn with_file(file: &std::path::Path, place: &str, program: &str) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c"])
        .arg("mount --bind \"$0\" \"$1\" && shift && exec \"$@\"")
        .arg(file)
        .arg(place)
        .arg(program);
    command
}

/// The answer to a query (RFC 1035, section 4).
fn answer(query: &[u8], says: Says) -> Option<Vec<u8>> {
    const A: u16 = 1;
    let name_length = query.get(12..)?.iter().position(|&byte| byte == 0)? + 1;
    let question = query.get(12..12 + name_length + 4)?;
    let kind = u16::from_be_bytes([question[name_length], question[name_length + 1]]);
    let (code, address) = match says {
        Says::Address(address) => (0, Some(address).filter(|_| kind == A)),
        Says::NoSuchName => (3, None),
        Says::Failure => (2, None),
        Says::Nothing => return None,
    };
    let mut answer = query[..2].to_vec();
    // A response, recursion desired and available.
    answer.extend([0x81, 0x80 | code]);
    answer.extend([0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0]);
    answer.extend(question);
    if let Some(address) = address {
        // The name of the question, type A, class IN, a long time to live, 4 bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 1, 0x51, 0x80, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}
