//! Counts what replicas execute, wherever they run: a small server of the harness's own.
//!
//! A replica reports a POST before it answers it, so a POST that is counted twice was executed
//! twice. A replica that starts also asks whether it may.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use actix_web::rt;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What a replica says before it serves, followed by its name.
pub const HELLO: &str = "hello";
/// What a replica says of a POST, followed by its id.
pub const POST: &str = "post";
/// The answer that lets it go on.
pub const GO_ON: &str = "go on";

#[derive(Default)]
struct Records {
    posts: RefCell<HashMap<String, usize>>,
    /// How many of a replica's next starts are refused.
    to_refuse: RefCell<HashMap<String, usize>>,
    refused: Cell<usize>,
}

pub struct Accounting {
    records: Rc<Records>,
    address: SocketAddr,
    listening: rt::task::JoinHandle<()>,
}

impl Accounting {
    /// Opens it at an address that replicas reach.
    pub async fn open(at: IpAddr) -> Self {
        let listener = TcpListener::bind((at, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let records = Rc::<Records>::default();
        let kept = Rc::clone(&records);
        let listening = rt::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let records = Rc::clone(&kept);
                rt::spawn(async move { records.serve(socket).await });
            }
        });
        Self {
            records,
            address,
            listening,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next `times` instances of a replica end as soon as they begin.
    pub fn refuse_next(&self, replica: &str, times: usize) {
        let mut to_refuse = self.records.to_refuse.borrow_mut();
        to_refuse.insert(replica.to_owned(), times);
    }

    /// How many instances have been refused so far, and have ended.
    pub fn refused(&self) -> usize {
        self.records.refused.get()
    }

    /// How many POSTs were executed at all.
    pub fn posts(&self) -> usize {
        self.records.posts.borrow().len()
    }

    /// How many of them more than once.
    pub fn doubled(&self) -> usize {
        let posts = self.records.posts.borrow();
        posts.values().filter(|&&times| times > 1).count()
    }
}

impl Drop for Accounting {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Records {
    async fn serve(&self, socket: TcpStream) -> Option<()> {
        let mut socket = BufReader::new(socket);
        let mut line = String::new();
        loop {
            line.clear();
            if socket.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            let answer = self.take(&line)?;
            let answer = format!("{answer}\n");
            socket.write_all(answer.as_bytes()).await.ok()?;
        }
    }

    fn take(&self, line: &str) -> Option<&'static str> {
        let (word, of) = line.trim().split_once(' ')?;
        match word {
            POST => {
                *self.posts.borrow_mut().entry(of.to_owned()).or_default() += 1;
                Some(GO_ON)
            }
            HELLO => match self.to_refuse.borrow_mut().get_mut(of) {
                Some(times @ 1..) => {
                    *times -= 1;
                    self.refused.set(self.refused.get() + 1);
                    Some("end")
                }
                _ => Some(GO_ON),
            },
            _ => None,
        }
    }
}
