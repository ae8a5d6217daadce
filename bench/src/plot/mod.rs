//! `culvert-bench plot`: figures and tables of `docs/PERFORMANCE.md` from the JSON that the suites wrote.
//!
//! A suite's part of the page stands between `<!-- begin SUITE -->` and `<!-- end SUITE -->` and is written anew; what is around it
//! stays. Figures are SVG files with a white ground of their own, so that they can be read in a dark page too.

mod bars;
mod crypto;
mod lines;
mod page;
mod pipeline;
mod svg;
mod tables;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::measure::Report;

/// What is asked for.
#[derive(Clone, Debug, clap::Args)]
pub struct Plot {
    /// Reports of suites, or folders of them.
    #[arg(default_value = "docs/performance")]
    reports: Vec<PathBuf>,
    /// Folder for the figures.
    #[arg(long, value_name = "DIR", default_value = "docs/performance")]
    figures: PathBuf,
    /// Page whose marked parts are written anew.
    #[arg(long, value_name = "FILE", default_value = "docs/PERFORMANCE.md")]
    page: PathBuf,
}

/// What a suite shows.
#[derive(Debug, Default)]
struct Shown {
    /// File names without folder, and their contents.
    figures: Vec<(String, String)>,
    /// Markdown that goes below the figures.
    tables: String,
}

impl Plot {
    /// Reads the reports, writes figures, and fills the page; a part without its marks in the page goes to standard output.
    ///
    /// # Errors
    /// [`Failure::Io`] if a file cannot be read or written, or is no report.
    pub fn run(&self) -> Result<(), Failure> {
        let mut text = fs::read_to_string(&self.page).unwrap_or_default();
        fs::create_dir_all(&self.figures).map_err(failed(&self.figures))?;
        let prefix = self.prefix();
        for report in self.reports()? {
            let shown = show(&report);
            for (name, svg) in &shown.figures {
                let path = self.figures.join(name);
                fs::write(&path, svg).map_err(failed(&path))?;
            }
            let part = page::part(&report, &shown, &prefix);
            match page::fill(&text, &report.suite, &part) {
                Some(filled) => text = filled,
                // Standard output that went away is no reason to stop.
                None => drop(writeln!(std::io::stdout(), "{part}")),
            }
        }
        if text.is_empty() {
            return Ok(());
        }
        fs::write(&self.page, text).map_err(failed(&self.page))
    }

    /// The reports in the order of their files' names; several of one suite are one, as when a suite was run in parts.
    fn reports(&self) -> Result<Vec<Report>, Failure> {
        let mut reports: Vec<Report> = Vec::new();
        for path in self.files()? {
            let json = fs::read_to_string(&path).map_err(failed(&path))?;
            let report: Report =
                serde_json::from_str(&json).map_err(|error| failed(&path)(error.into()))?;
            match reports
                .iter_mut()
                .find(|earlier| earlier.suite == report.suite)
            {
                Some(earlier) => {
                    earlier.rows.extend(report.rows);
                    earlier.command = format!("{}\n{}", earlier.command, report.command);
                }
                None => reports.push(report),
            }
        }
        Ok(reports)
    }

    /// The files, in the order of their names.
    fn files(&self) -> Result<Vec<PathBuf>, Failure> {
        let mut files = Vec::new();
        for path in &self.reports {
            if !path.is_dir() {
                files.push(path.clone());
                continue;
            }
            for entry in fs::read_dir(path).map_err(failed(path))? {
                let path = entry.map_err(failed(path))?.path();
                if path
                    .extension()
                    .is_some_and(|extension| extension == "json")
                {
                    files.push(path);
                }
            }
        }
        files.sort();
        Ok(files)
    }

    /// What stands before a figure's name in a link of the page.
    fn prefix(&self) -> String {
        let folder = self.page.parent().unwrap_or_else(|| Path::new(""));
        let relative = self.figures.strip_prefix(folder).unwrap_or(&self.figures);
        format!("{}/", relative.display())
    }
}

fn show(report: &Report) -> Shown {
    match report.suite.as_str() {
        "crypto" => crypto::show(report),
        "pipeline" => pipeline::show(report),
        _ => Shown {
            figures: Vec::new(),
            tables: tables::all(report).markdown(),
        },
    }
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> Failure {
    Failure::io(path.display().to_string())
}
