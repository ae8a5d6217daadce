//! From a configuration and descriptors to running workers.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::{fs, io, process, thread};

use culvert_crypto::Engine;
use tokio::sync::Notify;
use tracing::{error, info, warn};

use super::hops::Hops;
use super::resolver::Resolver;
use super::{Lane, NEIGHBOURS, Neighbours, PacketCores};
use crate::api::{CoreDevice, CoreId, DataplaneConfig, Device, WorkerConfig};
use crate::handoff::{self, Exchange};
use crate::lifeline::Blame;
use crate::link::{self, Link};
use crate::mem::continuity::Continuity;
use crate::port::Port;
use crate::port::xdp::{self, Bound, XdpPort};
use crate::process::StartError;
use crate::ring::Endpoint;
use crate::worker::{self, Worker};
use crate::xdp::{SocketMap, Verdicts};

/// Peers' addresses that are watched beyond those of sets.
const PASSING: usize = 4_096;

/// Starts a worker for each configured core. Within a `LocalSet`.
///
/// `fds`: the continuity memory, the socket maps of the outer and of the core side, and the counters of the XDP programs.
///
/// # Errors
/// The packet crypto computes wrongly, a queue cannot be bound, or the system lacks something; the text says what to do.
pub fn start(config: DataplaneConfig, fds: Vec<OwnedFd>) -> Result<PacketCores, StartError> {
    let Ok([continuity, outer_sockets, core_sockets, verdicts]) = <[OwnedFd; 4]>::try_from(fds)
    else {
        return Err(StartError::system("wrong number of descriptors"));
    };
    let engine = Engine::choose();
    culvert_crypto::self_test(engine).map_err(StartError::system)?;
    info!(engine = engine.name(), "packet crypto checked");
    let mut continuity = Continuity::open(&continuity).map_err(StartError::system)?;
    let mut outer_sockets = SocketMap::new(outer_sockets).map_err(StartError::system)?;
    let mut core_sockets = SocketMap::new(core_sockets).map_err(StartError::system)?;
    let news = Arc::new(Notify::new());
    let mut exchanges = exchanges(&config).map_err(StartError::system)?.into_iter();
    let mut lanes = Vec::new();
    for (index, settings) in config.workers.iter().enumerate() {
        let core = CoreId(u8::try_from(index).map_err(StartError::system)?);
        let bound = bind(core, &config, settings)?;
        let [outer, inner] = &bound.ports;
        steer(&mut outer_sockets, settings.outer_queue, outer)?;
        steer(&mut core_sockets, settings.core_queue, inner)?;
        let shards = || worker::shards(config.limits.shards, core, config.workers.len());
        let slots = continuity.split_off(shards());
        let (near, link) = link::pair(core).map_err(StartError::system)?;
        let [outer, inner] = bound.ports;
        let worker = Worker::new(&config, (outer, inner), bound.pool, shards(), slots, near);
        let worker = match exchanges.next() {
            Some(exchange) => worker.joined_by(exchange),
            None => worker,
        };
        lanes.push(lane(link, worker, settings.cpu, &news)?);
    }
    let (outer, inner) = resolvers(&config).map_err(StartError::system)?;
    Ok(PacketCores {
        lanes,
        news,
        outer,
        hops: Hops::new(PASSING),
        parked: std::collections::BTreeMap::new(),
        parked_count: 0,
        neighbours: inner,
        verdicts: Verdicts::new(verdicts).map_err(StartError::system)?,
        answers: std::collections::VecDeque::new(),
    })
}

fn resolvers(config: &DataplaneConfig) -> io::Result<(Resolver, Option<Neighbours>)> {
    let sets = usize::try_from(config.limits.sets).unwrap_or(usize::MAX);
    let limit = sets
        .saturating_mul(config.workers.len())
        .saturating_add(PASSING + 1);
    let outer = Resolver::start(&config.outer, limit)?;
    let CoreDevice::Nic(device) = &config.core else {
        return Ok((outer, None));
    };
    let inner = Neighbours {
        resolver: Resolver::start(device, NEIGHBOURS + 1)?,
        hops: Hops::new(NEIGHBOURS),
        askers: std::collections::BTreeMap::new(),
    };
    Ok((outer, Some(inner)))
}

