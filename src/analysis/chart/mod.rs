//! The charts, each as SVG and as PNG.
//!
//! A [`Picture`] draws itself on any plotters backend, so that both files show the same. The
//! PNG has twice the pixels, for screens that have them, and is drawn larger still and then
//! averaged, so that marks have smooth edges and letters stand where they belong. Colours are
//! those of Okabe and Ito, which people with any kind of colour vision can tell apart; a replica
//! has the same one in every chart, and nothing else has it.

mod failure;
mod means;
mod pixels;
mod shares;
mod strategies;

use std::fs;
use std::path::Path;

use plotters::backend::RGBPixel;
use plotters::chart::MeshStyle;
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::drawing::DrawingAreaErrorKind;
use plotters::prelude::*;
use plotters::style::register_font;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use pixels::Pixels;

use super::ExperimentError;
use super::results::Results;
use crate::human::thousands;

const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const FAINT_INK: RGBColor = RGBColor(0x59, 0x59, 0x59);
const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
/// From the least to the most loaded replica.
const BAND: RGBColor = RGBColor(0xa9, 0xa9, 0xa9);
/// What chance alone does.
const CHANCE_BAND: RGBColor = RGBColor(0xe8, 0xe8, 0xe8);
const BLUE: RGBColor = RGBColor(0x00, 0x72, 0xb2);
const ORANGE: RGBColor = RGBColor(0xe6, 0x9f, 0x00);
const GREEN: RGBColor = RGBColor(0x00, 0x9e, 0x73);
const VERMILLION: RGBColor = RGBColor(0xd5, 0x5e, 0x00);
const SKY: RGBColor = RGBColor(0x56, 0xb4, 0xe9);
const PURPLE: RGBColor = RGBColor(0xcc, 0x79, 0xa7);
const YELLOW: RGBColor = RGBColor(0xf0, 0xe4, 0x42);

/// The colours of replicas, in the order of their names. Vermillion is for what failed.
const REPLICA_COLOURS: [RGBColor; 6] = [BLUE, ORANGE, GREEN, SKY, PURPLE, YELLOW];

/// A PNG has this many pixels for each of the picture's units.
const PNG_SCALE: u32 = 2;

/// Each of its pixels is the average of this many squared.
const OVERSAMPLING: u32 = 3;

/// plotters gives SVG texts less than the size that was asked for.
const LARGER: f64 = 1.14;

/// The name of `FontFamily::SansSerif`, under which plotters finds the font. A viewer of the SVG takes its own.
const FONT: &str = "sans-serif";

type Area<'a, DB> = DrawingArea<DB, Shift>;
type Mesh<'a, 'b, DB> = MeshStyle<'a, 'b, RangedCoordf64, RangedCoordf64, DB>;
type Drawn<DB> = Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

/// Something that can be drawn.
trait Picture {
    /// The files' name, without an ending.
    const NAME: &'static str;
    /// Width and height, in units.
    fn size(&self) -> (u32, u32);
    /// Draws it.
    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>, draw_scale: DrawScale) -> Drawn<DB>;
}

/// Sizes and texts at a scale.
#[derive(Clone, Copy)]
struct DrawScale {
    scale: u32,
    /// What a font's size has to be multiplied by.
    font: f64,
}

impl DrawScale {
    /// Units in pixels.
    fn px(self, units: i32) -> i32 {
        units * self.scale as i32
    }

    /// Units in pixels, where nothing can be negative.
    fn size(self, units: u32) -> u32 {
        units * self.scale
    }

