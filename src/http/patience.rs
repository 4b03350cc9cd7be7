//! How long a client may take for what it has to say between two responses.
//!
//! actix times the head of a connection's first request only: half a second head would hold a
//! connection for ever. So the time is kept here, from what is seen of a connection:
//!
//! ```text
//! opened ──── bytes ──── head whole ═════ response whole ────── bytes ──── head whole ═══
//!    └── head timeout ──────┘    (busy: not timed here)  └ keep-alive ┘└ head timeout ┘
//! ```

use std::cell::Cell;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// How long a client may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientTimes {
    /// For a request's head: the first from the connection's beginning on, any other from its
    /// first byte on.
    pub head: Duration,
    /// From a response to the next request's first byte.
    pub keep_alive: Duration,
    /// Once it has closed its side, while nothing can be sent to it; none: any time.
    pub half_closed: Option<Duration>,
    /// How many bytes a second it has to take of a response.
    pub min_body_rate: Option<NonZeroU64>,
}

impl ClientTimes {
    /// What holds while connections run short: one without a request must not keep others
    /// out for long.
    pub fn in_short_supply(self) -> Self {
        Self {
            keep_alive: self.keep_alive.min(self.head),
            ..self
        }
    }
}

/// What has taken too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// For certain a request's head.
    Head,
    /// Another request, or what may be the rest of a body that was not wanted.
    Rest,
}

/// What has been seen of one connection, and when.
#[derive(Debug)]
pub struct Patience {
    /// Requests in hand: between the end of the head and the end of the response.
    busy: Cell<u32>,
    /// When the connection was opened, or the last response ended.
    quiet_since: Cell<Instant>,
    /// When the first byte since came.
    heard_at: Cell<Option<Instant>>,
    /// There has been a request.
    has_begun: Cell<bool>,
    /// What comes may be the rest of the last one's body.
    is_unended: Cell<bool>,
}

impl Patience {
    /// That of a connection which has just been opened.
    pub fn new(now: Instant) -> Self {
        Self {
            busy: Cell::new(0),
            quiet_since: Cell::new(now),
            heard_at: Cell::new(None),
            has_begun: Cell::new(false),
            is_unended: Cell::new(false),
        }
    }

    /// Bytes have come.
    pub fn heard(&self, now: Instant) {
        if !self.is_busy() && self.heard_at.get().is_none() {
            self.heard_at.set(Some(now));
        }
    }

    /// The head of a request is whole, and maybe its body is not.
    pub fn begin(&self, is_unended: bool) {
        self.has_begun.set(true);
        self.is_unended.set(is_unended);
        self.heard_at.set(None);
        self.hold();
    }

    /// The last request's body is whole: what comes now is another head.
    pub fn whole(&self) {
        if self.is_unended.take() {
            self.heard_at.set(None);
        }
    }

    /// The request is not over when its handler is.
    pub fn hold(&self) {
        self.busy.set(self.busy.get() + 1);
    }

    /// What [`begin`](Self::begin) or [`hold`](Self::hold) said is over.
    pub fn release(&self, now: Instant) {
        self.busy.set(self.busy.get() - 1);
        self.quiet_since.set(now);
    }

    /// Whether a request is in hand.
    pub fn is_busy(&self) -> bool {
        self.busy.get() > 0
    }

    /// Whether nothing has been said since a request was answered, for so long.
    pub fn is_idle(&self, now: Instant, time: Duration) -> bool {
        !self.is_busy()
            && self.heard_at.get().is_none()
            && self.has_begun.get()
            && !self.is_unended.get()
            && now.saturating_duration_since(self.quiet_since.get()) >= time
    }

    /// Whether the client has had its time.
    pub fn late(&self, now: Instant, times: &ClientTimes) -> Option<Late> {
        if self.is_busy() {
            return None;
        }
        let is_over = |since: Instant, time| now.saturating_duration_since(since) >= time;
        let quiet_for = |time| is_over(self.quiet_since.get(), time);
        let heard = self.heard_at.get();
        if !self.has_begun.get() {
            return quiet_for(times.head).then_some(Late::Head);
        }
        match heard {
            Some(since) if is_over(since, times.head) => match self.is_unended.get() {
                false => Some(Late::Head),
                true => Some(Late::Rest),
            },
            Some(_) => None,
            // If a part of a head has come while the response before went out, the rest has as
            // much time as another would have.
            None => quiet_for(times.keep_alive).then_some(Late::Rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What happens to a connection, and when, in seconds.
    #[derive(Debug, Clone, Copy)]
    enum Seen {
        Heard(u64),
        Get,
        Upload,
        Whole,
        Streams,
        Ends(u64),
    }
    use Seen::{Ends, Get, Heard, Streams, Upload, Whole};

    #[test]
    fn who_is_late_and_when() {
        let times = ClientTimes {
            head: Duration::from_secs(5),
            keep_alive: Duration::from_secs(20),
            half_closed: None,
            min_body_rate: None,
        };
        type Row = (&'static str, &'static [Seen], Option<(u64, Late)>);
        let rows: &[Row] = &[
            ("says nothing", &[], Some((5, Late::Head))),
            (
                "a byte at a time",
                &[Heard(1), Heard(4)],
                Some((5, Late::Head)),
            ),
            ("a request in hand", &[Heard(1), Get], None),
            (
                "a body that comes slowly",
                &[Upload, Heard(2), Heard(9)],
                None,
            ),
            ("a response that goes out", &[Get, Streams, Ends(2)], None),
            ("then nothing", &[Get, Ends(2)], Some((22, Late::Rest))),
            (
                "nothing for long, and then a slow head",
                &[Get, Ends(2), Heard(21)],
                Some((26, Late::Head)),
            ),
            (
                "a slow second head",
                &[Get, Ends(2), Heard(10), Heard(13)],
                Some((15, Late::Head)),
            ),
            ("the second in time", &[Get, Ends(2), Heard(10), Get], None),
            (
                "a body without an end, or a head",
                &[Upload, Ends(2), Heard(3)],
                Some((8, Late::Rest)),
            ),
            (
                "a slow head behind a body whose end came",
                &[Upload, Heard(1), Whole, Ends(2), Heard(3)],
                Some((8, Late::Head)),
            ),
            (
                "nothing behind a body that ended after its answer",
                &[Upload, Ends(2), Heard(3), Whole],
                Some((22, Late::Rest)),
            ),
            (
                "began while the response went out",
                &[Get, Heard(2), Ends(3)],
                Some((23, Late::Rest)),
            ),
        ];
        for (story, seen, expected) in rows {
            let opened = Instant::now();
            let at = |second| opened + Duration::from_secs(second);
            let patience = Patience::new(opened);
            for seen in *seen {
                match *seen {
                    Heard(second) => patience.heard(at(second)),
                    Get => patience.begin(false),
                    Upload => patience.begin(true),
                    Whole => patience.whole(),
                    Streams => patience.hold(),
                    Ends(second) => patience.release(at(second)),
                }
            }
            let late = (0..100).find_map(|second| {
                let late = patience.late(at(second), &times)?;
                Some((second, late))
            });
            assert_eq!(late, *expected, "{story}");
        }
    }
}
