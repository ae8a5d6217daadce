//! SA sets: one peer, where it is, and the SAs and sessions that are its own.

use std::mem::offset_of;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use culvert_crypto::Suite;
use culvert_wire::eth::MacAddress;
use culvert_wire::ipv4::Protocol;

use super::Here;
use super::index::Index;
use super::sa::SaRow;
use super::template::{Template, Wrapping};
use crate::api::{Encapsulation, SessionRow, SetId};
use crate::mem::{LINE, prefetch};
use crate::moment::Moment;

/// Most inbound SAs of one set that are alive at once, and most outbound ones that wait.
pub const MAX_SAS: usize = 4;

/// One peer: a packet from it touches the first cache line, one to it the first two.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Set {
    /// Our address that the peer dialled.
    pub local: SocketAddrV4,
    /// Where the peer is.
    pub remote: SocketAddrV4,
    /// The outbound SA in use.
    pub current: Option<SaRow>,
    /// How its packets are wrapped.
    pub encapsulation: Encapsulation,
    /// Longest ESP payload, or UDP datagram if clear, that fits the path: inner UDP header to the end of PPP, in bytes.
    pub room: u16,
    /// Identification of the next outer packet.
    pub identification: u16,
    /// When its endpoint last moved.
    pub moved: Option<Moment>,
    /// When its last valid packet came.
    pub last_used: Moment,
    /// Ready outer headers, once its next hop is known.
    pub template: Option<Template>,
    /// Its inbound SAs.
    pub inbound: [Option<SaRow>; MAX_SAS],
    /// Its outbound SAs.
    pub outbound: [Option<SaRow>; MAX_SAS],
    /// Outbound SAs installed so far.
    pub installed: u32,
    /// Its first session; each names the next.
    pub sessions: Option<SessionRow>,
}

const _: () = assert!(
    offset_of!(Set, template) <= LINE,
    "a packet from it needs one line"
);
const _: () = assert!(
    offset_of!(Set, inbound) <= 2 * LINE,
    "a packet to it needs two"
);

impl Set {
    /// A peer without SAs and sessions.
    pub const fn new(
        local: SocketAddrV4,
        remote: SocketAddrV4,
        encapsulation: Encapsulation,
    ) -> Self {
        Self {
            local,
            remote,
            template: None,
            encapsulation,
            current: None,
            room: 0,
            identification: 0,
            moved: None,
            last_used: Moment::START,
            inbound: [None; MAX_SAS],
            outbound: [None; MAX_SAS],
            installed: 0,
            sessions: None,
        }
    }

    /// Sends its packets to `next_hop` first.
    pub fn send_via(&mut self, next_hop: MacAddress, here: &Here) {
        let wrapping = match self.encapsulation {
            Encapsulation::Esp => Wrapping::Bare(Protocol::ESP),
            Encapsulation::EspInUdp => Wrapping::Udp,
            // The datagram that is sealed elsewhere is the outer one here.
            Encapsulation::Clear => Wrapping::Bare(Protocol::UDP),
        };
        self.template = Some(Template::new(
            here.outer_mac,
            next_hop,
            self.local,
            self.remote,
            wrapping,
        ));
    }

    /// Whether its endpoint has not moved within the last second (THREATS D7).
    pub fn may_move(&self, now: Moment) -> bool {
        self.moved
            .is_none_or(|moved| now.since(moved) >= Duration::from_secs(1))
    }

    /// Follows the peer to a new address or port; the next hop stays until control's thread finds another.
    pub fn move_to(&mut self, remote: SocketAddrV4, now: Moment, here: &Here) {
        self.remote = remote;
        self.moved = Some(now);
        if let Some(next_hop) = self.template.map(|template| template.next_hop()) {
            self.send_via(next_hop, here);
        }
    }

    /// Identification of the next outer packet: all values in an order that is not plain counting.
    pub const fn next_identification(&mut self) -> u16 {
        self.identification = self.identification.wrapping_add(0x9E37);
        self.identification
    }

    /// Sets what fits a path of `mtu` bytes under the SA in use.
    ///
    /// # Source
    /// RFC 4303 §2: SPI and sequence number, IV, payload, padding, pad length and next header, ICV.
    pub fn measure(&mut self, mtu: u16, suite: Option<Suite>) {
        let room = match (self.encapsulation, suite) {
            (Encapsulation::Clear, _) => usize::from(mtu).saturating_sub(IPV4_LEN),
            (Encapsulation::Esp, Some(suite)) => esp_room(usize::from(mtu), IPV4_LEN, suite),
            (Encapsulation::EspInUdp, Some(suite)) => {
                esp_room(usize::from(mtu), IPV4_LEN + UDP_LEN, suite)
            }
            (Encapsulation::Esp | Encapsulation::EspInUdp, None) => 0,
        };
        self.room = u16::try_from(room).unwrap_or(u16::MAX);
    }
}

