//! One child process: its lifeline, its signs of life, and when it is started again.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use culvert_dataplane::ipc::{self, Receiver, Sender};
use culvert_dataplane::lifeline::{self, Blame, Order, Report};
use tokio::process::Command;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::{info, warn};

use super::Plane;
use crate::logging;

/// First pause before a child is started again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause.
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// A child that lived this long is started again with the first pause.
const STEADY_AFTER: Duration = Duration::from_secs(10);
/// Longest status of one child, in bytes.
const MAX_STATUS: usize = 64 * 1024 * 1024;

/// What a child starts with.
#[derive(Debug)]
pub struct Start {
    /// Arguments of the executable.
    pub arguments: Vec<String>,
    /// The sealed configuration, then what else the plane needs.
    pub fds: Vec<OwnedFd>,
}

/// Something happened to a child.
pub(super) struct Event {
    pub(super) plane: Plane,
    pub(super) generation: u64,
    pub(super) news: News,
}

pub(super) enum News {
    Report(Report),
    Lost(String),
    Ended(Ended),
}

/// How a child ended.
pub(super) struct Ended(io::Result<ExitStatus>);

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Ok(status) => status.fmt(f),
            Err(error) => error.fmt(f),
        }
    }
}

pub(super) struct Child {
    plane: Plane,
    program: PathBuf,
    start: Start,
    events: mpsc::Sender<Event>,
    generation: u64,
    life: Life,
    pause: Duration,
}

enum Life {
    Down { due: Option<Instant> },
    Up(Box<Up>),
}

struct Up {
    pid: Option<u32>,
    orders: Sender<Order>,
    kill: Option<oneshot::Sender<()>>,
    since: Instant,
    pings: u64,
    /// The newest ping that it answered.
    answered: u64,
    is_ready: bool,
    is_answering: bool,
    failure: Option<(Blame, String)>,
    status: StatusText,
}

#[derive(Default)]
struct StatusText {
    question: u64,
    growing: Vec<u8>,
    whole: Option<Vec<u8>>,
}

/// How a child is, for `culvert status`.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Condition {
    pub(super) state: String,
    pub(super) pid: Option<u32>,
    pub(super) uptime_seconds: Option<u64>,
    pub(super) restarts: u64,
}

impl Child {
    pub(super) const fn new(
        plane: Plane,
        program: PathBuf,
        start: Start,
        events: mpsc::Sender<Event>,
    ) -> Self {
        Self {
            plane,
            program,
            start,
            events,
            generation: 0,
            life: Life::Down { due: None },
            pause: FIRST_PAUSE,
        }
    }

    pub(super) const fn plane(&self) -> Plane {
        self.plane
    }

    pub(super) const fn is_generation(&self, generation: u64) -> bool {
        self.generation == generation
    }

    pub(super) const fn is_up(&self) -> bool {
        matches!(self.life, Life::Up(_))
    }

    const fn up(&mut self) -> Option<&mut Up> {
        match &mut self.life {
            Life::Up(up) => Some(up),
            Life::Down { .. } => None,
        }
    }

