//! Our own engines.

use arrayvec::ArrayVec;
use culvert_crypto::{Engine, OpenContext, OpenOp, SealContext, SealOp, Suite};

use super::traffic::{AAD_LEN, Direction, Layout, Traffic};
use super::{BURST, Burst, Contestant};

/// Each engine that this CPU can run, the fastest first.
pub(super) fn contestants(traffic: &Traffic) -> Vec<Contestant> {
    let suite = traffic.work().suite;
    let mut all: Vec<Contestant> = Engine::available()
        .map(|engine| Contestant {
            name: format!("culvert-{}", engine.name()),
            layout: Layout::Apart,
            burst: match traffic.work().direction {
                Direction::Seal => sealer(engine, suite, traffic),
                Direction::Open => opener(engine, suite, traffic),
            },
        })
        .collect();
    all.reverse();
    all
}

fn sealer(engine: Engine, suite: Suite, traffic: &Traffic) -> Burst {
    let contexts: Vec<SealContext> = traffic
        .keys
        .iter()
        .filter_map(|key| SealContext::new(engine, suite, key).ok())
        .collect();
    Box::new(move |jobs| {
        let count = jobs.len();
        let mut ops: ArrayVec<SealOp<'_>, BURST> = jobs
            .iter_mut()
            .filter_map(|job| {
                let destination = &mut job.destination[AAD_LEN..];
                SealOp::new(
                    &contexts[job.key],
                    &job.aad,
                    job.iv,
                    job.source,
                    destination,
                )
                .ok()
            })
            .collect();
        engine.seal_burst(&mut ops);
        ops.len() == count
    })
}

fn opener(engine: Engine, suite: Suite, traffic: &Traffic) -> Burst {
    let contexts: Vec<OpenContext> = traffic
        .keys
        .iter()
        .filter_map(|key| OpenContext::new(engine, suite, key).ok())
        .collect();
    Box::new(move |jobs| {
        let count = jobs.len();
        let mut ops: ArrayVec<OpenOp<'_>, BURST> = jobs
            .iter_mut()
            .filter_map(|job| {
                let (aad, source) = job.source.split_at(AAD_LEN);
                OpenOp::new(&contexts[job.key], aad, source, job.destination).ok()
            })
            .collect();
        engine.open_burst(&mut ops).count() as usize == count
    })
}
