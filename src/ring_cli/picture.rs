//! Draws a ring: the slots around, the shares inside, a legend beside.
//!
//! A table of a few hundred arcs is drawn completely. The owner of a rendezvous or Maglev table
//! changes at nearly every slot, and 262,144 arcs are neither small nor visible; of such a table
//! the picture shows a sample of slots at even distances, and says so. The shares are always
//! exact.

mod arcs;
mod colour;

use std::fmt::Write as _;

#[cfg(test)]
pub(crate) use colour::of as replica_colour;

use arcs::{Arcs, CENTRE};

use super::{in_order, text};
use crate::api::RingSummary;
use crate::ring::{Ownership, SlotTable};

const WIDTH: u32 = 820;
const HEIGHT: u32 = 440;
/// Where the legend begins.
const LEFT: u32 = 460;
/// The most lines of the legend.
const LINES: usize = 13;
const LINE_HEIGHT: usize = 20;
/// The most characters of a name.
const NAME: usize = 22;

/// Draws a table as an SVG document.
pub fn picture(table: &SlotTable) -> String {
    let ring = RingSummary::new(table);
    let ownership = Ownership::by_slots(table);
    let arcs = Arcs::of(table);
    let mut svg = String::with_capacity(64 << 10);
    let title = title(&ring);
    // Writing to a String cannot fail, here and below.
    let _ = write!(
        svg,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" font-family="system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif" font-size="14" fill="#1f2933">
<title>{}</title>
<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="#ffffff"/>
"##,
        escaped(&title)
    );
    arcs.draw(&mut svg, table, &ownership);
    centre(&mut svg, &ring, &ownership);
    let _ = writeln!(
        svg,
        r#"<text x="{LEFT}" y="52" font-size="20" font-weight="600">{}</text>"#,
        escaped(&ring.strategy)
    );
    let _ = writeln!(
        svg,
        r##"<text x="{LEFT}" y="75" fill="#52606d">{}</text>"##,
        escaped(&subtitle(&ring))
    );
    legend(&mut svg, table, &ownership);
    for (line, y) in arcs.caption().iter().zip([HEIGHT - 38, HEIGHT - 21]) {
        let _ = writeln!(
            svg,
            r##"<text x="{LEFT}" y="{y}" font-size="12" fill="#7b8794">{}</text>"##,
            escaped(line)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn title(ring: &RingSummary) -> String {
    format!("{}, {}", ring.strategy, subtitle(ring))
}

fn subtitle(ring: &RingSummary) -> String {
    let k = ring
        .virtual_servers
        .map(|k| format!(", K = {}", text::count(k.into())));
    format!(
        "M = {} slots{}",
        text::count(ring.slots.into()),
        k.unwrap_or_default()
    )
}

fn centre(svg: &mut String, ring: &RingSummary, ownership: &Ownership) {
    let (x, y) = CENTRE;
    let _ = write!(
        svg,
        r##"<g text-anchor="middle"><text x="{x}" y="{}" font-size="24" font-weight="600">{}</text>
<text x="{x}" y="{}" fill="#52606d">peak/mean</text></g>
"##,
        y + 2.0,
        text::ratio(ownership.peak_to_mean()),
        y + 24.0,
    );
    let _ = writeln!(
        svg,
        r##"<text x="{x}" y="{}" text-anchor="middle" fill="#52606d">{}</text>"##,
        y - 28.0,
        text::replicas(ring.replicas)
    );
}

/// Names, weights and shares; of many replicas the first few.
fn legend(svg: &mut String, table: &SlotTable, ownership: &Ownership) {
    const TOP: usize = 122;
    let order = in_order(table);
    let all = order.len();
    let shown = if all > LINES { LINES - 1 } else { all };
    let weighted = table.members().iter().any(|m| m.weight.get() > 1);
    let (share, fair, weight) = (LEFT + 230, LEFT + 310, LEFT + 335);
    let _ = writeln!(
        svg,
        r##"<g font-size="12" fill="#7b8794" text-anchor="end"><text x="{share}" y="{y}">share</text><text x="{fair}" y="{y}">of fair</text></g>"##,
        y = TOP - 16,
    );
    for (line, index) in order.iter().copied().take(shown).enumerate() {
        let member = table.member(index);
        let y = TOP + line * LINE_HEIGHT;
        let of_fair = ownership.share(index) / ownership.fair_share(index);
        let _ = write!(
            svg,
            r#"<rect x="{LEFT}" y="{}" width="12" height="12" rx="2" fill="{}"/><text x="{}" y="{}">{}</text><g text-anchor="end"><text x="{share}" y="{}">{}</text><text x="{fair}" y="{}">{}</text></g>"#,
            y - 4,
            colour::of(index.get(), all),
            LEFT + 20,
            y + 7,
            escaped(&shortened(member.name.as_str())),
            y + 7,
            text::percent(ownership.share(index)),
            y + 7,
            text::ratio(of_fair),
        );
        if weighted {
            let _ = write!(
                svg,
                r##"<text x="{weight}" y="{}" font-size="12" fill="#7b8794" text-anchor="end">x{}</text>"##,
                y + 7,
                member.weight.get()
            );
        }
        svg.push('\n');
    }
    if shown < all {
        let rest = order[shown..].iter().map(|m| ownership.share(*m)).sum();
        let y = TOP + shown * LINE_HEIGHT + 7;
        let _ = writeln!(
            svg,
            r##"<text x="{}" y="{y}" fill="#52606d">and {} more</text><text x="{share}" y="{y}" fill="#52606d" text-anchor="end">{}</text>"##,
            LEFT + 20,
            text::count((all - shown) as u64),
            text::percent(rest)
        );
    }
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= NAME {
        return name.to_owned();
    }
    name.chars().take(NAME - 1).chain(['\u{2026}']).collect()
}

/// Text escaped for XML.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // XML 1.0 has no other control characters, not even escaped.
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::testing::{servers, table};
    use crate::ring::{Member, ReplicaName, Strategy};

    #[test]
    fn a_picture_is_xml_and_small_whatever_is_on_the_ring() {
        for (strategy, members) in [
            (Strategy::Rendezvous, 0),
            (Strategy::Rendezvous, 1),
            (Strategy::Classic, 3),
            (Strategy::Quadratic, 56),
            (Strategy::Ring, 5),
            (Strategy::Ring, 300),
            (Strategy::Maglev, 13),
            (Strategy::Rendezvous, 1_000),
        ] {
            let svg = picture(&table(strategy, None, &servers(members)));
            roxmltree::Document::parse(&svg).unwrap();
            assert!(svg.len() < 200_000, "{strategy}: {} bytes", svg.len());
        }
    }

    #[test]
    fn names_are_escaped() {
        let name = ReplicaName::from_address("<a href='x'>&\"\u{1b}");
        let svg = picture(&table(Strategy::Classic, None, &[Member::new(name)]));
        let document = roxmltree::Document::parse(&svg).unwrap();
        let texts = document.descendants().filter_map(|n| n.text());
        assert!(texts.into_iter().any(|t| t == "<a href='x'>&\"\u{fffd}"));
        assert!(!svg.contains("<a "));
        assert_eq!(shortened(&"x".repeat(23)), "x".repeat(21) + "\u{2026}");
    }
}
