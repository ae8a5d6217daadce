//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::STATUS_SOCKET;
use crate::identity::Identity;

/// L2TP/IPsec VPN concentrator.
#[derive(Debug, Parser)]
#[command(
    name = "culvert",
    version,
    about = "L2TP/IPsec VPN concentrator: the VPN clients built into phones, laptops and routers, over AF_XDP",
    after_help = "Examples:
  culvert check -c /etc/culvert/culvert.toml     is the configuration right, and what would it serve?
  culvert run -c /etc/culvert/culvert.toml       serve, in the foreground, until SIGTERM
  culvert status                                 processes, sessions, counters
  culvert passwd alice >> /etc/culvert/users     add a user; asks for the password on standard input

A configuration to begin with (mode 0600, owned by root):

  [outer]
  interface = \"eth0\"                  # where clients come from
  [ike]
  [[ike.psk]]
  peer = \"any\"
  secret = \"...\"                      # from: openssl rand -base64 24
  [ppp]
  gateway = \"10.0.0.1\"                # our address on every session
  dns = [\"10.0.0.1\"]
  [[pool]]
  addresses = \"10.0.0.0/24\"           # the clients' addresses
  [users]
  file = \"users\"                      # beside this file; lines from: culvert passwd"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve in the foreground until SIGTERM or SIGINT.
    ///
    /// Logs go to standard error; the variable CULVERT_LOG filters them (info, debug, culvert=debug).
    Run(ConfigFile),
    /// Read the configuration and all files it names, and say what would be served.
    Check(ConfigFile),
    /// Ask a running culvert how it is.
    Status(StatusOptions),
    /// Print an entry of the users file for NAME; the password comes on standard input.
    Passwd(PasswdOptions),
    /// The packet process; started by `run` alone.
    #[command(hide = true)]
    Dataplane {
        /// The user to become.
        identity: Identity,
    },
    /// The protocol process; started by `run` alone.
    #[command(hide = true)]
    Control,
}

/// The configuration to use.
#[derive(Debug, Args)]
pub struct ConfigFile {
    /// The configuration file: TOML, readable by its owner alone.
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
}

/// How to ask.
#[derive(Debug, Args)]
pub struct StatusOptions {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// The status socket, as `[process] status_socket` names it.
    #[arg(short, long, value_name = "PATH", default_value = STATUS_SOCKET)]
    pub socket: PathBuf,
}

/// Whose entry to print.
#[derive(Debug, Args)]
pub struct PasswdOptions {
    /// The user's name.
    pub name: String,
    /// What is stored of the password.
    #[arg(short, long, value_enum, default_value_t = Stored::NtHash)]
    pub stored: Stored,
    /// The address that the user always gets.
    #[arg(short, long)]
    pub address: Option<std::net::Ipv4Addr>,
}

/// What is stored of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stored {
    /// NT hash: serves mschapv2 and pap. As good as the password to whoever reads the file.
    NtHash,
    /// Argon2id: serves pap alone. Hard to turn back.
    Argon2,
    /// The password itself: serves every method.
    Secret,
}
