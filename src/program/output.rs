//! Output on stdout and early warnings on stderr.

use std::io::{self, Write};

/// Prints a page.
pub fn print(text: &str) {
    // Whoever reads may have seen enough (`| head`), which is no failure.
    let _ = writeln!(io::stdout(), "{}", text.trim_end());
}

/// Warns before there is a log.
pub fn warn_early(warnings: &[String]) {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
}
