//! How long a client may take for what it has to send between two responses.
//!
//! ```text
//! opened ──── bytes ──── head whole ═════ response sent ──────── bytes ──── head whole ═══
//!    └ header timeout ─────┘    (busy: not timed here)  └ keep-alive ┘└ header timeout ┘
//! ```

use std::cell::Cell;
use std::time::Instant;

use crate::config::Limits;

/// What holds while connections run short: one without a request must not keep others out for
/// long.
pub fn in_short_supply(limits: Limits) -> Limits {
    Limits {
        keep_alive_timeout: limits.keep_alive_timeout.min(limits.header_timeout),
        ..limits
    }
}

/// What has taken too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimedOut {
    /// A request's head.
    Header,
    /// Another request.
    KeepAlive,
}

/// What is awaited of a client, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    /// The first request, since the connection was opened, or the rest of a head, since its first
    /// byte.
    Head(Instant),
    /// Another request, since the last response was sent.
    Request(Instant),
    /// Nothing that is timed here: a request is handled.
    Nothing,
}

/// The time-outs of one connection.
#[derive(Debug)]
pub struct ReadTimeouts(Cell<Awaited>);

impl ReadTimeouts {
    /// Those of a connection that has just been opened.
    pub fn new(now: Instant) -> Self {
        Self(Cell::new(Awaited::Head(now)))
    }

    /// Bytes of a head have come, and not the whole of it.
    pub fn on_bytes(&self, now: Instant) {
        if let Awaited::Request(_) = self.0.get() {
            self.0.set(Awaited::Head(now));
        }
    }

    /// The head of a request has come.
    pub fn begin_request(&self) {
        self.0.set(Awaited::Nothing);
    }

    /// Its response has been sent.
    pub fn end_request(&self, now: Instant) {
        self.0.set(Awaited::Request(now));
    }

    /// Whether a request is handled.
    pub fn is_busy(&self) -> bool {
        self.0.get() == Awaited::Nothing
    }

    /// Whether the client has had its time.
    pub fn timed_out(&self, now: Instant, limits: &Limits) -> Option<TimedOut> {
        let is_over = |since: Instant, time| now.saturating_duration_since(since) >= time;
        match self.0.get() {
            Awaited::Head(since) => {
                is_over(since, limits.header_timeout).then_some(TimedOut::Header)
            }
            Awaited::Request(since) => {
                is_over(since, limits.keep_alive_timeout).then_some(TimedOut::KeepAlive)
            }
            Awaited::Nothing => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What happens to a connection, and when, in seconds.
    #[derive(Debug, Clone, Copy)]
    enum Seen {
        Bytes(u64),
        Request,
        Sent(u64),
    }
    use Seen::{Bytes, Request, Sent};

    #[test]
    fn client_times_out_in_its_head_and_between_requests() {
        let limits = Limits {
            header_timeout: Duration::from_secs(5),
            keep_alive_timeout: Duration::from_secs(20),
            ..Limits::default()
        };
        type Row = (&'static str, &'static [Seen], Option<(u64, TimedOut)>);
        let rows: &[Row] = &[
            ("sends nothing", &[], Some((5, TimedOut::Header))),
            (
                "a byte at a time",
                &[Bytes(1), Bytes(4)],
                Some((5, TimedOut::Header)),
            ),
            ("a request is handled", &[Bytes(1), Request], None),
            (
                "then nothing",
                &[Request, Sent(2)],
                Some((22, TimedOut::KeepAlive)),
            ),
            (
                "nothing for long, and then a slow head",
                &[Request, Sent(2), Bytes(21)],
                Some((26, TimedOut::Header)),
            ),
            (
                "a slow second head",
                &[Request, Sent(2), Bytes(10), Bytes(13)],
                Some((15, TimedOut::Header)),
            ),
            (
                "the second in time",
                &[Request, Sent(2), Bytes(10), Request],
                None,
            ),
            (
                "nothing behind the second",
                &[Request, Sent(2), Bytes(10), Request, Sent(30)],
                Some((50, TimedOut::KeepAlive)),
            ),
        ];
        for (story, seen, expected) in rows {
            let opened = Instant::now();
            let at = |second| opened + Duration::from_secs(second);
            let timeouts = ReadTimeouts::new(opened);
            for seen in *seen {
                match *seen {
                    Bytes(second) => timeouts.on_bytes(at(second)),
                    Request => timeouts.begin_request(),
                    Sent(second) => timeouts.end_request(at(second)),
                }
            }
            let late = (0..100).find_map(|second| {
                let late = timeouts.timed_out(at(second), &limits)?;
                Some((second, late))
            });
            assert_eq!(late, *expected, "{story}");
        }
    }
}
