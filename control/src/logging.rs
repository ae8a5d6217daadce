//! Logs: fields to standard error, filtered by `CULVERT_LOG`.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Sets the filter, such as `info` (the default), `debug` or `culvert=debug`.
pub const FILTER: &str = "CULVERT_LOG";

/// Begins to log to standard error. A second call changes nothing.
pub fn init() {
    let filter = EnvFilter::try_from_env(FILTER).unwrap_or_else(|_| EnvFilter::new("info"));
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
    // Tests begin more than once in a process.
    drop(started);
}

/// The variables that children inherit: the filter alone.
pub fn environment() -> impl Iterator<Item = (&'static str, String)> {
    std::env::var(FILTER)
        .ok()
        .map(|value| (FILTER, value))
        .into_iter()
}
