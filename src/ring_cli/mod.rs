//! `ringmaster ring`: looks at rings without running one.
//!
//! Everything is computed by [`crate::ring`], the code that balances, so that what is shown
//! is what would happen. `show` says who owns how much and can draw it, `explain` follows
//! one key, and `diff` says what a change would move. Each makes a report, a plain value
//! that serde writes for machines and that writes itself for people.
//!
//! ```
//! use ringmaster::ring::{RingSpec, SlotTable};
//! use ringmaster::ring_cli::{Question, Request};
//!
//! let members = ringmaster::ring_cli::members("S1, S2=3").unwrap();
//! let table = SlotTable::build(&RingSpec::default(), &members).unwrap();
//! let question = Question::Explain { table, key: "alice".into() };
//! let answer = Request { question, json: false }.answer().unwrap();
//! assert!(answer.contains("Owner"));
//! ```

mod change;
mod diff;
mod explain;
mod flows;
mod member_list;
mod picture;
mod reason;
mod show;
pub(crate) mod text;

use std::ffi::OsString;
use std::path::PathBuf;

use serde::Serialize;

pub use change::{Change, Mistake};
pub use diff::Diff;
pub use explain::Explained;
pub(crate) use member_list::items;
pub use member_list::{InvalidMember, member, members, weight};
pub use picture::picture;
#[cfg(test)]
pub(crate) use picture::replica_colour;
pub use show::Shown;

use crate::ring::{Key, MemberIndex, SlotTable};

/// What is asked, with everything that was given checked.
#[derive(Debug)]
pub struct Request {
    /// What to answer.
    pub question: Question,
    /// For machines.
    pub json: bool,
}

/// What can be asked about rings.
#[derive(Debug)]
pub enum Question {
    /// Who owns how much?
    Show {
        /// The ring.
        table: SlotTable,
        /// Where to draw it.
        picture: Option<PathBuf>,
    },
    /// Who serves this key, and why?
    Explain {
        /// The ring.
        table: SlotTable,
        /// The key, as a request would bring it.
        key: OsString,
    },
    /// What moves if the one ring becomes the other?
    Diff {
        /// The ring as it is.
        before: SlotTable,
        /// The ring as it would be.
        after: SlotTable,
    },
}

/// A picture that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {why}", path.display())]
pub struct Unwritable {
    path: PathBuf,
    why: std::io::Error,
}

impl Request {
    /// The answer, ending in a line break. A picture that was asked for is written.
    ///
    /// # Errors
    ///
    /// The picture cannot be written.
    pub fn answer(&self) -> Result<String, Unwritable> {
        Ok(match &self.question {
            Question::Show { table, picture } => {
                if let Some(path) = picture {
                    let drawn = picture::picture(table);
                    std::fs::write(path, drawn).map_err(|why| Unwritable {
                        path: path.clone(),
                        why,
                    })?;
                }
                let shown = Shown::new(table);
                self.written(&shown, Shown::text)
            }
            Question::Explain { table, key } => {
                let explained = Explained::new(table, key.as_encoded_bytes());
                self.written(&explained, Explained::text)
            }
            Question::Diff { before, after } => self.written(&Diff::new(before, after), Diff::text),
        })
    }

    fn written<R: Serialize>(&self, report: &R, text: impl Fn(&R) -> String) -> String {
        if !self.json {
            return text(report);
        }
        // Reports are structs of texts and finite numbers, which JSON can always say.
        let json = serde_json::to_string_pretty(report);
        json.unwrap_or_else(|wrong| format!("{{\"error\":\"{wrong}\"}}")) + "\n"
    }
}

/// The members in the order in which people count them.
fn in_order(table: &SlotTable) -> Vec<MemberIndex> {
    let mut order: Vec<MemberIndex> = table.indices().collect();
    order.sort_by_key(|&m| text::sort_key(table.member(m).name.as_str()));
    order
}

/// The keys that random request ids are: all numbers of six digits, as in the original
/// write-up.
fn request_ids() -> impl Iterator<Item = Key> {
    (100_000..1_000_000).map(Key)
}

/// A ring in numbers, as every report names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ring {
    /// The strategy's name.
    pub strategy: &'static str,
    /// M.
    pub slots: u32,
    /// K; null for strategies without virtual servers.
    pub virtual_servers: Option<u32>,
    /// How many replicas are on it.
    pub replicas: usize,
    /// The sum of their weights.
    pub total_weight: u64,
}

impl Ring {
    fn new(table: &SlotTable) -> Self {
        let (spec, members) = (table.spec(), table.members());
        Self {
            strategy: spec.strategy().name(),
            slots: spec.slots(),
            virtual_servers: spec.virtual_servers(),
            replicas: members.len(),
            total_weight: members.iter().map(|m| u64::from(m.weight.get())).sum(),
        }
    }

    /// `ring: 65,536 slots, 160 virtual servers each, 3 replicas`.
    fn text(&self) -> String {
        let virtual_servers = match self.virtual_servers {
            Some(k) => format!(", {} virtual servers each", text::count(k.into())),
            None => String::new(),
        };
        let weights = match self.virtual_servers {
            Some(_) if self.total_weight > self.replicas as u64 => " times weight",
            _ => "",
        };
        format!(
            "{}: {} slots{virtual_servers}{weights}, {}",
            self.strategy,
            text::count(self.slots.into()),
            text::replicas(self.replicas)
        )
    }
}
