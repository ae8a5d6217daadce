//! A worker on a thread of its own, driven through its link alone.

use std::thread;
use std::time::{Duration, Instant};

use culvert_crypto::{AesKey, Suite};
use culvert_dataplane::api::{Answer, Command, CoreId, Encapsulation, Ticket, spi};
use culvert_dataplane::frame::FramePool;
use culvert_dataplane::link::{self, Link, Report};
use culvert_dataplane::mem::continuity::{self, Continuity};
use culvert_dataplane::moment::Moment;
use culvert_dataplane::port::memory;
use culvert_dataplane::worker::Worker;
use culvert_wire::ipv4::Protocol;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::commands::{inner, sealed};
use crate::gateway::{Client, FRAMES, Gateway, HOST, INNER, config};

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

/// A hand-off wakes the core that it goes to: if it did not, each packet would wait for the end of that core's nap, a second.
#[test]
fn a_sleeping_core_wakes_for_what_another_hands_over() {
    let mut cores = Gateway::cores(2);
    let mut client = Client::new(Suite::AesGcm(AesKey::Bits128), Encapsulation::EspInUdp);
    client.inbound = spi::compose(1, 7, 0xABC);
    client.install(&mut cores[1]);
    let (second, _, network, mut second_link) = cores.pop().unwrap().into_parts();
    let (first, wire, _, first_link) = cores.pop().unwrap().into_parts();
    let threads = [first, second].map(|worker| thread::spawn(move || worker.run()));
    let since = Instant::now();
    for sequence in 1..=60 {
        assert!(wire.send(&sealed(
            &client,
            sequence,
            &inner(INNER, HOST),
            Protocol::UDP
        )));
        // The memory port rings no bell, so the first core is woken through its link, the second only by the first.
        first_link.count().unwrap();
        while network.take().is_none() {
            assert!(
                since.elapsed() < Duration::from_secs(30),
                "packet {sequence} did not come"
            );
            thread::yield_now();
        }
    }
    second_link.count().unwrap();
    let counters = loop {
        if let Report::Counted(snapshot) = next(&mut second_link) {
            break snapshot.counters;
        }
    };
    assert_eq!((counters.outer.taken, counters.outer.sent), (60, 60));
    first_link.stop();
    second_link.stop();
    threads
        .into_iter()
        .for_each(|thread| assert!(thread.join().unwrap().is_ok()));
}
