//! `culvert-bench`: simulated clients against a gateway, and measurements.
#![forbid(unsafe_code)]

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use culvert_bench::clients::Clients;
use culvert_bench::demo::Demo;
use culvert_bench::demo::gateway::{Core, beside_us};
use culvert_bench::failure::Failure;
use culvert_bench::interrupt::Interrupt;
use culvert_bench::load::engine::LogIns;
use culvert_bench::measure;
use culvert_bench::plot::Plot;
use culvert_bench::suite::crypto::Crypto;
use culvert_bench::suite::login::Login;
use culvert_bench::suite::peers::Peers;
use culvert_bench::suite::pipeline::Pipeline;
use culvert_bench::suite::scale::Scale;
use culvert_bench::suite::wire::Wire;

/// Simulated L2TP/IPsec clients against a gateway, and measurements that others can repeat.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts a gateway in namespaces of its own, logs clients in, sends traffic and reports.
    Demo(DemoArguments),
    /// Logs clients in against a gateway that is there already, holds them, and logs them out.
    Clients(Clients),
    /// Measures packet crypto: our engines and other libraries at the same work.
    Crypto(Crypto),
    /// Measures the packet path in memory, with up to 100,000 sessions.
    Pipeline(Pipeline),
    /// Measures log-ins: how many per second, and what each costs the gateway, by IKE group.
    Login(Login),
    /// Measures what many tunnels take: memory, and time to install.
    Scale(Scale),
    /// Measures user-space WireGuard, DPDK and Culvert at the same work.
    Peers(Peers),
    /// Measures Culvert over AF_XDP against a loop that only forwards, in namespaces of its own.
    Wire(Wire),
    /// Draws figures and writes the tables of docs/PERFORMANCE.md from the JSON of the suites.
    Plot(Plot),
}

#[derive(clap::Args)]
struct DemoArguments {
    /// Clients.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=65_000))]
    clients: u32,
    /// Writes the report as JSON here too.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// The gateway's core side.
    #[arg(long, value_enum, default_value_t = Core::Nic)]
    core: Core,
    /// The gateway's executable; by default the one beside this program.
    #[arg(long, value_name = "FILE")]
    culvert: Option<PathBuf>,
    /// Clients that log in at the same time.
    #[arg(long, default_value_t = 64)]
    at_once: u32,
    /// Log-ins begun per second.
    #[arg(long, default_value_t = 10_000)]
    per_second: u64,
    /// Seconds of traffic at a constant rate with each size of packets.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Demo(arguments) => demo(&arguments),
        Command::Clients(clients) => log_in(&clients),
        Command::Crypto(suite) => measure::run(&suite).map(|()| Verdict::Good),
        Command::Pipeline(suite) => measure::run(&suite).map(|()| Verdict::Good),
        Command::Login(suite) => measure::run(&suite).map(|()| Verdict::Good),
        Command::Scale(suite) => measure::run(&suite).map(|()| Verdict::Good),
        Command::Peers(suite) => measure::run(&suite).map(|()| Verdict::Good),
        Command::Wire(suite) => measure::run(&suite).map(|()| Verdict::Good),
        Command::Plot(plot) => plot.run().map(|()| Verdict::Good),
    };
    match outcome {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::Bad) => ExitCode::FAILURE,
        Err(failure) => {
            // Standard error that went away is no reason to stop.
            let _ = writeln!(std::io::stderr(), "\nculvert-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all went as it should.
enum Verdict {
    Good,
    Bad,
}

impl Verdict {
    const fn of(good: bool) -> Self {
        if good { Self::Good } else { Self::Bad }
    }
}

fn log_in(clients: &Clients) -> Result<Verdict, Failure> {
    let report = clients.run(&Interrupt::catch()?)?;
    let json = serde_json::to_string_pretty(&report)
        .map_err(|error| Failure::Io("report".to_owned(), error.into()))?;
    let _ = writeln!(std::io::stdout(), "{json}");
    Ok(Verdict::of(report.succeeded == report.clients))
}

fn demo(arguments: &DemoArguments) -> Result<Verdict, Failure> {
    let interrupt = Interrupt::catch()?;
    let demo = Demo {
        program: arguments.culvert.clone().map_or_else(beside_us, Ok)?,
        clients: arguments.clients,
        core: arguments.core,
        log_ins: LogIns {
            at_once: arguments.at_once,
            per_second: arguments.per_second,
        },
        duration: Duration::from_secs(arguments.seconds),
    };
    let report = demo.run(&interrupt)?;
    let _ = writeln!(std::io::stdout(), "{report}");
    if let Some(path) = &arguments.report {
        let json = serde_json::to_string_pretty(&report)
            .map_err(|error| Failure::Io("report".to_owned(), error.into()))?;
        std::fs::write(path, json).map_err(Failure::io(path.display().to_string()))?;
    }
    Ok(Verdict::of(report.is_good()))
}
