//! A few threads for work too slow for the event loop: Diffie-Hellman and password hashing.
//!
//! The machines bound how many jobs they give out at once, so the queue needs no bound of its own.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use culvert_proto::job::{Job, JobDone};
use tokio::sync::mpsc as async_mpsc;
use tracing::error;

use super::clock::{self, Entropy};

/// Most threads; more would only keep packet cores from their CPUs.
const MAX_THREADS: usize = 4;

/// The threads and the queues to and from them.
#[derive(Debug)]
pub struct Jobs {
    given: mpsc::Sender<Job>,
    done: async_mpsc::UnboundedReceiver<JobDone>,
}

impl Jobs {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start() -> io::Result<Self> {
        let (given, queue) = mpsc::channel();
        let (tell, done) = async_mpsc::unbounded_channel();
        let queue = Arc::new(Mutex::new(queue));
        let threads = thread::available_parallelism()
            .map_or(1, usize::from)
            .min(MAX_THREADS);
        for number in 0..threads {
            let (queue, tell) = (Arc::clone(&queue), tell.clone());
            thread::Builder::new()
                .name(format!("culvert-job{number}"))
                .spawn(move || work(&queue, &tell))?;
        }
        Ok(Self { given, done })
    }

    /// Puts a job at the end of the queue.
    pub fn give(&self, job: Job) {
        if self.given.send(job).is_err() {
            error!("no thread is left for jobs");
        }
    }

    /// Waits for the next result. May be dropped at any await without loss.
    pub async fn done(&mut self) -> JobDone {
        match self.done.recv().await {
            Some(done) => done,
            None => std::future::pending().await,
        }
    }
}

/// Takes jobs until there is nobody to give any. A job that panics has failed, so that its place among those under way is free again.
fn work(queue: &Mutex<mpsc::Receiver<Job>>, tell: &async_mpsc::UnboundedSender<JobDone>) {
    let Ok(mut entropy) = Entropy::new(clock::now()) else {
        error!("no randomness for jobs");
        return;
    };
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else {
            return;
        };
        let rng = entropy.rng(clock::now());
        let failed = job.failed();
        let done = catch_unwind(AssertUnwindSafe(|| job.run(rng))).unwrap_or(failed);
        if tell.send(done).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use culvert_proto::crypto::dh::Group;
    use culvert_proto::job::{JobId, Outcome, Work};

    use super::*;

    #[tokio::test]
    async fn every_job_comes_back_with_its_number() {
        let mut jobs = Jobs::start().unwrap();
        for id in 0..8 {
            // A public value of the wrong length: refused at once.
            let work = Work::KeyExchange {
                group: Group::Ecp256,
                peer_public: vec![1; 3],
            };
            jobs.give(Job {
                id: JobId(id),
                work,
            });
        }
        let mut ids = Vec::new();
        for _ in 0..8 {
            let done = jobs.done().await;
            assert!(matches!(done.outcome, Outcome::KeyExchange(None)));
            ids.push(done.id.0);
        }
        ids.sort_unstable();
        assert_eq!(ids, (0..8).collect::<Vec<_>>());
    }
}
