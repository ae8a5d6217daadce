//! L2TP sessions, found from below by their set and ids, and from above by their address.

use std::net::Ipv4Addr;

use super::index::{Full, Index};
use crate::api::{
    Phase, PppFraming, Sequencing, SessionId, SessionRow, SessionSpec, SetId, TunnelId,
};
use crate::mem::prefetch;

/// One session.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Session {
    /// Its set.
    pub set: SetId,
    /// Tunnel id in packets to the peer.
    pub peer_tunnel: TunnelId,
    /// Session id in packets to the peer.
    pub peer_session: SessionId,
    /// Our UDP port inside the SA.
    pub local_port: u16,
    /// The peer's.
    pub remote_port: u16,
    /// Its own address, once open.
    pub address: Option<Ipv4Addr>,
    /// The peer's MRU in bytes.
    pub mru: u16,
    /// Sequence number of the next data message to the peer.
    pub next_sequence: u16,
    /// Whether data messages to the peer carry it.
    pub sequencing: Sequencing,
    /// How PPP headers to the peer are written.
    pub framing: PppFraming,
    /// Tunnel id in packets to us.
    pub local_tunnel: TunnelId,
    /// Session id in packets to us.
    pub local_session: SessionId,
    /// The next session of the same set.
    pub next: Option<SessionRow>,
    /// The one before.
    pub previous: Option<SessionRow>,
}

const _: () = assert!(size_of::<Option<Session>>() == 64, "one cache line");

/// Longest L2TP data header that we write: flags, length, ids, Ns and Nr.
const L2TP_SEQUENCED_LEN: u16 = 12;
/// Shortest: flags, length, ids.
const L2TP_LEN: u16 = 8;
const UDP_LEN: u16 = 8;

impl Session {
    /// Bytes that we put in front of an inner IPv4 packet, the inner UDP header included.
    pub const fn overhead(&self) -> u16 {
        let l2tp = match self.sequencing {
            Sequencing::Off => L2TP_LEN,
            Sequencing::On => L2TP_SEQUENCED_LEN,
        };
        let framing = if self.framing.address_control_compressed {
            0
        } else {
            2
        };
        let protocol = if self.framing.protocol_compressed {
            1
        } else {
            2
        };
        UDP_LEN + l2tp + framing + protocol
    }

    /// The longest inner IPv4 packet, given what its set's path takes.
    pub fn inner_mtu(&self, room: u16) -> u16 {
        self.mru.min(room.saturating_sub(self.overhead()))
    }
}

/// All session rows of one core.
#[derive(Debug)]
pub struct SessionTable {
    rows: Box<[Option<Session>]>,
    ids: Index,
    routes: Index,
}

impl SessionTable {
    /// Makes `count` empty rows.
    pub fn new(count: u32) -> Self {
        Self {
            rows: (0..count).map(|_| None).collect(),
            ids: Index::new(count),
            routes: Index::new(count),
        }
    }

    /// Asks the CPU for `row`.
    #[inline]
    pub fn prefetch(&self, row: SessionRow) {
        if let Some(session) = self.rows.get(row.0 as usize) {
            prefetch(session);
        }
    }

    /// Asks the CPU for the place where [`Self::route`] looks first.
    #[inline]
    pub fn prefetch_route(&self, address: Ipv4Addr) {
        self.routes.prefetch(u64::from(address.to_bits()));
    }

    /// The session in `row`.
    #[inline]
    pub fn find(&self, row: SessionRow) -> Option<&Session> {
        self.rows.get(row.0 as usize)?.as_ref()
    }

    /// The session in `row`, to change.
    #[inline]
    pub fn find_mut(&mut self, row: SessionRow) -> Option<&mut Session> {
        self.rows.get_mut(row.0 as usize)?.as_mut()
    }

    /// Whether `row` exists.
    pub const fn has_row(&self, row: SessionRow) -> bool {
        (row.0 as usize) < self.rows.len()
    }

    /// Number of rows.
    pub fn len(&self) -> u32 {
        u32::try_from(self.rows.len()).unwrap_or(u32::MAX)
    }

    /// Whether there are no rows.
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The session with these ids in packets to us, in this set and no other; `likely` is looked at first.
    #[inline]
    pub fn find_ids_near(
        &self,
        likely: SessionRow,
        set: SetId,
        tunnel: TunnelId,
        session: SessionId,
    ) -> Option<SessionRow> {
        let is_meant = |row: &Session| {
            (row.set, row.local_tunnel, row.local_session) == (set, tunnel, session)
        };
        if self.find(likely).is_some_and(is_meant) {
            return Some(likely);
        }
        self.find_ids(set, tunnel, session)
    }

    /// The session with these ids in packets to us, in this set and no other.
    pub fn find_ids(&self, set: SetId, tunnel: TunnelId, session: SessionId) -> Option<SessionRow> {
        self.ids.find(ids_key(set, tunnel, session)).map(SessionRow)
    }

    /// The session whose own address this is.
    #[inline]
    pub fn route(&self, address: Ipv4Addr) -> Option<SessionRow> {
        self.routes
            .find(u64::from(address.to_bits()))
            .map(SessionRow)
    }

