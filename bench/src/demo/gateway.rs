//! The gateway under test: its configuration, its process and what it says of itself.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::network::{GATEWAY, Network, POOL};
use crate::client::Credentials;
use crate::client::mschap::nt_hash;
use crate::failure::Failure;
use crate::interrupt::Interrupt;

/// What the gateway's core side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Core {
    /// AF_XDP on the device towards the LAN.
    Nic,
    /// A veth pair that the gateway makes, and the kernel's forwarding behind it.
    Veth,
}

/// How the gateway is to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The executable.
    pub program: PathBuf,
    /// Its core side.
    pub core: Core,
    /// The CPU of its packet worker.
    pub cpu: Option<usize>,
    /// The pre-shared key.
    pub psk: String,
    /// The one user.
    pub credentials: Credentials,
    /// Clients that it must have room for.
    pub clients: u32,
    /// Whether it takes MODP-1024 and MODP-1536.
    pub allows_legacy: bool,
}

/// The gateway's executable beside this program.
///
/// # Errors
/// [`Failure::Io`] if the system does not know where we are.
pub fn beside_us() -> Result<PathBuf, Failure> {
    let us = std::env::current_exe().map_err(Failure::io("our own path"))?;
    Ok(us.with_file_name("culvert"))
}

/// A running gateway; dropping it ends it and removes its files.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    directory: TempDir,
}

/// Longest wait for READY=1, and for the end after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);

impl Gateway {
    /// Writes the configuration, starts the gateway and waits until it says that it is ready.
    ///
    /// # Errors
    /// [`Failure::Gateway`] with the end of its log if it does not get ready.
    pub fn start(network: &Network, plan: &Plan, interrupt: &Interrupt) -> Result<Self, Failure> {
        let directory = tempfile::Builder::new().prefix("culvert-demo-").tempdir();
        let directory = directory.map_err(Failure::io("temporary folder"))?;
        let path = directory.path();
        // The gateway drops its privileges and must still reach its sockets here.
        fs::set_permissions(path, Permissions::from_mode(0o711))
            .map_err(Failure::io("temporary folder"))?;
        write_private(&path.join("culvert.toml"), &configuration(plan))?;
        write_private(&path.join("users"), &users(&plan.credentials))?;
        let ready =
            UnixDatagram::bind(path.join("notify")).map_err(Failure::io("notify socket"))?;
        ready
            .set_read_timeout(Some(POLL))
            .map_err(Failure::io("notify socket"))?;
        let log = File::create(path.join("log")).map_err(Failure::io("log"))?;
        let errors = log.try_clone().map_err(Failure::io("log"))?;
        let child = network
            .gateway
            .command(&plan.program)
            .args(["run", "-c"])
            .arg(path.join("culvert.toml"))
            .env("NOTIFY_SOCKET", path.join("notify"))
            // Ctrl-C is for us: we end the gateway when we are done with it.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn();
        let child = child.map_err(Failure::io(plan.program.display().to_string()))?;
        let mut gateway = Self { child, directory };
        gateway.wait_until_ready(&ready, interrupt)?;
        Ok(gateway)
    }

    fn wait_until_ready(
        &mut self,
        ready: &UnixDatagram,
        interrupt: &Interrupt,
    ) -> Result<(), Failure> {
        let until = Instant::now() + PATIENCE;
        let mut message = [0; 512];
        while Instant::now() < until {
            interrupt.check()?;
            self.check()?;
            let said = ready
                .recv(&mut message)
                .ok()
                .and_then(|len| message.get(..len));
            let said = said.map(String::from_utf8_lossy);
            if said.is_some_and(|said| said.lines().any(|line| line == "READY=1")) {
                return Ok(());
            }
        }
        Err(Failure::Gateway(format!(
            "not ready after {} s\n{}",
            PATIENCE.as_secs(),
            self.last_words()
        )))
    }

    /// Process id of its supervisor.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails if the gateway has ended.
    ///
    /// # Errors
    /// [`Failure::Gateway`] with the end of its log.
    pub fn check(&mut self) -> Result<(), Failure> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(Failure::Gateway(format!(
                "ended with {status}\n{}",
                self.last_words()
            ))),
            Err(error) => Err(Failure::Io("gateway".to_owned(), error)),
        }
    }

    /// Asks the gateway for its counters.
    ///
    /// # Errors
    /// [`Failure::Io`] if its status socket does not answer, [`Failure::Gateway`] if the answer is not as expected.
    pub fn counters(&self) -> Result<Counters, Failure> {
        let mut stream = UnixStream::connect(self.directory.path().join("status.sock"))
            .map_err(Failure::io("status socket"))?;
        let mut text = String::new();
        stream
            .set_read_timeout(Some(PATIENCE))
            .map_err(Failure::io("status socket"))?;
        stream
            .read_to_string(&mut text)
            .map_err(Failure::io("status socket"))?;
        Counters::parse(&text)
            .ok_or_else(|| Failure::Gateway(format!("no counters in its status: {text}")))
    }

    /// Ends the gateway and waits for it.
    ///
    /// # Errors
    /// [`Failure::Gateway`] if it fails on its way out or has to be killed.
    pub fn stop(mut self) -> Result<(), Failure> {
        match self.terminate() {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(Failure::Gateway(format!(
                "ended with {status}\n{}",
                self.last_words()
            ))),
            None => Err(Failure::Gateway(format!(
                "did not end on SIGTERM\n{}",
                self.last_words()
            ))),
        }
    }

    /// Sends SIGTERM, and SIGKILL after a while; `None` if that was needed.
    fn terminate(&mut self) -> Option<ExitStatus> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Some(status);
        }
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)?;
        // A process that is gone meanwhile is found by the wait below.
        let _ = kill_process(pid, Signal::TERM);
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            std::thread::sleep(POLL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        None
    }

    /// The end of its log.
    pub fn last_words(&self) -> String {
        const LINES: usize = 30;
        let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.terminate();
    }
}

fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let mut file = file.map_err(Failure::io(path.display().to_string()))?;
    file.write_all(text.as_bytes())
        .map_err(Failure::io(path.display().to_string()))
}

fn configuration(plan: &Plan) -> String {
    let core = match plan.core {
        Core::Nic => "[core]\ninterface = \"g1\"\n",
        Core::Veth => "",
    };
    let workers = plan.cpu.map_or_else(String::new, |cpu| {
        format!("[workers]\ncpus = [{cpu}]\nqueues = [0]\n")
    });
    let listen = if plan.allows_legacy {
        "[[listen]]\nlegacy = [\"modp1024\", \"modp1536\"]\n"
    } else {
        ""
    };
    let rows = plan.clients.next_power_of_two().max(1_024);
    format!(
        "[outer]\ninterface = \"g0\"\naddresses = [\"{GATEWAY}\"]\n{core}{workers}{listen}[ike]\n[[ike.psk]]\npeer = \"any\"\n\
         secret = \"{psk}\"\n[ppp]\nmethods = [\"mschapv2\"]\ngateway = \"10.64.0.1\"\n[[pool]]\naddresses = \"{POOL}\"\n\
         [users]\nfile = \"users\"\n[limits]\nsets = {rows}\nsessions = {rows}\n[process]\nstatus_socket = \"status.sock\"\n",
        psk = plan.psk,
    )
}

fn users(credentials: &Credentials) -> String {
    let hash = u128::from_be_bytes(nt_hash(&credentials.password));
    format!(
        "[[user]]\nname = \"{}\"\nnt-hash = \"{hash:032x}\"\n",
        credentials.user
    )
}

/// The gateway's counters over all its cores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    packets: BTreeMap<String, u64>,
    ports: BTreeMap<String, u64>,
}

/// What the names of the gateway's drops have in common: `outer.dropped.no_neighbour`.
const DROPPED: &str = ".dropped.";
/// What the kernel could not give to a port of the gateway, and why; it counts them as drops of the device too.
const NOT_GIVEN: [&str; 2] = [".rx_ring_full", ".fill_ring_empty"];

impl Counters {
    fn parse(text: &str) -> Option<Self> {
        let status: Value = serde_json::from_str(text).ok()?;
        let mut counters = Self::default();
        for core in status.pointer("/dataplane/status/cores")?.as_array()? {
            add(&mut counters.packets, core.get("packets")?)?;
            add(&mut counters.ports, core.get("gauges")?)?;
        }
        Some(counters)
    }

    /// Packets that the gateway dropped since `earlier`, by origin and reason; reasons without any are left out.
    pub fn drops_since(&self, earlier: &Self) -> BTreeMap<String, u64> {
        let all = since(&self.packets, &earlier.packets);
        all.filter(|(name, _)| name.contains(DROPPED)).collect()
    }

    /// Packets that the kernel could not give to the gateway since `earlier`, by port and reason.
    pub fn not_given_since(&self, earlier: &Self) -> BTreeMap<String, u64> {
        let all = since(&self.ports, &earlier.ports);
        all.filter(|(name, _)| NOT_GIVEN.iter().any(|end| name.ends_with(end)))
            .collect()
    }
}

/// Adds up a list of names and values.
fn add(counters: &mut BTreeMap<String, u64>, list: &Value) -> Option<()> {
    for count in list.as_array()? {
        let name = count.get("name")?.as_str()?.to_owned();
        *counters.entry(name).or_insert(0) += count.get("value")?.as_u64()?;
    }
    Some(())
}

/// What has been added to each counter; those that stood still are left out.
fn since(
    now: &BTreeMap<String, u64>,
    earlier: &BTreeMap<String, u64>,
) -> impl Iterator<Item = (String, u64)> {
    now.iter().filter_map(|(name, count)| {
        let added = count.saturating_sub(earlier.get(name).copied().unwrap_or(0));
        (added > 0).then(|| (name.clone(), added))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(dropped: u64, full: u64) -> Counters {
        let text = format!(
            r#"{{"dataplane": {{"status": {{"cores": [{{"core": 0,
                "packets": [{{"name": "outer.received", "value": 9}}, {{"name": "outer.dropped.replayed", "value": {dropped}}}],
                "gauges": [{{"name": "core.rx_ring_full", "value": {full}}}, {{"name": "core.sent", "value": {full}}}]}}]}}}}}}"#
        );
        Counters::parse(&text).unwrap()
    }

    #[test]
    fn only_drops_are_told_and_only_new_ones() {
        let (before, after) = (status(3, 0), status(5, 4));
        assert_eq!(
            after.drops_since(&before),
            BTreeMap::from([("outer.dropped.replayed".to_owned(), 2)])
        );
        assert_eq!(
            after.not_given_since(&before),
            BTreeMap::from([("core.rx_ring_full".to_owned(), 4)])
        );
        assert!(after.drops_since(&after).is_empty());
    }

    #[test]
    fn a_status_of_another_shape_is_no_status() {
        assert_eq!(Counters::parse("{}"), None);
        assert_eq!(Counters::parse(r#"{"dataplane": {"status": null}}"#), None);
    }
}