    /// A plain text.
    fn text(self, size: u32, colour: RGBColor) -> TextStyle<'static> {
        self.font(size, FontStyle::Normal).color(&colour)
    }

    /// A bold text.
    fn bold(self, size: u32, colour: RGBColor) -> TextStyle<'static> {
        self.font(size, FontStyle::Bold).color(&colour)
    }

    fn font(self, size: u32, style: FontStyle) -> FontDesc<'static> {
        let size = f64::from(self.size(size)) * self.font;
        FontDesc::new(FontFamily::SansSerif, size, style)
    }

    /// A line's style.
    fn line(self, colour: RGBColor, width: u32) -> ShapeStyle {
        colour.stroke_width(self.size(width))
    }

    /// A chart, with places for the labels of its axes.
    fn chart<'a, 'b, DB: DrawingBackend>(self, area: &'a Area<DB>) -> ChartBuilder<'a, 'b, DB> {
        let mut chart = ChartBuilder::on(area);
        chart
            .margin_right(self.size(24))
            .margin_left(self.size(14))
            .x_label_area_size(self.size(30))
            .y_label_area_size(self.size(72));
        chart
    }

    /// The lines and letters of a chart's axes.
    fn mesh<DB: DrawingBackend>(self, mesh: &mut Mesh<DB>, y_name: &str) {
        mesh.disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(self.line(GRID, 1))
            .axis_style(self.line(FAINT_INK, 1))
            .set_all_tick_mark_size(self.size(4))
            .y_desc(y_name)
            .axis_desc_style(self.text(15, INK))
            .label_style(self.text(15, INK));
    }

    /// A point in pixels.
    fn at(self, x: i32, y: i32) -> (i32, i32) {
        (self.px(x), self.px(y))
    }

    /// A title and a line below it; what is left of the area.
    fn titles<DB: DrawingBackend>(
        self,
        area: &Area<DB>,
        title: &str,
        subtitle: &str,
    ) -> Result<DrawingArea<DB, Shift>, DrawingAreaErrorKind<DB::ErrorType>> {
        let left = self.px(18);
        area.draw_text(title, &self.bold(21, INK), (left, self.px(14)))?;
        area.draw_text(subtitle, &self.text(14, FAINT_INK), (left, self.px(43)))?;
        Ok(area.margin(self.px(68), 0, 0, 0))
    }

    /// A row of marks and what they mean, from `x` on; `y` is its middle.
    fn legend<DB: DrawingBackend>(
        self,
        area: &Area<DB>,
        (mut x, y): (i32, i32),
        entries: &[(Mark, &str)],
    ) -> Drawn<DB> {
        const MARK: i32 = 22;
        let style = anchored(self.text(14, INK), HPos::Left, VPos::Center);
        for (mark, text) in entries {
            let at = |dx: i32, dy: i32| (self.px(x + dx), self.px(y + dy));
            match *mark {
                Mark::Box(colour) => {
                    area.draw(&Rectangle::new([at(0, -7), at(MARK, 7)], colour.filled()))?;
                }
                Mark::Dot(colour) => {
                    area.draw(&Circle::new(at(11, 0), self.px(5), colour.filled()))?;
                }
                Mark::Ring(colour) => {
                    area.draw(&Circle::new(at(11, 0), self.px(6), self.line(colour, 2)))?;
                }
                Mark::Dashes(colour) => {
                    for dx in [0, 13] {
                        let ends = [at(dx, 0), at(dx + 9, 0)];
                        area.draw(&PathElement::new(ends, self.line(colour, 2)))?;
                    }
                }
                Mark::Line(colour) => {
                    let ends = [at(0, 0), at(MARK, 0)];
                    area.draw(&PathElement::new(ends, self.line(colour, 2)))?;
                }
                Mark::Upright(colour) => {
                    let ends = [at(11, -9), at(11, 9)];
                    area.draw(&PathElement::new(ends, self.line(colour, 2)))?;
                }
            }
            area.draw_text(text, &style, at(MARK + 7, 0))?;
            let width = area.estimate_text_size(text, &style)?.0 as i32 / self.px(1);
            x += MARK + 7 + width + 24;
        }
        Ok(())
    }
}

/// What stands beside a text in a legend.
#[derive(Clone, Copy)]
enum Mark {
    Box(RGBColor),
    Dot(RGBColor),
    Ring(RGBColor),
    Line(RGBColor),
    Dashes(RGBColor),
    Upright(RGBColor),
}

