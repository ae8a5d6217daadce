//! The process `culvert run` in its namespace: started with a configuration, asked, killed in parts, and ended.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use culvert_bench::client::mschap::nt_hash;
use culvert_bench::demo::gateway::Core;
use culvert_bench::demo::network::{GATEWAY, Network, POOL};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::{PATIENCE, until};

/// The pre-shared key of the tests.
pub const PSK: &str = "k7Qf2mXw9Rb4Zt6Ns1Vd8Hc3";
/// Name of the one user.
pub const USER: &str = "tester";
/// Password of the one user.
pub const PASSWORD: &str = "correct horse battery staple";

/// What differs from test to test.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The core side.
    pub core: Core,
    /// More tables of the configuration.
    pub tables: &'static str,
    /// More variables of the environment.
    pub environment: Vec<(&'static str, &'static str)>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            core: Core::Nic,
            tables: "",
            environment: Vec::new(),
        }
    }
}

/// One of the supervisor's children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plane {
    /// Moves packets.
    Dataplane,
    /// Speaks protocols.
    Control,
}

impl Plane {
    const fn name(self) -> &'static str {
        match self {
            Self::Dataplane => "dataplane",
            Self::Control => "control",
        }
    }
}

/// The running gateway; dropping it ends it and removes its files.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    notices: Vec<String>,
    notify: UnixDatagram,
    directory: TempDir,
}

impl Gateway {
    /// Starts one and waits until it says that it is ready.
    ///
    /// # Panics
    /// If it does not get ready.
    pub fn start(network: &Network, setup: &Setup) -> Self {
        let mut gateway = Self::spawn(network, setup);
        gateway.wait_for_notice("READY=1");
        gateway
    }

    /// Starts one and does not wait.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn spawn(network: &Network, setup: &Setup) -> Self {
        let directory = tempfile::Builder::new().prefix("culvert-e2e-").tempdir();
        let directory = directory.expect("a temporary folder can be made");
        let path = directory.path();
        // The gateway drops its privileges and must still reach its sockets here.
        fs::set_permissions(path, Permissions::from_mode(0o711)).expect("the folder is ours");
        write_private(&path.join("culvert.toml"), &configuration(setup));
        let hash = u128::from_be_bytes(nt_hash(PASSWORD));
        let users = format!("[[user]]\nname = \"{USER}\"\nnt-hash = \"{hash:032x}\"\n");
        write_private(&path.join("users"), &users);
        let notify = UnixDatagram::bind(path.join("notify")).expect("a socket can be made");
        notify
            .set_nonblocking(true)
            .expect("a socket can be non-blocking");
        let log = File::create(path.join("log")).expect("the folder is ours");
        let child = network
            .gateway
            .command(program())
            .args(["run", "-c"])
            .arg(path.join("culvert.toml"))
            .env("NOTIFY_SOCKET", path.join("notify"))
            .env_remove("WATCHDOG_USEC")
            .env_remove("WATCHDOG_PID")
            .envs(setup.environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        Self {
            child: child.expect("ip can be started"),
            notices: Vec::new(),
            notify,
            directory,
        }
    }

