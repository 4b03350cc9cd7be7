//! What one thread counts of its clients' connections.

use super::count::{Count, Counts};
use super::labels::{ConnectionLabel, Refusal};

/// On cache lines of the thread's own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ConnectionCounters {
    pub(super) accepted: Count,
    states: [Count; ConnectionLabel::COUNT],
    pub(super) timed_out: Counts<2>,
    pub(super) received: Count,
    pub(super) sent: Count,
    pub(super) refused: Counts<{ Refusal::COUNT }>,
}

impl ConnectionCounters {
    /// A connection has been accepted.
    pub fn accept(&self) {
        self.accepted.add(1);
    }

    /// A connection has timed out, with a part of a head or while it waited for the next one.
    pub fn time_out(&self, within_head: bool) {
        self.timed_out.add_one(usize::from(within_head));
    }

    /// Bytes have come from a client.
    pub fn receive(&self, bytes: usize) {
        self.received.add(bytes as u64);
    }

    /// Bytes have gone to a client, or to the kernel for it.
    pub fn send(&self, bytes: usize) {
        self.sent.add(bytes as u64);
    }

    /// What came was answered with an error before it was a request.
    pub fn refuse(&self, because: Refusal) {
        self.refused.add_one(because as usize);
    }

    /// As many connections are in each state, as of now.
    pub fn set_states(&self, states: [u64; ConnectionLabel::COUNT]) {
        for (count, state) in self.states.iter().zip(states) {
            count.set(state);
        }
    }

    pub(super) fn states(&self) -> [u64; ConnectionLabel::COUNT] {
        std::array::from_fn(|state| self.states[state].get())
    }
}

/// The sum over all threads.
#[derive(Debug, Clone, Default)]
pub struct ConnectionTotals {
    /// Connections that were accepted.
    pub accepted: u64,
    /// Those that are open, by the number of the [`ConnectionLabel`].
    pub states: [u64; ConnectionLabel::COUNT],
    /// Clients that did not send their next request in time.
    pub keep_alive_timeouts: u64,
    /// Clients that did not send the whole head of a request in time.
    pub header_timeouts: u64,
    /// Bytes from clients.
    pub received: u64,
    /// Bytes to clients.
    pub sent: u64,
    /// What was no request, by the number of the [`Refusal`].
    pub refused: [u64; Refusal::COUNT],
}
