//! A supervisor in a process of its own, and what a test can see of it from outside.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use culvert::config::Config;
use culvert::control::Begin;
use culvert::supervisor::{self, Plan, Start};
use culvert_dataplane::api::{CoreDevice, DataplaneConfig, Device, Limits, WorkerConfig};
use culvert_dataplane::lifeline;
use rustix::process::{Pid, Signal};
use serde_json::Value;
use zeroize::Zeroizing;

/// Everything happens well within this.
pub(crate) const SOON: Duration = Duration::from_secs(10);
/// Between two looks at something that is about to happen.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// The user whom nothing belongs to.
pub(crate) const NOBODY: u32 = 65_534;

/// The role "supervisor": supervises this executable's planes, with sockets and logs in `dir`.
pub(crate) async fn supervise(dir: &str, device: Option<&str>) -> ExitCode {
    let dir = Path::new(dir);
    let log = fs::File::options()
        .append(true)
        .create(true)
        .open(dir.join("commands"))
        .unwrap();
    let is_root = rustix::process::geteuid().is_root();
    let begin = Begin {
        config: Config::load(&dir.join("culvert.toml")).unwrap(),
        users: Zeroizing::new("users".to_owned()),
        identity: is_root.then(|| format!("{NOBODY}:{NOBODY}").parse().unwrap()),
    };
    let sealed = |bytes: &[u8]| lifeline::seal(bytes).unwrap();
    let plan = Plan {
        program: PathBuf::from("/proc/self/exe"),
        dataplane: Start {
            arguments: vec!["dataplane".to_owned()],
            fds: vec![
                sealed(
                    &postcard::to_allocvec(&dataplane_config(device.unwrap_or("outer"))).unwrap(),
                ),
                log.into(),
            ],
        },
        control: Start {
            arguments: vec!["control".to_owned()],
            fds: vec![sealed(&postcard::to_allocvec(&begin).unwrap())],
        },
        status_socket: dir.join("run/status.sock"),
    };
    match supervisor::run(plan).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit_code()
        }
    }
}

fn dataplane_config(outer: &str) -> DataplaneConfig {
    let device = |name: &str| Device {
        name: name.to_owned(),
        index: 1,
        mac: [2; 6],
        mtu: 1_500,
    };
    DataplaneConfig {
        outer: device(outer),
        core: CoreDevice::Nic(device("core")),
        workers: vec![WorkerConfig {
            cpu: None,
            outer_queue: 0,
            core_queue: 0,
        }],
        local_addresses: Vec::new(),
        gateway: std::net::Ipv4Addr::LOCALHOST,
        clear_l2tp: Vec::new(),
        limits: Limits {
            sets: 8,
            sessions: 8,
            shards: 1,
            frames: 1_024,
        },
    }
}

