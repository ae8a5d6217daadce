//! What the machines have to tell, in the log: names and addresses of users at debug only, refused messages of strangers too.

use culvert_proto::gateway::Note;
use tracing::{debug, info, warn};

/// Writes a note to the log.
pub(super) fn log(note: &Note) {
    match note {
        Note::Ike(note) => debug!(?note, "IKE"),
        Note::L2tp(note) => debug!(?note, "L2TP"),
        Note::Ppp { session, note } => {
            debug!(core = session.core.0, row = session.row, ?note, "PPP")
        }
        Note::SessionUp {
            session,
            set,
            user,
            address,
        } => {
            info!(
                core = session.core.0,
                row = session.row,
                set = set.row,
                "session up"
            );
            debug!(core = session.core.0, row = session.row, user, %address, "session up");
        }
        Note::SessionDown {
            session,
            user,
            ppp,
            l2tp,
        } => {
            info!(
                core = session.core.0,
                row = session.row,
                ?ppp,
                ?l2tp,
                "session down"
            );
            debug!(
                core = session.core.0,
                row = session.row,
                user,
                "session down"
            );
        }
        Note::Full(table) => warn!(?table, "full: a client was turned away"),
    }
}
