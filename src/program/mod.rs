//! What the program does around the library: its log, its signals, what it prints, how it ends.

pub mod balance;
pub mod exit;
pub mod logging;
pub mod output;
