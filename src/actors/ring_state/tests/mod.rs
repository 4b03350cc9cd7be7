//! The actor as its messages show it.

mod ejections;
mod rebuilds;
mod swaps;
