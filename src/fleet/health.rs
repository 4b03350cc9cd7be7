//! When heartbeats say that an instance is up, and when that it is down.

/// Turns single heartbeats into flips: `successes` in a row bring an instance up,
/// `failures` misses in a row bring it down. What has never been up cannot go down: a fresh
/// instance that does not answer yet is late, not lost.
#[derive(Debug, Clone)]
pub struct HealthTracker {
    failures: u32,
    successes: u32,
    misses: u32,
    answers: u32,
    up: bool,
    ever_up: bool,
}

/// A change of mind about an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flip {
    /// It answers.
    Up,
    /// It has stopped answering.
    Down,
}

impl HealthTracker {
    /// A tracker of an instance of which nothing has been heard yet.
    pub fn new(failures: u32, successes: u32) -> Self {
        Self {
            failures: failures.max(1),
            successes: successes.max(1),
            misses: 0,
            answers: 0,
            up: false,
            ever_up: false,
        }
    }

    /// Takes one heartbeat's outcome in; says so if it changes the verdict.
    pub fn record(&mut self, answered: bool) -> Option<Flip> {
        if answered {
            self.misses = 0;
            self.answers = self.answers.saturating_add(1);
            let flip = !self.up && self.answers >= self.successes;
            self.up |= flip;
            self.ever_up |= flip;
            return flip.then_some(Flip::Up);
        }
        self.answers = 0;
        self.misses = self.misses.saturating_add(1);
        if self.up && self.misses >= self.failures {
            self.up = false;
            return Some(Flip::Down);
        }
        None
    }

    /// Whether the last verdict was `up`.
    pub fn is_up(&self) -> bool {
        self.up
    }

    /// Whether any verdict has been `up`.
    pub fn was_up(&self) -> bool {
        self.ever_up
    }

    /// Whether the last heartbeat was missed, or too few have been answered since one was.
    pub fn in_doubt(&self) -> bool {
        self.misses > 0 || !self.up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One letter a beat: `.` answered, `x` missed; a flip is noted behind its beat.
    fn story(failures: u32, successes: u32, beats: &str) -> String {
        let mut tracker = HealthTracker::new(failures, successes);
        let mut out = String::new();
        for beat in beats.chars() {
            out.push(beat);
            match tracker.record(beat == '.') {
                Some(Flip::Up) => out.push('U'),
                Some(Flip::Down) => out.push('D'),
                None => {}
            }
        }
        out
    }

    #[test]
    fn verdicts_flip_once_and_only_when_the_threshold_is_met() {
        for (failures, beats, expected) in [
            (3, "....", ".U..."),
            (3, "xxxx.", "xxxx.U"),
            (3, ".xx.xx.", ".Uxx.xx."),
            (3, ".xxxxx.", ".UxxxDxx.U"),
            (1, ".x.x", ".UxD.UxD"),
            (0, ".x", ".UxD"),
        ] {
            assert_eq!(story(failures, 1, beats), expected);
        }
    }
    #[test]
    fn so_many_answers_in_a_row_bring_it_up_first_and_again() {
        for (beats, expected) in [
            ("....", "..U.."),
            (".x...", ".x..U."),
            ("...xxx...", "..U.xxxD..U."),
            ("...xx.x...", "..U.xx.x..."),
        ] {
            assert_eq!(story(3, 2, beats), expected);
        }
    }
}
