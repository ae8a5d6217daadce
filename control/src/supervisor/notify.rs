//! What the service manager is told (sd_notify).

use sd_notify::NotifyState;
use tracing::warn;

/// Speaks to the socket that `NOTIFY_SOCKET` named at start, if any.
pub(super) struct Notifier {
    wants_watchdog: bool,
}

impl Notifier {
    pub(super) fn new() -> Self {
        Self {
            wants_watchdog: sd_notify::watchdog_enabled().is_some(),
        }
    }

    pub(super) fn ready(&self) {
        tell(&[NotifyState::Ready, NotifyState::Status("serving")]);
    }

    pub(super) fn watchdog(&self) {
        if self.wants_watchdog {
            tell(&[NotifyState::Watchdog]);
        }
    }

    pub(super) fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "the service manager was not told");
    }
}
