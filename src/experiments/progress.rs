//! What a person sees while it works: bars on a terminal, else a line for each part done.

use std::io::{self, IsTerminal};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// One part of the work.
pub struct Progress {
    bar: ProgressBar,
    title: String,
    begun: Instant,
    on_terminal: bool,
}

impl Progress {
    /// Begins a part of so many steps.
    pub fn begin(title: impl Into<String>, steps: usize) -> Self {
        let title = title.into();
        let on_terminal = io::stderr().is_terminal();
        let target = if on_terminal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(steps as u64), target);
        let template = "{prefix:<44} {bar:24.cyan/dim} {pos}/{len} {msg}";
        // The template is a constant, so that an error would show in the first run.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(title.clone());
        Self {
            bar,
            title,
            begun: Instant::now(),
            on_terminal,
        }
    }

    /// One step done.
    pub fn step(&self) {
        self.bar.inc(1);
    }

    /// What it is at.
    pub fn say(&self, text: &str) {
        self.bar.set_message(text.to_owned());
    }

    /// The part is done, and this is what came out.
    pub fn done(self, outcome: &str) {
        self.bar.finish_and_clear();
        let seconds = self.begun.elapsed().as_secs_f64();
        let title = &self.title;
        if self.on_terminal {
            eprintln!("{title:<44} {outcome}  ({seconds:.1} s)");
        } else {
            eprintln!("{title}: {outcome} ({seconds:.1} s)");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // An error or Ctrl-C leaves no half bar behind.
        self.bar.finish_and_clear();
    }
}
