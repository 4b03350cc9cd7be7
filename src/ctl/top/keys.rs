//! The keyboard.

use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc::Sender;

use super::Update;

/// After this long the thread looks whether it is still needed.
const WAIT: Duration = Duration::from_millis(100);

/// A key that means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopKey {
    Quit,
    Up,
    Down,
    PageUp,
    PageDown,
}

/// Reads keys on a thread of its own, until the terminal or the receiver is gone.
pub fn read_into(updates: Sender<Update>) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("keys".to_owned())
        .spawn(move || {
            while !updates.is_closed() {
                let key = match next() {
                    Ok(key) => key,
                    Err(_) => return,
                };
                if key.is_some_and(|key| updates.blocking_send(Update::Key(key)).is_err()) {
                    return;
                }
            }
        })
}

fn next() -> io::Result<Option<TopKey>> {
    if !event::poll(WAIT)? {
        return Ok(None);
    }
    match event::read()? {
        Event::Key(key) if key.kind == KeyEventKind::Press => Ok(meaning(key)),
        _ => Ok(None),
    }
}

fn meaning(key: KeyEvent) -> Option<TopKey> {
    match key.code {
        // In raw mode Ctrl-C is a key and no signal.
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(TopKey::Quit),
        KeyCode::Char('q') | KeyCode::Esc => Some(TopKey::Quit),
        KeyCode::Up | KeyCode::Char('k') => Some(TopKey::Up),
        KeyCode::Down | KeyCode::Char('j') => Some(TopKey::Down),
        KeyCode::PageUp => Some(TopKey::PageUp),
        KeyCode::PageDown => Some(TopKey::PageDown),
        _ => None,
    }
}
