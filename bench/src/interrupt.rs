//! Ctrl-C and SIGTERM as a flag that loops look at, so that everything made is unmade on the way out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;
use crate::measure::Placement;

/// Whether the user has asked to stop.
#[derive(Clone, Debug)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Catches SIGINT, SIGTERM and SIGHUP from now on.
    ///
    /// # Errors
    /// [`Failure::Io`] if the system refuses.
    pub fn catch() -> Result<Self, Failure> {
        let flag = Arc::new(AtomicBool::new(false));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(Failure::io("signals"))?;
        let guard = runtime.enter();
        let kinds = [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ];
        let [mut interrupt, mut terminate, mut hangup] = kinds.map(signal);
        drop(guard);
        for caught in [&mut interrupt, &mut terminate, &mut hangup] {
            if let Err(error) = caught {
                return Err(Failure::Io(
                    "signals".to_owned(),
                    std::io::Error::other(error.to_string()),
                ));
            }
        }
        let seen = flag.clone();
        thread::spawn(move || {
            // It must be able to run while others keep their cores to themselves.
            Placement::roam();
            runtime.block_on(async {
                let (Ok(interrupt), Ok(terminate), Ok(hangup)) =
                    (&mut interrupt, &mut terminate, &mut hangup)
                else {
                    return;
                };
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                        _ = hangup.recv() => {}
                    }
                    seen.store(true, Ordering::Relaxed);
                }
            });
        });
        Ok(Self(flag))
    }

    /// One that was caught long ago, or never will be.
    #[cfg(test)]
    pub(crate) fn given(set: bool) -> Self {
        Self(Arc::new(AtomicBool::new(set)))
    }

    /// Whether the user has asked to stop.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Fails once the user has asked to stop.
    ///
    /// # Errors
    /// [`Failure::Interrupted`].
    pub fn check(&self) -> Result<(), Failure> {
        if self.is_set() {
            Err(Failure::Interrupted)
        } else {
            Ok(())
        }
    }
}
