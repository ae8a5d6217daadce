//! What LCP and IPCP share: which of both requests are acknowledged, and the answer to the peer's (RFC 1661 §4, §5).

use culvert_wire::ppp::control::{self, Code, ControlPacket};
use culvert_wire::ppp::option::{self, Options, RawOption};
use culvert_wire::writer::Overflow;

use super::frame;

/// Whose Configure-Requests have been acknowledged.
#[derive(Debug, Default)]
pub(super) struct Agreement {
    identifier: u8,
    ours: bool,
    /// The request of the peer's that we have acknowledged, from its code on.
    theirs: Option<Vec<u8>>,
}

/// What we say to one option of the peer's.
#[derive(Debug)]
pub(super) enum Opinion<'a> {
    /// As it is.
    Accept,
    /// With this value instead.
    Prefer(Vec<u8>),
    /// Not at all.
    Reject(RawOption<'a>),
}

impl Agreement {
    /// Whether both ends have agreed.
    pub(super) const fn is_open(&self) -> bool {
        self.ours && self.theirs.is_some()
    }

    /// Nothing acknowledged, and identifiers that go on.
    pub(super) const fn again(&self) -> Self {
        Self {
            identifier: self.identifier,
            ours: false,
            theirs: None,
        }
    }

    /// Whether `request` is the one that we have acknowledged.
    pub(super) fn has_accepted(&self, request: &ControlPacket<'_>) -> bool {
        self.theirs.as_deref() == Some(request.bytes)
    }

    /// The identifier of a new request of ours.
    pub(super) const fn ask(&mut self) -> u8 {
        self.ours = false;
        self.identifier = self.identifier.wrapping_add(1);
        self.identifier
    }

    /// Whether `packet` answers our last request; an acknowledgement is noted.
    pub(super) fn answers(&mut self, packet: &ControlPacket<'_>) -> bool {
        let answers = packet.identifier == self.identifier && !self.ours;
        self.ours |= answers && packet.code == Code::CONFIGURE_ACK;
        answers
    }

    /// Answers a Configure-Request: rejects first, then preferences, otherwise an acknowledgement.
    pub(super) fn answer<'a>(
        &mut self,
        packet: &ControlPacket<'a>,
        mut judge: impl FnMut(RawOption<'a>) -> Opinion<'a>,
    ) -> Result<Vec<u8>, Overflow> {
        let (mut preferred, mut rejected) = (Vec::new(), Vec::new());
        for raw in Options::new(packet.data).filter_map(Result::ok) {
            match judge(raw) {
                Opinion::Accept => {}
                Opinion::Prefer(option) => preferred.extend(option),
                Opinion::Reject(raw) => {
                    rejected.extend(frame(|writer| option::put(writer, raw.kind, raw.data))?)
                }
            }
        }
        let (code, data) = match (rejected.is_empty(), preferred.is_empty()) {
            (false, _) => (Code::CONFIGURE_REJECT, &rejected[..]),
            (true, false) => (Code::CONFIGURE_NAK, &preferred[..]),
            (true, true) => (Code::CONFIGURE_ACK, packet.data),
        };
        self.theirs = (code == Code::CONFIGURE_ACK).then(|| packet.bytes.to_vec());
        frame(|writer| control::put(writer, code, packet.identifier, |writer| writer.put(data)))
    }
}
