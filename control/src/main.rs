//! The executable.
#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use culvert::cli::{Cli, Command, ConfigFile, StatusOptions};
use culvert::config::Config;
use culvert::failure::Failure;
use culvert::identity::Identity;
use culvert::{check, control, logging, passwd, query, setup, supervisor};
use culvert_dataplane::confine::{self, Capabilities};
use culvert_dataplane::lifeline::Lifeline;
use culvert_dataplane::{cores, process};
use culvert_proto::gateway::Gateway;
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;
use tracing::{error, warn};

fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::init();
    let done = match cli.command {
        Command::Run(file) => run(&file),
        Command::Check(file) => check(&file),
        Command::Status(options) => status(&options),
        Command::Passwd(options) => passwd::entry(&options).and_then(|entry| print(&entry)),
        Command::Dataplane { identity } => dataplane(identity),
        Command::Control => control(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            error!("{failure}");
            failure.exit_code()
        }
    }
}

fn load(file: &ConfigFile) -> Result<Config, Failure> {
    Config::load(&file.config).map_err(|error| Failure::Usage(error.to_string()))
}

fn run(file: &ConfigFile) -> Result<(), Failure> {
    confine::leave_no_traces()?;
    let config = load(file)?;
    let (plan, held) = setup::prepare(&config)?;
    let served = runtime()?.block_on(supervisor::run(plan));
    drop(held);
    served
}

fn check(file: &ConfigFile) -> Result<(), Failure> {
    let findings = check::check(&load(file)?)?;
    for warning in &findings.warnings {
        warn!("{warning}");
    }
    print(&findings.summary)
}

fn status(options: &StatusOptions) -> Result<(), Failure> {
    let status = query::ask(&options.socket)?;
    if options.json {
        return print(&format!("{status:#}\n"));
    }
    print(&query::render(&status))
}

/// What the data plane cannot do without: sockets on rings, maps, neighbours, locked memory.
const DATAPLANE_KEEPS: Capabilities = Capabilities::NET_ADMIN
    .union(Capabilities::NET_RAW)
    .union(Capabilities::BPF)
    .union(Capabilities::IPC_LOCK)
    .union(Capabilities::SYS_NICE);

fn dataplane(identity: Identity) -> Result<(), Failure> {
    confine::become_user(identity.uid(), identity.gid(), DATAPLANE_KEEPS)?;
    confine::harden(c"culvert-data")?;
    let served = runtime()?.block_on(
        LocalSet::new()
            .run_until(async { process::run(Lifeline::from_stdin()?, cores::start).await }),
    );
    served.map_err(|error| Failure::Internal(error.to_string()))
}

fn control() -> Result<(), Failure> {
    let served =
        runtime()?.block_on(async { control::run::<Gateway>(Lifeline::from_stdin()?).await });
    served.map_err(|error| Failure::Internal(error.to_string()))
}

fn runtime() -> Result<Runtime, Failure> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

fn print(text: &str) -> Result<(), Failure> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
