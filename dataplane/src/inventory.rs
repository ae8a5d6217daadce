//! The answer to [`Command::Inventory`](crate::api::Command::Inventory): every row that holds something, a few in each turn.

use crate::api::{Event, Held, SessionRow, SetId};
use crate::table::Rows;
use crate::table::sa::SaRow;

/// How far an inventory has come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Inventory {
    Sets(u32),
    Sessions(u32),
    Inbound(u32),
    End,
}

impl Inventory {
    /// Looks at one row and says where to go on.
    pub(crate) fn step(self, rows: &mut Rows) -> Option<Self> {
        let (held, next) = match self {
            Self::Sets(row) if row < rows.sets.len() => {
                let set = rows.sets.find(SetId(row));
                let held = set.map(|set| Held::Set {
                    id: SetId(row),
                    remote: set.remote.into(),
                });
                (held, Self::Sets(row + 1))
            }
            Self::Sets(_) => (None, Self::Sessions(0)),
            Self::Sessions(row) if row < rows.sessions.len() => {
                let session = rows.sessions.find(SessionRow(row));
                let held = session.map(|session| Held::Session {
                    row: SessionRow(row),
                    set: session.set,
                    address: session.address,
                });
                (held, Self::Sessions(row + 1))
            }
            Self::Sessions(_) => (None, Self::Inbound(0)),
            Self::Inbound(row) if row < rows.sas.len() => {
                let sa = rows.sas.inbound(SaRow(row));
                let held = sa.map(|sa| Held::Inbound {
                    spi: sa.spi,
                    set: sa.set,
                });
                (held, Self::Inbound(row + 1))
            }
            Self::Inbound(_) => (None, Self::End),
            Self::End => {
                rows.events.push(Event::InventoryEnd);
                return None;
            }
        };
        if let Some(held) = held {
            rows.events.push(Event::Held(held));
        }
        Some(next)
    }
}
