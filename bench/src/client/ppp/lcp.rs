//! The Link Control Protocol as a client speaks it (RFC 1661 §5, §6).

use culvert_wire::ppp::control::{self, Code, ControlPacket};
use culvert_wire::ppp::lcp::{Authentication, ChapAlgorithm, LcpOption};
use culvert_wire::ppp::option::{Options, RawOption};
use culvert_wire::writer::{Overflow, Writer};

use super::negotiation::{Agreement, Opinion};
use super::{Method, frame};

/// Our end of LCP.
#[derive(Debug, Default)]
pub(super) struct Lcp {
    agreement: Agreement,
    mru: Option<u16>,
    magic_number: Option<u32>,
    method: Option<Method>,
    rejects: u8,
}

impl Lcp {
    /// One that begins anew, with identifiers that were not used before.
    pub(super) fn again(&self, mru: u16, magic_number: u32) -> Self {
        Self {
            agreement: self.agreement.again(),
            mru: Some(mru),
            magic_number: Some(magic_number),
            method: None,
            rejects: self.rejects,
        }
    }

    /// Whether `request` is the one that we have acknowledged.
    pub(super) fn has_accepted(&self, request: &ControlPacket<'_>) -> bool {
        self.agreement.has_accepted(request)
    }

    /// Whether both ends have agreed.
    pub(super) const fn is_open(&self) -> bool {
        self.agreement.is_open()
    }

    /// How the gateway wants us to authenticate.
    pub(super) const fn method(&self) -> Option<Method> {
        self.method
    }

    /// Writes a Configure-Request.
    pub(super) fn request(&mut self, writer: &mut Writer<'_>) -> Result<(), Overflow> {
        let options = [
            self.mru.map(LcpOption::Mru),
            self.magic_number.map(LcpOption::MagicNumber),
        ];
        control::put(
            writer,
            Code::CONFIGURE_REQUEST,
            self.agreement.ask(),
            |writer| {
                options
                    .iter()
                    .flatten()
                    .try_for_each(|option| option.put(writer))
            },
        )
    }

    /// Takes an answer to our request; true if another request is needed.
    pub(super) fn answered(&mut self, packet: &ControlPacket<'_>) -> bool {
        if !self.agreement.answers(packet) || packet.code == Code::CONFIGURE_ACK {
            return false;
        }
        let reject = packet.code == Code::CONFIGURE_REJECT;
        for option in Options::new(packet.data).filter_map(Result::ok) {
            match LcpOption::from(option) {
                LcpOption::Mru(mru) => self.mru = Some(mru).filter(|_| !reject),
                LcpOption::MagicNumber(magic) => {
                    self.magic_number = Some(magic).filter(|_| !reject)
                }
                LcpOption::Accm(_)
                | LcpOption::Authentication(_)
                | LcpOption::ProtocolCompression
                | LcpOption::AddressControlCompression
                | LcpOption::Other(_) => {}
            }
        }
        true
    }

    /// Answers the gateway's Configure-Request; of its authentication methods only `methods` are taken.
    pub(super) fn answer(
        &mut self,
        packet: &ControlPacket<'_>,
        methods: &[Method],
    ) -> Result<Vec<u8>, Overflow> {
        let mut wanted = None;
        let answer = self
            .agreement
            .answer(packet, |raw| judge(raw, methods, &mut wanted));
        self.method = wanted;
        answer
    }

    /// Answers an Echo-Request with our magic number.
    pub(super) fn echo(&self, packet: &ControlPacket<'_>) -> Result<Vec<u8>, Overflow> {
        let rest = packet.data.get(4..).unwrap_or_default();
        frame(|writer| {
            control::put(writer, Code::ECHO_REPLY, packet.identifier, |writer| {
                writer.u32(self.magic_number.unwrap_or(0))?;
                writer.put(rest)
            })
        })
    }

    /// The identifier of a reject of ours.
    pub(super) const fn next_identifier(&mut self) -> u8 {
        self.rejects = self.rejects.wrapping_add(1);
        self.rejects
    }
}

