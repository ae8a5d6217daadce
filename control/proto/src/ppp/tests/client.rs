//! A small PPP client for the tests, with a negotiation of its own.

use std::net::Ipv4Addr;

use culvert_wire::ppp::chap;
use culvert_wire::ppp::control::{Code, ControlPacket};
use culvert_wire::ppp::frame::Protocol;
use culvert_wire::ppp::ipcp::IpcpOption;
use culvert_wire::ppp::lcp::{Authentication, ChapAlgorithm, LcpOption};
use culvert_wire::ppp::option::Options;
use culvert_wire::ppp::pap;
use culvert_wire::writer::Writer;

use super::parsed;
use crate::crypto;
use crate::crypto::mschapv2::{Exchange, NtHash};
use crate::ppp::negotiation::packet;

/// One protocol's negotiation, as far as a test's client needs it.
#[derive(Clone, Debug, Default)]
pub(super) struct Half {
    identifier: u8,
    /// The server agreed to what we ask for.
    agreed: bool,
    /// We agreed to what the server asks for.
    granted: bool,
}

impl Half {
    const fn is_open(&self) -> bool {
        self.agreed && self.granted
    }
}

/// The client.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) name: Vec<u8>,
    pub(super) password: String,
    /// Methods it knows, the one it would rather have first.
    pub(super) methods: Vec<Authentication<'static>>,
    pub(super) address: Ipv4Addr,
    pub(super) dns: Ipv4Addr,
    pub(super) mru: u16,
    pub(super) magic: u32,
    lcp: Half,
    ipcp: Half,
    method: Option<Authentication<'static>>,
    pub(super) proved: bool,
    pub(super) closed: bool,
    /// The last frame of the authentication, to be repeated.
    proof: Option<Vec<u8>>,
    /// Number of proofs by PAP.
    proofs: u8,
}

pub(super) const MS_CHAP_V2: Authentication<'static> =
    Authentication::Chap(ChapAlgorithm::MS_CHAP_V2);
pub(super) const CHAP_MD5: Authentication<'static> = Authentication::Chap(ChapAlgorithm::MD5);

