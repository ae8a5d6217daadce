//! A worker on a thread of its own, driven through its link alone.

use std::thread;

use culvert_dataplane::api::{Answer, Command, CoreId, Ticket};
use culvert_dataplane::frame::FramePool;
use culvert_dataplane::link::{self, Link, Report};
use culvert_dataplane::mem::continuity::{self, Continuity};
use culvert_dataplane::moment::Moment;
use culvert_dataplane::port::memory;
use culvert_dataplane::worker::Worker;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::gateway::{FRAMES, config};

/// The next thing that the worker says; waits for its signal, and fails if none comes.
fn next(link: &mut Link) -> Report {
    loop {
        link.acknowledge();
        if let Some(report) = link.poll() {
            return report;
        }
        let patience = Timespec {
            tv_sec: 10,
            tv_nsec: 0,
        };
        let ready = link.ready();
        let mut fds = [PollFd::from_borrowed_fd(ready, PollFlags::IN)];
        assert_eq!(
            poll(&mut fds, Some(&patience)).unwrap(),
            1,
            "the worker is silent"
        );
    }
}

#[test]
fn a_sleeping_worker_wakes_for_orders_and_ends_when_told() {
    let config = config();
    let continuity = Continuity::open(&continuity::create(1, 64).unwrap()).unwrap();
    let (outer, _wire) = memory::pair(64);
    let (core, _network) = memory::pair(64);
    let (near, mut link) = link::pair(CoreId(0)).unwrap();
    let pool = FramePool::in_memory(CoreId(0), FRAMES);
    let mut worker = Worker::new(&config, (outer, core), pool, 0..1, continuity, near);
    worker.turn(Moment::START);
    let thread = thread::spawn(move || worker.run());
    for number in 0..200 {
        // Each order but the first may find it asleep, on the way there, or awake.
        if number % 7 == 0 {
            thread::yield_now();
        }
        link.submit(Ticket(number), Command::Inventory, None)
            .unwrap();
        loop {
            match next(&mut link) {
                Report::Answer(Answer::Done(ticket)) if ticket == Ticket(number) => break,
                Report::Answer(Answer::Event(..)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    link.count().unwrap();
    while !matches!(next(&mut link), Report::Counted(_)) {}
    link.stop();
    assert!(thread.join().unwrap().is_ok());
}
