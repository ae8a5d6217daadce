//! The three namespaces of the demo and the links between them.
//!
//! ```text
//! clients                     gateway                              lan
//! c0 203.0.113.2/24 ──────── g0 203.0.113.1/24   g1 10.99.0.1/24 ──────── l0 10.99.0.10/24
//! 198.18.0.0/15 in user space  route to 198.18.0.0/15 via 203.0.113.2       route to the pool via 10.99.0.1
//! ```

use std::ffi::OsStr;
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use culvert_wire::eth::MacAddress;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

use crate::failure::Failure;

/// Address that clients dial.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// Outer address of the first client (RFC 2544: 198.18.0.0/15 is for benchmarks).
pub const FIRST_CLIENT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// The network of all clients' outer addresses.
pub const CLIENTS: &str = "198.18.0.0/15";
/// The host on the LAN.
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 10);
/// The pool that clients get addresses of.
pub const POOL: &str = "10.64.0.0/16";
/// Devices: on the clients' side, of the gateway towards clients and LAN, and on the LAN.
pub const DEVICES: [&str; 4] = ["c0", "g0", "g1", "l0"];

/// A network namespace that is removed when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes one, with its loopback device up.
    ///
    /// # Errors
    /// [`Failure::Command`] in the words of `ip`.
    pub fn create(name: String) -> Result<Self, Failure> {
        run("ip", ["netns", "add", &name])?;
        let namespace = Self { name };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` inside with the words of `arguments`; returns what it printed.
    ///
    /// # Errors
    /// [`Failure::Command`] in the words of `ip`.
    pub fn ip(&self, arguments: &str) -> Result<String, Failure> {
        run(
            "ip",
            ["-n", &self.name]
                .into_iter()
                .chain(arguments.split_whitespace()),
        )
    }

    /// Lets the kernel forward IPv4 inside: what a gateway whose core side is a veth pair leaves to it.
    ///
    /// # Errors
    /// [`Failure::Command`] in the words of the shell.
    pub fn forward(&self) -> Result<(), Failure> {
        let set = "echo 1 >/proc/sys/net/ipv4/ip_forward";
        run("ip", ["netns", "exec", &self.name, "sh", "-c", set]).map(drop)
    }

    /// A command that runs `program` inside.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Moves the calling thread inside.
    ///
    /// # Errors
    /// [`Failure::Io`] if it is gone or the thread may not.
    pub fn enter(&self) -> Result<(), Failure> {
        enter(&format!("/run/netns/{}", self.name))
    }

    /// Index of a device inside.
    ///
    /// # Errors
    /// [`Failure::Command`] if there is no such device.
    pub fn index(&self, device: &str) -> Result<u32, Failure> {
        let links = self.ip(&format!("-j link show dev {device}"))?;
        let parsed: Option<Value> = serde_json::from_str(&links).ok();
        let index = parsed
            .as_ref()
            .and_then(|links| links.pointer("/0/ifindex"));
        index
            .and_then(Value::as_u64)
            .and_then(|index| u32::try_from(index).ok())
            .ok_or_else(|| Failure::Command("ip link".to_owned(), format!("no index in: {links}")))
    }

    /// Ethernet address of a device inside.
    ///
    /// # Errors
    /// [`Failure::Command`] if there is no such device.
    pub fn mac(&self, device: &str) -> Result<MacAddress, Failure> {
        let links = self.ip(&format!("-j link show dev {device}"))?;
        let bad = || {
            Failure::Command(
                "ip link".to_owned(),
                format!("no address of {device} in: {links}"),
            )
        };
        let parsed: Value = serde_json::from_str(&links).map_err(|_| bad())?;
        let text = parsed
            .pointer("/0/address")
            .and_then(Value::as_str)
            .ok_or_else(bad)?;
        parse_mac(text).ok_or_else(bad)
    }

    /// Packets that the kernel dropped on each device inside, on receipt and on sending together.
    ///
    /// # Errors
    /// [`Failure::Command`] in the words of `ip`.
    pub fn drops(&self) -> Result<Vec<(String, u64)>, Failure> {
        let text = self.ip("-j -s link show")?;
        let links: Vec<Value> = serde_json::from_str(&text).map_err(|error| {
            Failure::Command("ip -j -s link show".to_owned(), error.to_string())
        })?;
        let device = |link: &Value| {
            let count = |path| link.pointer(path).and_then(Value::as_u64).unwrap_or(0);
            let name = link
                .get("ifname")
                .and_then(Value::as_str)
                .unwrap_or_default();
            (
                name.to_owned(),
                count("/stats64/rx/dropped") + count("/stats64/tx/dropped"),
            )
        };
        Ok(links
            .iter()
            .map(device)
            .filter(|(name, _)| name != "lo")
            .collect())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Nothing more can be done about one that does not go.
        let _ = run("ip", ["netns", "del", &self.name]);
    }
}

/// The namespace that the thread is in.
#[derive(Debug)]
pub struct Home(File);

impl Home {
    /// Remembers it.
    ///
    /// # Errors
    /// [`Failure::Io`] if `/proc` is not there.
    pub fn here() -> Result<Self, Failure> {
        File::open("/proc/thread-self/ns/net")
            .map(Self)
            .map_err(Failure::io("own network namespace"))
    }

    /// Moves the calling thread back.
    ///
    /// # Errors
    /// [`Failure::Io`] if the thread may not.
    pub fn enter(&self) -> Result<(), Failure> {
        move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|error| Failure::Io("own network namespace".to_owned(), error.into()))
    }
}

fn enter(path: &str) -> Result<(), Failure> {
    let file = File::open(path).map_err(Failure::io(path))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|error| Failure::Io(path.to_owned(), error.into()))
}

/// All of it.
#[derive(Debug)]
pub struct Network {
    /// Where clients are.
    pub clients: Namespace,
    /// Where the gateway runs.
    pub gateway: Namespace,
    /// Where the host is.
    pub lan: Namespace,
}

impl Network {
    /// Makes namespaces and links; their names hold our process id, so that several demos can run side by side.
    ///
    /// # Errors
    /// [`Failure::Command`] in the words of `ip`; what was made until then is removed.
    pub fn create() -> Result<Self, Failure> {
        let create =
            |role| Namespace::create(format!("culvert-demo-{}-{role}", std::process::id()));
        let network = Self {
            clients: create("clients")?,
            gateway: create("gateway")?,
            lan: create("lan")?,
        };
        network.connect(
            &network.clients,
            ("c0", "203.0.113.2/24"),
            ("g0", "203.0.113.1/24"),
        )?;
        network.connect(
            &network.lan,
            ("l0", "10.99.0.10/24"),
            ("g1", "10.99.0.1/24"),
        )?;
        network
            .gateway
            .ip(&format!("route add {CLIENTS} via 203.0.113.2"))?;
        network.lan.ip(&format!("route add {POOL} via 10.99.0.1"))?;
        network.gateway.forward()?;
        Ok(network)
    }

    /// Makes a veth pair between `other` and the gateway.
    fn connect(
        &self,
        other: &Namespace,
        theirs: (&str, &str),
        ours: (&str, &str),
    ) -> Result<(), Failure> {
        let gateway = self.gateway.name();
        other.ip(&format!(
            "link add {} type veth peer name {} netns {gateway}",
            theirs.0, ours.0
        ))?;
        for (namespace, (device, address)) in [(other, theirs), (&self.gateway, ours)] {
            namespace.ip(&format!("address add {address} dev {device}"))?;
            namespace.ip(&format!("link set {device} up"))?;
            // What the kernel itself sends must carry whole checksums and no super-frames: AF_XDP finishes neither.
            let quiet = namespace
                .command("ethtool")
                .args(["-K", device, "tx", "off", "gro", "off"])
                .stdout(Stdio::null())
                .output();
            quiet.map_err(Failure::io("ethtool"))?;
        }
        Ok(())
    }

    /// Packets that the kernel dropped, by device.
    ///
    /// # Errors
    /// [`Failure::Command`] in the words of `ip`.
    pub fn drops(&self) -> Result<Vec<(String, u64)>, Failure> {
        let mut drops = Vec::new();
        for namespace in [&self.clients, &self.gateway, &self.lan] {
            drops.extend(namespace.drops()?);
        }
        Ok(drops)
    }
}

/// Reads six hex bytes with colons between them.
pub fn parse_mac(text: &str) -> Option<MacAddress> {
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(MacAddress(bytes))
}

/// Runs a program to its end; returns what it printed.
fn run<'a>(program: &str, arguments: impl IntoIterator<Item = &'a str>) -> Result<String, Failure> {
    let mut command = Command::new(program);
    let output = command
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(Failure::io(program))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Failure::Command(format!("{command:?}"), words));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
