//! `ctl top` in a terminal.

use std::process::Stdio;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin};

use super::{ctl, failure, in_terminal, start};
use crate::support::{Ringmaster, children_of, eventually, signal};

/// `ctl top` in a terminal, and what that shows.
struct Screen {
    process: Child,
    keys: ChildStdin,
    terminal: Arc<Mutex<vt100::Parser>>,
}

impl Screen {
    async fn open(balancer: &Ringmaster) -> Self {
        let admin = balancer.admin_url().await;
        // The shell goes on in the same terminal, and compares its settings.
        let command = format!(
            "before=$(stty -g); ringmaster ctl --admin {admin} top; echo code $?; \
             [ \"$before\" = \"$(stty -g)\" ] && echo settings restored"
        );
        let mut process = in_terminal(&command).spawn().unwrap();
        let mut stdout = process.stdout.take().unwrap();
        let terminal = Arc::new(Mutex::new(vt100::Parser::new(24, 80, 0)));
        let shown = Arc::clone(&terminal);
        actix_web::rt::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut buffer).await {
                shown.lock().unwrap().process(&buffer[..count]);
            }
        });
        let keys = process.stdin.take().unwrap();
        Self {
            process,
            keys,
            terminal,
        }
    }

    fn text(&self) -> String {
        self.terminal.lock().unwrap().screen().contents()
    }

    async fn until_shown(&self, text: &str) {
        eventually(text, || async { self.text().contains(text) }).await;
    }

    /// The screen is of the shell again, with its cursor and settings.
    async fn assert_restored(mut self) {
        self.until_shown("code 0").await;
        self.until_shown("settings restored").await;
        let _ = self.process.wait().await;
        let terminal = self.terminal.lock().unwrap();
        let screen = terminal.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor());
        assert!(
            !screen.contents().contains("Server1"),
            "{}",
            screen.contents()
        );
    }
}

#[actix_web::test]
async fn top_shows_replicas_and_a_kill_and_q_ends_it() {
    let balancer = start().await;
    let mut screen = Screen::open(&balancer).await;
    for text in ["Server1", "Server3", "EVENTS", "3 of 3 ready"] {
        screen.until_shown(text).await;
    }
    signal(balancer.child("Server2"), "KILL");
    screen.until_shown("killed by signal 9").await;
    let row = |screen: &Screen| {
        let text = screen.text();
        let row = text.lines().find(|line| line.starts_with("Server2"));
        row.unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    // Its state, its generation and how often it died.
    eventually("its successor is ready", || async {
        let row = row(&screen);
        row.len() >= 9 && (&*row[1], &*row[2], &*row[8]) == ("ready", "2", "1")
    })
    .await;
    screen.keys.write_all(b"q").await.unwrap();
    screen.assert_restored().await;
}

#[actix_web::test]
async fn top_is_ended_by_ctrl_c_and_by_a_signal() {
    let balancer = start().await;
    let mut screen = Screen::open(&balancer).await;
    screen.until_shown("Server1").await;
    screen.keys.write_all(b"\x03").await.unwrap();
    screen.assert_restored().await;

    let screen = Screen::open(&balancer).await;
    screen.until_shown("Server1").await;
    let shell = children_of(screen.process.id().unwrap());
    let top = children_of(shell[0]);
    signal(top[0], "TERM");
    screen.assert_restored().await;
}

#[actix_web::test]
async fn top_goes_on_while_the_balancer_does_not_answer() {
    let balancer = start().await;
    let mut screen = Screen::open(&balancer).await;
    screen.until_shown("Server1").await;
    balancer.terminate().await;
    screen.until_shown("no answer for").await;
    screen.keys.write_all(b"q").await.unwrap();
    screen.assert_restored().await;
}

#[actix_web::test]
async fn top_without_a_terminal_or_a_balancer_says_so() {
    let balancer = start().await;
    let admin = balancer.admin_url().await;
    let mut command = ctl(&["--admin", &admin, "top"]);
    let output = command.stdin(Stdio::null()).output().await.unwrap();
    assert!(failure(&output).contains("top needs a terminal"));
    let command = "ringmaster ctl --admin http://127.0.0.1:1 top; echo code $?";
    let output = in_terminal(command).output().await.unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        shown.contains("cannot reach the admin API") && shown.contains("code 1"),
        "{shown}"
    );
    assert!(!shown.contains("\x1b[?1049h"), "{shown}");
}
