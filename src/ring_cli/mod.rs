//! `ringmaster ring`: looks at rings without running one.
//!
//! [`crate::ring`], the code that balances, computes everything, so that reports are true of a
//! running balancer. `show` says how much each replica owns and can draw it, `explain` follows
//! one key, and `diff` says what a change would move. Each makes a report: a plain value that
//! serde writes for machines and whose `text` is for people.
//!
//! ```
//! use ringmaster::ring::{RingSpec, SlotTable};
//! use ringmaster::ring_cli::{Question, RingCommand};
//!
//! let members = ringmaster::ring_cli::members("S1, S2=3").unwrap();
//! let table = SlotTable::build(&RingSpec::default(), &members).unwrap();
//! let question = Question::Explain { table, key: "alice".into() };
//! let answer = RingCommand { question, json: false }.answer().unwrap();
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

pub use change::{MemberChange, Mistake};
pub use diff::Diff;
pub(crate) use member_list::items;
pub use member_list::{InvalidMember, member, members, weight};
pub use picture::picture;
#[cfg(test)]
pub(crate) use picture::replica_colour;
pub use show::Shown;

use crate::api::{Explained, RingSummary};
use crate::ring::{Key, MemberIndex, SlotTable};

/// A question whose input has been checked.
#[derive(Debug)]
pub struct RingCommand {
    /// The question.
    pub question: Question,
    /// Answer in JSON.
    pub json: bool,
}

/// A question about rings.
#[derive(Debug)]
pub enum Question {
    /// How much does each replica own?
    Show {
        /// The ring.
        table: SlotTable,
        /// The file to draw it to.
        picture: Option<PathBuf>,
    },
    /// Which replica serves this key, and why?
    Explain {
        /// The ring.
        table: SlotTable,
        /// The key, as a request would bring it.
        key: OsString,
    },
    /// What moves if one ring becomes the other?
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

impl RingCommand {
    /// The answer, ending in a line break. Writes the picture if there is to be one.
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
        // Cannot fail: reports are structs of texts and finite numbers.
        let json = serde_json::to_string_pretty(report);
        json.unwrap_or_else(|wrong| format!("{{\"error\":\"{wrong}\"}}")) + "\n"
    }
}

/// The members, sorted as people count them.
fn in_order(table: &SlotTable) -> Vec<MemberIndex> {
    let mut order: Vec<MemberIndex> = table.indices().collect();
    order.sort_by_key(|&m| text::sort_key(table.member(m).name.as_str()));
    order
}

/// All request ids: the numbers of six digits, as in the original write-up.
fn request_ids() -> impl Iterator<Item = Key> {
    (100_000..1_000_000).map(Key)
}

impl RingSummary {
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
