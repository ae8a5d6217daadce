//! What runs on the measured core: Culvert's worker with one client, free or held, and the forwarder.

use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use culvert_crypto::Suite;
use culvert_dataplane::api::{Answer, CoreId, Ticket};
use culvert_dataplane::frame::{BATCH, FramePool, Frames};
use culvert_dataplane::link::{self, Link, Report, Snapshot};
use culvert_dataplane::mem::continuity::{self, Continuity};
use culvert_dataplane::moment::Moment;
use culvert_dataplane::port::xdp::XdpPort;
use culvert_dataplane::port::{Port, PortStatistics};
use culvert_dataplane::worker::Worker;
use culvert_wire::eth::MacAddress;

use super::client::{self, WINDOW};
use super::scene::{Pair, Scene};
use crate::failure::Failure;
use crate::measure::Placement;

/// How long a thread may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Turns that carry out all commands of an installation, and more.
const SETTLE: usize = 16;

/// Culvert's worker in its own loop.
pub(super) struct Gateway {
    control: Control,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

/// The ends of a worker's queues.
struct Control {
    link: Link,
    next_hop: MacAddress,
}

/// A worker, and the ends of its queues.
fn worker(pair: Pair, scene: &Scene, queue: u32) -> Result<(Worker<XdpPort>, Control), Failure> {
    let config = client::config(scene, queue);
    let memory = continuity::create(1, WINDOW).map_err(Failure::io("continuity memory"))?;
    let memory = Continuity::open(&memory)
        .map_err(|error| Failure::Gateway(format!("continuity memory: {error}")))?;
    let (near, link) = link::pair(CoreId(0)).map_err(Failure::io("worker's queues"))?;
    let Pair { outer, core, pool } = pair;
    let worker = Worker::new(&config, (outer, core), pool, 0..1, memory, near);
    let next_hop = scene.macs.c0;
    Ok((worker, Control { link, next_hop }))
}

impl Control {
    /// Asks for the client's rows afresh; the answers are yet to come.
    fn submit(&self, suite: Suite) -> Result<usize, Failure> {
        let commands = client::commands(suite);
        for command in &commands {
            self.link
                .submit(Ticket(1), command.clone(), Some(self.next_hop))
                .map_err(|refusal| Failure::Gateway(format!("not installed: {refusal:?}")))?;
        }
        Ok(commands.len())
    }

    fn confirm(&mut self, commands: usize) -> Result<(), Failure> {
        for _ in 0..commands {
            let report = self.next()?;
            if !matches!(report, Report::Answer(Answer::Done(_))) {
                return Err(Failure::Gateway(format!("not installed: {report:?}")));
            }
        }
        Ok(())
    }

    /// The next answer or snapshot; events are passed over.
    fn next(&mut self) -> Result<Report, Failure> {
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            match self.link.poll() {
                Some(Report::Answer(Answer::Event(..)) | Report::WantNeighbour(_)) => {}
                Some(report) => return Ok(report),
                None => thread::sleep(Duration::from_micros(100)),
            }
        }
        Err(Failure::Gateway("the worker is silent".to_owned()))
    }
}

impl Gateway {
    /// Starts it on `core`.
    ///
    /// # Errors
    /// [`Failure::Io`] if the system lacks something.
    pub(super) fn start(pair: Pair, scene: &Scene, core: Option<usize>) -> Result<Self, Failure> {
        let (worker, control) = worker(pair, scene, 0)?;
        let thread = thread::Builder::new().name("wire-free".to_owned());
        let thread = thread.spawn(move || {
            Placement::take(core);
            worker.run()
        });
        Ok(Self {
            control,
            thread: Some(thread.map_err(Failure::io("worker's thread"))?),
        })
    }

    /// Installs the client afresh: sequence numbers and replay window begin anew.
    ///
    /// # Errors
    /// [`Failure::Gateway`] if the worker refuses.
    pub(super) fn install(&mut self, suite: Suite) -> Result<(), Failure> {
        let commands = self.control.submit(suite)?;
        self.control.confirm(commands)
    }

    /// All its counters.
    ///
    /// # Errors
    /// [`Failure::Gateway`] if it does not answer.
    pub(super) fn count(&mut self) -> Result<Snapshot, Failure> {
        let refused = |refusal| Failure::Gateway(format!("not counted: {refusal:?}"));
        self.control.link.count().map_err(refused)?;
        loop {
            if let Report::Counted(snapshot) = self.control.next()? {
                return Ok(*snapshot);
            }
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.control.link.stop();
        if let Some(thread) = self.thread.take() {
            // What it measured is known already.
            let _ = thread.join();
        }
    }
}

/// What a held thread is told.
#[derive(PartialEq, Eq)]
enum Order {
    /// Go round so often.
    Turns(usize),
    /// Go round until so many frames have gone through, at most for [`PATIENCE`].
    Frames(u64),
    /// Go round until the next order.
    Freely,
    /// Stop going round.
    Pause,
}

/// What a held thread says after each order but [`Order::Freely`].
pub(super) struct Done {
    /// How long it went round.
    pub(super) elapsed: Duration,
    /// Counters of the outer and the core port, where the loop can read them.
    pub(super) ports: [PortStatistics; 2],
}

/// A loop that goes round when it is told.
trait Loop: Send {
    /// Once round: receive a batch from each side, work it, send it, wake the kernel.
    fn turn(&mut self);

    /// Frames received since it was made.
    fn received(&self) -> u64;

