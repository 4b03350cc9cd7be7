//! A-1 as bars: requests per replica at N = 3.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::{
    Area, BLUE, DrawScale, Drawn, INK, Mark, Picture, REPLICA_COLOURS, anchored, thousands,
};
use crate::analysis::format::{CLAIM, CLAIM_OF};
use crate::analysis::results::Distribution;

/// A bar's width, of the room that a replica has.
const BAR: f64 = 0.5;

pub(super) struct Shares<'a>(pub &'a Distribution);

impl Picture for Shares<'_> {
    const NAME: &'static str = super::SHARES;

    fn size(&self) -> (u32, u32) {
        (1_000, 580)
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>, draw_scale: DrawScale) -> Drawn<DB> {
        let Self(measured) = self;
        let title = format!(
            "A-1: {} requests over {} replicas",
            thousands(measured.requests),
            measured.replicas
        );
        let subtitle = format!(
            "{} ring; random six-digit request ids; {} failed; busiest replica {:.3} times the mean",
            measured.strategy.as_deref().unwrap_or("unknown"),
            measured.failed,
            measured.spread.peak_to_mean
        );
        let area = draw_scale.titles(area, &title, &subtitle)?;
        let (keys, area) = area.split_vertically(draw_scale.px(30));
        let names: Vec<&String> = measured.counts.keys().collect();
        let claimed = measured.requests == CLAIM_OF && names.len() == CLAIM.len();
        let fair = measured.spread.mean;
        let top = measured.spread.max.max(1) as f64 * 1.08;

        let mut chart = draw_scale
            .chart(&area)
            .margin_bottom(draw_scale.size(12))
            .x_label_area_size(draw_scale.size(34))
            .build_cartesian_2d(-0.5..names.len() as f64 - 0.5, 0.0..top)?;
        let mut mesh = chart.configure_mesh();
        draw_scale.mesh(&mut mesh, "requests");
        mesh.y_label_formatter(&|y| thousands(*y as u64))
            .x_labels(names.len())
            .x_label_formatter(&|x| {
                let near = x.round();
                let name = names.get(near as usize).filter(|_| (x - near).abs() < 1e-6);
                name.map_or_else(String::new, |name| (*name).clone())
            })
            .draw()?;

        for (place, (count, colour)) in measured.counts.values().zip(REPLICA_COLOURS).enumerate() {
            let (x, count) = (place as f64, *count as f64);
            let bar = [(x - BAR / 2.0, 0.0), (x + BAR / 2.0, count)];
            chart.draw_series([Rectangle::new(bar, colour.filled())])?;
            // In the bar, out of the way of the lines at its top; blue is too dark for dark
            // letters.
            let ink = if colour == BLUE { WHITE } else { INK };
            let style = anchored(draw_scale.bold(20, ink), HPos::Center, VPos::Center);
            let share = 100.0 * count / measured.requests.max(1) as f64;
            let lines = [thousands(count as u64), format!("{share:.2} %")];
            for (line, text) in lines.into_iter().enumerate() {
                let y = count * 0.5 - top * 0.065 * line as f64;
                chart.draw_series([Text::new(text, (x, y), style.clone())])?;
            }
        }
        let ends = [(-0.5, fair), (names.len() as f64 - 0.5, fair)];
        let dashes = DashedLineSeries::new(
            ends,
            draw_scale.px(8),
            draw_scale.px(5),
            draw_scale.line(INK, 2),
        );
        chart.draw_series(dashes)?;
        let fair = format!("fair share: {}", thousands(fair.round() as u64));
        let [a, b, c] = CLAIM.map(thousands);
        let claim = format!("the original's claim: {a} / {b} / {c}");
        let mut entries = vec![(Mark::Dashes(INK), fair.as_str())];
        if claimed {
            let marks = CLAIM.iter().enumerate().map(|(place, &claim)| {
                let centre = (place as f64, claim as f64);
                Circle::new(centre, draw_scale.px(6), draw_scale.line(INK, 2))
            });
            chart.draw_series(marks)?;
            entries.push((Mark::Ring(INK), claim.as_str()));
        }
        draw_scale.legend(&keys, (86, 12), &entries)
    }
}
