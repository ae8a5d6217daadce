//! What the service manager is told: the datagrams of sd_notify(3), sent without ever waiting long for one who does not read.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram as StdDatagram};
use std::time::Duration;

use tokio::net::UnixDatagram;
use tracing::warn;

/// How long the last words may take.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(1);

/// Speaks to the socket that `NOTIFY_SOCKET` named at start, if any.
pub(super) struct Notifier {
    socket: Option<UnixDatagram>,
    wants_watchdog: bool,
    owes_ready: bool,
}

impl Notifier {
    /// Looks into the environment; inside a Tokio runtime.
    pub(super) fn new() -> Self {
        let socket = env::var_os("NOTIFY_SOCKET").and_then(|name| match connect(&name) {
            Ok(socket) => Some(socket),
            Err(error) => {
                warn!(%error, "the service manager's socket cannot be used");
                None
            }
        });
        Self {
            socket,
            wants_watchdog: wants_watchdog(),
            owes_ready: false,
        }
    }

    /// Tells that we serve; told again with [`alive`](Self::alive) until it is heard.
    pub(super) fn ready(&mut self) {
        self.owes_ready = !self.try_tell("READY=1\nSTATUS=serving\n");
    }

    /// Tells that both planes are alive.
    pub(super) fn alive(&mut self) {
        if self.owes_ready {
            self.ready();
        }
        if self.wants_watchdog {
            // Another one follows soon.
            self.try_tell("WATCHDOG=1\n");
        }
    }

    /// Tells that we stop.
    pub(super) async fn stopping(&self) {
        let Some(socket) = &self.socket else {
            return;
        };
        let told = tokio::time::timeout(LAST_WORDS_WITHIN, socket.send(b"STOPPING=1\n")).await;
        if !matches!(told, Ok(Ok(_))) {
            warn!("the service manager was not told that we stop");
        }
    }

    /// Whether it was told, or there is nobody to tell.
    fn try_tell(&self, text: &str) -> bool {
        let Some(socket) = &self.socket else {
            return true;
        };
        match socket.try_send(text.as_bytes()) {
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) => {
                warn!(%error, "the service manager was not told");
                true
            }
        }
    }
}

/// `@` stands for the zero byte of an abstract name.
fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = StdDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    UnixDatagram::from_std(socket)
}

fn wants_watchdog() -> bool {
    let for_us = env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
    for_us && env::var_os("WATCHDOG_USEC").is_some()
}
