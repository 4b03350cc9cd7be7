//! `cpu.svg`: CPU time per request of every proxy under every load of README's table, from `results.json`.
//!
//! The loads cost from 15 us to 2 ms, so the scale is logarithmic and a proxy is a dot.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::register_font;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde_json::Value;

use crate::scenario;

const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);

/// The proxies in the order of README's columns. The colours are those of Okabe and Ito.
const PROXIES: [(&str, &str, RGBColor); 5] = [
    ("ringmaster", "Ringmaster", RGBColor(0, 114, 178)),
    ("haproxy", "HAProxy", RGBColor(230, 159, 0)),
    ("nginx", "nginx", RGBColor(0, 158, 115)),
    ("envoy", "Envoy", RGBColor(204, 121, 167)),
    ("pingora", "Pingora", RGBColor(86, 180, 233)),
];

const WIDTH: i32 = 900;
const ROW: i32 = 36;
/// Above the rows: title, legend.
const HEAD: i32 = 92;
/// Below them: the scale.
const FOOT: i32 = 52;
/// Where the scale begins and ends.
const SCALE: (i32, i32) = (300, WIDTH - 30);

/// A bar: its value, its place in the row, its colour.
type Bar = (f64, i32, RGBColor);

/// Draws the chart of a folder's `results.json` into that folder.
pub fn redraw(folder: &Path) -> Result<(), String> {
    let path = folder.join("results.json");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let results: Value =
        serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?;
    draw(&folder.join("cpu.svg"), &results).map_err(|e| format!("cpu.svg: {e}"))
}

/// The median of a proxy's rounds under a load, if it was measured.
fn cpu_us(results: &Value, scenario: &str, proxy: &str) -> Option<f64> {
    let rounds = results["scenarios"][scenario][proxy].as_array()?;
    let mut values: Vec<f64> = rounds.iter().filter_map(|r| r["cpu_us"].as_f64()).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn draw(path: &Path, results: &Value) -> Result<(), Box<dyn std::error::Error>> {
    let all = scenario::all();
    let rows: Vec<(&str, Vec<Bar>)> = all
        .iter()
        // That load is about memory.
        .filter(|scenario| !scenario.idle)
        .map(|scenario| {
            // Each proxy has a height of its own, so that equal figures are both visible.
            let dots = (-2..)
                .zip(PROXIES)
                .filter_map(|(place, (proxy, _, colour))| {
                    Some((cpu_us(results, scenario.name, proxy)?, place * 4, colour))
                });
            (scenario.what, dots.collect())
        })
        .filter(|(_, dots): &(_, Vec<_>)| !dots.is_empty())
        .collect();
    let values = || {
        rows.iter()
            .flat_map(|(_, dots)| dots.iter().map(|dot| dot.0))
    };
    let least = values().fold(10.0, f64::min) * 0.9;
    let most = values().fold(100.0, f64::max) * 1.1;
    let x = |us: f64| {
        let share = (us / least).ln() / (most / least).ln();
        SCALE.0 + (f64::from(SCALE.1 - SCALE.0) * share).round() as i32
    };

    // Text is measured with this font; a viewer may use another.
    let _ = register_font(FONT, FontStyle::Normal, notosans::REGULAR_TTF);
    let bottom = HEAD + ROW * rows.len() as i32;
    let root = SVGBackend::new(path, (WIDTH as u32, (bottom + FOOT) as u32)).into_drawing_area();
    root.fill(&WHITE)?;
    let text = |size: u32, h: HPos| {
        let style = (FONT, size).into_text_style(&root).color(&INK);
        style.pos(Pos::new(h, VPos::Center))
    };
    let title = "CPU time of the proxy per request, microseconds; less is better";
    root.draw_text(title, &text(22, HPos::Left), (20, 26))?;

    let mut left = 20;
    for (proxy, name, colour) in PROXIES {
        let version = results["versions"][proxy].as_str().unwrap_or_default();
        let label = format!("{name} {version}");
        root.draw(&Circle::new((left + 7, 62), 7, colour.filled()))?;
        root.draw_text(&label, &text(16, HPos::Left), (left + 20, 62))?;
        left += 46 + root.estimate_text_size(&label, &text(16, HPos::Left))?.0 as i32;
    }

    for tick in [
        10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0,
    ] {
        if (least..=most).contains(&tick) {
            let ends = [(x(tick), HEAD - 8), (x(tick), bottom)];
            root.draw(&PathElement::new(ends, GRID.stroke_width(1)))?;
            let label = if tick < 1_000.0 {
                tick.to_string()
            } else {
                format!("{},000", tick / 1_000.0)
            };
            root.draw_text(&label, &text(15, HPos::Center), (x(tick), bottom + 16))?;
        }
    }
    let scale = "the scale is logarithmic: each line is about twice the one before";
    root.draw_text(scale, &text(14, HPos::Right), (SCALE.1, bottom + 38))?;
    for (row, (what, dots)) in rows.iter().enumerate() {
        let y = HEAD + ROW * row as i32 + ROW / 2;
        root.draw_text(what, &text(16, HPos::Right), (SCALE.0 - 14, y))?;
        let ends = [(SCALE.0, y), (SCALE.1, y)];
        root.draw(&PathElement::new(ends, GRID.stroke_width(1)))?;
        // Ours last, so that no other covers it.
        for (us, dy, colour) in dots.iter().rev() {
            root.draw(&Circle::new((x(*us), y + dy), 7, WHITE.filled()))?;
            root.draw(&Circle::new((x(*us), y + dy), 6, colour.filled()))?;
        }
    }
    root.present()?;
    Ok(())
}