/// The role "probe": tells by its exit code whether the status socket at `path` lets it in.
pub(crate) fn probe(path: &str) -> ExitCode {
    match UnixStream::connect(path) {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

const CONFIG: &str = r#"
[outer]
interface = "outer"
[ike]
[[ike.psk]]
peer = "any"
secret = "kT4vQz81mWcE0pLr9sXy"
[ppp]
gateway = "10.0.0.1"
[[pool]]
addresses = "10.0.0.0/24"
[users]
file = "users"
"#;

/// Its process; killed if a test fails before its end.
struct Supervisor(Child);

impl Drop for Supervisor {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A running supervisor.
pub(crate) struct Rig {
    dir: tempfile::TempDir,
    notify: UnixDatagram,
    supervisor: Supervisor,
    told: String,
}

impl Rig {
    /// Starts one and waits until it serves.
    pub(crate) fn serving() -> Self {
        let mut rig = Self::start(None);
        rig.until_told("READY=1");
        rig
    }

    pub(crate) fn start(device: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("culvert.toml");
        let mut file = fs::File::create(&config).unwrap();
        fs::set_permissions(&config, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        file.write_all(CONFIG.as_bytes()).unwrap();
        let notify = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        notify.set_read_timeout(Some(SOON)).unwrap();
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("culvert")
            .args(["supervisor", dir.path().to_str().unwrap()])
            .args(device)
            .env("NOTIFY_SOCKET", dir.path().join("notify"))
            .env("WATCHDOG_USEC", "2000000")
            .stderr(Stdio::piped());
        let supervisor = Supervisor(command.spawn().unwrap());
        Self {
            dir,
            notify,
            supervisor,
            told: String::new(),
        }
    }

    /// Waits until the service manager was told `what`.
    pub(crate) fn until_told(&mut self, what: &str) {
        let until = Instant::now() + SOON;
        while !self.told.lines().any(|line| line == what) {
            assert!(Instant::now() < until, "not told {what} but {}", self.told);
            let mut buffer = [0; 4_096];
            match self.notify.recv(&mut buffer) {
                Ok(len) => self
                    .told
                    .push_str(std::str::from_utf8(&buffer[..len]).unwrap()),
                Err(error) => {
                    let logs = self.logs();
                    panic!(
                        "not told {what} but {}: {error}
{logs}",
                        self.told
                    );
                }
            }
        }
    }

    pub(crate) fn forget_told(&mut self) {
        self.told.clear();
    }

    fn logs(&mut self) -> String {
        self.kill();
        let mut logs = String::new();
        self.supervisor
            .0
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut logs)
            .unwrap();
        logs
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("run/status.sock")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.supervisor.0.id()
    }

    pub(crate) fn status(&self) -> Value {
        let mut text = String::new();
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.read_to_string(&mut text).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Waits until the status is as wanted; returns it.
    pub(crate) fn until_status(&self, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + SOON;
        loop {
            let status = self.status();
            if is_wanted(&status) {
                return status;
            }
            assert!(Instant::now() < until, "{status:#}");
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// The commands that the data planes were given, by name, in order.
    pub(crate) fn commands(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("commands")).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) fn kill(&mut self) {
        self.supervisor.0.kill().unwrap();
    }

    pub(crate) fn terminate(&self) {
        signal(self.pid(), Signal::TERM);
    }

    /// Waits for the supervisor's end; returns how it ended and what it logged.
    pub(crate) fn end(mut self) -> (ExitStatus, String, tempfile::TempDir) {
        let mut logs = String::new();
        self.supervisor
            .0
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut logs)
            .unwrap();
        (self.supervisor.0.wait().unwrap(), logs, self.dir)
    }
}

/// Asks, as the user nobody, whether the socket at `path` lets one in. `None` without root.
pub(crate) fn lets_nobody_in(path: &Path) -> Option<bool> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    // A copy, as this executable may lie where nobody may go.
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(
        dir.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let copy = dir.path().join("probe");
    fs::copy("/proc/self/exe", &copy).unwrap();
    let status = Command::new(copy)
        .arg("probe")
        .arg(path)
        .uid(NOBODY)
        .gid(NOBODY)
        .status()
        .unwrap();
    Some(status.success())
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

pub(crate) fn pid(status: &Value, plane: &str) -> u32 {
    status[plane]["process"]["pid"]
        .as_u64()
        .unwrap()
        .try_into()
        .unwrap()
}

pub(crate) fn gauge(status: &Value, name: &str) -> Option<u64> {
    let gauges = status["dataplane"]["status"]["cores"][0]["gauges"].as_array()?;
    gauges.iter().find(|gauge| gauge["name"] == name)?["value"].as_u64()
}

/// Waits until there is no process `pid`.
pub(crate) fn until_gone(pid: u32) {
    let until = Instant::now() + SOON;
    while is_alive(pid) {
        assert!(Instant::now() < until, "process {pid} lives on");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Whether `pid` is there and no zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// One line of /proc/PID/status.
pub(crate) fn proc_status(pid: u32, key: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .unwrap();
    line.trim_start_matches(':')
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}
