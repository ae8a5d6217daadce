//! The real thing in a network namespace: devices, XDP, both planes. Needs root, `ip`, and a kernel with AF_XDP.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::Value;

const CULVERT: &str = env!("CARGO_BIN_EXE_culvert");
const SOON: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(10);

const CONFIG: &str = r#"[outer]
interface = "eth0"
[ike]
[[ike.psk]]
peer = "any"
secret = "kT4vQz81mWcE0pLr9sXy"
[ppp]
gateway = "10.99.1.1"
[[pool]]
addresses = "10.99.1.10-10.99.1.200"
[users]
file = "users"
[limits]
frames = 4096
[process]
status_socket = "status.sock"
"#;

fn ip(arguments: &str) -> String {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {text}");
    String::from_utf8(output.stdout).unwrap()
}

/// Two namespaces joined by a veth pair, a gateway's and a client's.
struct Net {
    gateway: String,
    client: String,
}

impl Net {
    fn new(name: &str) -> Self {
        let id = std::process::id();
        let net = Self {
            gateway: format!("shell-{name}-g{id}"),
            client: format!("shell-{name}-c{id}"),
        };
        let Self { gateway, client } = &net;
        ip(&format!("netns add {gateway}"));
        ip(&format!("netns add {client}"));
        ip(&format!(
            "link add eth0 netns {gateway} type veth peer name eth0 netns {client}"
        ));
        ip(&format!("-n {gateway} addr add 198.51.100.10/24 dev eth0"));
        ip(&format!("-n {client} addr add 198.51.100.20/24 dev eth0"));
        ip(&format!("-n {gateway} link set eth0 up"));
        ip(&format!("-n {client} link set eth0 up"));
        net
    }

    fn devices(&self) -> String {
        ip(&format!("-n {} -d link", self.gateway))
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in [&self.gateway, &self.client] {
            // A failed test may have left it half made.
            drop(Command::new("ip").args(["netns", "delete", name]).output());
        }
    }
}

struct Gateway {
    dir: tempfile::TempDir,
    notify: UnixDatagram,
    supervisor: Child,
}

