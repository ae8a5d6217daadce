//! The socket that `culvert status` asks: connect, read one JSON text to its end.
//!
//! Only root and the user that the supervisor runs as get an answer (`SO_PEERCRED`), and the socket's mode is 0600 besides.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use culvert_dataplane::process;
use serde_json::Value;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::child::Child;
use super::sleep_until;
use crate::failure::Failure;

/// Most questions that wait for an answer.
const MAX_WAITING: usize = 16;
/// How long the planes may take to tell how they are.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the asker may take to read.
const WRITE_WITHIN: Duration = Duration::from_secs(10);

pub(super) struct Queries {
    listener: Option<UnixListener>,
    path: PathBuf,
    made_directory: Option<PathBuf>,
    started: Instant,
    waiting: Vec<Waiting>,
}

struct Waiting {
    asker: UnixStream,
    until: Instant,
}

impl Queries {
    pub(super) fn listen(path: &Path) -> Result<Self, Failure> {
        let made_directory = make_directory(path)?;
        remove_stale(path)?;
        let listener = bind_private(path).map_err(|error| {
            Failure::Usage(format!("status socket {}: {error}", path.display()))
        })?;
        Ok(Self {
            listener: Some(listener),
            path: path.to_owned(),
            made_directory,
            started: Instant::now(),
            waiting: Vec::new(),
        })
    }

    /// Waits for a question that may be asked, or for the time to answer those that wait; true if the planes are now to be asked.
    pub(super) async fn accept(&mut self) -> bool {
        let Some(listener) = &self.listener else {
            return std::future::pending().await;
        };
        let is_first = self.waiting.is_empty();
        let until = self.waiting.iter().map(|waiting| waiting.until).min();
        tokio::select! {
            accepted = listener.accept(), if self.waiting.len() < MAX_WAITING => match accepted {
                Ok((asker, _)) if may_ask(&asker) => {
                    let until = Instant::now() + PATIENCE;
                    self.waiting.push(Waiting { asker, until });
                    return is_first;
                }
                Ok(_) => {}
                Err(error) => {
                    warn!(%error, "status socket");
                    // Out of descriptors, most likely: give others time to close some.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            () = sleep_until(until) => {}
        }
        false
    }

    /// Answers those who wait once both planes have told, or time is up.
    pub(super) fn answer(&mut self, dataplane: &Child, control: &Child) {
        let now = Instant::now();
        let is_complete = dataplane.status().is_some() && control.status().is_some();
        if self.waiting.is_empty()
            || !(is_complete || self.waiting.iter().any(|waiting| waiting.until <= now))
        {
            return;
        }
        let text = self.text(dataplane, control);
        for Waiting { asker, .. } in self.waiting.drain(..) {
            tokio::spawn(write(asker, text.clone()));
        }
    }

    fn text(&self, dataplane: &Child, control: &Child) -> Vec<u8> {
        let packets = dataplane
            .status()
            .and_then(|told| postcard::from_bytes::<process::Status>(told).ok());
        let sessions = control
            .status()
            .and_then(|told| serde_json::from_slice::<Value>(told).ok());
        let whole = serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "supervisor": { "pid": std::process::id(), "uptime_seconds": self.started.elapsed().as_secs() },
            "dataplane": { "process": dataplane.condition(), "status": packets },
            "control": { "process": control.condition(), "status": sessions },
        });
        whole.to_string().into_bytes()
    }

    /// Hangs up and removes the socket.
    pub(super) fn close(&mut self) {
        self.waiting.clear();
        if self.listener.take().is_some() {
            if let Err(error) = std::fs::remove_file(&self.path) {
                warn!(%error, "status socket not removed");
            }
            if let Some(directory) = &self.made_directory {
                // Somebody else may have put something there.
                drop(std::fs::remove_dir(directory));
            }
        }
    }
}

impl Drop for Queries {
    fn drop(&mut self) {
        self.close();
    }
}

fn may_ask(asker: &UnixStream) -> bool {
    match asker.peer_cred() {
        Ok(peer) if peer.uid() == 0 || peer.uid() == rustix::process::geteuid().as_raw() => true,
        Ok(peer) => {
            warn!(uid = peer.uid(), "status refused");
            false
        }
        Err(error) => {
            warn!(%error, "status refused");
            false
        }
    }
}

async fn write(asker: UnixStream, text: Vec<u8>) {
    match tokio::time::timeout(WRITE_WITHIN, write_all(&asker, &text)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "status not read"),
        Err(_) => debug!("status not read in time"),
    }
}

async fn write_all(asker: &UnixStream, mut text: &[u8]) -> io::Result<()> {
    while !text.is_empty() {
        asker.writable().await?;
        match asker.try_write(text) {
            Ok(len) => text = text.get(len..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Makes the socket's directory if it is missing; returns it if so.
fn make_directory(path: &Path) -> Result<Option<PathBuf>, Failure> {
    let Some(directory) = path
        .parent()
        .filter(|directory| !directory.as_os_str().is_empty())
    else {
        return Ok(None);
    };
    if directory.exists() {
        return Ok(None);
    }
    std::fs::create_dir(directory)
        .and_then(|()| std::fs::set_permissions(directory, PermissionsExt::from_mode(0o700)))
        .map_err(|error| {
            Failure::Usage(format!(
                "status socket's directory {}: {error}",
                directory.display()
            ))
        })?;
    Ok(Some(directory.to_owned()))
}

/// Removes a socket that nobody listens on.
fn remove_stale(path: &Path) -> Result<(), Failure> {
    match StdStream::connect(path) {
        Ok(_) => Err(Failure::Usage(format!(
            "another culvert answers on {}; stop it, or set [process] status_socket",
            path.display()
        ))),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Ok(std::fs::remove_file(path)?)
        }
        Err(_) => Ok(()),
    }
}

/// Binds with nobody else able to connect at any moment.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(path);
    rustix::process::umask(before);
    listener
}
