//! A-4 at a glance: a row for each strategy; on the left the shares of three replicas, on
//! the right how far the busiest replica is above the mean, for each N.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::{
    Area, BLUE, DrawScale, Drawn, FAINT_INK, GRID, INK, Mark, Picture, REPLICA_COLOURS, anchored,
};
use crate::analysis::distribution::FEW;
use crate::analysis::format::{CLAIM, origin};
use crate::analysis::results::StrategyRun;

/// The height of a row, and of the bar in it.
const ROW: i32 = 58;
const BAR: i32 = 30;
/// Where the columns begin and end.
const NAMES: i32 = 18;
const SHARES: (i32, i32) = (298, 618);
const PEAKS: (i32, i32) = (672, 950);
/// Above and below the rows.
const HEAD: i32 = 34;
const FOOT: i32 = 96;

pub(super) struct Strategies<'a>(pub &'a [StrategyRun]);

impl Picture for Strategies<'_> {
    const NAME: &'static str = super::STRATEGIES;

    fn size(&self) -> (u32, u32) {
        let rows = self.0.len() as i32 + 1;
        (1_000, (68 + HEAD + ROW * rows + FOOT) as u32)
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>, draw_scale: DrawScale) -> Drawn<DB> {
        let Self(runs) = self;
        let all = runs.iter().flat_map(|run| &run.by_replicas);
        let requests = all.clone().map(|one| one.requests).max().unwrap_or(0);
        let verb = if all.clone().all(|one| one.measured) {
            "measured"
        } else {
            "computed, not measured"
        };
        let subtitle = format!(
            "{} requests for each strategy and N, {verb}; the same ids for all",
            super::thousands(requests)
        );
        let area = draw_scale.titles(area, "A-4: which strategies balance", &subtitle)?;
        let worst = all
            .map(|one| one.spread.peak_to_mean)
            .fold(2.0, f64::max)
            .ceil();
        self.columns(&area, draw_scale, worst)?;
        for (row, run) in runs.iter().enumerate() {
            let y = HEAD + ROW * row as i32 + ROW / 2;
            draw_row(&area, draw_scale, y, run, worst)?;
        }
        self.claim(&area, draw_scale)?;
        self.legend(&area, draw_scale)
    }
}

impl Strategies<'_> {
    fn rows(&self) -> i32 {
        self.0.len() as i32
    }

    /// Headings, scales and the lines of perfection.
    fn columns<DB: DrawingBackend>(
        &self,
        area: &Area<DB>,
        draw_scale: DrawScale,
        worst: f64,
    ) -> Drawn<DB> {
        let bottom = HEAD + ROW * self.rows();
        let style = anchored(draw_scale.bold(15, INK), HPos::Left, VPos::Top);
        for (x, text) in [
            (NAMES, "strategy".to_owned()),
            (SHARES.0, format!("share of each of {FEW} replicas")),
            (PEAKS.0, "busiest replica, times the mean".to_owned()),
        ] {
            area.draw_text(&text, &style, draw_scale.at(x, 4))?;
        }
        let label = anchored(draw_scale.text(14, FAINT_INK), HPos::Center, VPos::Top);
        for times in 1..=worst as i32 {
            let x = on_peaks(f64::from(times), worst);
            let ends = [draw_scale.at(x, HEAD), draw_scale.at(x, bottom)];
            let (style, text) = match times {
                1 => (draw_scale.line(INK, 2), "1 (perfect)".to_owned()),
                _ => (draw_scale.line(GRID, 1), times.to_string()),
            };
            area.draw(&PathElement::new(ends, style))?;
            area.draw_text(&text, &label, draw_scale.at(x, bottom + 6))?;
        }
        Ok(())
    }

    /// What the original says of itself.
    fn claim<DB: DrawingBackend>(&self, area: &Area<DB>, draw_scale: DrawScale) -> Drawn<DB> {
        let y = HEAD + ROW * self.rows() + ROW / 2;
        let claim = ["the original's claim", "for its formulas, at N = 3"];
        name(area, draw_scale, y, claim)?;
        bars(area, draw_scale, y, &CLAIM, 0.45)?;
        let style = anchored(draw_scale.text(14, FAINT_INK), HPos::Left, VPos::Center);
        let place = draw_scale.at(PEAKS.0, y + 8);
        area.draw_text("the printed formulas cannot give it", &style, place)
    }

    fn legend<DB: DrawingBackend>(&self, area: &Area<DB>, draw_scale: DrawScale) -> Drawn<DB> {
        let y = HEAD + ROW * (self.rows() + 1) + 26;
        let few = self.0.first().and_then(|run| {
            let mut all = run.by_replicas.iter();
            all.find(|one| one.replicas == FEW)
        });
        let names = few.into_iter().flat_map(|one| one.counts.keys());
        let boxes: Vec<_> = names
            .zip(REPLICA_COLOURS)
            .map(|(name, colour)| (Mark::Box(colour), name.as_str()))
            .collect();
        draw_scale.legend(area, (SHARES.0, y), &boxes)?;
        let lines = [(Mark::Upright(INK), "where fair shares would meet")];
        draw_scale.legend(area, (SHARES.0, y + 26), &lines)?;
        let lines = [(Mark::Upright(INK), "a perfectly even load")];
        draw_scale.legend(area, (PEAKS.0 - 5, y + 26), &lines)?;
        let style = anchored(draw_scale.text(14, INK), HPos::Left, VPos::Center);
        let counts = self.0.first().map(|run| run.by_replicas.as_slice());
        let mut x = PEAKS.0;
        for one in counts.unwrap_or_default() {
            dot(area, draw_scale, (x + 6, y), one.replicas)?;
            let text = format!("N = {}", one.replicas);
            area.draw_text(&text, &style, draw_scale.at(x + 16, y))?;
            x += 62;
        }
        Ok(())
    }
}