impl Gateway {
    fn start(net: &Net) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("culvert.toml", CONFIG), ("users", "")] {
            fs::write(dir.path().join(name), text).unwrap();
            fs::set_permissions(dir.path().join(name), Permissions::from_mode(0o600)).unwrap();
        }
        let notify = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        notify.set_read_timeout(Some(SOON)).unwrap();
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let supervisor = Command::new("ip")
            .args(["netns", "exec", &net.gateway, CULVERT, "run", "-c"])
            .arg(dir.path().join("culvert.toml"))
            .env("NOTIFY_SOCKET", dir.path().join("notify"))
            .stderr(Stdio::from(log))
            .spawn()
            .unwrap();
        Self {
            dir,
            notify,
            supervisor,
        }
    }

    fn until_told(&self, what: &str) {
        let mut told = [0; 4_096];
        loop {
            match self.notify.recv(&mut told) {
                Ok(len)
                    if std::str::from_utf8(&told[..len])
                        .unwrap()
                        .lines()
                        .any(|line| line == what) =>
                {
                    return;
                }
                Ok(_) => {}
                Err(error) => panic!("not told {what}: {error}\n{}", self.log()),
            }
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("status.sock")
    }

    fn status(&self) -> Value {
        let mut text = String::new();
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.read_to_string(&mut text).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn until_status(&self, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + SOON;
        loop {
            let status = self.status();
            if is_wanted(&status) {
                return status;
            }
            assert!(Instant::now() < until, "{status:#}\n{}", self.log());
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn terminate(&mut self) {
        signal(u64::from(self.supervisor.id()), Signal::TERM);
        assert!(self.supervisor.wait().unwrap().success(), "{}", self.log());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It has ended unless a test failed.
        drop(self.supervisor.kill());
        drop(self.supervisor.wait());
    }
}

fn signal(pid: u64, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

fn can_run() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("SKIPPED: network namespaces need root");
    }
    is_root
}

fn steered(status: &Value) -> u64 {
    let counts = status["dataplane"]["status"]["xdp"].as_array().unwrap();
    counts
        .iter()
        .find(|count| count["name"] == "outer.ike")
        .map_or(0, |count| count["value"].as_u64().unwrap())
}

/// Sends what looks like the beginning of an IKE message from the client's namespace.
fn send_ike(net: &Net) {
    let sent = Command::new("ip")
        .args([
            "netns",
            "exec",
            &net.client,
            "bash",
            "-c",
            "printf '%064d' 0 > /dev/udp/198.51.100.10/500",
        ])
        .status()
        .unwrap();
    assert!(sent.success());
}

#[test]
fn it_comes_up_serves_and_leaves_nothing_behind() {
    if !can_run() {
        return;
    }
    let net = Net::new("up");
    let before = net.devices();
    let mut gateway = Gateway::start(&net);
    gateway.until_told("READY=1");
    let devices = net.devices();
    assert!(
        devices.contains("culvert0") && devices.contains("xdp"),
        "{devices}"
    );
    send_ike(&net);
    gateway.until_status(|status| steered(status) == 1);
    gateway.terminate();
    let after = net.devices();
    assert!(
        !after.contains("culvert0") && !after.contains("xdp"),
        "{after}"
    );
    assert_eq!(after.lines().count(), before.lines().count(), "{after}");
    assert!(!gateway.socket().exists());
}

#[test]
fn a_killed_data_plane_binds_again_and_control_lives_on() {
    if !can_run() {
        return;
    }
    let net = Net::new("kill");
    let mut gateway = Gateway::start(&net);
    gateway.until_told("READY=1");
    let before = gateway.status();
    signal(
        before["dataplane"]["process"]["pid"].as_u64().unwrap(),
        Signal::KILL,
    );
    let after = gateway.until_status(|status| {
        status["dataplane"]["process"]["restarts"] == 1
            && status["dataplane"]["process"]["state"] == "serving"
    });
    assert_eq!(
        after["control"]["process"]["pid"],
        before["control"]["process"]["pid"]
    );
    send_ike(&net);
    gateway.until_status(|status| steered(status) == 1);
    gateway.terminate();
}

#[test]
fn a_killed_control_leaves_the_data_plane_running() {
    if !can_run() {
        return;
    }
    let net = Net::new("ctrl");
    let mut gateway = Gateway::start(&net);
    gateway.until_told("READY=1");
    let before = gateway.status();
    signal(
        before["control"]["process"]["pid"].as_u64().unwrap(),
        Signal::KILL,
    );
    let after = gateway.until_status(|status| {
        status["control"]["process"]["restarts"] == 1
            && status["control"]["process"]["state"] == "serving"
    });
    assert_eq!(
        after["dataplane"]["process"]["pid"],
        before["dataplane"]["process"]["pid"]
    );
    gateway.terminate();
}

#[test]
fn the_data_plane_keeps_no_more_privilege_than_it_needs() {
    if !can_run() {
        return;
    }
    let net = Net::new("caps");
    let mut gateway = Gateway::start(&net);
    gateway.until_told("READY=1");
    let status = gateway.status();
    let pid = status["dataplane"]["process"]["pid"].as_u64().unwrap();
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(key))
            .unwrap()
            .trim()
            .to_owned()
    };
    // CAP_BPF, CAP_SYS_NICE, CAP_IPC_LOCK, CAP_NET_RAW, CAP_NET_ADMIN
    let kept = (1_u64 << 39) | (1 << 23) | (1 << 14) | (1 << 13) | (1 << 12);
    for set in ["CapPrm:", "CapEff:", "CapBnd:"] {
        let held = u64::from_str_radix(&line(set), 16).unwrap();
        assert_eq!(held & !kept, 0, "{set}");
    }
    assert!(line("Uid:").starts_with("65534"), "{text}");
    gateway.terminate();
}
