//! Rows as an aligned text table, with a column of ratios for each reference.

use std::collections::HashMap;

use super::Row;

/// One cell: the head of its column, and what stands in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Head of the column.
    pub head: &'static str,
    /// Text; numbers are aligned to the right.
    pub text: String,
}

impl Cell {
    /// A cell with a word or a count.
    pub fn new(head: &'static str, text: impl ToString) -> Self {
        Self {
            head,
            text: text.to_string(),
        }
    }

    /// A cell with a measured number, to one decimal.
    pub fn number(head: &'static str, value: f64) -> Self {
        Self::new(head, format!("{value:.1}"))
    }
}

/// What is compared between contestants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Figure {
    /// Less is better.
    Cost(f64),
    /// More is better.
    Rate(f64),
}

impl Figure {
    /// How many times as good `self` is as `other`; `None` if they are not alike or one is not positive.
    pub fn against(self, other: Self) -> Option<f64> {
        let (better, worse) = match (self, other) {
            (Self::Cost(own), Self::Cost(other)) => (other, own),
            (Self::Rate(own), Self::Rate(other)) => (own, other),
            (Self::Cost(_), Self::Rate(_)) | (Self::Rate(_), Self::Cost(_)) => return None,
        };
        (better > 0.0 && worse > 0.0).then(|| better / worse)
    }
}

/// Heads and lines of text cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    heads: Vec<String>,
    lines: Vec<Vec<String>>,
}

impl Table {
    /// The cells of `rows`, and for each of `references` that is among them how many times as good each row is at the same work.
    pub fn of<R: Row>(rows: &[R], references: &[&str]) -> Self {
        let figures: HashMap<(String, &str), Figure> = rows
            .iter()
            .map(|row| ((row.work(), row.contestant()), row.figure()))
            .collect();
        let mut present = references.to_vec();
        present.retain(|name| rows.iter().any(|row| row.contestant() == *name));
        let cells = rows.first().map(Row::cells).unwrap_or_default();
        let mut heads: Vec<String> = cells.iter().map(|cell| cell.head.to_owned()).collect();
        heads.extend(present.iter().map(|name| format!("× {name}")));
        let line = |row: &R| {
            let ratio = |name: &&str| {
                let reference = figures.get(&(row.work(), *name))?;
                Some(format!("{:.2}", row.figure().against(*reference)?))
            };
            let ratios = present.iter().map(|name| ratio(name).unwrap_or_default());
            row.cells()
                .into_iter()
                .map(|cell| cell.text)
                .chain(ratios)
                .collect()
        };
        Self {
            lines: rows.iter().map(line).collect(),
            heads,
        }
    }

    /// One of given heads and lines.
    pub const fn new(heads: Vec<String>, lines: Vec<Vec<String>>) -> Self {
        Self { heads, lines }
    }

    /// Columns aligned with spaces, a line for each row.
    pub fn text(&self) -> String {
        let columns = self.columns();
        let lines = std::iter::once(&self.heads).chain(&self.lines);
        lines
            .map(|line| {
                let cells: Vec<String> = line.iter().zip(&columns).map(align).collect();
                format!("{}\n", cells.join("  ").trim_end())
            })
            .collect()
    }

    /// The table in Markdown.
    pub fn markdown(&self) -> String {
        let rule = self.columns().into_iter().map(|column| {
            if column.numeric {
                "---:".to_owned()
            } else {
                "---".to_owned()
            }
        });
        let lines = [self.heads.clone(), rule.collect()].into_iter();
        lines
            .chain(self.lines.iter().cloned())
            .map(|line| format!("| {} |\n", line.join(" | ")))
            .collect()
    }

    fn columns(&self) -> Vec<Column> {
        let column = |(index, head): (usize, &String)| {
            let cells = || self.lines.iter().filter_map(move |line| line.get(index));
            Column {
                width: cells()
                    .chain([head])
                    .map(|cell| cell.chars().count())
                    .max()
                    .unwrap_or_default(),
                numeric: cells().all(|cell| {
                    cell.chars()
                        .all(|c| c.is_ascii_digit() || ".,-–×%*".contains(c))
                }),
            }
        };
        self.heads.iter().enumerate().map(column).collect()
    }
}

/// How a column is set.
struct Column {
    width: usize,
    numeric: bool,
}

fn align((cell, column): (&String, &Column)) -> String {
    let width = column.width;
    if column.numeric {
        format!("{cell:>width$}")
    } else {
        format!("{cell:<width$}")
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;

    #[derive(Serialize)]
    struct Lap(&'static str, u32, f64);

    impl Row for Lap {
        fn contestant(&self) -> &str {
            self.0
        }
        fn work(&self) -> String {
            self.1.to_string()
        }
        fn figure(&self) -> Figure {
            Figure::Cost(self.2)
        }
        fn cells(&self) -> Vec<Cell> {
            vec![
                Cell::new("engine", self.0),
                Cell::new("bytes", self.1),
                Cell::number("ns", self.2),
            ]
        }
    }

    const LAPS: [Lap; 3] = [
        Lap("ours", 64, 10.0),
        Lap("peer", 64, 25.0),
        Lap("ours", 1420, 80.0),
    ];

    #[test]
    fn columns_are_aligned_and_ratios_are_of_the_same_work() {
        let text = Table::of(&LAPS, &["peer", "absent"]).text();
        let expected = "\
engine  bytes    ns  × peer
ours       64  10.0    2.50
peer       64  25.0    1.00
ours     1420  80.0
";
        assert_eq!(text, expected);
    }

    #[test]
    fn markdown_says_which_columns_are_numbers() {
        let markdown = Table::of(&LAPS[..1], &[]).markdown();
        let expected = "| engine | bytes | ns |\n| --- | ---: | ---: |\n| ours | 64 | 10.0 |\n";
        assert_eq!(markdown, expected);
    }

    #[test]
    fn a_rate_is_better_when_higher_and_unlike_figures_are_not_compared() {
        let fast = Figure::Rate(3.0);
        assert_eq!(fast.against(Figure::Rate(1.5)), Some(2.0));
        assert_eq!(fast.against(Figure::Cost(1.5)), None);
        assert_eq!(fast.against(Figure::Rate(0.0)), None);
    }

    #[test]
    fn of_no_rows_there_is_an_empty_table() {
        assert_eq!(Table::of::<Lap>(&[], &["peer"]).text(), "\n");
    }
}
