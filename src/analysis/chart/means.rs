//! A-2 as lines: the mean load for each N, and below it how far replicas are from it.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::{
    Area, BAND, CHANCE_BAND, DrawScale, Drawn, INK, Mark, Picture, REPLICA_COLOURS, anchored,
    thousands,
};
use crate::analysis::results::Distribution;

/// Two standard deviations: what chance alone stays within, 19 times out of 20.
const CHANCE: f64 = 2.0;

pub(super) struct Means<'a>(pub &'a [Distribution]);

impl Picture for Means<'_> {
    const NAME: &'static str = super::MEANS;

    fn size(&self) -> (u32, u32) {
        (1_000, 740)
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>, draw_scale: DrawScale) -> Drawn<DB> {
        let Self(measured) = self;
        let requests = measured.iter().map(|one| one.requests).max().unwrap_or(0);
        let title = format!(
            "A-2: mean load of a replica, {} requests each",
            thousands(requests)
        );
        let strategy = measured.iter().find_map(|one| one.strategy.as_deref());
        let failed: u64 = measured.iter().map(|one| one.failed).sum();
        let subtitle = format!("{} ring; {failed} failed", strategy.unwrap_or("unknown"));
        let area = draw_scale.titles(area, &title, &subtitle)?;
        let (upper, lower) = area.split_vertically(draw_scale.px(370));
        self.means(&upper, draw_scale)?;
        self.deviations(&lower, draw_scale)
    }
}

