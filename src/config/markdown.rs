//! README's table of options.

use std::fmt::Write as _;

use super::option::Allowed;
use super::options::OPTIONS;

/// Every option as rows of a Markdown table, one table a section.
pub fn options_markdown() -> String {
    let mut text = String::new();
    let mut section = "";
    for option in OPTIONS {
        if section != option.section {
            let blank = if text.is_empty() { "" } else { "\n" };
            section = option.section;
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "{blank}**{section}**\n\n| flag | what it says | default |\n| --- | --- | --- |\n"
            );
        }
        let allowed = match option.allowed {
            Allowed::Whole(..) | Allowed::Duration(..) => format!(" ({})", option.allowed),
            Allowed::Choice(_) | Allowed::Text(_) => String::new(),
        };
        let _ = writeln!(
            text,
            "| `--{} {}` | {}{allowed} | {} |",
            option.key,
            option.value_name,
            option.headline(),
            option.fallback_text().unwrap_or_default(),
        );
    }
    text
}
