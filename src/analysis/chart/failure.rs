//! A-3 over time: who answers, before a replica is killed, while it is away, and after.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::{
    Area, Drawn, FAINT_INK, GRID, INK, Pen, Picture, REPLICA_COLOURS, VERMILLION, anchored,
};
use crate::analysis::results::{FailureRun, Kill};
use crate::human::milliseconds;

/// The height of one kill's panel.
const PANEL: u32 = 205;
/// What stands around the panels.
const AROUND: u32 = 68 + 62;

pub(super) struct Failure<'a>(pub &'a FailureRun);

impl Picture for Failure<'_> {
    const NAME: &'static str = super::FAILURE;

    fn size(&self) -> (u32, u32) {
        (1_000, AROUND + PANEL * self.0.kills.len() as u32)
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>, pen: Pen) -> Drawn<DB> {
        let Self(run) = self;
        let subtitle = format!(
            "answers per second by replica, stacked; {} requests/s offered; {} of {} failed",
            super::thousands(run.offered_per_second.into()),
            run.failed,
            super::thousands(run.requests)
        );
        let area = pen.titles(
            area,
            "A-3: each replica killed in turn, under load",
            &subtitle,
        )?;
        let (panels, below) = area.split_vertically(pen.px(PANEL as i32 * run.kills.len() as i32));
        let top = run
            .kills
            .iter()
            .map(highest)
            .fold(f64::from(run.offered_per_second), f64::max)
            * 1.04;
        for (panel, kill) in panels
            .split_evenly((run.kills.len().max(1), 1))
            .iter()
            .zip(&run.kills)
        {
            draw_kill(panel, pen, kill, top)?;
        }
        self.legend(&below, pen)
    }
}

impl Failure<'_> {
    fn legend<DB: DrawingBackend>(&self, area: &Area<DB>, pen: Pen) -> Drawn<DB> {
        let width = area.dim_in_pixel().0 as i32;
        let style = anchored(pen.text(15, INK), HPos::Center, VPos::Top);
        area.draw_text(
            "milliseconds since the kill",
            &style,
            (width / 2, pen.px(2)),
        )?;
        let names = self
            .0
            .kills
            .first()
            .map(|kill| kill.timeline.answers.keys());
        let names = names.into_iter().flatten().zip(REPLICA_COLOURS);
        let entries = names.map(|(name, colour)| (name.as_str(), colour));
        let y = pen.px(40);
        for (place, (name, colour)) in entries.chain([("failed", VERMILLION)]).enumerate() {
            let x = pen.px(90 + 150 * place as i32);
            let corners = [(x, y - pen.px(7)), (x + pen.px(22), y + pen.px(7))];
            area.draw(&Rectangle::new(corners, colour.filled()))?;
            let style = anchored(pen.text(15, INK), HPos::Left, VPos::Center);
            area.draw_text(name, &style, (x + pen.px(30), y))?;
        }
        Ok(())
    }
}

/// The most answers per second of any bin.
fn highest(kill: &Kill) -> f64 {
    let timeline = &kill.timeline;
    let bins = 0..timeline.failed.len();
    let sums = bins.map(|bin| {
        let answers: u32 = timeline.answers.values().map(|line| line[bin]).sum();
        f64::from(answers + timeline.failed[bin])
    });
    sums.fold(0.0, f64::max) * per_second(kill)
}

/// From a bin's count to a rate.
fn per_second(kill: &Kill) -> f64 {
    1_000.0 / kill.timeline.bin_ms as f64
}

fn draw_kill<DB: DrawingBackend>(area: &Area<DB>, pen: Pen, kill: &Kill, top: f64) -> Drawn<DB> {
    let timeline = &kill.timeline;
    let bins = timeline.failed.len();
    let time = |bin: usize| (timeline.from_ms + bin as i64 * timeline.bin_ms) as f64;
    let caption = match (kill.evicted_ms, kill.back_ms) {
        (Some(evicted), Some(back)) => format!(
            "{} killed at 0, off the ring after {}, back after {}; {} failed",
            kill.replica,
            milliseconds(evicted),
            milliseconds(back),
            kill.failed
        ),
        _ => format!(
            "{} killed at 0, silent for {}; {} failed",
            kill.replica,
            milliseconds(kill.silent_ms),
            kill.failed
        ),
    };
    let style = anchored(pen.bold(15, INK), HPos::Left, VPos::Top);
    area.draw_text(&caption, &style, (pen.px(84), pen.px(6)))?;

    let mut chart = ChartBuilder::on(area)
        .margin_right(pen.size(24))
        .margin_left(pen.size(14))
        .margin_top(pen.size(30))
        .x_label_area_size(pen.size(28))
        .y_label_area_size(pen.size(72))
        .build_cartesian_2d(time(0)..time(bins), 0.0..top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.stroke_width(pen.size(1)))
        .axis_style(pen.line(FAINT_INK, 1))
        .y_desc("answers/s")
        .y_labels(4)
        .x_labels(11)
        .axis_desc_style(pen.text(15, INK))
        .label_style(pen.text(15, INK))
        .y_label_formatter(&|y| super::thousands(*y as u64))
        .x_label_formatter(&|x| format!("{x:.0}"))
        .draw()?;
    let mut base = vec![0.0; bins];
    let lines = timeline.answers.values().zip(REPLICA_COLOURS);
    for (line, colour) in lines.chain([(&timeline.failed, VERMILLION)]) {
        let mut boxes = Vec::with_capacity(bins);
        for (bin, &count) in line.iter().enumerate() {
            let from = base[bin];
            base[bin] += f64::from(count) * per_second(kill);
            if count > 0 {
                let corners = [(time(bin), from), (time(bin + 1), base[bin])];
                boxes.push(Rectangle::new(corners, colour.filled()));
            }
        }
        chart.draw_series(boxes)?;
    }
    let marks = [Some(0.0), kill.evicted_ms, kill.back_ms];
    for x in marks.into_iter().flatten() {
        let ends = [(x, 0.0), (x, top)];
        let dashes = DashedLineSeries::new(ends, pen.px(5), pen.px(3), pen.line(INK, 2));
        chart.draw_series(dashes)?;
    }
    Ok(())
}