const IPV4_LEN: usize = 20;
const UDP_LEN: usize = 8;
/// SPI and sequence number.
const ESP_LEN: usize = 8;
/// Pad length and next header.
const TRAILER_LEN: usize = 2;

fn esp_room(mtu: usize, before: usize, suite: Suite) -> usize {
    let sealed = mtu.saturating_sub(before + ESP_LEN + suite.iv_len() + suite.icv_len());
    (sealed - sealed % suite.alignment()).saturating_sub(TRAILER_LEN)
}

/// All set rows of one core.
#[derive(Debug)]
pub struct SetTable {
    rows: Box<[Option<Set>]>,
    clear: Index,
}

impl SetTable {
    /// Makes `count` empty rows.
    pub fn new(count: u32) -> Self {
        Self {
            rows: (0..count).map(|_| None).collect(),
            clear: Index::new(count),
        }
    }

    /// Asks the CPU for what a packet from the peer in row `id` needs.
    #[inline]
    pub fn prefetch(&self, id: SetId) {
        if let Some(set) = self.rows.get(id.0 as usize) {
            prefetch(set);
        }
    }

    /// Asks the CPU for what a packet to the peer in row `id` needs.
    #[inline]
    pub fn prefetch_down(&self, id: SetId) {
        if let Some(Some(set)) = self.rows.get(id.0 as usize) {
            prefetch(set);
            prefetch(&set.template);
        }
    }

    /// The set in row `id`.
    #[inline]
    pub fn find(&self, id: SetId) -> Option<&Set> {
        self.rows.get(id.0 as usize)?.as_ref()
    }

    /// The set in row `id`, to change.
    #[inline]
    pub fn find_mut(&mut self, id: SetId) -> Option<&mut Set> {
        self.rows.get_mut(id.0 as usize)?.as_mut()
    }

    /// Whether `id` names a row.
    pub const fn has_row(&self, id: SetId) -> bool {
        (id.0 as usize) < self.rows.len()
    }

    /// Number of rows.
    pub fn len(&self) -> u32 {
        u32::try_from(self.rows.len()).unwrap_or(u32::MAX)
    }

    /// Whether there are no rows.
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The clear set of a peer.
    pub fn find_clear(&self, local: Ipv4Addr, remote: SocketAddrV4) -> Option<SetId> {
        let id = SetId(self.clear.find(clear_key(remote))?);
        (*self.find(id)?.local.ip() == local).then_some(id)
    }

    /// Puts `set` into row `id`, which must be empty. There are as many places in the index as rows.
    pub fn open(&mut self, id: SetId, set: Set) {
        if set.encapsulation == Encapsulation::Clear {
            let _ = self.clear.insert(clear_key(set.remote), id.0);
        }
        if let Some(row) = self.rows.get_mut(id.0 as usize) {
            *row = Some(set);
        }
    }

    /// Empties row `id`.
    pub fn close(&mut self, id: SetId) {
        if let Some(set) = self.rows.get_mut(id.0 as usize).and_then(Option::take)
            && set.encapsulation == Encapsulation::Clear
        {
            self.clear.remove(clear_key(set.remote), id.0);
        }
    }
}

/// A peer's address and port; two of our addresses dialled from the same port share the key, and the later one has it.
fn clear_key(remote: SocketAddrV4) -> u64 {
    (u64::from(remote.ip().to_bits()) << 16) | u64::from(remote.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(encapsulation: Encapsulation) -> Set {
        let local = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 10), 4_500);
        let remote = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 60), 31_000);
        Set::new(local, remote, encapsulation)
    }

    #[test]
    fn what_fits_is_what_a_sealed_packet_of_that_length_says() {
        for suite in Suite::ALL {
            for (encapsulation, before) in [(Encapsulation::Esp, 28), (Encapsulation::EspInUdp, 36)]
            {
                for mtu in 1_280..=1_500 {
                    let mut set = set(encapsulation);
                    set.measure(mtu, Some(suite));
                    let outer = |payload: usize| {
                        before + suite.sealed_len(payload + suite.pad_len(payload) + 2)
                    };
                    let room = usize::from(set.room);
                    assert!(outer(room) <= usize::from(mtu));
                    assert!(outer(room + 1) > usize::from(mtu), "{suite:?} {mtu}");
                }
            }
        }
    }

    #[test]
    fn only_clear_sets_are_found_by_address() {
        let mut table = SetTable::new(2);
        let (sealed, clear) = (set(Encapsulation::EspInUdp), set(Encapsulation::Clear));
        let (local, remote) = (*clear.local.ip(), clear.remote);
        table.open(SetId(0), sealed);
        assert_eq!(table.find_clear(local, remote), None);
        table.open(SetId(1), clear);
        assert_eq!(table.find_clear(local, remote), Some(SetId(1)));
        assert_eq!(table.find_clear(Ipv4Addr::LOCALHOST, remote), None);
        table.close(SetId(1));
        assert_eq!(table.find_clear(local, remote), None);
    }
}
