//! A colour for every replica.

/// Colours that people with red-green blindness can distinguish: those of Okabe and Ito, which the
/// charts of `ringmaster analyze` use for the same replicas, then some of Paul Tol's "muted" ones.
const FEW: [&str; 12] = [
    "#0072b2", "#e69f00", "#009e73", "#56b4e9", "#cc79a7", "#f0e442", "#882255", "#332288",
    "#88ccaa", "#999933", "#aa4499", "#bbbbbb",
];

/// The colour of one of `all` replicas.
pub(crate) fn of(index: usize, all: usize) -> String {
    if all <= FEW.len() {
        return FEW[index].to_owned();
    }
    // The golden angle puts each hue far from those before it.
    let hue = (index as f64 * 137.507_764) % 360.0;
    let lightness = [0.45, 0.62, 0.54][index % 3];
    hex(hue, 0.58, lightness)
}

/// Hue in degrees, saturation and lightness from 0 to 1, as CSS defines hsl().
fn hex(hue: f64, saturation: f64, lightness: f64) -> String {
    let channel = |n: f64| {
        let k = (n + hue / 30.0) % 12.0;
        let a = saturation * lightness.min(1.0 - lightness);
        let value = lightness - a * (k - 3.0).min(9.0 - k).clamp(-1.0, 1.0);
        (value * 255.0).round() as u8
    };
    format!(
        "#{:02x}{:02x}{:02x}",
        channel(0.0),
        channel(8.0),
        channel(4.0)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_those_of_css() {
        assert_eq!(hex(0.0, 1.0, 0.5), "#ff0000");
        assert_eq!(hex(120.0, 1.0, 0.25), "#008000");
        assert_eq!(hex(210.0, 0.5, 0.4), "#336699");
    }

    #[test]
    fn many_have_each_their_own() {
        let mut colours: Vec<String> = (0..200).map(|i| of(i, 200)).collect();
        colours.sort_unstable();
        colours.dedup();
        assert!(colours.len() > 195, "{}", colours.len());
        assert_eq!(of(11, 12), FEW[11]);
    }
}
