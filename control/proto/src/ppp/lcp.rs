//! What we want of LCP, and what the peer may want (RFC 1661 §6).

use culvert_wire::ppp::frame::Protocol;
use culvert_wire::ppp::lcp::{Authentication, ChapAlgorithm, DEFAULT_MRU, LcpOption};
use culvert_wire::ppp::option::Options;
use culvert_wire::writer::{Overflow, Writer};
use serde::{Deserialize, Serialize};

use crate::ppp::negotiation::{Policy, Review};
use crate::ppp::output::Cause;
use crate::rows::PppFraming;
use crate::users::Method;

/// The smallest MRU that a peer may have, in bytes: what every IPv4 host takes (RFC 791 §3.1).
const MIN_MRU: u16 = 576;

/// Both ends' options.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lcp {
    mru: Option<u16>,
    magic: Option<u32>,
    /// How the peer shall authenticate.
    pub(super) method: Method,
    /// Methods that may be asked for if the peer does not like that one.
    untried: Vec<Method>,
    /// All that are enabled.
    enabled: Vec<Method>,
    /// What the peer last asked for and was granted.
    pub(super) peer: PeerOptions,
}

/// What the peer's request says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PeerOptions {
    pub(super) mru: u16,
    pub(super) framing: PppFraming,
    magic: Option<u32>,
}

impl Default for PeerOptions {
    fn default() -> Self {
        Self {
            mru: DEFAULT_MRU,
            framing: PppFraming::default(),
            magic: None,
        }
    }
}

impl Lcp {
    /// Asks for `mru` and the first of `methods`; `None` if there is none.
    pub(super) fn new(mru: u16, methods: &[Method], magic: u32) -> Option<Self> {
        let (&method, untried) = methods.split_first()?;
        Some(Self {
            mru: Some(mru.max(MIN_MRU)),
            magic: Some(magic | 1),
            method,
            untried: untried.to_vec(),
            enabled: methods.to_vec(),
            peer: PeerOptions::default(),
        })
    }

    /// Our magic number, 0 if the peer does not know the option.
    pub(super) fn magic(&self) -> u32 {
        self.magic.unwrap_or(0)
    }

    /// Falls back to the method that the peer names, or to the next one that it has not refused.
    fn change_method(&mut self, wanted: Option<Method>) -> Result<(), Cause> {
        let refused = self.method;
        let wanted = wanted.filter(|method| self.enabled.contains(method) && *method != refused);
        self.method = match (wanted, self.untried.first()) {
            (Some(method), _) | (None, Some(&method)) => method,
            (None, None) => return Err(Cause::NoMethod),
        };
        let chosen = self.method;
        self.untried.retain(|&method| method != chosen);
        Ok(())
    }
}

impl Policy for Lcp {
    const PROTOCOL: Protocol = Protocol::LCP;

    fn request(&self) -> Vec<u8> {
        let options = [
            self.mru.map(LcpOption::Mru),
            Some(LcpOption::Authentication(option(self.method))),
            self.magic.map(LcpOption::MagicNumber),
        ];
        list(options.into_iter().flatten())
    }

    fn review(&mut self, options: Options<'_>, last: bool) -> Review {
        let mut peer = PeerOptions::default();
        let (mut naks, mut rejects) = (Vec::new(), Vec::new());
        for option in options.flatten().map(LcpOption::from) {
            match option {
                LcpOption::Mru(mru) if mru < MIN_MRU => match last {
                    false => naks.push(LcpOption::Mru(MIN_MRU)),
                    true => rejects.push(option),
                },
                LcpOption::Mru(mru) => peer.mru = mru,
                LcpOption::Accm(_) => {}
                LcpOption::MagicNumber(magic) if magic == 0 || Some(magic) == self.magic => {
                    // A looped-back link, or a peer without an idea: any other number will do.
                    match last {
                        false => naks.push(LcpOption::MagicNumber(magic.wrapping_mul(5) ^ 0x5555)),
                        true => rejects.push(option),
                    }
                }
                LcpOption::MagicNumber(magic) => peer.magic = Some(magic),
                LcpOption::ProtocolCompression => peer.framing.protocol_compressed = true,
                LcpOption::AddressControlCompression => {
                    peer.framing.address_control_compressed = true;
                }
                // We do not prove anything to a client: its challenge could be another server's.
                LcpOption::Authentication(_) | LcpOption::Other(_) => rejects.push(option),
            }
        }
        match (rejects.is_empty(), naks.is_empty()) {
            (false, _) => Review::Reject(list(rejects)),
            (true, false) => Review::Nak(list(naks)),
            (true, true) => {
                self.peer = peer;
                Review::Ack
            }
        }
    }

    fn yield_to(&mut self, options: Options<'_>, spare: u32) -> Result<(), Cause> {
        for option in options.flatten().map(LcpOption::from) {
            match option {
                LcpOption::Mru(mru) if self.mru.is_some() => {
                    self.mru = Some(mru.clamp(MIN_MRU, DEFAULT_MRU));
                }
                LcpOption::MagicNumber(_) if self.magic.is_some() => self.magic = Some(spare | 1),
                LcpOption::Authentication(wanted) => self.change_method(method(wanted))?,
                LcpOption::Mru(_)
                | LcpOption::Accm(_)
                | LcpOption::MagicNumber(_)
                | LcpOption::ProtocolCompression
                | LcpOption::AddressControlCompression
                | LcpOption::Other(_) => {}
            }
        }
        Ok(())
    }

    fn leave_out(&mut self, options: Options<'_>) -> Result<(), Cause> {
        for option in options.flatten().map(LcpOption::from) {
            match option {
                LcpOption::Mru(_) => self.mru = None,
                LcpOption::MagicNumber(_) => self.magic = None,
                LcpOption::Authentication(_) => return Err(Cause::NoMethod),
                LcpOption::Accm(_)
                | LcpOption::ProtocolCompression
                | LcpOption::AddressControlCompression
                | LcpOption::Other(_) => {}
            }
        }
        Ok(())
    }
}

const fn option(method: Method) -> Authentication<'static> {
    match method {
        Method::Pap => Authentication::Pap,
        Method::ChapMd5 => Authentication::Chap(ChapAlgorithm::MD5),
        Method::MsChapV2 => Authentication::Chap(ChapAlgorithm::MS_CHAP_V2),
    }
}

fn method(option: Authentication<'_>) -> Option<Method> {
    match option {
        Authentication::Pap => Some(Method::Pap),
        Authentication::Chap(ChapAlgorithm::MD5) => Some(Method::ChapMd5),
        Authentication::Chap(ChapAlgorithm::MS_CHAP_V2) => Some(Method::MsChapV2),
        Authentication::Chap(_) | Authentication::Other(..) => None,
    }
}

fn list<'a>(options: impl IntoIterator<Item = LcpOption<'a>>) -> Vec<u8> {
    let mut buffer = [0; 1_536];
    let mut writer = Writer::new(&mut buffer);
    // Options of a received packet fit; should a peer's datagram be larger than any frame, the rest waits for the next round.
    let fits: Result<(), Overflow> = options
        .into_iter()
        .try_for_each(|option| option.put(&mut writer));
    let _ = fits;
    writer.written().to_vec()
}