/// A text around a point.
fn anchored(style: TextStyle<'static>, h: HPos, v: VPos) -> TextStyle<'static> {
    style.pos(Pos::new(h, v))
}

/// The names of the files, without an ending.
pub const SHARES: &str = "a1-requests-per-replica";
/// A-2's.
pub const MEANS: &str = "a2-mean-load";
/// A-3's.
pub const FAILURE: &str = "a3-failure";
/// A-4's.
pub const STRATEGIES: &str = "a4-strategies";

/// Draws what there are results for.
pub fn write_all(folder: &Path, results: &Results) -> Result<(), ExperimentError> {
    // Both are sound: they are constants.
    let _ = register_font(FONT, FontStyle::Normal, notosans::REGULAR_TTF);
    let _ = register_font(FONT, FontStyle::Bold, notosans::BOLD_TTF);
    if let Some(distribution) = &results.a1 {
        write(folder, &shares::Shares(distribution))?;
    }
    if let Some(distributions) = &results.a2 {
        write(folder, &means::Means(distributions))?;
    }
    if let Some(run) = &results.a3 {
        write(folder, &failure::Failure(run))?;
    }
    if let Some(runs) = &results.a4 {
        write(folder, &strategies::Strategies(runs))?;
    }
    Ok(())
}

fn write<P: Picture>(folder: &Path, picture: &P) -> Result<(), ExperimentError> {
    let path = |ending: &str| folder.join(format!("{}.{ending}", P::NAME));
    super::write(&path("svg"), &svg(picture)?)?;
    fs::write(path("png"), png(picture)?).map_err(|cause| ExperimentError::File {
        path: path("png"),
        cause,
    })
}

fn svg<P: Picture>(picture: &P) -> Result<String, ExperimentError> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, picture.size()).into_drawing_area();
        let (scale, font) = (1, 1.0);
        render(picture, &area, DrawScale { scale, font })?;
    }
    Ok(text)
}

fn png<P: Picture>(picture: &P) -> Result<Vec<u8>, ExperimentError> {
    let (width, height) = picture.size();
    let (width, height) = (width * PNG_SCALE, height * PNG_SCALE);
    let large = (width * OVERSAMPLING, height * OVERSAMPLING);
    let mut pixels = vec![0; large.0 as usize * large.1 as usize * 3];
    {
        let backend = BitMapBackend::<RGBPixel>::with_buffer_and_format(&mut pixels, large);
        let area = Pixels(backend.map_err(failed::<P>)?).into_drawing_area();
        let draw_scale = DrawScale {
            scale: PNG_SCALE * OVERSAMPLING,
            font: LARGER * pixels::ENLARGED,
        };
        render(picture, &area, draw_scale)?;
    }
    let pixels = pixels::averaged(&pixels, large.0 as usize, OVERSAMPLING as usize);
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    let mut writer = encoder.write_header().map_err(failed::<P>)?;
    writer.write_image_data(&pixels).map_err(failed::<P>)?;
    writer.finish().map_err(failed::<P>)?;
    Ok(file)
}

fn render<P: Picture, DB: DrawingBackend>(
    picture: &P,
    area: &Area<DB>,
    draw_scale: DrawScale,
) -> Result<(), ExperimentError> {
    let drawn = area
        .fill(&WHITE)
        .and_then(|()| picture.draw(area, draw_scale))
        .and_then(|()| area.present());
    drawn.map_err(failed::<P>)
}

fn failed<P: Picture>(cause: impl std::fmt::Display) -> ExperimentError {
    ExperimentError::Chart {
        chart: P::NAME,
        cause: cause.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ringmaster ring show --svg` gives a replica the same colour.
    #[test]
    fn replicas_have_the_colours_that_pictures_of_rings_give_them() {
        for (place, RGBColor(red, green, blue)) in REPLICA_COLOURS.into_iter().enumerate() {
            let colour = crate::ring_cli::replica_colour(place, REPLICA_COLOURS.len());
            assert_eq!(colour, format!("#{red:02x}{green:02x}{blue:02x}"));
        }
    }
}