const fn core_device(config: &DataplaneConfig) -> &Device {
    match &config.core {
        CoreDevice::Veth { device, .. } | CoreDevice::Nic(device) => device,
    }
}

fn bind(
    core: CoreId,
    config: &DataplaneConfig,
    settings: &WorkerConfig,
) -> Result<Bound<2>, StartError> {
    let endpoints = [
        Endpoint {
            device: &config.outer.name,
            queue: settings.outer_queue,
        },
        Endpoint {
            device: &core_device(config).name,
            queue: settings.core_queue,
        },
    ];
    let bound = xdp::bind(core, config.limits.frames, endpoints).map_err(|error| StartError {
        blame: Blame::Operator,
        text: error.to_string(),
    })?;
    info!(core = core.0, mode = ?bound.mode, "queues bound");
    Ok(bound)
}

fn steer(map: &mut SocketMap, queue: u32, port: &XdpPort) -> Result<(), StartError> {
    let socket = port
        .fd()
        .ok_or_else(|| StartError::system("a port without socket"))?;
    map.set(queue, socket).map_err(StartError::system)
}

/// The rings between the cores, if there are several.
fn exchanges(config: &DataplaneConfig) -> io::Result<Vec<Exchange>> {
    match config.workers.len() {
        1 => Ok(Vec::new()),
        workers => handoff::mesh(workers, config.limits.shards, config.limits.sessions),
    }
}

fn lane(
    link: Link,
    worker: Worker<XdpPort>,
    cpu: Option<usize>,
    news: &Arc<Notify>,
) -> Result<Lane, StartError> {
    let core = link.core();
    let thread = thread::Builder::new()
        .name(format!("culvert-core{}", core.0))
        .spawn(move || work(worker, core, cpu))
        .map_err(StartError::system)?;
    watch(&link, Arc::clone(news)).map_err(StartError::system)?;
    Ok(Lane {
        link,
        thread,
        waiting: std::collections::VecDeque::new(),
        in_flight: 0,
        snapshot: Box::default(),
        // Nothing was asked of it yet.
        has_counted: true,
    })
}

/// The body of a worker's thread.
fn work(worker: Worker<XdpPort>, core: CoreId, cpu: Option<usize>) {
    // Half a data plane is worse than none: the supervisor starts a whole one.
    let _die_together = DieTogether;
    if let Some(id) = cpu
        && !core_affinity::set_for_current(core_affinity::CoreId { id })
    {
        warn!(
            core = core.0,
            cpu = id,
            "not pinned: there is no such CPU, or it is not ours"
        );
    }
    if let Err(error) = worker.run() {
        error!(core = core.0, %error, "worker failed");
        process::exit(1);
    }
}

struct DieTogether;

impl Drop for DieTogether {
    fn drop(&mut self) {
        if thread::panicking() {
            process::abort();
        }
    }
}

/// Wakes the ordinary thread when the worker has something to say.
fn watch(link: &Link, news: Arc<Notify>) -> io::Result<()> {
    let ready = link.ready().try_clone_to_owned()?;
    let ready = crate::ipc::watched(fs::File::from(ready))?;
    tokio::task::spawn_local(async move {
        let mut count = [0; 8];
        while let Ok(mut guard) = ready.readable().await {
            // Reading makes it quiet; whoever is told looks after that, so nothing is missed.
            if guard
                .try_io(|ready| ready.get_ref().read(&mut count))
                .is_ok_and(|read| read.is_err())
            {
                return;
            }
            news.notify_one();
        }
    });
    Ok(())
}
