//! What the path decides about a packet, and the counters that account for every one of them.
//!
//! ```text
//! received + taken + originated + split = sent + given + punted + dropped + merged + in flight        per Ledger
//! ```
//! A [`Ledger`] is kept for each place where a packet's life may begin: the outer port, the core port, and control. Its packets
//! are counted there to their end, whichever port that is.

use serde::{Deserialize, Serialize};

/// What is to become of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on to the next stage, and after the last one to the port.
    Forward,
    /// It goes to control.
    Punt(PuntKind),
    /// It goes to the core that owns its rows.
    HandOff(u8),
    /// It turns round: the gateway itself answers it.
    Answer,
    /// It waits for the other fragments of its datagram.
    Held,
    /// It became part of another packet.
    Merged,
    /// It is cut into fragments before it goes on.
    Split,
    /// It ends here.
    Drop(Reason),
}

/// Kinds of punted packets: each has a token bucket and a queue of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PuntKind {
    /// An IKE message without a responder cookie or SPI: anybody can send one.
    IkeFirst,
    /// Any other IKE message.
    Ike,
    /// An L2TP control message inside a set.
    L2tp,
    /// An L2TP control message in the clear from a peer without a set.
    ClearL2tp,
    /// A PPP frame that is not forwarded.
    Ppp,
}

impl PuntKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 5] = [
        Self::IkeFirst,
        Self::Ike,
        Self::L2tp,
        Self::ClearL2tp,
        Self::Ppp,
    ];

    /// Its number: 0 to 4.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Generates [`Reason`] with its number, name and source, so that none of the three can be forgotten.
macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident $name:literal $source:literal;)+) => {
        /// Why a packet was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Reason {
            /// All reasons, in the order of their numbers.
            pub const ALL: [Self; [$(Self::$variant,)+].len()] = [$(Self::$variant,)+];

            /// Its name in reports.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The rule that it follows.
            pub const fn source(self) -> &'static str {
                match self { $(Self::$variant => $source,)+ }
            }
        }
    };
}

