//! One line that says how far we are: rewritten in place on a terminal, now and then a new one elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// The line.
#[derive(Debug)]
pub struct Progress {
    stream: Stream,
    terminal: bool,
    shown: Option<Instant>,
}

/// Where the line stands.
#[derive(Clone, Copy, Debug)]
enum Stream {
    Output,
    Error,
}

/// How often the line changes on a terminal.
const REFRESH: Duration = Duration::from_millis(100);
/// How often a line is written elsewhere.
const REPEAT: Duration = Duration::from_secs(2);

impl Progress {
    /// One on standard output.
    pub fn new() -> Self {
        Self {
            stream: Stream::Output,
            terminal: io::stdout().is_terminal(),
            shown: None,
        }
    }

    /// One on standard error, for programs whose output is a table.
    pub fn on_stderr() -> Self {
        Self {
            stream: Stream::Error,
            terminal: io::stderr().is_terminal(),
            shown: None,
        }
    }

    /// Shows what `line` says if it is time for that.
    pub fn update(&mut self, line: impl FnOnce() -> String) {
        let pause = if self.terminal { REFRESH } else { REPEAT };
        if self.shown.is_none_or(|shown| shown.elapsed() >= pause) {
            self.shown = Some(Instant::now());
            self.write(&line());
        }
    }

    /// Shows `line` for good; the next one stands below.
    pub fn finish(&mut self, line: &str) {
        self.write(line);
        if self.terminal {
            self.print("\n");
        }
        self.shown = None;
    }

    /// Takes the line away again.
    pub fn clear(&mut self) {
        if self.terminal && self.shown.is_some() {
            self.print("\r\x1b[2K");
        }
        self.shown = None;
    }

    fn write(&self, line: &str) {
        if self.terminal {
            self.print(&format!("\r\x1b[2K{line}"));
        } else {
            self.print(&format!("{line}\n"));
        }
    }

    /// A terminal that went away is no reason to stop.
    fn print(&self, text: &str) {
        let mut out: Box<dyn Write> = match self.stream {
            Stream::Output => Box::new(io::stdout().lock()),
            Stream::Error => Box::new(io::stderr().lock()),
        };
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}
