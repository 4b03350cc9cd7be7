//! A-3 over time: who answers, before a replica is killed, while it is away, and after.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::{Area, DrawScale, Drawn, INK, Mark, Picture, REPLICA_COLOURS, VERMILLION, anchored};
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

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>, draw_scale: DrawScale) -> Drawn<DB> {
        let Self(run) = self;
        let subtitle = format!(
            "answers per second by replica, stacked; {} requests/s offered; {} of {} failed",
            super::thousands(run.offered_per_second.into()),
            run.failed,
            super::thousands(run.requests)
        );
        let title = "A-3: each replica killed in turn, under load";
        let area = draw_scale.titles(area, title, &subtitle)?;
        let height = draw_scale.px(PANEL as i32 * run.kills.len() as i32);
        let (panels, below) = area.split_vertically(height);
        let offered = f64::from(run.offered_per_second);
        let top = run.kills.iter().map(highest).fold(offered, f64::max);
        let ends = run.kills.iter().map(end);
        let scale = Scale {
            until: ends.max().unwrap_or(1) as f64,
            top: round_up(top),
        };
        let panels = panels.split_evenly((run.kills.len().max(1), 1));
        for (panel, kill) in panels.iter().zip(&run.kills) {
            draw_kill(panel, draw_scale, kill, &scale)?;
        }
        self.legend(&below, draw_scale)
    }
}

impl Failure<'_> {
    fn legend<DB: DrawingBackend>(&self, area: &Area<DB>, draw_scale: DrawScale) -> Drawn<DB> {
        let width = area.dim_in_pixel().0 as i32;
        let style = anchored(draw_scale.text(15, INK), HPos::Center, VPos::Top);
        let middle = (width / 2, draw_scale.px(2));
        area.draw_text("milliseconds since the kill", &style, middle)?;
        let first = self.0.kills.first();
        let names = first.map(|kill| kill.timeline.answers.keys());
        let names = names.into_iter().flatten().zip(REPLICA_COLOURS);
        let entries = names.map(|(name, colour)| (Mark::Box(colour), name.as_str()));
        let entries: Vec<_> = entries.chain([(Mark::Box(VERMILLION), "failed")]).collect();
        draw_scale.legend(area, (86, 40), &entries)
    }
}

/// What all panels have in common, so that they can be compared.
struct Scale {
    /// The last millisecond.
    until: f64,
    /// The highest rate.
    top: f64,
}

/// Where a kill's timeline ends.
fn end(kill: &Kill) -> i64 {
    let timeline = &kill.timeline;
    timeline.from_ms + timeline.bin_ms * timeline.failed.len() as i64
}

/// The next number of one or two digits and zeros that steps of a quarter divide well.
fn round_up(number: f64) -> f64 {
    let step = 10f64.powf(number.max(1.0).log10().floor()) / 2.0;
    (number / step).ceil() * step
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

fn draw_kill<DB: DrawingBackend>(
    area: &Area<DB>,
    draw_scale: DrawScale,
    kill: &Kill,
    scale: &Scale,
) -> Drawn<DB> {
    /// Above the highest rate, for what the lines are called.
    const HEADROOM: f64 = 1.16;

    let timeline = &kill.timeline;
    let bins = timeline.failed.len();
    let time = |bin: usize| (timeline.from_ms + bin as i64 * timeline.bin_ms) as f64;
    let caption = match (kill.evicted_ms, kill.ready_ms) {
        (Some(evicted), Some(ready)) => format!(
            "{} killed at 0, evicted after {}, ready after {}; {} failed",
            kill.replica,
            milliseconds(evicted),
            milliseconds(ready),
            kill.failed
        ),
        _ => format!(
            "{} killed at 0, silent for {}; {} failed",
            kill.replica,
            milliseconds(kill.silent_ms),
            kill.failed
        ),
    };
    let style = anchored(draw_scale.bold(15, INK), HPos::Left, VPos::Top);
    area.draw_text(&caption, &style, (draw_scale.px(84), draw_scale.px(6)))?;

    let mut chart = draw_scale
        .chart(area)
        .margin_top(draw_scale.size(30))
        .x_label_area_size(draw_scale.size(28))
        .build_cartesian_2d(time(0)..scale.until, 0.0..scale.top * HEADROOM)?;
    let mut mesh = chart.configure_mesh();
    draw_scale.mesh(&mut mesh, "answers/s");
    mesh.y_labels(6)
        .x_labels(11)
        // Below it stands the first time.
        .y_label_formatter(&|y| match *y as u64 {
            0 => String::new(),
            y => super::thousands(y),
        })
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
    let highest = scale.top * HEADROOM;
    let marks = [
        (Some(0.0), "killed", HPos::Right, -1.0),
        (kill.evicted_ms, "evicted", HPos::Left, 1.0),
        (kill.ready_ms, "ready", HPos::Left, 1.0),
    ];
    for (x, called, side, direction) in marks {
        let Some(x) = x else { continue };
        let ends = [(x, 0.0), (x, highest)];
        let dashes = DashedLineSeries::new(
            ends,
            draw_scale.px(5),
            draw_scale.px(3),
            draw_scale.line(INK, 2),
        );
        chart.draw_series(dashes)?;
        let style = anchored(draw_scale.text(13, INK), side, VPos::Top);
        let beside = x + direction * (scale.until - time(0)) * 0.006;
        chart.draw_series([Text::new(called, (beside, highest), style)])?;
    }
    Ok(())
}
