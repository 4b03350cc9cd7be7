//! Pixels, with texts where an SVG's are.
//!
//! plotters takes half of a font's size for the height of its letters above the baseline,
//! and scales fonts by their line height in pixels, but by their em in SVG. So labels in
//! pixels would be smaller, and beside rather than on the line of what they label.

use plotters::backend::{BitMapBackend, RGBPixel};
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind,
};

type Inner<'a> = BitMapBackend<'a, RGBPixel>;
type Drawn<'a> = Result<(), DrawingErrorKind<<Inner<'a> as DrawingBackend>::ErrorType>>;

/// Where plotters puts a text's baseline below its top, by the font's size.
const BASELINE: f64 = 0.5;
/// How tall capitals are, by the font's size; Noto Sans' are 0.714 em.
pub(super) const CAPITALS: f64 = 0.714 / 1.24;
/// By how much a font's size has to be raised to give the letters of an SVG: Noto Sans' line
/// is 1.362 em high, plotters takes 1.24.
pub(super) const ENLARGED: f64 = 1.362 / 1.24;

/// The averages of squares of `side` pixels in a picture of three bytes a pixel.
pub(super) fn averaged(pixels: &[u8], width: usize, side: usize) -> Vec<u8> {
    let row = width * 3;
    let small_row = width / side * 3;
    let mut averaged = Vec::with_capacity(pixels.len() / (side * side));
    let mut sums = vec![0u32; small_row];
    for rows in pixels.chunks_exact(row * side) {
        sums.fill(0);
        for row in rows.chunks_exact(row) {
            for (square, sum) in row.chunks_exact(side * 3).zip(sums.chunks_exact_mut(3)) {
                for pixel in square.chunks_exact(3) {
                    for (sum, &byte) in sum.iter_mut().zip(pixel) {
                        *sum += u32::from(byte);
                    }
                }
            }
        }
        let count = (side * side) as u32;
        averaged.extend(sums.iter().map(|sum| ((sum + count / 2) / count) as u8));
    }
    averaged
}

/// A [`BitMapBackend`] that puts texts elsewhere.
pub(super) struct Pixels<'a>(pub Inner<'a>);

impl<'a> DrawingBackend for Pixels<'a> {
    type ErrorType = <Inner<'a> as DrawingBackend>::ErrorType;

    fn get_size(&self) -> (u32, u32) {
        self.0.get_size()
    }

    fn ensure_prepared(&mut self) -> Drawn<'a> {
        self.0.ensure_prepared()
    }

    fn present(&mut self) -> Drawn<'a> {
        self.0.present()
    }

    fn draw_pixel(&mut self, point: BackendCoord, colour: BackendColor) -> Drawn<'a> {
        self.0.draw_pixel(point, colour)
    }

    fn draw_line<S: BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
    ) -> Drawn<'a> {
        self.0.draw_line(from, to, style)
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        upper_left: BackendCoord,
        bottom_right: BackendCoord,
        style: &S,
        fill: bool,
    ) -> Drawn<'a> {
        self.0.draw_rect(upper_left, bottom_right, style, fill)
    }

    fn draw_text<S: BackendTextStyle>(
        &mut self,
        text: &str,
        style: &S,
        at: BackendCoord,
    ) -> Drawn<'a> {
        let failed = |error| DrawingErrorKind::FontError(Box::new(error));
        let ((left, _), (right, _)) = style.layout_box(text).map_err(failed)?;
        let dx = match style.anchor().h_pos {
            HPos::Left => 0,
            HPos::Center => -(right - left) / 2,
            HPos::Right => left - right,
        };
        let capitals = style.size() / ENLARGED * CAPITALS;
        let baseline = match style.anchor().v_pos {
            VPos::Top => capitals,
            VPos::Center => capitals / 2.0,
            // As in an SVG: half the height of an x.
            VPos::Bottom => -capitals / 2.6,
        };
        let dy = (baseline - BASELINE * style.size()).round() as i32;
        let turn = style.transform();
        let (width, height) = self.get_size();
        let drawn = style.draw(text, (0, 0), |x, y, colour| {
            let (x, y) = turn.transform(x + dx, y + dy);
            let (x, y) = (at.0 + x, at.1 + y);
            if (0..width as i32).contains(&x) && (0..height as i32).contains(&y) {
                self.0.draw_pixel((x, y), colour)
            } else {
                Ok(())
            }
        });
        drawn.map_err(failed)?
    }
}

#[cfg(test)]
mod tests {
    use super::averaged;

    #[test]
    fn a_pixel_is_the_average_of_a_square() {
        let white = [255; 3];
        let (black, red) = ([0; 3], [255, 0, 0]);
        let large = [
            [white, white, black, red].concat(),
            [white, white, black, red].concat(),
        ]
        .concat();
        assert_eq!(averaged(&large, 4, 2), [255, 255, 255, 128, 0, 0]);
    }
}
