//! Figures that are read like a table: a line for each contestant, a column for each size, in each cell a bar with its number.

use super::svg::{Anchor, FAINT, Face, OTHERS, OURS, RULE, Svg};

/// The figure.
#[derive(Debug)]
pub(super) struct Bars {
    pub(super) title: String,
    /// What the numbers are.
    pub(super) caption: String,
    /// Heads of the columns.
    pub(super) columns: Vec<String>,
    pub(super) sections: Vec<Section>,
}

/// Lines that are compared with each other; bars of a column are to scale within the section.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) title: String,
    pub(super) lines: Vec<Line>,
}

/// One contestant.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) label: String,
    pub(super) ours: bool,
    /// One for each column.
    pub(super) values: Vec<Option<f64>>,
}

const WIDTH: f64 = 1000.0;
const MARGIN: f64 = 20.0;
const LABELS: f64 = 140.0;
const LINE: f64 = 19.0;
const BAR: f64 = 12.0;
/// Room for a section's title, and above it.
const HEAD: f64 = 44.0;
/// Room for a number behind the longest bar.
const NUMBER: f64 = 58.0;
/// Where sections begin.
const TOP: f64 = 52.0;

impl Bars {
    /// Draws it.
    pub(super) fn draw(&self) -> String {
        let lines: usize = self
            .sections
            .iter()
            .map(|section| section.lines.len())
            .sum();
        let height = TOP + HEAD * count(self.sections.len()) + LINE * count(lines) + MARGIN;
        let mut svg = Svg::new(WIDTH, height, &self.title);
        let caption = Face {
            colour: FAINT,
            ..Face::PLAIN
        };
        svg.text(MARGIN, 50.0, &self.caption, caption);
        let mut y = TOP;
        for section in &self.sections {
            self.head(&mut svg, section, y);
            y += HEAD;
            for line in &section.lines {
                self.line(&mut svg, section, line, y);
                y += LINE;
            }
        }
        svg.finish()
    }

    fn head(&self, svg: &mut Svg, section: &Section, top: f64) {
        let y = top + HEAD - 12.0;
        let bold = Face {
            bold: true,
            ..Face::PLAIN
        };
        let faint = Face {
            colour: FAINT,
            ..Face::PLAIN
        };
        svg.text(MARGIN, y, &section.title, bold);
        for (column, head) in self.columns.iter().enumerate() {
            svg.text(self.left(column), y, head, faint);
        }
        let rule = [(MARGIN, y + 6.0), (WIDTH - MARGIN, y + 6.0)];
        svg.line(&rule, RULE, 1.0);
    }

    fn line(&self, svg: &mut Svg, section: &Section, line: &Line, top: f64) {
        let y = top + BAR;
        let label = Face {
            anchor: Anchor::End,
            bold: line.ours,
            ..Face::PLAIN
        };
        svg.text(MARGIN + LABELS - 10.0, y, &line.label, label);
        for (column, value) in line.values.iter().enumerate() {
            let Some(value) = *value else { continue };
            let x = self.left(column);
            let length = (self.cell() - NUMBER) * value / section.most(column).max(value);
            let colour = if line.ours { OURS } else { OTHERS };
            svg.bar(x, top + 2.0, length, BAR, colour);
            let number = Face {
                bold: line.ours,
                ..Face::PLAIN
            };
            svg.text(x + length + 5.0, y, &number_text(value), number);
        }
    }

    fn cell(&self) -> f64 {
        (WIDTH - 2.0 * MARGIN - LABELS) / count(self.columns.len().max(1))
    }

    fn left(&self, column: usize) -> f64 {
        MARGIN + LABELS + self.cell() * count(column)
    }
}

impl Section {
    fn most(&self, column: usize) -> f64 {
        let values = self
            .lines
            .iter()
            .filter_map(|line| *line.values.get(column)?);
        values.fold(0.0, f64::max)
    }
}

/// Three digits or so.
pub(super) fn number_text(value: f64) -> String {
    if value < 99.95 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

fn count(number: usize) -> f64 {
    crate::measure::as_f64(number as u64)
}
