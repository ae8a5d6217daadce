//! The supervisor: starts the two planes, joins them, starts them again when they die, and stops them in order.
//!
//! ```text
//! Starting ── both Ready and answering ──► Serving ── SIGTERM, SIGINT ──► Stopping: control, then data plane
//!     └── a plane fails ──► end                └── a plane dies or hangs ──► started again after a pause, joined anew
//! ```
//! It reads nothing that came over a network, and from its children only [`Report`]s.

use std::path::PathBuf;
use std::time::Duration;

use culvert_dataplane::lifeline::{Blame, Report};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{error, info, warn};

use crate::failure::Failure;

mod child;
mod notify;
mod queries;

pub use child::Start;
use child::{Child, Ended, Event, News};
use notify::Notifier;
use queries::Queries;

/// What the supervisor works with.
#[derive(Debug)]
pub struct Plan {
    /// The executable that both planes are subcommands of.
    pub program: PathBuf,
    /// What the data plane starts with.
    pub dataplane: Start,
    /// What control starts with.
    pub control: Start,
    /// Where `culvert status` asks.
    pub status_socket: PathBuf,
}

/// One of the two children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plane {
    /// Moves packets.
    Dataplane,
    /// Speaks protocols.
    Control,
}

impl Plane {
    /// The name of its subcommand and in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dataplane => "dataplane",
            Self::Control => "control",
        }
    }
}

/// How often children are asked whether they are alive.
const PING_EVERY: Duration = Duration::from_millis(500);
/// Unanswered questions after which a child is taken for hung and killed: five seconds, unless we were kept from asking.
const HUNG_AFTER: u64 = 10;
/// The same for one that is still beginning: a queue that a dead process held is released in its own time.
const STUCK_AFTER: u64 = 60;
/// How long control may take to tell peers good-bye.
const CONTROL_STOPS_WITHIN: Duration = Duration::from_secs(3);
/// How long the data plane may take to send what it holds.
const DATAPLANE_STOPS_WITHIN: Duration = Duration::from_secs(1);
const EVENTS: usize = 256;

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// A plane could not begin, another culvert runs, or the system refuses what is needed.
pub async fn run(plan: Plan) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let queries = Queries::listen(&plan.status_socket)?;
    let (events, mut news) = mpsc::channel(EVENTS);
    let mut supervisor = Supervisor {
        dataplane: Child::new(
            Plane::Dataplane,
            plan.program.clone(),
            plan.dataplane,
            events.clone(),
        ),
        control: Child::new(Plane::Control, plan.program, plan.control, events),
        queries,
        notifier: Notifier::new(),
        is_serving: false,
        wants_join: false,
    };
    supervisor.dataplane.start()?;
    supervisor.control.start()?;
    supervisor.join()?;
    let served = supervisor.serve(&mut signals, &mut news).await;
    supervisor.stop(&mut news).await;
    served
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

struct Supervisor {
    dataplane: Child,
    control: Child,
    queries: Queries,
    notifier: Notifier,
    is_serving: bool,
    /// New sockets between the planes are wanted.
    wants_join: bool,
}

impl Supervisor {
    async fn serve(
        &mut self,
        signals: &mut Signals,
        news: &mut mpsc::Receiver<Event>,
    ) -> Result<(), Failure> {
        let mut tick = interval(PING_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let next_start = self.next_start();
            tokio::select! {
                _ = signals.terminate.recv() => return Ok(()),
                _ = signals.interrupt.recv() => return Ok(()),
                _ = signals.hangup.recv() => warn!("SIGHUP ignored: restart to read the configuration again"),
                Some(event) = news.recv() => self.handle(event)?,
                _ = tick.tick() => self.tick()?,
                () = sleep_until(next_start) => self.start_again()?,
                is_first = self.queries.accept() => if is_first { self.ask() },
            }
            self.queries.answer(&self.dataplane, &self.control);
        }
    }

    const fn child(&mut self, plane: Plane) -> &mut Child {
        match plane {
            Plane::Dataplane => &mut self.dataplane,
            Plane::Control => &mut self.control,
        }
    }

    fn handle(&mut self, event: Event) -> Result<(), Failure> {
        let Event {
            plane,
            generation,
            news,
        } = event;
        if !self.child(plane).is_generation(generation) {
            return Ok(());
        }
        match news {
            News::Report(report) => self.handle_report(plane, report),
            News::Lost(error) => {
                warn!(plane = plane.name(), %error, "lifeline broken");
                self.child(plane).kill();
                Ok(())
            }
            News::Ended(ended) => self.handle_end(plane, ended),
        }
    }