fn judge<'a>(raw: RawOption<'a>, methods: &[Method], wanted: &mut Option<Method>) -> Opinion<'a> {
    match LcpOption::from(raw) {
        LcpOption::Mru(_)
        | LcpOption::Accm(_)
        | LcpOption::MagicNumber(_)
        | LcpOption::ProtocolCompression
        | LcpOption::AddressControlCompression => Opinion::Accept,
        LcpOption::Authentication(asked) => {
            *wanted = method(asked).filter(|method| methods.contains(method));
            match (*wanted, methods.first()) {
                (Some(_), _) => Opinion::Accept,
                (None, Some(preferred)) => prefer(*preferred),
                (None, None) => Opinion::Reject(raw),
            }
        }
        LcpOption::Other(raw) => Opinion::Reject(raw),
    }
}

const fn method(asked: Authentication<'_>) -> Option<Method> {
    match asked {
        Authentication::Pap => Some(Method::Pap),
        Authentication::Chap(ChapAlgorithm::MD5) => Some(Method::ChapMd5),
        Authentication::Chap(ChapAlgorithm::MS_CHAP_V2) => Some(Method::MsChapV2),
        Authentication::Chap(_) | Authentication::Other(..) => None,
    }
}

fn prefer<'a>(method: Method) -> Opinion<'a> {
    let authentication = match method {
        Method::Pap => Authentication::Pap,
        Method::ChapMd5 => Authentication::Chap(ChapAlgorithm::MD5),
        Method::MsChapV2 => Authentication::Chap(ChapAlgorithm::MS_CHAP_V2),
    };
    let option = frame(|writer| LcpOption::Authentication(authentication).put(writer));
    Opinion::Prefer(option.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(options: &[u8]) -> Vec<u8> {
        frame(|writer| {
            control::put(writer, Code::CONFIGURE_REQUEST, 3, |writer| {
                writer.put(options)
            })
        })
        .unwrap()
    }

    fn answer(options: &[u8], methods: &[Method]) -> (Code, Vec<u8>, Option<Method>) {
        let mut lcp = Lcp::default().again(1400, 1);
        let request = request(options);
        let bytes = lcp
            .answer(&ControlPacket::parse(&request).unwrap(), methods)
            .unwrap();
        let packet = ControlPacket::parse(&bytes).unwrap();
        assert_eq!(packet.identifier, 3);
        (packet.code, packet.data.to_vec(), lcp.method())
    }

    #[test]
    fn an_offered_method_is_taken_and_another_is_answered_with_ours() {
        let chap_v2 = [3, 5, 0xC2, 0x23, 0x81];
        let (code, data, method) = answer(&chap_v2, &[Method::MsChapV2]);
        assert_eq!(
            (code, &data[..], method),
            (Code::CONFIGURE_ACK, &chap_v2[..], Some(Method::MsChapV2))
        );
        let (code, data, method) = answer(&[3, 4, 0xC0, 0x23], &[Method::MsChapV2]);
        assert_eq!(
            (code, &data[..], method),
            (Code::CONFIGURE_NAK, &chap_v2[..], None)
        );
    }

    #[test]
    fn unknown_options_are_rejected_alone() {
        let (code, data, _) = answer(&[1, 4, 5, 0xDC, 13, 3, 6], &[Method::Pap]);
        assert_eq!((code, &data[..]), (Code::CONFIGURE_REJECT, &[13, 3, 6][..]));
    }

    #[test]
    fn a_rejected_option_is_not_asked_for_again() {
        let mut lcp = Lcp::default().again(1400, 1);
        let mut first = frame(|writer| lcp.request(writer)).unwrap();
        first[0] = Code::CONFIGURE_REJECT.0;
        assert!(lcp.answered(&ControlPacket::parse(&first).unwrap()));
        let second = frame(|writer| lcp.request(writer)).unwrap();
        assert_eq!(second, [1, 2, 0, 4]);
    }
}