    /// Starts the process and hands it what it starts with.
    pub(super) fn start(&mut self) -> io::Result<()> {
        let (ours, theirs) = ipc::pair()?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.start.arguments)
            .env_clear()
            .envs(logging::environment())
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .kill_on_drop(true);
        let process = command.spawn()?;
        drop(command);
        let (mut orders, reports) = ipc::channel::<Order, Report>(ours, lifeline::QUEUE_BYTES)?;
        let fds: io::Result<Vec<_>> = self.start.fds.iter().map(OwnedFd::try_clone).collect();
        orders
            .push_with_fds(&Order::Start, fds?)
            .map_err(io::Error::other)?;
        self.generation += 1;
        info!(plane = self.plane.name(), pid = process.id(), "started");
        let (kill, killed) = oneshot::channel();
        self.life = Life::Up(Box::new(Up {
            pid: process.id(),
            orders,
            kill: Some(kill),
            since: Instant::now(),
            pings: 0,
            answered: 0,
            is_ready: false,
            is_answering: false,
            failure: None,
            status: StatusText::default(),
        }));
        tokio::spawn(watch(
            process,
            killed,
            reports,
            self.plane,
            self.generation,
            self.events.clone(),
        ));
        self.flush();
        Ok(())
    }

    /// Hands it its ends of the sockets between the planes.
    pub(super) fn connect(&mut self, ends: Vec<OwnedFd>) {
        self.order(&Order::Connect, ends);
    }

    pub(super) fn ping(&mut self) {
        if let Some(up) = self.up() {
            up.pings += 1;
            let ping = Order::Ping(up.pings);
            self.order(&ping, Vec::new());
        }
    }

    pub(super) fn ask_status(&mut self) {
        if let Some(up) = self.up() {
            up.status = StatusText {
                question: up.status.question + 1,
                ..StatusText::default()
            };
            let question = up.status.question;
            self.order(&Order::Status { question }, Vec::new());
        }
    }

    pub(super) fn order_stop(&mut self) {
        self.order(&Order::Stop, Vec::new());
    }

    fn order(&mut self, order: &Order, fds: Vec<OwnedFd>) {
        let Some(up) = self.up() else {
            return;
        };
        let queued = if fds.is_empty() {
            up.orders.push(order)
        } else {
            up.orders.push_with_fds(order, fds)
        };
        if let Err(error) = queued {
            warn!(plane = self.plane.name(), %error, "does not read orders; killing it");
            self.kill();
        }
        self.flush();
    }

    fn flush(&mut self) {
        // A child that is gone is noticed by its end, not here.
        if let Some(up) = self.up()
            && let Err(error) = up.orders.try_flush()
        {
            tracing::debug!(plane = self.plane.name(), %error, "orders not sent");
        }
    }

    pub(super) fn kill(&mut self) {
        if let Some(kill) = self.up().and_then(|up| up.kill.take()) {
            // It has ended already if nobody listens.
            let _ = kill.send(());
        }
    }

    pub(super) fn mark_ready(&mut self) {
        if let Some(up) = self.up() {
            up.is_ready = true;
        }
    }

    pub(super) fn mark_pong(&mut self, number: u64) {
        if let Some(up) = self.up()
            && number <= up.pings
        {
            up.answered = number;
            up.is_answering = up.is_ready;
        }
    }

    pub(super) fn mark_failed(&mut self, blame: Blame, text: String) {
        if let Some(up) = self.up() {
            up.failure = Some((blame, text));
        }
    }

    pub(super) fn take_status(&mut self, question: u64, bytes: &[u8], more: bool) {
        if let Some(up) = self.up()
            && up.status.question == question
            && up.status.growing.len() + bytes.len() <= MAX_STATUS
        {
            up.status.growing.extend_from_slice(bytes);
            if !more {
                up.status.whole = Some(std::mem::take(&mut up.status.growing));
            }
        }
    }

    /// The status it told since it was last asked; empty if it is down.
    pub(super) fn status(&self) -> Option<&[u8]> {
        match &self.life {
            // One that was started since the question was put is not asked.
            Life::Up(up) if up.status.question == 0 => Some(&[]),
            Life::Up(up) => up.status.whole.as_deref(),
            Life::Down { .. } => Some(&[]),
        }
    }

    /// Ready, and has answered since.
    pub(super) const fn is_answering(&self) -> bool {
        match &self.life {
            Life::Up(up) => up.is_answering,
            Life::Down { .. } => false,
        }
    }

    /// Whether it left as many questions unanswered in a row: `once_ready`, or `before` it is.
    pub(super) const fn is_silent(&self, once_ready: u64, before: u64) -> bool {
        match &self.life {
            Life::Up(up) => {
                let bound = if up.is_ready { once_ready } else { before };
                up.pings - up.answered > bound
            }
            Life::Down { .. } => false,
        }
    }

    /// It has ended; tells why it could not begin, if it said so.
    pub(super) fn handle_end(&mut self) -> Option<(Blame, String)> {
        let Life::Up(up) = std::mem::replace(&mut self.life, Life::Down { due: None }) else {
            return None;
        };
        if up.since.elapsed() >= STEADY_AFTER {
            self.pause = FIRST_PAUSE;
        }
        up.failure
    }

    /// Sets the time of the next start and doubles the pause for the one after.
    pub(super) fn plan_restart(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(LAST_PAUSE);
        self.life = Life::Down {
            due: Some(Instant::now() + pause),
        };
        pause
    }

    pub(super) const fn restart_due(&self) -> Option<Instant> {
        match self.life {
            Life::Down { due } => due,
            Life::Up(_) => None,
        }
    }

    pub(super) fn condition(&self) -> Condition {
        let (state, pid, since) = match &self.life {
            Life::Up(up) if up.is_ready => ("serving", up.pid, Some(up.since)),
            Life::Up(up) => ("starting", up.pid, Some(up.since)),
            Life::Down { .. } => ("down", None, None),
        };
        Condition {
            state: state.to_owned(),
            pid,
            uptime_seconds: since.map(|since| since.elapsed().as_secs()),
            restarts: self.generation.saturating_sub(1),
        }
    }
}

/// Follows a child to its end: passes on its reports, then tells how it ended.
async fn watch(
    mut process: tokio::process::Child,
    mut killed: oneshot::Receiver<()>,
    mut reports: Receiver<Report>,
    plane: Plane,
    generation: u64,
    events: mpsc::Sender<Event>,
) {
    let tell = async |news| {
        // The supervisor that does not listen any more is ending.
        drop(
            events
                .send(Event {
                    plane,
                    generation,
                    news,
                })
                .await,
        );
    };
    let mut is_open = true;
    let mut may_be_killed = true;
    let ended = loop {
        tokio::select! {
            received = reports.recv(), if is_open => match received {
                Ok(Some(received)) => for report in received.messages {
                    tell(News::Report(report)).await;
                },
                Ok(None) => is_open = false,
                Err(error) => {
                    is_open = false;
                    tell(News::Lost(error.to_string())).await;
                }
            },
            order = &mut killed, if may_be_killed => {
                may_be_killed = false;
                if order.is_ok() && let Err(error) = process.start_kill() {
                    warn!(plane = plane.name(), %error, "cannot be killed");
                }
            },
            status = process.wait() => break Ended(status),
        }
    };
    // What it said before it ended may still wait.
    while is_open {
        match reports.recv().await {
            Ok(Some(received)) => {
                for report in received.messages {
                    tell(News::Report(report)).await;
                }
            }
            Ok(None) | Err(_) => is_open = false,
        }
    }
    tell(News::Ended(ended)).await;
}
