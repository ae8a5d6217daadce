//! Just enough SVG: text, bars, lines and dots on a white card.

use std::fmt::Write;

/// Colour of what is said of everything.
pub(super) const INK: &str = "#1f2933";
/// Colour of what is said aside.
pub(super) const FAINT: &str = "#66717d";
/// Colour of rules.
pub(super) const RULE: &str = "#d9dee3";
/// Colour of our own results.
pub(super) const OURS: &str = "#1f6fb2";
/// Colour of the others' results.
pub(super) const OTHERS: &str = "#a9b4bf";

/// A drawing in the making.
#[derive(Debug)]
pub(super) struct Svg {
    width: f64,
    height: f64,
    title: String,
    body: String,
}

/// Where text stands relative to its point.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// How text looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Face {
    pub(super) size: f64,
    pub(super) colour: &'static str,
    pub(super) bold: bool,
    pub(super) anchor: Anchor,
}

impl Face {
    /// Plain text of 12 pixels that begins at its point.
    pub(super) const PLAIN: Self = Self {
        size: 12.0,
        colour: INK,
        bold: false,
        anchor: Anchor::Start,
    };
}

impl Svg {
    /// An empty card of this size in pixels, with its title on top.
    pub(super) fn new(width: f64, height: f64, title: &str) -> Self {
        let mut svg = Self {
            width,
            height,
            title: title.to_owned(),
            body: String::new(),
        };
        let face = Face {
            size: 16.0,
            bold: true,
            ..Face::PLAIN
        };
        svg.text(20.0, 30.0, title, face);
        svg
    }

    /// Writes a line of text whose base line is at `y`.
    pub(super) fn text(&mut self, x: f64, y: f64, text: &str, face: Face) {
        let anchor = match face.anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let weight = if face.bold {
            " font-weight=\"600\""
        } else {
            ""
        };
        let Face { size, colour, .. } = face;
        let text = escape(text);
        self.add(&format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" fill=\"{colour}\"{weight}{anchor}>{text}</text>"
        ));
    }

    /// Draws a filled bar.
    pub(super) fn bar(&mut self, x: f64, y: f64, width: f64, height: f64, colour: &str) {
        self.add(&format!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"1.5\" fill=\"{colour}\"/>"
        ));
    }

    /// Draws a line through `points`.
    pub(super) fn line(&mut self, points: &[(f64, f64)], colour: &str, width: f64) {
        let points: Vec<String> = points
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        self.add(&format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" stroke-linejoin=\"round\"/>",
            points.join(" ")
        ));
    }

    /// Draws a dot.
    pub(super) fn dot(&mut self, x: f64, y: f64, colour: &str) {
        self.add(&format!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>"
        ));
    }

    /// The file.
    pub(super) fn finish(self) -> String {
        let Self { width, height, .. } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
             font-family=\"system-ui,Segoe UI,Helvetica,Arial,sans-serif\">\n<title>{}</title>\n\
             <rect width=\"{width:.0}\" height=\"{height:.0}\" rx=\"8\" fill=\"#fff\"/>\n{}</svg>\n",
            escape(&self.title),
            self.body
        )
    }

    fn add(&mut self, element: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.body, "{element}");
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_in_xml_is_escaped() {
        let svg = Svg::new(10.0, 10.0, "a < b & \"c\"").finish();
        assert!(
            svg.contains("<title>a &lt; b &amp; &quot;c&quot;</title>"),
            "{svg}"
        );
    }
}
