//! Namespaces made for one test and removed with it.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Whether namespaces can be made here; says so loudly if not.
pub(crate) fn can_run(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED {test}: it makes network namespaces and needs root");
    }
    root
}

/// A network namespace, removed on drop.
pub(crate) struct Namespace(String);

impl Namespace {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ports-{}-{number}", std::process::id());
        run("ip", &format!("netns add {name}"));
        run("ip", &format!("-n {name} link set lo up"));
        Self(name)
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// Runs `ip` in it.
    pub(crate) fn ip(&self, arguments: &str) -> String {
        run("ip", &format!("-n {} {arguments}", self.0))
    }

    /// Runs a command in it.
    pub(crate) fn exec(&self, command: &str) -> String {
        run("ip", &format!("netns exec {} {command}", self.0))
    }

    /// Runs `work` on a thread inside it.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                enter_by_name(&self.0);
                work()
            });
            inside.join().expect("the work in the namespace panicked")
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A panic here while a test fails would hide why.
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// Moves the calling thread into a namespace for good.
pub(crate) fn enter_by_name(name: &str) {
    let file = File::open(format!("/run/netns/{name}")).unwrap();
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

/// Runs a command to its end and returns what it prints.
pub(crate) fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program)
        .args(arguments.split(' '))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// A client and a gateway namespace with a veth pair between them: `client0` (10.77.0.1) and `gateway0` (10.77.0.2).
///
/// The client's end finishes its checksums itself, since what AF_XDP receives is what stands on the wire.
pub(crate) struct Pair {
    pub(crate) client: Namespace,
    pub(crate) gateway: Namespace,
}

impl Pair {
    pub(crate) fn new(queues: u32, mtu: u16) -> Self {
        let (client, gateway) = (Namespace::new(), Namespace::new());
        let queues = format!("numrxqueues {queues} numtxqueues {queues}");
        let peer = format!("netns {} name gateway0 {queues}", gateway.name());
        client.ip(&format!("link add client0 {queues} type veth peer {peer}"));
        client.exec("ethtool -K client0 tx off tso off gso off");
        client.ip(&format!("link set client0 up mtu {mtu}"));
        gateway.ip(&format!("link set gateway0 up mtu {mtu}"));
        client.ip("addr add 10.77.0.1/24 dev client0");
        gateway.ip("addr add 10.77.0.2/24 dev gateway0");
        let mac = gateway.exec("cat /sys/class/net/gateway0/address");
        client.ip(&format!(
            "neigh add 10.77.0.2 lladdr {} dev client0",
            mac.trim()
        ));
        Self { client, gateway }
    }
}
