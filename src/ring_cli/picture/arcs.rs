//! The ring itself: arcs coloured by owner.

use std::f64::consts::TAU;
use std::fmt::Write as _;

use super::super::{in_order, text};
use super::colour;
use crate::ring::{MemberIndex, Ownership, Slot, SlotTable};

pub(super) const CENTRE: (f64, f64) = (220.0, 220.0);
/// The middles of the two bands and their widths.
const SLOTS: (f64, f64) = (166.0, 48.0);
const SHARES: (f64, f64) = (124.0, 18.0);
/// Where the dots of virtual servers are.
const DOTS: f64 = 199.0;

/// The most arcs that are drawn one by one.
const MANY: usize = 1_200;
/// The number of slots drawn of a table with more arcs.
const SAMPLE: u32 = 360;

/// A stretch of the ring that one member owns, in turns around it.
type Arc = (Option<MemberIndex>, f64, f64);

/// What is drawn of the slots.
pub(super) struct Arcs {
    arcs: Vec<Arc>,
    /// Every n-th slot is drawn; `None` if all are.
    one_in: Option<u32>,
    dotted: bool,
}

impl Arcs {
    pub(super) fn of(table: &SlotTable) -> Self {
        let m = table.spec().slots();
        let dotted = !table.virtual_servers().is_empty();
        let exact = runs(table.slots().map(|slot| table.owner(slot)), m);
        if exact.len() <= MANY {
            return Self {
                arcs: exact,
                one_in: None,
                dotted,
            };
        }
        let slots: Vec<Slot> = table.slots().collect();
        let sample = (0..SAMPLE).map(|i| {
            let middle = (u64::from(2 * i + 1) * u64::from(m)) / u64::from(2 * SAMPLE);
            table.owner(slots[middle as usize])
        });
        Self {
            arcs: runs(sample, SAMPLE),
            one_in: Some(m / SAMPLE),
            dotted,
        }
    }

    /// What the picture shows, in two lines.
    pub(super) fn caption(&self) -> [String; 2] {
        let outside = match self.one_in {
            None | Some(1) => "the slots, clockwise from the top".to_owned(),
            Some(n) => format!(
                "one slot in {}, clockwise from the top",
                text::count(n.into())
            ),
        };
        let dots = if self.dotted {
            " Dots: the virtual servers."
        } else {
            ""
        };
        [
            format!("Outside: {outside}."),
            format!("Inside: the shares of all slots.{dots}"),
        ]
    }

    pub(super) fn draw(&self, svg: &mut String, table: &SlotTable, ownership: &Ownership) {
        band(svg, table, SLOTS, &self.arcs);
        let mut from = 0.0;
        let shares: Vec<Arc> = in_order(table)
            .into_iter()
            .map(|member| {
                let to = from + ownership.share(member);
                let arc = (Some(member), from, to);
                from = to;
                arc
            })
            .collect();
        band(svg, table, SHARES, &shares);
        self.dots(svg, table);
    }

    /// A dot for every virtual server.
    fn dots(&self, svg: &mut String, table: &SlotTable) {
        let m = f64::from(table.spec().slots());
        let all = table.members().len();
        for server in table.virtual_servers() {
            let (x, y) = point(DOTS, (f64::from(server.slot.get()) + 0.5) / m);
            let fill = colour::of(server.member.get(), all);
            let _ = writeln!(
                svg,
                r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="{fill}"/>"#
            );
        }
    }
}

/// Neighbours of one owner in one arc, of `m` around the ring.
fn runs(owners: impl Iterator<Item = Option<MemberIndex>>, m: u32) -> Vec<Arc> {
    let mut arcs: Vec<Arc> = Vec::new();
    for (slot, owner) in (0u32..).zip(owners) {
        let end = f64::from(slot + 1) / f64::from(m);
        match arcs.last_mut() {
            Some(last) if last.0 == owner => last.2 = end,
            _ => arcs.push((owner, f64::from(slot) / f64::from(m), end)),
        }
    }
    arcs
}

/// One path for each owner, all its arcs in it.
fn band(svg: &mut String, table: &SlotTable, (radius, width): (f64, f64), arcs: &[Arc]) {
    let all = table.members().len();
    let _ = writeln!(svg, r#"<g fill="none" stroke-width="{width}">"#);
    let owners = table.indices().map(Some).chain([None]);
    for owner in owners {
        let stroke = owner.map_or("#e4e7eb".to_owned(), |m| colour::of(m.get(), all));
        let mut path = String::new();
        for &(_, from, to) in arcs.iter().filter(|arc| arc.0 == owner && arc.2 > arc.1) {
            arc(&mut path, radius, from, to);
        }
        if !path.is_empty() {
            let _ = writeln!(svg, r#"<path stroke="{stroke}" d="{path}"/>"#);
        }
    }
    svg.push_str("</g>\n");
}

fn arc(path: &mut String, radius: f64, from: f64, to: f64) {
    // An arc whose ends meet is nothing, so the whole circle is two.
    if to - from > 0.999 {
        let middle = (from + to) / 2.0;
        arc(path, radius, from, middle);
        return arc(path, radius, middle, to);
    }
    let ((x, y), (end_x, end_y)) = (point(radius, from), point(radius, to));
    let large = u8::from(to - from > 0.5);
    let _ = write!(
        path,
        "M{x:.2} {y:.2}A{radius} {radius} 0 {large} 1 {end_x:.2} {end_y:.2}"
    );
}

/// A point on the ring, clockwise from the top.
fn point(radius: f64, turn: f64) -> (f64, f64) {
    let (sin, cos) = (turn * TAU).sin_cos();
    (CENTRE.0 + radius * sin, CENTRE.1 - radius * cos)
}
