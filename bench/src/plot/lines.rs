//! Figures with a line for each series, named where it ends.

use super::bars::number_text;
use super::svg::{Anchor, FAINT, Face, RULE, Svg};

/// Panels side by side with one scale.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) title: String,
    /// What the numbers are.
    pub(super) caption: String,
    /// Names of the places along the bottom, at equal distances.
    pub(super) places: Vec<String>,
    pub(super) panels: Vec<Panel>,
}

/// One panel.
#[derive(Debug)]
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) series: Vec<Series>,
}

/// One line.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) label: String,
    /// One for each place.
    pub(super) values: Vec<Option<f64>>,
}

const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 400.0;
const MARGIN: f64 = 20.0;
const TOP: f64 = 100.0;
const BOTTOM: f64 = 350.0;
/// Room for numbers left of a panel.
const AXIS: f64 = 48.0;
/// Room for names right of a panel.
const NAMES: f64 = 92.0;
/// Least distance of two names.
const APART: f64 = 14.0;
/// Dark to light, the first for the first series.
const COLOURS: [&str; 6] = [
    "#123f66", "#1f6fb2", "#3f9bd9", "#b3541e", "#d98a2b", "#6b7f3a",
];
/// Steps of a scale, times a power of ten.
const STEPS: [f64; 3] = [1.0, 2.0, 5.0];

impl Lines {
    /// Draws it.
    pub(super) fn draw(&self) -> String {
        let mut svg = Svg::new(WIDTH, HEIGHT, &self.title);
        let faint = Face {
            colour: FAINT,
            ..Face::PLAIN
        };
        svg.text(MARGIN, 50.0, &self.caption, faint);
        let width = (WIDTH - 2.0 * MARGIN) / count(self.panels.len().max(1));
        for (index, panel) in self.panels.iter().enumerate() {
            let left = MARGIN + width * count(index) + AXIS;
            self.panel(&mut svg, panel, left, width - AXIS - NAMES);
        }
        svg.finish()
    }

    fn panel(&self, svg: &mut Svg, panel: &Panel, left: f64, width: f64) {
        let bold = Face {
            bold: true,
            ..Face::PLAIN
        };
        svg.text(left, TOP - 20.0, &panel.title, bold);
        let (step, most) = self.scale();
        let height_of = |value: f64| BOTTOM - (BOTTOM - TOP) * value / most;
        let mut value = 0.0;
        while value <= most {
            let y = height_of(value);
            svg.line(&[(left, y), (left + width, y)], RULE, 1.0);
            let face = Face {
                colour: FAINT,
                anchor: Anchor::End,
                ..Face::PLAIN
            };
            svg.text(left - 8.0, y + 4.0, &format!("{value:.0}"), face);
            value += step;
        }
        let place =
            |index: usize| left + width * (count(index) + 0.5) / count(self.places.len().max(1));
        for (index, name) in self.places.iter().enumerate() {
            let face = Face {
                colour: FAINT,
                anchor: Anchor::Middle,
                ..Face::PLAIN
            };
            svg.text(place(index), BOTTOM + 20.0, name, face);
        }
        let mut names = Vec::new();
        for (series, colour) in panel.series.iter().zip(COLOURS.iter().cycle()) {
            let points: Vec<(f64, f64)> = (series.values.iter().enumerate())
                .filter_map(|(index, value)| Some((place(index), height_of((*value)?))))
                .collect();
            svg.line(&points, colour, 2.0);
            points.iter().for_each(|(x, y)| svg.dot(*x, *y, colour));
            let last = series.values.iter().rev().find_map(|value| *value);
            if let (Some((x, y)), Some(last)) = (points.last(), last) {
                let name = format!("{} · {}", series.label, number_text(last));
                names.push((*x, *y, name, *colour));
            }
        }
        name_ends(svg, names);
    }

    /// The step of the scale and its end: four to ten steps.
    fn scale(&self) -> (f64, f64) {
        let values = (self.panels.iter())
            .flat_map(|panel| &panel.series)
            .flat_map(|series| series.values.iter().flatten());
        let most = values.copied().fold(1.0, f64::max);
        let power = 10.0_f64.powf((most / 4.0).log10().floor());
        let fits = |step: &f64| most / (step * power) <= 6.0;
        let step = STEPS.into_iter().find(fits).unwrap_or(10.0) * power;
        (step, step * (most / step).ceil())
    }
}

/// Writes each name beside its line's end, moved down where two would touch.
fn name_ends(svg: &mut Svg, mut names: Vec<(f64, f64, String, &'static str)>) {
    names.sort_by(|one, other| one.1.total_cmp(&other.1));
    let mut free = f64::MIN;
    for (x, y, name, colour) in names {
        let y = (y + 4.0).max(free);
        free = y + APART;
        let face = Face {
            colour,
            ..Face::PLAIN
        };
        svg.text(x + 9.0, y, &name, face);
    }
}

fn count(number: usize) -> f64 {
    crate::measure::as_f64(number as u64)
}
