//! How the suites measure: on which core, by which clock, how often, and what a row says.
//!
//! A suite implements [`Suite`] and its rows [`Row`]; [`run`] does the rest. What runs against each other stands in one
//! [`Contest`], whose repetitions are interleaved, so that a drift of the machine hits all alike.

mod clock;
mod contest;
mod machine;
mod placement;
mod report;
mod spread;
mod table;

use std::io::Write;
use std::path::PathBuf;

use serde::Serialize;

pub(crate) use clock::as_f64;
pub use clock::{Clock, Cycles};
pub use contest::{Contest, Pace, Standing};
pub use machine::Machine;
pub use placement::Placement;
pub use report::Report;
pub use spread::{Spread, Timing};
pub use table::{Cell, Figure, Table};

use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::progress::Progress;

/// What every suite can be told.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// Writes the rows as JSON here too.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Fewer rows and short repetitions: shows that it works, not how fast.
    #[arg(long)]
    pub quick: bool,
    /// Core to run on; by default the last one.
    #[arg(long)]
    pub core: Option<usize>,
}

/// A suite of measurements.
pub trait Suite {
    /// Its name on the command line and in the report.
    const NAME: &'static str;
    /// Whether the thread that calls [`Suite::rows`] is pinned with real-time priority. A suite that starts threads or processes,
    /// which would inherit both, says no, and places what measures: [`Placement::hold`].
    const PLACED: bool = true;
    /// Contestants that the others are compared with, in the order of the table's columns.
    const REFERENCES: &'static [&'static str] = &[];
    /// What it measures.
    type Row: Row;

    /// What it was told.
    fn options(&self) -> &Options;

    /// Of a suite that places what measures by itself: where that is.
    fn placement(&self) -> Placement {
        Placement::default()
    }

    /// Measures; looks at [`Bench::interrupt`] every few seconds or more often.
    ///
    /// # Errors
    /// [`Failure`] if the system refuses something or the user asks to stop.
    fn rows(&self, bench: &mut Bench) -> Result<Vec<Self::Row>, Failure>;
}

/// One row of a suite: its serialised form stands in the JSON, its cells in the table.
pub trait Row: Serialize {
    /// Who was measured.
    fn contestant(&self) -> &str;

    /// What was done: rows of equal work are compared with each other.
    fn work(&self) -> String;

    /// What is compared.
    fn figure(&self) -> Figure;

    /// The row of the text table: the same heads in each row of a suite.
    fn cells(&self) -> Vec<Cell>;
}

/// What a suite measures with.
#[derive(Debug)]
pub struct Bench {
    /// The only clock.
    pub clock: Clock,
    /// Length and number of repetitions.
    pub pace: Pace,
    /// Whether few and short measurements are wanted.
    pub quick: bool,
    /// Whether the user wants to stop.
    pub interrupt: Interrupt,
    /// Where the suite is.
    pub progress: Progress,
}

/// Runs a suite: header and table to standard output, progress to standard error, JSON where the options say.
///
/// # Errors
/// What [`Suite::rows`] fails with, or [`Failure::Io`] if the JSON cannot be written.
pub fn run<S: Suite>(suite: &S) -> Result<(), Failure> {
    let options = suite.options();
    // What is started from here on inherits the priority that we were started with.
    Placement::give_way();
    let interrupt = Interrupt::catch()?;
    let clock = Clock::new();
    let mut machine = Machine::look(&clock);
    machine.placement = if S::PLACED {
        Placement::take(options.core)
    } else {
        suite.placement()
    };
    print(&format!("{}\n{machine}\n", S::NAME));
    let mut bench = Bench {
        clock,
        pace: Pace::of(options.quick),
        quick: options.quick,
        interrupt,
        progress: Progress::on_stderr(),
    };
    let rows = suite.rows(&mut bench)?;
    bench.progress.clear();
    print(&Table::of(&rows, S::REFERENCES).text());
    let Some(path) = &options.json else {
        return Ok(());
    };
    let json = Report::new(S::NAME, machine, &rows)
        .and_then(|report| report.json())
        .map_err(|error| Failure::Io("report".to_owned(), error.into()))?;
    std::fs::write(path, json).map_err(Failure::io(path.display().to_string()))
}

/// Standard output that went away is no reason to stop.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