fn draw_row<DB: DrawingBackend>(
    area: &Area<DB>,
    draw_scale: DrawScale,
    y: i32,
    run: &StrategyRun,
    worst: f64,
) -> Drawn<DB> {
    name(area, draw_scale, y, [&run.strategy, origin(&run.strategy)])?;
    let few = run.by_replicas.iter().find(|one| one.replicas == FEW);
    let counts: Vec<u64> = few.map_or_else(Vec::new, |one| one.counts.values().copied().collect());
    bars(area, draw_scale, y, &counts, 1.0)?;
    let mut peak = 1.0;
    for one in &run.by_replicas {
        let x = on_peaks(one.spread.peak_to_mean, worst);
        dot(area, draw_scale, (x, y + 7), one.replicas)?;
        peak = f64::max(peak, one.spread.peak_to_mean);
    }
    let style = anchored(draw_scale.bold(14, INK), HPos::Center, VPos::Bottom);
    let text = format!("up to {peak:.2}");
    let x = on_peaks(peak, worst).max(PEAKS.0 + 44);
    area.draw_text(&text, &style, draw_scale.at(x, y - 2))
}

/// Where a multiple of the mean stands.
fn on_peaks(times: f64, worst: f64) -> i32 {
    let width = f64::from(PEAKS.1 - PEAKS.0);
    PEAKS.0 + (width * (times - 1.0) / (worst - 1.0)).round() as i32
}

/// A row's two lines of text.
fn name<DB: DrawingBackend>(
    area: &Area<DB>,
    draw_scale: DrawScale,
    y: i32,
    [name, what]: [&str; 2],
) -> Drawn<DB> {
    let style = anchored(draw_scale.bold(16, INK), HPos::Left, VPos::Bottom);
    area.draw_text(name, &style, draw_scale.at(NAMES, y - 1))?;
    let style = anchored(draw_scale.text(13, FAINT_INK), HPos::Left, VPos::Top);
    area.draw_text(what, &style, draw_scale.at(NAMES, y + 3))
}

/// Shares side by side, and where the borders of fair ones would be.
fn bars<DB: DrawingBackend>(
    area: &Area<DB>,
    draw_scale: DrawScale,
    y: i32,
    counts: &[u64],
    strength: f64,
) -> Drawn<DB> {
    let total = counts.iter().sum::<u64>().max(1) as f64;
    let (from, to) = SHARES;
    let at = |share: f64| from + (f64::from(to - from) * share).round() as i32;
    let (top, bottom) = (y - BAR / 2, y + BAR / 2);
    let mut before = 0.0;
    for (&count, colour) in counts.iter().zip(REPLICA_COLOURS) {
        let share = count as f64 / total;
        let (left, right) = (at(before), at(before + share));
        let corners = [(left, top), (right, bottom)].map(|(x, y)| draw_scale.at(x, y));
        area.draw(&Rectangle::new(corners, colour.mix(strength).filled()))?;
        if share > 0.12 {
            // Blue is too dark for dark letters.
            let dark = colour == BLUE && strength == 1.0;
            let ink = if dark { WHITE } else { INK };
            let style = anchored(draw_scale.bold(14, ink), HPos::Center, VPos::Center);
            let text = format!("{:.1} %", share * 100.0);
            area.draw_text(&text, &style, draw_scale.at((left + right) / 2, y))?;
        }
        before += share;
    }
    for border in 1..FEW {
        let x = draw_scale.px(at(border as f64 / FEW as f64));
        let ends = [(x, draw_scale.px(top - 5)), (x, draw_scale.px(bottom + 5))];
        area.draw(&PathElement::new(ends, draw_scale.line(INK, 2)))?;
    }
    Ok(())
}

/// One N's dot: the more replicas, the darker.
fn dot<DB: DrawingBackend>(
    area: &Area<DB>,
    draw_scale: DrawScale,
    at: (i32, i32),
    n: usize,
) -> Drawn<DB> {
    // From 2 to 6, from nearly white to nearly black.
    let shade = 0xee_u8.saturating_sub(48 * (n as u8).saturating_sub(2));
    let colour = RGBColor(shade, shade, shade);
    let centre = draw_scale.at(at.0, at.1);
    area.draw(&Circle::new(centre, draw_scale.px(6), INK.filled()))?;
    area.draw(&Circle::new(centre, draw_scale.px(5), colour.filled()))
}
