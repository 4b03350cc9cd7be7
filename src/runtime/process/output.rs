//! What children print, as lines of the balancer's log.

use std::rc::Rc;

use log::info;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::output_tail::ChildRecord;
use crate::ring::ReplicaName;

/// A line that is longer is cut into pieces, so that a child that never ends its line
/// cannot eat the balancer's record.
const MAX_LINE: usize = 8 * 1024;

/// Logs everything that comes, line by line, under the replica's name, until the end, and
/// has the last of it remembered.
pub async fn forward(
    replica: ReplicaName,
    mut output: impl AsyncRead + Unpin,
    record: Rc<ChildRecord>,
) {
    record.pipe_opened();
    let mut pending = Vec::with_capacity(1024);
    loop {
        match output.read_buf(&mut pending).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {
                for line in take_lines(&mut pending) {
                    record.line(&line);
                    info!(target: "replica", replica:%; "{replica} | {line}");
                }
            }
        }
    }
    if !pending.is_empty() {
        let line = readable(&pending);
        record.line(&line);
        info!(target: "replica", replica:%; "{replica} | {line}");
    }
    record.pipe_closed();
}

/// Takes the finished lines out of the buffer.
fn take_lines(pending: &mut Vec<u8>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut begin = 0;
    while let Some(length) = pending[begin..].iter().position(|&byte| byte == b'\n') {
        lines.push(readable(&pending[begin..begin + length]));
        begin += length + 1;
    }
    pending.drain(..begin);
    if pending.len() >= MAX_LINE {
        lines.push(readable(pending));
        pending.clear();
    }
    lines
}

/// Text without anything that could play tricks on a terminal.
fn readable(line: &[u8]) -> String {
    String::from_utf8_lossy(line)
        .trim_end()
        .chars()
        .map(|c| match c {
            '\t' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_whole_and_endless_ones_in_pieces() {
        let mut pending = b"one\r\ntwo\nthr".to_vec();
        assert_eq!(take_lines(&mut pending), ["one", "two"]);
        pending.extend_from_slice(b"ee\n\x1b[2J\xff\n");
        assert_eq!(take_lines(&mut pending), ["three", "\u{fffd}[2J\u{fffd}"]);
        assert!(pending.is_empty());

        pending = vec![b'x'; MAX_LINE];
        assert_eq!(take_lines(&mut pending)[0].len(), MAX_LINE);
        assert!(pending.is_empty());
    }
}