    /// Puts a session into its row, which must be empty, as the set's first; `next` is the one that was.
    ///
    /// # Errors
    /// [`Full`] if an index is; nothing is changed then.
    pub fn open(&mut self, spec: &SessionSpec, next: Option<SessionRow>) -> Result<(), Full> {
        let session = session(spec, next);
        let key = ids_key(spec.set, spec.local_tunnel, spec.local_session);
        self.ids.insert(key, spec.row.0)?;
        if let Some(address) = session.address
            && let Err(full) = self.routes.insert(u64::from(address.to_bits()), spec.row.0)
        {
            self.ids.remove(key, spec.row.0);
            return Err(full);
        }
        if let Some(next) = next.and_then(|next| self.find_mut(next)) {
            next.previous = Some(spec.row);
        }
        if let Some(row) = self.rows.get_mut(spec.row.0 as usize) {
            *row = Some(session);
        }
        Ok(())
    }

    /// Empties `row` and returns what was there. If that was its set's first, the set must go on with the next.
    pub fn close(&mut self, row: SessionRow) -> Option<Session> {
        let session = self.rows.get_mut(row.0 as usize)?.take()?;
        if let Some(previous) = session.previous.and_then(|row| self.find_mut(row)) {
            previous.next = session.next;
        }
        if let Some(next) = session.next.and_then(|row| self.find_mut(row)) {
            next.previous = session.previous;
        }
        self.ids.remove(
            ids_key(session.set, session.local_tunnel, session.local_session),
            row.0,
        );
        if let Some(address) = session.address {
            self.routes.remove(u64::from(address.to_bits()), row.0);
        }
        Some(session)
    }
}

fn session(spec: &SessionSpec, next: Option<SessionRow>) -> Session {
    let (address, mru) = match spec.phase {
        Phase::Negotiating => (None, 0),
        Phase::Open { address, mru } => (Some(address), mru),
    };
    Session {
        set: spec.set,
        peer_tunnel: spec.peer_tunnel,
        peer_session: spec.peer_session,
        local_port: spec.local_port,
        remote_port: spec.remote_port,
        address,
        mru,
        next_sequence: 0,
        sequencing: spec.sequencing,
        framing: spec.framing,
        local_tunnel: spec.local_tunnel,
        local_session: spec.local_session,
        next,
        previous: None,
    }
}

fn ids_key(set: SetId, tunnel: TunnelId, session: SessionId) -> u64 {
    (u64::from(set.0) << 32) | (u64::from(tunnel.0) << 16) | u64::from(session.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(row: u32, set: u32, phase: Phase) -> SessionSpec {
        SessionSpec {
            row: SessionRow(row),
            set: SetId(set),
            local_port: 1_701,
            remote_port: 1_701,
            local_tunnel: TunnelId(7),
            local_session: SessionId(9),
            peer_tunnel: TunnelId(1),
            peer_session: SessionId(2),
            sequencing: Sequencing::Off,
            framing: PppFraming::default(),
            phase,
        }
    }

    #[test]
    fn equal_ids_in_different_sets_are_different_sessions() {
        let mut table = SessionTable::new(4);
        table.open(&spec(0, 0, Phase::Negotiating), None).unwrap();
        table.open(&spec(3, 1, Phase::Negotiating), None).unwrap();
        let find =
            |table: &SessionTable, set| table.find_ids(SetId(set), TunnelId(7), SessionId(9));
        assert_eq!(find(&table, 0), Some(SessionRow(0)));
        assert_eq!(find(&table, 1), Some(SessionRow(3)));
        assert_eq!(find(&table, 2), None);
        table.close(SessionRow(0));
        assert_eq!(find(&table, 0), None);
        assert_eq!(find(&table, 1), Some(SessionRow(3)));
    }

    #[test]
    fn an_address_leads_to_its_session_while_that_is_open() {
        let mut table = SessionTable::new(2);
        let address = Ipv4Addr::new(10, 10, 0, 2);
        table
            .open(
                &spec(
                    1,
                    0,
                    Phase::Open {
                        address,
                        mru: 1_400,
                    },
                ),
                None,
            )
            .unwrap();
        assert_eq!(table.route(address), Some(SessionRow(1)));
        table.close(SessionRow(1));
        assert_eq!(table.route(address), None);
    }

    #[test]
    fn overhead_counts_every_byte_before_the_inner_packet() {
        let mut table = SessionTable::new(1);
        let mut spec = spec(0, 0, Phase::Negotiating);
        table.open(&spec, None).unwrap();
        assert_eq!(table.find(SessionRow(0)).unwrap().overhead(), 8 + 8 + 4);
        table.close(SessionRow(0));
        spec.sequencing = Sequencing::On;
        spec.framing = PppFraming {
            address_control_compressed: true,
            protocol_compressed: true,
        };
        table.open(&spec, None).unwrap();
        assert_eq!(table.find(SessionRow(0)).unwrap().overhead(), 8 + 12 + 1);
    }
}
