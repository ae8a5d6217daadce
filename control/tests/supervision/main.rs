//! The supervisor with both of its planes as real processes, but no device: the data plane keeps its rows in memory, and the protocol
//! machine makes one session of its own accord.
//!
//! This executable is all of them: without a known first argument it runs the tests, which start it again in another role.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

use std::process::ExitCode;

use culvert::{control, logging};
use culvert_dataplane::lifeline::Lifeline;
use culvert_dataplane::{confine, process};

mod rig;
mod tests;
mod twins;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let role = arguments.first().map_or("", String::as_str);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    match role {
        "supervisor" => {
            logging::init();
            runtime.block_on(rig::supervise(
                &arguments[1],
                arguments.get(2).map(String::as_str),
            ))
        }
        "dataplane" => {
            logging::init();
            confine::harden(c"culvert-data").unwrap();
            let served = runtime.block_on(async {
                process::run(Lifeline::from_stdin().unwrap(), twins::start_cores).await
            });
            served.unwrap();
            ExitCode::SUCCESS
        }
        "control" => {
            logging::init();
            let served = runtime.block_on(async {
                control::run::<twins::OneSession>(Lifeline::from_stdin().unwrap()).await
            });
            served.unwrap();
            ExitCode::SUCCESS
        }
        "probe" => rig::probe(&arguments[1]),
        filter => tests::run(filter),
    }
}