reasons! {
    /// An outer Ethernet, IPv4 or UDP header does not parse.
    OuterMalformed "outer_malformed" "RFC 791 §3.1, RFC 768";
    /// An outer IPv6 packet: not served yet.
    OuterIpv6 "outer_ipv6" "DESIGN §5";
    /// An outer packet for another address, protocol or port.
    NotOurs "not_ours" "DESIGN §5";
    /// A NAT keepalive.
    Keepalive "keepalive" "RFC 3948 §2.3";
    /// Too short on port 4500 to be ESP or IKE.
    NatRunt "nat_runt" "RFC 3948 §2.2";
    /// The ISAKMP header does not parse, or a non-ESP marker is where none belongs.
    IkeMalformed "ike_malformed" "RFC 2408 §3.1, RFC 3948 §2.2";
    /// Clear L2TP to an address that does not allow it.
    ClearRefused "clear_refused" "DESIGN §4";
    /// Clear L2TP data from a peer without a set.
    ClearUnknown "clear_unknown" "DESIGN §4";
    /// An outer fragment with an impossible offset or length.
    FragmentMalformed "fragment_malformed" "RFC 791 §3.2";
    /// Outer fragments that overlap: the whole datagram is given up.
    FragmentOverlap "fragment_overlap" "RFC 5722 §4, RFC 1858";
    /// An outer datagram longer than a frame.
    FragmentTooLong "fragment_too_long" "RFC 791 §3.2";
    /// An outer datagram whose fragments did not all come within 30 s.
    FragmentTimeout "fragment_timeout" "RFC 1122 §3.3.2";
    /// An unfinished datagram that had to make room for a newer one of the same source.
    FragmentShare "fragment_share" "DESIGN §5";
    /// An unfinished datagram that had to make room for a newer one.
    FragmentEvicted "fragment_evicted" "DESIGN §5";
    /// No free frame was left.
    NoFrame "no_frame" "DESIGN §3";
    /// An ESP packet shorter than its suite needs, or not whole blocks.
    EspMalformed "esp_malformed" "RFC 4303 §2";
    /// No inbound SA has this SPI.
    UnknownSpi "unknown_spi" "RFC 4303 §3.4.2";
    /// The packet is wrapped otherwise than its SA, or a native one comes from another address.
    WrongEncapsulation "wrong_encapsulation" "RFC 3948 §3, RFC 4301 §4.1";
    /// Sequence number zero.
    SequenceZero "sequence_zero" "RFC 4303 §3.4.3";
    /// A sequence number that was accepted before.
    ReplayDuplicate "replay_duplicate" "RFC 4303 §3.4.3";
    /// A sequence number to the left of the window.
    ReplayTooOld "replay_too_old" "RFC 4303 §3.4.3";
    /// The ICV does not verify.
    Forged "forged" "RFC 4303 §3.4.4.1";
    /// A pad length longer than the payload, after a good ICV.
    BadPadding "bad_padding" "RFC 4303 §2.4";
    /// A dummy packet, next header 59.
    Dummy "dummy" "RFC 4303 §2.6";
    /// Outer congestion mark on a packet whose inner header cannot carry one.
    EcnDrop "ecn_drop" "RFC 6040 §4.2";
    /// Something other than UDP to port 1701 inside an SA.
    Selector "selector" "RFC 4301 §5.2, RFC 3193 §4";
    /// The inner UDP header does not parse.
    InnerUdpMalformed "inner_udp_malformed" "RFC 768";
    /// The L2TP header does not parse.
    L2tpMalformed "l2tp_malformed" "RFC 2661 §3.1";
    /// No session of this set has these ids.
    UnknownSession "unknown_session" "RFC 2661 §3.1, DESIGN §4";
    /// The PPP header does not parse.
    PppMalformed "ppp_malformed" "RFC 1661 §2";
    /// IPv4 before the session is open.
    NotOpen "not_open" "RFC 1661 §3.4";
    /// The inner IPv4 header does not parse.
    InnerMalformed "inner_malformed" "RFC 1812 §5.2.2";
    /// An inner source other than the session's own address.
    InnerSource "inner_source" "RFC 2827, DESIGN §5";
    /// An inner destination that must not be forwarded.
    InnerDestination "inner_destination" "RFC 1812 §5.3.7";
    /// A packet from one client to another.
    ClientToClient "client_to_client" "DESIGN §5";
    /// A packet to the gateway's own address that is not an echo request.
    GatewayRefused "gateway_refused" "DESIGN §5";
    /// The inner time to live has run out.
    TtlExpired "ttl_expired" "RFC 1812 §5.3.1";
    /// The core side's next hop is not known yet.
    NoNeighbour "no_neighbour" "RFC 1122 §2.3.2.2";
    /// A packet from the core that does not parse.
    CoreMalformed "core_malformed" "RFC 1812 §5.2.2";
    /// No session has this destination.
    NoRoute "no_route" "RFC 1812 §5.2.1";
    /// Longer than the path or the peer's MRU and not to be fragmented.
    TooBig "too_big" "RFC 1191 §4";
    /// The set has no SA to seal with.
    NoOutbound "no_outbound" "RFC 4301 §5.1";
    /// The SA's sequence numbers are used up.
    SequenceExhausted "sequence_exhausted" "RFC 4303 §3.3.3";
    /// The peer's next hop is not known.
    NoNextHop "no_next_hop" "RFC 1122 §2.3.2.2";
    /// The session or set went away while control's packet was on its way.
    Absent "absent" "DESIGN §4";
    /// More packets of this kind wanted control than its token bucket lets through.
    PuntRate "punt_rate" "DESIGN §3";
    /// The queue to control is full.
    PuntQueue "punt_queue" "DESIGN §3";
    /// The port took no more packets.
    RingFull "ring_full" "DESIGN §3";
    /// The ring to the core that the packet belongs to is full, or there is no such core.
    HandOff "hand_off" "DESIGN §4";
}