    /// Counters of the ports.
    fn ports(&self) -> [PortStatistics; 2];
}

/// A loop on a thread of its own.
struct Stepped {
    orders: Option<Sender<Order>>,
    done: Receiver<Done>,
    thread: Option<JoinHandle<()>>,
}

impl Stepped {
    fn start(name: &str, core: Option<usize>, body: impl Loop + 'static) -> Result<Self, Failure> {
        let (orders, to_do) = channel();
        let (say, done) = channel();
        let thread = thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn(move || {
            Placement::take(core);
            step(body, &to_do, &say);
        });
        Ok(Self {
            orders: Some(orders),
            done,
            thread: Some(thread.map_err(Failure::io("a thread"))?),
        })
    }

    fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // It ends only with us; that it does not answer is noticed below.
            let _ = orders.send(order);
        }
    }

    fn ask(&self, order: Order) -> Result<Done, Failure> {
        self.order(order);
        self.done
            .recv_timeout(2 * PATIENCE)
            .map_err(|_| Failure::Gateway("a held loop is silent".to_owned()))
    }
}

impl Drop for Stepped {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The body of a held thread.
fn step(mut body: impl Loop, to_do: &Receiver<Order>, say: &Sender<Done>) {
    while let Ok(order) = to_do.recv() {
        let start = Instant::now();
        match order {
            Order::Turns(turns) => (0..turns).for_each(|_| body.turn()),
            Order::Frames(frames) => {
                let wanted = body.received() + frames;
                while body.received() < wanted && start.elapsed() < PATIENCE {
                    body.turn();
                }
            }
            Order::Freely => {
                while to_do.try_recv() == Err(TryRecvError::Empty) {
                    body.turn();
                }
            }
            Order::Pause => {}
        }
        let done = Done {
            elapsed: start.elapsed(),
            ports: body.ports(),
        };
        if say.send(done).is_err() {
            return;
        }
    }
}

/// Culvert's worker, whose turns are told.
pub(super) struct Held {
    control: Control,
    stepped: Stepped,
}

impl Held {
    /// Makes its thread on `core`.
    ///
    /// # Errors
    /// [`Failure::Io`] if the system lacks something.
    pub(super) fn start(pair: Pair, scene: &Scene, core: Option<usize>) -> Result<Self, Failure> {
        let (worker, control) = worker(pair, scene, 2)?;
        let body = Turning {
            worker,
            start: Instant::now(),
        };
        let stepped = Stepped::start("wire-held", core, body)?;
        Ok(Self { control, stepped })
    }

    /// Installs the client afresh.
    ///
    /// # Errors
    /// [`Failure::Gateway`] if the worker refuses.
    pub(super) fn install(&mut self, suite: Suite) -> Result<(), Failure> {
        let commands = self.control.submit(suite)?;
        self.stepped.ask(Order::Turns(SETTLE))?;
        self.control.confirm(commands)
    }

    /// Lets it work the `frames` that wait.
    ///
    /// # Errors
    /// [`Failure::Gateway`] if its thread is gone.
    pub(super) fn work(&self, frames: u64) -> Result<Done, Failure> {
        self.stepped.ask(Order::Frames(frames))
    }
}

struct Turning {
    worker: Worker<XdpPort>,
    start: Instant,
}

impl Loop for Turning {
    fn turn(&mut self) {
        let micros = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.worker.turn(Moment::from_micros(micros));
    }

    fn received(&self) -> u64 {
        let counters = &self.worker.rows().counters;
        counters.outer.received + counters.core.received
    }

    fn ports(&self) -> [PortStatistics; 2] {
        [PortStatistics::default(); 2]
    }
}

/// The loop that only moves frames.
pub(super) struct Forwarder(Stepped);

impl Forwarder {
    /// Makes its thread on `core`.
    ///
    /// # Errors
    /// [`Failure::Io`] if the system lacks something.
    pub(super) fn start(pair: Pair, core: Option<usize>) -> Result<Self, Failure> {
        let body = Forwarding {
            pair,
            frames: Frames::new(),
            received: 0,
        };
        Stepped::start("wire-forwarder", core, body).map(Self)
    }

    /// Lets it work the `frames` that wait.
    ///
    /// # Errors
    /// [`Failure::Gateway`] if its thread is gone.
    pub(super) fn work(&self, frames: u64) -> Result<Done, Failure> {
        self.0.ask(Order::Frames(frames))
    }

    /// Lets it go round until [`Forwarder::pause`].
    pub(super) fn resume(&self) {
        self.0.order(Order::Freely);
    }

    /// Stops it, and reads its counters.
    ///
    /// # Errors
    /// [`Failure::Gateway`] if its thread is gone.
    pub(super) fn pause(&self) -> Result<Done, Failure> {
        self.0.ask(Order::Pause)
    }

    /// Reads its counters while it stands.
    ///
    /// # Errors
    /// [`Failure::Gateway`] if its thread is gone.
    pub(super) fn count(&self) -> Result<Done, Failure> {
        self.0.ask(Order::Turns(0))
    }
}

struct Forwarding {
    pair: Pair,
    frames: Frames,
    received: u64,
}

impl Loop for Forwarding {
    /// Receive, transmit on the other device, wake the kernel: nothing else.
    fn turn(&mut self) {
        let Self {
            pair: Pair { outer, core, pool },
            frames,
            received,
        } = self;
        *received += pass(outer, core, pool, frames);
        *received += pass(core, outer, pool, frames);
        outer.wake();
        core.wake();
    }

    fn received(&self) -> u64 {
        self.received
    }

    fn ports(&self) -> [PortStatistics; 2] {
        [self.pair.outer.statistics(), self.pair.core.statistics()]
    }
}

/// What the other port does not take is dropped, as by Culvert's worker.
fn pass(from: &mut XdpPort, to: &mut XdpPort, pool: &mut FramePool, frames: &mut Frames) -> u64 {
    let count = from.receive(pool, frames);
    to.transmit(pool, frames);
    frames.take_front(BATCH).for_each(|frame| pool.give(frame));
    count as u64
}
