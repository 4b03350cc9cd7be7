//! The ring: what `ringmaster ring` prints, tables that must never change, properties of all.

#![allow(clippy::unwrap_used, missing_docs)]

mod cli;
mod golden;
mod properties;
