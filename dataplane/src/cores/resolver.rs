//! A task that asks the kernel for next hops and passes on what it says.

use std::io;
use std::net::IpAddr;

use culvert_wire::eth::MacAddress;
use tokio::sync::mpsc;
use tracing::{debug, error};

use super::hops::Question;
use crate::api::Device;
use crate::next_hop::NextHops;

/// Questions and answers on their way at once.
const DEPTH: usize = 1_024;

/// The other end of the task.
#[derive(Debug)]
pub(super) struct Resolver {
    questions: mpsc::Sender<Question>,
    answers: mpsc::Receiver<(IpAddr, Option<MacAddress>)>,
}

impl Resolver {
    /// Starts the task for up to `limit` addresses reached through `device`; inside a `LocalSet`.
    pub(super) fn start(device: &Device, limit: usize) -> io::Result<Self> {
        let hops = NextHops::new(device, limit)?;
        let (questions, asked) = mpsc::channel(DEPTH);
        let (tell, answers) = mpsc::channel(DEPTH);
        tokio::task::spawn_local(serve(hops, asked, tell));
        Ok(Self { questions, answers })
    }

    /// Passes a question on; gives it back when too many are on their way.
    pub(super) fn ask(&self, question: Question) -> Result<(), Question> {
        self.questions
            .try_send(question)
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(question)
                | mpsc::error::TrySendError::Closed(question) => question,
            })
    }

    /// What the kernel says next; `None` once it says nothing more. May be dropped at any await.
    pub(super) async fn answer(&mut self) -> Option<(IpAddr, Option<MacAddress>)> {
        self.answers.recv().await
    }

    /// What the kernel has said already.
    pub(super) fn try_answer(&mut self) -> Option<(IpAddr, Option<MacAddress>)> {
        self.answers.try_recv().ok()
    }

    /// Whether the task lives.
    pub(super) fn is_alive(&self) -> bool {
        !self.questions.is_closed()
    }
}

async fn serve(
    mut hops: NextHops,
    mut asked: mpsc::Receiver<Question>,
    tell: mpsc::Sender<(IpAddr, Option<MacAddress>)>,
) {
    loop {
        let answer = tokio::select! {
            question = asked.recv() => match question {
                Some(Question::Watch(address)) => match hops.watch(address).await {
                    // Not known yet: an update follows, or the asker's patience ends.
                    Ok(None) => continue,
                    Ok(Some(next_hop)) => (address, Some(MacAddress(next_hop.mac))),
                    Err(error) => {
                        debug!(%error, "no next hop");
                        continue;
                    }
                },
                Some(Question::Unwatch(address)) => {
                    hops.unwatch(address);
                    continue;
                }
                None => return,
            },
            update = hops.changed() => match update {
                Some(update) => (update.destination, update.next_hop.map(|hop| MacAddress(hop.mac))),
                None => {
                    error!("the kernel tells no more about routes and neighbours");
                    return;
                }
            },
        };
        if tell.send(answer).await.is_err() {
            return;
        }
    }
}