impl Client {
    pub(super) fn new(name: &str, password: &str, methods: &[Authentication<'static>]) -> Self {
        Self {
            name: name.into(),
            password: password.into(),
            methods: methods.to_vec(),
            address: Ipv4Addr::UNSPECIFIED,
            dns: Ipv4Addr::UNSPECIFIED,
            mru: 1_400,
            magic: 0x0BAD_CAFE,
            lcp: Half::default(),
            ipcp: Half::default(),
            method: None,
            proved: false,
            closed: false,
            proof: None,
            proofs: 0,
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        self.lcp.is_open() && self.proved && self.ipcp.is_open()
    }

    /// What it says now: at the start, and again when nothing happens.
    pub(super) fn outstanding(&self) -> Vec<Vec<u8>> {
        let lcp = (!self.lcp.agreed).then(|| self.lcp_request());
        let waiting = self.lcp.is_open() && !self.proved;
        let proof = self.proof.clone().filter(|_| waiting);
        let ipcp = (self.proved && !self.ipcp.agreed).then(|| self.ipcp_request());
        [lcp, proof, ipcp].into_iter().flatten().collect()
    }

    pub(super) fn lcp_request(&self) -> Vec<u8> {
        let options = [
            LcpOption::Mru(self.mru),
            LcpOption::Accm(0),
            LcpOption::MagicNumber(self.magic),
            LcpOption::ProtocolCompression,
            LcpOption::AddressControlCompression,
        ];
        let mut buffer = [0; 64];
        let mut writer = Writer::new(&mut buffer);
        options
            .iter()
            .for_each(|option| option.put(&mut writer).unwrap());
        let identifier = self.lcp.identifier;
        packet(
            Protocol::LCP,
            Code::CONFIGURE_REQUEST,
            identifier,
            writer.written(),
        )
    }

    fn ipcp_request(&self) -> Vec<u8> {
        let options = [
            IpcpOption::IpAddress(self.address),
            IpcpOption::PrimaryDns(self.dns),
        ];
        let mut buffer = [0; 64];
        let mut writer = Writer::new(&mut buffer);
        options
            .iter()
            .for_each(|option| option.put(&mut writer).unwrap());
        let identifier = self.ipcp.identifier;
        packet(
            Protocol::IPCP,
            Code::CONFIGURE_REQUEST,
            identifier,
            writer.written(),
        )
    }

    /// Starts LCP anew.
    pub(super) fn renegotiate(&mut self) -> Vec<u8> {
        let identifier = self.lcp.identifier.wrapping_add(1);
        self.forget();
        self.lcp.identifier = identifier;
        self.lcp_request()
    }

    fn forget(&mut self) {
        let identifier = self.lcp.identifier;
        self.lcp = Half::default();
        self.lcp.identifier = identifier;
        self.ipcp = Half::default();
        self.proved = false;
        self.proof = None;
    }

    /// Takes a frame and answers.
    pub(super) fn take(&mut self, frame: &[u8]) -> Vec<Vec<u8>> {
        let (protocol, received) = parsed(frame);
        match (protocol, received.code) {
            (Protocol::LCP, Code::CONFIGURE_REQUEST) => self.lcp_requested(&received),
            (Protocol::LCP, Code::CONFIGURE_ACK) => {
                if received.identifier == self.lcp.identifier && !self.lcp.agreed {
                    self.lcp.agreed = true;
                    return self.begin_proof();
                }
                vec![]
            }
            (Protocol::LCP, Code::TERMINATE_REQUEST) => {
                self.closed = true;
                let code = Code::TERMINATE_ACK;
                vec![packet(protocol, code, received.identifier, &[])]
            }
            (Protocol::LCP, Code::ECHO_REQUEST) => {
                let magic = self.magic.to_be_bytes();
                vec![packet(
                    protocol,
                    Code::ECHO_REPLY,
                    received.identifier,
                    &magic,
                )]
            }
            (Protocol::CHAP, chap::CHALLENGE) if self.lcp.is_open() => self.respond(&received),
            (Protocol::CHAP, chap::SUCCESS) | (Protocol::PAP, pap::ACK)
                if !self.proved && self.awaits(received.identifier) =>
            {
                self.proved = true;
                vec![self.ipcp_request()]
            }
            (Protocol::IPCP, Code::CONFIGURE_REQUEST) if self.proved => {
                let mut answers = Vec::new();
                if self.ipcp.is_open() {
                    self.ipcp.agreed = false;
                    self.ipcp.identifier = self.ipcp.identifier.wrapping_add(1);
                    answers.push(self.ipcp_request());
                }
                self.ipcp.granted = true;
                let code = Code::CONFIGURE_ACK;
                answers.push(packet(protocol, code, received.identifier, received.data));
                answers
            }
            (Protocol::IPCP, Code::CONFIGURE_ACK) => {
                self.ipcp.agreed |= received.identifier == self.ipcp.identifier;
                vec![]
            }
            (Protocol::IPCP, Code::CONFIGURE_NAK)
                if received.identifier == self.ipcp.identifier =>
            {
                for option in Options::new(received.data).flatten() {
                    match IpcpOption::from(option) {
                        IpcpOption::IpAddress(address) => self.address = address,
                        IpcpOption::PrimaryDns(address) => self.dns = address,
                        IpcpOption::SecondaryDns(_) | IpcpOption::Other(_) => {}
                    }
                }
                self.ipcp.identifier = self.ipcp.identifier.wrapping_add(1);
                vec![self.ipcp_request()]
            }
            _ => vec![],
        }
    }

    /// Whether the answer to the proof with this identifier is awaited.
    fn awaits(&self, identifier: u8) -> bool {
        let proof = self.proof.as_ref().map(|proof| parsed(proof).1.identifier);
        self.lcp.is_open() && proof == Some(identifier)
    }

    fn lcp_requested(&mut self, received: &ControlPacket<'_>) -> Vec<Vec<u8>> {
        let mut answers = Vec::new();
        if self.lcp.is_open() {
            self.forget();
            answers.push(self.lcp_request());
        }
        let mut wanted = None;
        for option in Options::new(received.data).flatten() {
            if let LcpOption::Authentication(method) = option.into() {
                wanted = Some(method);
            }
        }
        let known = self
            .methods
            .iter()
            .copied()
            .find(|&method| Some(method) == wanted);
        let (code, data) = match (known, self.methods.first()) {
            (Some(method), _) => {
                self.method = Some(method);
                self.lcp.granted = true;
                (Code::CONFIGURE_ACK, received.data.to_vec())
            }
            (None, Some(&rather)) => (Code::CONFIGURE_NAK, authentication_option(rather)),
            (None, None) => {
                let refused = wanted.map(authentication_option).unwrap_or_default();
                (Code::CONFIGURE_REJECT, refused)
            }
        };
        answers.push(packet(Protocol::LCP, code, received.identifier, &data));
        answers.extend(self.begin_proof());
        answers
    }

    fn begin_proof(&mut self) -> Vec<Vec<u8>> {
        if self.lcp.is_open() && self.method == Some(Authentication::Pap) && self.proof.is_none() {
            self.proofs = self.proofs.wrapping_add(1);
            let mut buffer = [0; 512];
            let mut writer = Writer::new(&mut buffer);
            let (peer_id, password) = (&self.name[..], self.password.as_bytes());
            pap::Request { peer_id, password }.put(&mut writer).unwrap();
            self.proof = Some(packet(
                Protocol::PAP,
                pap::REQUEST,
                self.proofs,
                writer.written(),
            ));
            return self.proof.iter().cloned().collect();
        }
        vec![]
    }

    fn respond(&mut self, received: &ControlPacket<'_>) -> Vec<Vec<u8>> {
        let challenge = chap::Packet::parse(received.data).unwrap().value;
        let value = match self.method {
            Some(CHAP_MD5) => {
                let secret = self.password.as_bytes();
                crypto::chap::response(received.identifier, secret, challenge).to_vec()
            }
            _ => self.mschapv2(challenge.try_into().unwrap()),
        };
        let frame = self.response(received.identifier, &value);
        self.proof = Some(frame.clone());
        vec![frame]
    }

    pub(super) fn response(&self, identifier: u8, value: &[u8]) -> Vec<u8> {
        let mut buffer = [0; 1_024];
        let mut writer = Writer::new(&mut buffer);
        let name = &self.name;
        chap::Packet { value, name }.put(&mut writer).unwrap();
        packet(Protocol::CHAP, chap::RESPONSE, identifier, writer.written())
    }

    /// The value of a Response to an MS-CHAPv2 challenge.
    pub(super) fn mschapv2(&self, challenge: &[u8; 16]) -> Vec<u8> {
        let peer_challenge = &[7; 16];
        let exchange = Exchange {
            authenticator_challenge: challenge,
            peer_challenge,
            name: &self.name,
        };
        let nt_response = &exchange.nt_response(&NtHash::of_password(&self.password));
        let mut value = [0; 49];
        chap::MsChapV2Response {
            peer_challenge,
            nt_response,
        }
        .put(&mut Writer::new(&mut value))
        .unwrap();
        value.to_vec()
    }
}

fn authentication_option(wanted: Authentication<'_>) -> Vec<u8> {
    let mut buffer = [0; 64];
    let mut writer = Writer::new(&mut buffer);
    LcpOption::Authentication(wanted).put(&mut writer).unwrap();
    writer.written().to_vec()
}
