//! Measures pauses of the machine itself.
//!
//! The host of a virtual machine may unmap its memory page by page to find unused pages; each page
//! then costs microseconds at its next use. No clock or counter in the machine shows that: all
//! programs run at a tenth of their speed for a while, which makes the tail of every latency. So
//! this touches memory in a loop and measures the speed.

use std::hint::black_box;
use std::time::{Duration, Instant};

const PAGE: usize = 4096;
/// About the memory that proxy, backends, load generator and their sockets use.
const PAGES: usize = 8 * 1024;
/// The number of touches between two readings of the clock: a microsecond, or half a slice of a
/// pause.
const TOUCHES: usize = 64;
/// The time of a measurement: the pauses seen so far come every 1.3 s.
const WATCHED: Duration = Duration::from_secs(4);
const SLICE: Duration = Duration::from_millis(1);

/// How much of the time the machine ran at less than half its speed.
#[derive(Default)]
pub struct Pauses {
    watched: Duration,
    slow: Duration,
    /// Parts of the time that were slow throughout.
    count: u32,
}

impl Pauses {
    /// Measures the machine, which should be idle.
    pub fn watch(&mut self) {
        let mut memory = vec![1_u8; PAGES * PAGE];
        let mut slices = Vec::new();
        let (mut page, mut touched) = (0, 0);
        let begun = Instant::now();
        let mut slice = begun;
        while begun.elapsed() < WATCHED {
            for _ in 0..TOUCHES {
                // A prime, so that all have their turn and none is a neighbour.
                page = (page + 7919) % PAGES;
                memory[page * PAGE] = black_box(memory[page * PAGE].wrapping_add(1));
            }
            touched += TOUCHES;
            let took = slice.elapsed();
            if took >= SLICE {
                slices.push((touched as f64 / took.as_secs_f64(), took));
                touched = 0;
                slice = Instant::now();
            }
        }
        self.add(&slices);
    }

    /// The speed and its duration.
    fn add(&mut self, slices: &[(f64, Duration)]) {
        let mut speeds: Vec<f64> = slices.iter().map(|(speed, _)| *speed).collect();
        speeds.sort_by(f64::total_cmp);
        let usual = speeds.get(speeds.len() / 2).copied().unwrap_or_default();
        for pieces in slices.chunk_by(|a, b| (a.0 < usual / 2.0) == (b.0 < usual / 2.0)) {
            let took: Duration = pieces.iter().map(|(_, took)| *took).sum();
            self.watched += took;
            if pieces[0].0 < usual / 2.0 {
                self.slow += took;
                self.count += 1;
            }
        }
    }

    /// A part of the time, from 0 to 1.
    pub fn share(&self) -> f64 {
        self.slow.as_secs_f64() / self.watched.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// For a report.
    pub fn in_words(&self) -> String {
        format!(
            "The machine without any load ran at less than half its usual speed for {:.1} % of the \
             time, in {} pieces of {} ms.{}",
            self.share() * 100.0,
            self.count,
            (self.slow / self.count.max(1)).as_millis(),
            if self.share() > 0.01 {
                " That is more than one request in a hundred: p99 shows the machine as much as the proxy."
            } else {
                ""
            }
        )
    }
}