    /// Process id of the supervisor.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("process ids are positive")
    }

    /// Its folder, in which the status socket is.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What `culvert status --json` answers; `None` if nobody answers.
    pub fn try_status(&self) -> Option<Value> {
        let output = Command::new(program())
            .args(["status", "--json", "--socket"])
            .arg(self.directory().join("status.sock"))
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        serde_json::from_slice(&output.stdout).ok()
    }

    /// What `culvert status --json` answers.
    ///
    /// # Panics
    /// If nobody answers.
    pub fn status(&self) -> Value {
        self.try_status()
            .unwrap_or_else(|| panic!("no status\n{}", self.log()))
    }

    /// Process id of a plane that serves.
    pub fn serving(&self, plane: Plane) -> Option<i32> {
        let status = self.try_status()?;
        let process = status.get(plane.name())?.get("process")?;
        let is_serving = process.get("state")?.as_str()? == "serving";
        let pid = process.get("pid")?.as_i64().filter(|_| is_serving)?;
        i32::try_from(pid).ok()
    }

    /// Process id of a plane, which must serve or come to.
    ///
    /// # Panics
    /// If it does not within [`PATIENCE`].
    pub fn wait_for(&self, plane: Plane) -> i32 {
        until("plane serves", || self.serving(plane))
    }

    /// Sets of which control knows only that they are taken; `None` if it does not answer.
    pub fn unknown_sets(&self) -> Option<u64> {
        self.try_status()?
            .pointer("/control/status/unknown_sets")?
            .as_u64()
    }

    /// The data plane's packet counters, all cores together; empty while it is down.
    pub fn packets(&self) -> BTreeMap<String, u64> {
        let status = self.try_status().unwrap_or_default();
        let cores = status.pointer("/dataplane/status/cores");
        let cores = cores.and_then(Value::as_array).into_iter().flatten();
        let mut packets = BTreeMap::new();
        for counter in cores
            .filter_map(|core| core.get("packets")?.as_array())
            .flatten()
        {
            if let (Some(name), Some(value)) = (
                counter.get("name").and_then(Value::as_str),
                counter.get("value").and_then(Value::as_u64),
            ) {
                *packets.entry(name.to_owned()).or_insert(0) += value;
            }
        }
        packets
    }

    /// What it has told the service manager so far, in lines.
    pub fn notices(&mut self) -> &[String] {
        let mut datagram = [0; 512];
        while let Ok(len) = self.notify.recv(&mut datagram) {
            let text = String::from_utf8_lossy(&datagram[..len]);
            self.notices.extend(text.lines().map(str::to_owned));
        }
        &self.notices
    }

    /// Waits until it has told the service manager `line`.
    ///
    /// # Panics
    /// If it ends or does not within [`PATIENCE`].
    pub fn wait_for_notice(&mut self, line: &str) {
        until(line, || {
            let ended = self.child.try_wait().expect("it is our child");
            assert!(ended.is_none(), "ended with {ended:?}\n{}", self.log());
            self.notices()
                .iter()
                .any(|notice| notice == line)
                .then_some(())
        });
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        signal(self.pid(), Signal::TERM);
    }

    /// How it ended, if it has.
    ///
    /// # Panics
    /// If the system does not say.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is our child")
    }

    /// Its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory().join("log")).unwrap_or_default()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let told = writeln!(std::io::stderr(), "log of the gateway:\n{}", self.log());
            // It was meant for people only.
            drop(told);
        }
        if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        self.terminate();
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // Its children die with it.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends a signal to a process that may be gone.
pub fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // One that is gone needs none.
        let _ = kill_process(pid, signal);
    }
}

/// Whether a process is there.
pub fn is_alive(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// The executable: what `CULVERT` names, or the one of this build, built now.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(program) = std::env::var_os("CULVERT") {
            return program.into();
        }
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "-p", "culvert"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(
            built.is_ok_and(|status| status.success()),
            "culvert does not build"
        );
        let tests = std::env::current_exe().expect("we have a name");
        let profile = tests.ancestors().nth(2).expect("target/debug/deps/test");
        profile.join("culvert")
    })
}

fn write_private(path: &Path, text: &str) {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.expect("the folder is ours");
}

fn configuration(setup: &Setup) -> String {
    let core = match setup.core {
        Core::Nic => "[core]\ninterface = \"g1\"\n",
        Core::Veth => "",
    };
    format!(
        "[outer]\ninterface = \"g0\"\naddresses = [\"{GATEWAY}\"]\n{core}[ike]\n[[ike.psk]]\npeer = \"any\"\nsecret = \"{PSK}\"\n\
         [ppp]\ngateway = \"10.64.0.1\"\n[[pool]]\naddresses = \"{POOL}\"\n[users]\nfile = \"users\"\n\
         [limits]\nsets = 1024\nsessions = 1024\n[process]\nstatus_socket = \"status.sock\"\n{}",
        setup.tables
    )
}