/// What became of the packets whose life began in one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Packets taken from the port.
    pub received: u64,
    /// Packets that another core handed over.
    pub taken: u64,
    /// Packets handed to another core.
    pub given: u64,
    /// Packets that we made ourselves.
    pub originated: u64,
    /// Packets that fragmentation added.
    pub split: u64,
    /// Packets given to a port.
    pub sent: u64,
    /// Packets given to control.
    pub punted: u64,
    /// Fragments that became part of another packet.
    pub merged: u64,
    /// Packets held for reassembly just now.
    pub in_flight: u64,
    /// Dropped packets by [`Reason`], in the order of [`Reason::ALL`].
    pub dropped: Vec<u64>,
}

impl Ledger {
    /// A ledger with nothing in it.
    pub fn new() -> Self {
        Self {
            received: 0,
            taken: 0,
            given: 0,
            originated: 0,
            split: 0,
            sent: 0,
            punted: 0,
            merged: 0,
            in_flight: 0,
            dropped: vec![0; Reason::ALL.len()],
        }
    }

    /// Counts one drop.
    pub fn drop(&mut self, reason: Reason) {
        if let Some(count) = self.dropped.get_mut(reason as usize) {
            *count += 1;
        }
    }

    /// Number of packets dropped for `reason`.
    pub fn dropped_for(&self, reason: Reason) -> u64 {
        self.dropped.get(reason as usize).copied().unwrap_or(0)
    }

    /// Whether every packet is accounted for.
    pub fn is_balanced(&self) -> bool {
        let dropped: u64 = self.dropped.iter().sum();
        self.received + self.taken + self.originated + self.split
            == self.sent + self.given + self.punted + dropped + self.merged + self.in_flight
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new()
    }
}

/// Where a packet's life began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Origin {
    /// The outer port.
    Outer,
    /// The core port.
    Core,
    /// Control.
    Control,
}

impl Origin {
    /// How many there are.
    pub(crate) const COUNT: usize = 3;
}

/// All ledgers of a core.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Packets that came in on the outer port.
    pub outer: Ledger,
    /// Packets that came in on the core port.
    pub core: Ledger,
    /// Control's own packets.
    pub control: Ledger,
}

impl Counters {
    /// The ledger of packets that began at `origin`.
    pub const fn ledger(&mut self, origin: Origin) -> &mut Ledger {
        match origin {
            Origin::Outer => &mut self.outer,
            Origin::Core => &mut self.core,
            Origin::Control => &mut self.control,
        }
    }

    /// Whether every packet is accounted for.
    pub fn is_balanced(&self) -> bool {
        self.outer.is_balanced() && self.core.is_balanced() && self.control.is_balanced()
    }

    /// Packets dropped for `reason`, wherever they began.
    pub fn dropped_for(&self, reason: Reason) -> u64 {
        [&self.outer, &self.core, &self.control]
            .iter()
            .map(|ledger| ledger.dropped_for(reason))
            .sum()
    }

    /// Copies `other` into the memory that this one already has.
    pub fn copy_from(&mut self, other: &Self) {
        for (to, from) in [
            (&mut self.outer, &other.outer),
            (&mut self.core, &other.core),
            (&mut self.control, &other.control),
        ] {
            to.clone_from(from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_number_a_name_of_its_own_and_a_source() {
        for (number, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
            assert!(!reason.source().is_empty());
            let same = Reason::ALL
                .iter()
                .filter(|other| other.name() == reason.name());
            assert_eq!(same.count(), 1, "{}", reason.name());
        }
    }

    #[test]
    fn a_ledger_balances_only_when_every_packet_has_an_end() {
        let mut ledger = Ledger::new();
        ledger.received = 3;
        assert!(!ledger.is_balanced());
        ledger.sent = 1;
        ledger.in_flight = 1;
        ledger.drop(Reason::Forged);
        assert!(ledger.is_balanced());
        assert_eq!(ledger.dropped_for(Reason::Forged), 1);
    }
}
