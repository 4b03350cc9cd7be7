//! The one table of options.
//!
//! Flags, environment variables, the keys of the TOML file, `--help`, README's table
//! and the bounds that validation holds all come from [`OPTIONS`]. An option is added
//! by a row in its section's file and by a line in [`super::validate`] that reads it.

mod balancing;
mod containers;
mod health;
mod itself;
mod limits;
mod run;

use std::time::Duration;

use super::option::{Allowed, Fallback, OptionSpec, RuntimeKind, Shape};

/// The one option that cannot stand in the file.
pub const CONFIG: &str = "config";

/// The option of that key.
pub fn find(key: &str) -> Option<&'static OptionSpec> {
    OPTIONS.iter().find(|option| option.key == key)
}

const RUN: &str = "What to run";
const SELF: &str = "The balancer itself";
const BALANCING: &str = "Balancing";
const HEALTH: &str = "Health";
const TIMES: &str = "Limits and time-outs";
const DOCKER: &str = "Docker";

const EVERY: &[RuntimeKind] = &RuntimeKind::ALL;
const SPAWNING: &[RuntimeKind] = &[RuntimeKind::Process, RuntimeKind::Docker];
const PROCESSES: &[RuntimeKind] = &[RuntimeKind::Process];
const CONTAINERS: &[RuntimeKind] = &[RuntimeKind::Docker];
const FIXED: &[RuntimeKind] = &[RuntimeKind::Static];

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// What most options have in common; a row says what is different.
const PLAIN: OptionSpec = OptionSpec {
    key: "",
    value_name: "",
    help: "",
    more: "",
    fallback: Fallback::Nothing,
    allowed: Allowed::Text(""),
    shape: Shape::One,
    section: SELF,
    runtimes: EVERY,
};

/// The sections, in the order in which help texts list them.
const SECTIONS: [&[OptionSpec]; 6] = [
    run::OPTIONS,
    itself::OPTIONS,
    balancing::OPTIONS,
    health::OPTIONS,
    limits::OPTIONS,
    containers::OPTIONS,
];

/// Every option, in that order.
pub const OPTIONS: &[OptionSpec] = &joined::<{ count() }>();

const fn count() -> usize {
    let (mut count, mut section) = (0, 0);
    while section < SECTIONS.len() {
        count += SECTIONS[section].len();
        section += 1;
    }
    count
}

/// The rows of all sections. (A constant function knows no iterators.)
const fn joined<const N: usize>() -> [OptionSpec; N] {
    let mut all = [PLAIN; N];
    let (mut place, mut section) = (0, 0);
    while section < SECTIONS.len() {
        let mut row = 0;
        while row < SECTIONS[section].len() {
            all[place] = SECTIONS[section][row];
            place += 1;
            row += 1;
        }
        section += 1;
    }
    all
}
