//! What the event loop asks of the protocol machines; [`Gateway`](culvert_proto::gateway) is all of them, and tests have a twin.

use culvert_dataplane::process::StartError;
use culvert_proto::gateway::{Input, Output, Reserved};
use culvert_proto::job::JobDone;
use culvert_proto::rows::SetId;
use culvert_proto::time::Time;
use culvert_wire::id::Spi;
use rand_chacha::ChaCha20Rng;

use crate::config::Config;

/// The whole control plane without its input and output.
pub trait Machine: Sized {
    /// Makes it from the configuration and the text of the users file.
    ///
    /// # Errors
    /// The users file is not what it should be.
    fn new(config: &Config, users: &str, now: Time) -> Result<Self, StartError>;

    /// Takes a message from a peer or word from the data plane.
    fn handle(&mut self, now: Time, rng: &mut ChaCha20Rng, input: Input<'_>);

    /// The data plane would not take an SA, or it has run out of sequence numbers: the pair is dead.
    fn handle_lost(&mut self, now: Time, rng: &mut ChaCha20Rng, inbound: Spi);

    /// Does what is due at `now`.
    fn handle_timeout(&mut self, now: Time, rng: &mut ChaCha20Rng);

    /// Says good-bye to every peer.
    fn close_all(&mut self, now: Time, rng: &mut ChaCha20Rng);

    /// When [`handle_timeout`](Self::handle_timeout) is wanted next.
    fn poll_timeout(&self) -> Option<Time>;

    /// The next thing to do, in order.
    fn poll_output(&mut self) -> Option<Output>;

    /// Takes the result of a job.
    fn handle_done(&mut self, now: Time, rng: &mut ChaCha20Rng, done: JobDone);

    /// Keeps rows, SPIs and addresses of an unknown set from being given out.
    fn reserve(&mut self, set: SetId, reserved: Reserved);

    /// An unknown set is closed: what it occupied is free again.
    fn release(&mut self, now: Time, rng: &mut ChaCha20Rng, set: SetId);

    /// How it is, as JSON text.
    fn status(&self, now: Time) -> Vec<u8>;
}
