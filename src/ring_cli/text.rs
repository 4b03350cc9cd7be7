//! How numbers, names and tables look in reports for people.

use std::ops::Range;

use comfy_table::presets::NOTHING;
use comfy_table::{
    Cell, CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table, Width,
};

/// The widest that a report gets.
pub(super) const WIDTH: u16 = 100;

use crate::human::counted;
pub(crate) use crate::human::thousands as count;

/// `33.33 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// `+8.33 %`, `-8.33 %`; none for nothing.
pub(super) fn change(share: f64) -> String {
    let text = format!("{:+.2} %", 100.0 * share);
    match text.as_str() {
        "+0.00 %" | "-0.00 %" => "0.00 %".to_owned(),
        _ => text,
    }
}

/// `1.013`.
pub(crate) fn ratio(ratio: f64) -> String {
    format!("{ratio:.3}")
}

/// A key that sorts names as people do: `Server2` before `Server10`.
pub(crate) fn sort_key(name: &str) -> (&str, usize, &str, &str) {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = name[stem.len()..].trim_start_matches('0');
    // Of two numbers the one with more digits is larger. The name distinguishes 1 from 01.
    (stem, number.len(), number, name)
}

/// `1 replica`, `3 replicas`.
pub(crate) fn replicas(number: usize) -> String {
    counted(number as u64, "replica")
}

/// The beginning of a key, in one line, with control characters escaped.
pub(crate) fn shown(key: &str) -> String {
    const MAX_CHARS: usize = 200;
    let mut shown: String = key
        .chars()
        .take(MAX_CHARS)
        .flat_map(char::escape_debug)
        .collect();
    if key.chars().nth(MAX_CHARS).is_some() {
        shown.push_str("...");
    }
    format!("\"{shown}\"")
}

/// The first names of a list and the number of the others.
pub(crate) fn names(names: &[String]) -> String {
    const MAX_NAMES: usize = 12;
    match names.get(MAX_NAMES..) {
        Some(more @ [_, _, ..]) => {
            let few = names[..MAX_NAMES].join(", ");
            format!("{few} and {} more", count(more.len() as u64))
        }
        _ => names.join(", "),
    }
}

/// A table with a header: the first column is text, the others are numbers unless they are said to
/// be text, too.
pub(crate) struct Grid(Table);

impl Grid {
    pub(crate) fn new<T: AsRef<str>>(header: &[T]) -> Self {
        Self::with_texts(header, 1..1)
    }

    /// One with more columns of text, which stand in these places; the last of them is wrapped.
    pub(crate) fn with_texts<T: AsRef<str>>(header: &[T], texts: Range<usize>) -> Self {
        let mut table = Table::new();
        let line = LineStyle::none().fill('-').junction('-');
        table
            .load_style(NOTHING.header_separator(line))
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(WIDTH)
            .set_header(header.iter().map(AsRef::as_ref));
        for (place, column) in table.column_iter_mut().enumerate() {
            // No padding at the left edge.
            column.set_padding((u16::from(place > 0), 0));
            if texts.contains(&place) {
                if place + 1 < texts.end {
                    column.set_constraint(ColumnConstraint::ContentWidth);
                }
            } else if place > 0 {
                // Names may be wrapped, numbers may not.
                column.set_cell_alignment(CellAlignment::Right);
                column.set_constraint(ColumnConstraint::ContentWidth);
            } else {
                column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(8)));
            }
        }
        Self(table)
    }

    /// The same for a terminal of this width.
    pub(crate) fn within(mut self, width: u16) -> Self {
        self.0.set_width(width);
        self
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.add_row(cells.into_iter().map(Cell::new));
    }

    pub(crate) fn text(&self) -> String {
        self.0.trim_fmt() + "\n"
    }
}

/// Paragraphs with a label before each, such as `Owner     Server1`.
pub(crate) fn paragraphs<'a>(rows: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH);
    for (word, text) in rows {
        table.add_row([word.to_owned(), text]);
    }
    for (place, column) in table.column_iter_mut().enumerate() {
        column.set_padding((2 * u16::from(place > 0), 0));
        if place == 0 {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table.trim_fmt() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(percent(0.33333), "33.33 %");
        assert_eq!(
            [0.1, -0.00001, -0.0833].map(change),
            ["+10.00 %", "0.00 %", "-8.33 %"]
        );
        assert_eq!(replicas(1), "1 replica");
    }

    #[test]
    fn names_are_sorted_by_their_numbers() {
        let mut names = ["S10", "S2", "b", "S1", "S", "S02", "a9", "S100"];
        names.sort_by_key(|name| sort_key(name));
        assert_eq!(names, ["S", "S1", "S02", "S2", "S10", "S100", "a9", "b"]);
    }

    #[test]
    fn control_characters_of_a_key_are_escaped() {
        assert_eq!(shown("a\u{1b}[2J\n\"é"), "\"a\\u{1b}[2J\\n\\\"é\"");
        assert_eq!(shown(&"x".repeat(201)).len(), 205);
    }

    #[test]
    fn long_names_are_broken_and_numbers_are_not() {
        let mut grid = Grid::new(&["Replica", "Weight", "Slots"]);
        grid.row(["n".repeat(120), "1".to_owned(), count(1_048_576)]);
        let text = grid.text();
        assert!(
            text.lines()
                .all(|line| line.chars().count() <= usize::from(WIDTH)),
            "{text}"
        );
        assert!(text.contains("  1,048,576\n"), "{text}");
    }
}
