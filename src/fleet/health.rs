//! When heartbeats say that an instance is up, when that it is unready, and when that it is silent.
//!
//! ```text
//!   (fresh) --successes--> Up --failures, the last ones answered--> Unready
//!                          |                                        |   ^
//!                          +--failures, none answered--> Silent <---+   | any answer
//!                          ^                               |            |
//!                          +----------- successes ---------+------------+
//! ```
//!
//! An answer with a bad status proves that the instance is alive. Only silence (no answer, a
//! refused or reset connection, an answer that is not HTTP) is a sign of death.

/// How one heartbeat came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// A good answer.
    Good,
    /// An answer, but a bad one: the instance is alive and says that it cannot serve.
    Bad,
    /// No answer.
    Missed,
}

/// Turns single heartbeats into flips: `successes` good answers in a row bring an instance up,
/// `failures` others in a row take it down. What has never been up cannot go down: a fresh
/// instance that does not answer yet is late, not lost.
#[derive(Debug, Clone)]
pub struct HealthTracker {
    failures: u32,
    successes: u32,
    /// Heartbeats in a row without a good answer.
    failed: u32,
    /// Heartbeats in a row without any answer.
    missed: u32,
    answers: u32,
    state: HealthState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HealthState {
    /// It has never been up.
    Fresh,
    Up,
    Unready,
    Silent,
}

/// A change of mind about an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthTransition {
    /// It answers well.
    Up,
    /// It answers, but not well.
    Unready,
    /// It has stopped answering.
    Down,
}

impl HealthTracker {
    /// A tracker of an instance of which nothing has been heard yet.
    pub fn new(failures: u32, successes: u32) -> Self {
        Self {
            failures: failures.max(1),
            successes: successes.max(1),
            failed: 0,
            missed: 0,
            answers: 0,
            state: HealthState::Fresh,
        }
    }

    /// Takes one heartbeat's outcome in; says so if it changes the state.
    pub fn record(&mut self, outcome: ProbeOutcome) -> Option<HealthTransition> {
        match outcome {
            ProbeOutcome::Good => {
                (self.failed, self.missed) = (0, 0);
                self.answers = self.answers.saturating_add(1);
            }
            ProbeOutcome::Bad => {
                (self.answers, self.missed) = (0, 0);
                self.failed = self.failed.saturating_add(1);
            }
            ProbeOutcome::Missed => {
                self.answers = 0;
                self.failed = self.failed.saturating_add(1);
                self.missed = self.missed.saturating_add(1);
            }
        }
        let (state, transition) = self.next_state(outcome)?;
        self.state = state;
        Some(transition)
    }

    /// Its connections have ended, and it takes no other: as good as all the heartbeats that would be
    /// missed. What has never been up is late, as ever.
    pub fn record_loss(&mut self) -> Option<HealthTransition> {
        self.answers = 0;
        self.failed = self.failed.max(self.failures);
        self.missed = self.missed.max(self.failures);
        match self.state {
            HealthState::Up | HealthState::Unready => {
                self.state = HealthState::Silent;
                Some(HealthTransition::Down)
            }
            HealthState::Fresh | HealthState::Silent => None,
        }
    }

    fn next_state(&self, outcome: ProbeOutcome) -> Option<(HealthState, HealthTransition)> {
        let is_silent = self.missed >= self.failures;
        match (self.state, outcome) {
            (HealthState::Up, ProbeOutcome::Good) => None,
            (_, ProbeOutcome::Good) => {
                (self.answers >= self.successes).then_some((HealthState::Up, HealthTransition::Up))
            }
            (HealthState::Fresh | HealthState::Silent, ProbeOutcome::Missed)
            | (HealthState::Fresh | HealthState::Unready, ProbeOutcome::Bad) => None,
            (HealthState::Up | HealthState::Unready, ProbeOutcome::Missed) if is_silent => {
                Some((HealthState::Silent, HealthTransition::Down))
            }
            (HealthState::Unready, ProbeOutcome::Missed) => None,
            // It answered at least one of the heartbeats that failed.
            (HealthState::Up, _) => (self.failed >= self.failures)
                .then_some((HealthState::Unready, HealthTransition::Unready)),
            // What hung is alive.
            (HealthState::Silent, ProbeOutcome::Bad) => {
                Some((HealthState::Unready, HealthTransition::Unready))
            }
        }
    }