impl Means<'_> {
    fn range(&self) -> std::ops::Range<f64> {
        let n = |one: Option<&Distribution>| one.map_or(1.0, |one| one.replicas as f64);
        n(self.0.first()) - 0.5..n(self.0.last()) + 0.5
    }

    fn means<DB: DrawingBackend>(&self, area: &Area<DB>, draw_scale: DrawScale) -> Drawn<DB> {
        let Self(measured) = self;
        let (keys, area) = area.split_vertically(draw_scale.px(28));
        let area = &area;
        let top = measured.iter().map(|one| one.spread.max).max().unwrap_or(1) as f64 * 1.18;
        let mut chart = draw_scale
            .chart(area)
            .build_cartesian_2d(self.range(), 0.0..top.max(1.0))?;
        let mut mesh = chart.configure_mesh();
        draw_scale.mesh(&mut mesh, "requests per replica");
        mesh.y_label_formatter(&|y| thousands(*y as u64))
            .x_labels(measured.len())
            .x_label_formatter(&|x| whole(*x, |n| format!("N = {n}")))
            .draw()?;

        let high = measured.iter().map(|one| at(one, one.spread.max as f64));
        let low = measured
            .iter()
            .rev()
            .map(|one| at(one, one.spread.min as f64));
        let band: Vec<(f64, f64)> = high.chain(low).collect();
        chart.draw_series([Polygon::new(band, BAND.filled())])?;
        // Most bands are a few pixels: the line must not cover them.
        let line = measured.iter().map(|one| at(one, one.spread.mean));
        chart.draw_series(LineSeries::new(line, draw_scale.line(INK, 1)))?;
        // So each N has its own range beside it, between two strokes.
        let ranges = measured.iter().flat_map(|one| {
            let x = |dx: f64| one.replicas as f64 + dx;
            [one.spread.min, one.spread.max].map(|y| {
                let ends = [(x(-0.07), y as f64), (x(0.07), y as f64)];
                PathElement::new(ends, draw_scale.line(INK, 1))
            })
        });
        chart.draw_series(ranges)?;
        let style = anchored(draw_scale.bold(15, INK), HPos::Center, VPos::Bottom);
        let labels = measured.iter().map(|one| {
            let label = thousands(one.spread.mean.round() as u64);
            let above = one.spread.max as f64 + top * 0.03;
            Text::new(label, (one.replicas as f64, above), style.clone())
        });
        chart.draw_series(labels)?;
        let entries = [
            (Mark::Line(INK), "mean load"),
            (Mark::Box(BAND), "from the least to the most loaded replica"),
        ];
        draw_scale.legend(&keys, (86, 12), &entries)
    }

    /// The same in percent of the mean, where the spread can be seen.
    fn deviations<DB: DrawingBackend>(&self, area: &Area<DB>, draw_scale: DrawScale) -> Drawn<DB> {
        let Self(measured) = self;
        let (keys, area) = area.split_vertically(draw_scale.px(56));
        let area = &area;
        let percent = |one: &Distribution, count: f64| 100.0 * (count / one.spread.mean - 1.0);
        let chance = |one: &Distribution| {
            let mean = one.spread.mean.max(1.0);
            100.0 * CHANCE * one.spread.chance / mean
        };
        let counts = measured.iter().flat_map(|one| {
            let counts = one.counts.values();
            counts.zip(REPLICA_COLOURS).map(move |(&count, colour)| {
                (one.replicas as f64, percent(one, count as f64), colour)
            })
        });
        let counts: Vec<(f64, f64, RGBColor)> = counts.filter(|(_, y, _)| y.is_finite()).collect();
        let reach = counts.iter().map(|(_, y, _)| y.abs());
        let reach = reach.chain(measured.iter().map(chance)).fold(1.0, f64::max) * 1.15;

        let mut chart = draw_scale
            .chart(area)
            .margin_top(draw_scale.size(4))
            .margin_bottom(draw_scale.size(12))
            .build_cartesian_2d(self.range(), -reach..reach)?;
        let peaks = |n: i64| {
            let one = measured.iter().find(|one| one.replicas as i64 == n);
            one.map_or_else(String::new, |one| {
                format!("peak/mean {:.3}", one.spread.peak_to_mean)
            })
        };
        let mut mesh = chart.configure_mesh();
        draw_scale.mesh(&mut mesh, "% off the mean");
        mesh.y_labels(5)
            .y_label_formatter(&|y| signed(*y))
            .x_labels(measured.len())
            .x_label_formatter(&|x| whole(*x, peaks))
            .draw()?;
        let high = measured.iter().map(|one| at(one, chance(one)));
        let low = measured.iter().rev().map(|one| at(one, -chance(one)));
        let band: Vec<(f64, f64)> = high.chain(low).collect();
        chart.draw_series([Polygon::new(band, CHANCE_BAND.filled())])?;
        // Beside the dots, lest they hide it.
        let bars = measured.iter().map(|one| {
            let off = 100.0 * one.spread.standard_deviation / one.spread.mean.max(1.0);
            let x = one.replicas as f64 - 0.09;
            PathElement::new([(x, -off), (x, off)], draw_scale.line(INK, 3))
        });
        chart.draw_series(bars)?;
        let dots = counts
            .iter()
            .map(|&(x, y, colour)| Circle::new((x, y), draw_scale.px(5), colour.filled()));
        chart.draw_series(dots)?;
        let names = measured.last().map(|one| one.counts.keys());
        let names = names.into_iter().flatten().zip(REPLICA_COLOURS);
        let dots: Vec<_> = names
            .map(|(name, colour)| (Mark::Dot(colour), name.as_str()))
            .collect();
        draw_scale.legend(&keys, (86, 16), &dots)?;
        let entries = [
            (Mark::Upright(INK), "standard deviation"),
            (
                Mark::Box(CHANCE_BAND),
                "what chance alone stays within, 19 times out of 20",
            ),
        ];
        draw_scale.legend(&keys, (86, 42), &entries)
    }
}

fn at(one: &Distribution, y: f64) -> (f64, f64) {
    (one.replicas as f64, y)
}

/// A label for whole numbers only.
fn whole(x: f64, label: impl Fn(i64) -> String) -> String {
    if (x - x.round()).abs() < 1e-6 {
        label(x.round() as i64)
    } else {
        String::new()
    }
}

/// `+2 %`, but `0 %`.
fn signed(percent: f64) -> String {
    if percent.abs() < 1e-9 {
        "0 %".to_owned()
    } else {
        format!("{percent:+} %")
    }
}