    fn handle_report(&mut self, plane: Plane, report: Report) -> Result<(), Failure> {
        match report {
            Report::Ready => {
                info!(plane = plane.name(), "ready");
                self.child(plane).mark_ready();
            }
            Report::Pong(number) => {
                self.child(plane).mark_pong(number);
                self.announce();
            }
            Report::Disconnected => {
                warn!(plane = plane.name(), "lost the other plane");
                // Not at once, so that two who do not understand each other do not keep us busy.
                self.wants_join = true;
            }
            Report::Failed { blame, text } => {
                error!(plane = plane.name(), %text, "cannot begin");
                self.child(plane).mark_failed(blame, text);
            }
            Report::Status {
                question,
                bytes,
                more,
            } => {
                self.child(plane).take_status(question, &bytes, more);
            }
        }
        Ok(())
    }

    /// Tells the service manager once both are ready and have answered since.
    fn announce(&mut self) {
        if !self.is_serving && self.dataplane.is_answering() && self.control.is_answering() {
            self.is_serving = true;
            self.notifier.ready();
            info!("serving");
        }
    }

    fn handle_end(&mut self, plane: Plane, ended: Ended) -> Result<(), Failure> {
        let is_serving = self.is_serving;
        let child = self.child(plane);
        let failure = child.handle_end();
        if !is_serving {
            return Err(match failure {
                Some((Blame::Operator, text)) => Failure::Usage(text),
                Some((Blame::System, text)) => Failure::Internal(text),
                None => Failure::Internal(format!(
                    "the {} process ended while starting: {ended}",
                    plane.name()
                )),
            });
        }
        let pause = child.plan_restart();
        error!(plane = plane.name(), %ended, ?pause, "died; starting it again");
        Ok(())
    }

    fn tick(&mut self) -> Result<(), Failure> {
        for child in [&mut self.dataplane, &mut self.control] {
            if child.is_silent(HUNG_AFTER, STUCK_AFTER) {
                error!(plane = child.plane().name(), "does not answer; killing it");
                child.kill();
            }
            child.ping();
        }
        if self.is_serving && self.dataplane.is_answering() && self.control.is_answering() {
            self.notifier.alive();
        }
        self.join_if_wanted()
    }

    fn next_start(&self) -> Option<Instant> {
        [&self.dataplane, &self.control]
            .into_iter()
            .filter_map(Child::restart_due)
            .min()
    }

    fn start_again(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        for child in [&mut self.dataplane, &mut self.control] {
            if child.restart_due().is_some_and(|due| due <= now)
                && let Err(error) = child.start()
            {
                // Not enough memory or descriptors now may be enough later.
                let pause = child.plan_restart();
                error!(plane = child.plane().name(), %error, ?pause, "cannot be started");
            }
        }
        self.wants_join = true;
        self.join_if_wanted()
    }

    fn ask(&mut self) {
        self.dataplane.ask_status();
        self.control.ask_status();
    }

    fn join_if_wanted(&mut self) -> Result<(), Failure> {
        if self.wants_join && self.dataplane.is_up() && self.control.is_up() {
            return self.join();
        }
        Ok(())
    }

    /// Makes new sockets between the planes and hands out the ends.
    fn join(&mut self) -> Result<(), Failure> {
        let (commands_near, commands_far) = culvert_dataplane::ipc::pair()?;
        let (punts_near, punts_far) = culvert_dataplane::ipc::pair()?;
        self.wants_join = false;
        self.dataplane.connect(vec![commands_near, punts_near]);
        self.control.connect(vec![commands_far, punts_far]);
        Ok(())
    }

    async fn stop(mut self, news: &mut mpsc::Receiver<Event>) {
        info!("stopping");
        self.notifier.stopping().await;
        self.queries.close();
        self.stop_one(Plane::Control, CONTROL_STOPS_WITHIN, news)
            .await;
        self.stop_one(Plane::Dataplane, DATAPLANE_STOPS_WITHIN, news)
            .await;
        info!("stopped");
    }

    async fn stop_one(&mut self, plane: Plane, within: Duration, news: &mut mpsc::Receiver<Event>) {
        if !self.child(plane).is_up() {
            return;
        }
        self.child(plane).order_stop();
        if tokio::time::timeout(within, self.until_ended(plane, news))
            .await
            .is_err()
        {
            warn!(plane = plane.name(), "does not stop; killing it");
            self.child(plane).kill();
            self.until_ended(plane, news).await;
        }
    }

    async fn until_ended(&mut self, plane: Plane, news: &mut mpsc::Receiver<Event>) {
        while self.child(plane).is_up() {
            let Some(event) = news.recv().await else {
                return;
            };
            let child = self.child(event.plane);
            if child.is_generation(event.generation) && matches!(event.news, News::Ended(_)) {
                child.handle_end();
            }
        }
    }
}

async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