    /// Whether the last state was `up`.
    pub fn is_up(&self) -> bool {
        self.state == HealthState::Up
    }

    /// Whether the last state was `unready`.
    pub fn is_unready(&self) -> bool {
        self.state == HealthState::Unready
    }

    /// Whether any state has been `up`.
    pub fn was_up(&self) -> bool {
        self.state != HealthState::Fresh
    }

    /// Whether the last heartbeat was not answered well, or too few have been since one was not.
    pub fn in_doubt(&self) -> bool {
        self.failed > 0 || !self.is_up()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One letter a beat: `.` answered, `b` answered badly, `x` missed, `L` lost; a transition is noted behind
    /// its beat.
    fn story(failures: u32, successes: u32, beats: &str) -> String {
        let mut tracker = HealthTracker::new(failures, successes);
        let mut out = String::new();
        for beat in beats.chars() {
            out.push(beat);
            let outcome = match beat {
                '.' => ProbeOutcome::Good,
                'b' => ProbeOutcome::Bad,
                _ => ProbeOutcome::Missed,
            };
            let transition = match beat {
                'L' => tracker.record_loss(),
                _ => tracker.record(outcome),
            };
            match transition {
                Some(HealthTransition::Up) => out.push('U'),
                Some(HealthTransition::Unready) => out.push('N'),
                Some(HealthTransition::Down) => out.push('D'),
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
    fn a_loss_is_silence_at_once() {
        for (beats, expected) in [
            (".L.", ".ULD.U"),
            (".LLx.", ".ULDLx.U"),
            ("L.", "L.U"),
            (".bbbL.", ".UbbbNLD.U"),
            (".Lb.", ".ULDbN.U"),
        ] {
            assert_eq!(story(3, 1, beats), expected);
        }
    }

    #[test]
    fn a_bad_answer_makes_unready_and_only_silence_down() {
        for (beats, expected) in [
            ("bbbb.", "bbbb.U"),
            (".bbbbb.", ".UbbbNbb.U"),
            // A mixture: it answered lately, so it is alive.
            (".bxxxx", ".UbxxNxDx"),
            (".xxbxxx", ".UxxbNxxxD"),
            (".bbbxxbxxx", ".UbbbNxxbxxxD"),
            // What hung and answers is alive, however badly it answers.
            (".xxxbb.", ".UxxxDbNb.U"),
            (".bb.bb", ".Ubb.bb"),
        ] {
            assert_eq!(story(3, 1, beats), expected);
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

    #[test]
    fn instance_is_in_doubt_until_its_last_answers_were_good() {
        // Whether it is up and whether it is in doubt, behind each heartbeat.
        for (beats, expected) in [
            ("", (false, true)),
            (".", (false, true)),
            ("..", (true, false)),
            ("..x", (true, true)),
            ("..b", (true, true)),
            ("..x.", (true, false)),
            ("..xxx", (false, true)),
            ("..xxx.", (false, true)),
            ("..xxx..", (true, false)),
            ("..bbb", (false, true)),
        ] {
            let mut tracker = HealthTracker::new(3, 2);
            for beat in beats.chars() {
                tracker.record(match beat {
                    '.' => ProbeOutcome::Good,
                    'b' => ProbeOutcome::Bad,
                    _ => ProbeOutcome::Missed,
                });
            }
            assert_eq!((tracker.is_up(), tracker.in_doubt()), expected, "{beats}");
            assert_eq!(tracker.is_unready(), beats.ends_with("bbb"), "{beats}");
            assert_eq!(tracker.was_up(), beats.starts_with(".."), "{beats}");
        }
    }
}
