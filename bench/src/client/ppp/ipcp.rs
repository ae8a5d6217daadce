//! The IP Control Protocol as a client speaks it: it asks for an address and name servers (RFC 1332, RFC 1877).

use std::net::Ipv4Addr;

use culvert_wire::ppp::control::{self, Code, ControlPacket};
use culvert_wire::ppp::ipcp::IpcpOption;
use culvert_wire::ppp::option::Options;
use culvert_wire::writer::{Overflow, Writer};

use super::Lease;
use super::negotiation::{Agreement, Opinion};

/// Our end of IPCP. A value that the gateway rejected is no longer asked for.
#[derive(Debug, Default)]
pub(super) struct Ipcp {
    agreement: Agreement,
    lease: Lease,
}

impl Ipcp {
    /// One that begins anew, with identifiers that were not used before.
    pub(super) fn again(&self) -> Self {
        let asked = Some(Ipv4Addr::UNSPECIFIED);
        let lease = Lease {
            address: asked,
            gateway: None,
            primary_dns: asked,
            secondary_dns: asked,
        };
        Self {
            agreement: self.agreement.again(),
            lease,
        }
    }

    /// What has been agreed, once both ends have and we have an address.
    pub(super) fn lease(&self) -> Option<Lease> {
        let given = |address: Option<Ipv4Addr>| address.filter(|address| !address.is_unspecified());
        let lease = Lease {
            address: given(self.lease.address),
            gateway: self.lease.gateway,
            primary_dns: given(self.lease.primary_dns),
            secondary_dns: given(self.lease.secondary_dns),
        };
        (self.agreement.is_open() && lease.address.is_some()).then_some(lease)
    }

    /// Writes a Configure-Request.
    pub(super) fn request(&mut self, writer: &mut Writer<'_>) -> Result<(), Overflow> {
        let options = [
            self.lease.address.map(IpcpOption::IpAddress),
            self.lease.primary_dns.map(IpcpOption::PrimaryDns),
            self.lease.secondary_dns.map(IpcpOption::SecondaryDns),
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
        let given = |address| Some(address).filter(|_| !reject);
        for option in Options::new(packet.data).filter_map(Result::ok) {
            match IpcpOption::from(option) {
                IpcpOption::IpAddress(address) => self.lease.address = given(address),
                IpcpOption::PrimaryDns(address) => self.lease.primary_dns = given(address),
                IpcpOption::SecondaryDns(address) => self.lease.secondary_dns = given(address),
                IpcpOption::Other(_) => {}
            }
        }
        true
    }

    /// Answers the gateway's Configure-Request: its address is taken, all else rejected.
    pub(super) fn answer(&mut self, packet: &ControlPacket<'_>) -> Result<Vec<u8>, Overflow> {
        let mut gateway = None;
        let answer = self
            .agreement
            .answer(packet, |raw| match IpcpOption::from(raw) {
                IpcpOption::IpAddress(address) => {
                    gateway = Some(address);
                    Opinion::Accept
                }
                IpcpOption::PrimaryDns(_) | IpcpOption::SecondaryDns(_) | IpcpOption::Other(_) => {
                    Opinion::Reject(raw)
                }
            });
        self.lease.gateway = gateway;
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame;
    use super::*;

    fn packet(code: Code, identifier: u8, options: &[u8]) -> Vec<u8> {
        frame(|writer| control::put(writer, code, identifier, |writer| writer.put(options)))
            .unwrap()
    }

    #[test]
    fn the_lease_is_what_the_gateway_named_and_acknowledged() {
        let mut ipcp = Ipcp::default().again();
        let first = frame(|writer| ipcp.request(writer)).unwrap();
        assert_eq!(first.len(), 4 + 3 * 6);
        let nak = packet(
            Code::CONFIGURE_NAK,
            1,
            &[3, 6, 10, 0, 0, 5, 129, 6, 9, 9, 9, 9],
        );
        assert!(ipcp.answered(&ControlPacket::parse(&nak).unwrap()));
        let reject = packet(Code::CONFIGURE_REJECT, 2, &[131, 6, 0, 0, 0, 0]);
        frame(|writer| ipcp.request(writer)).unwrap();
        assert!(ipcp.answered(&ControlPacket::parse(&reject).unwrap()));
        let last = frame(|writer| ipcp.request(writer)).unwrap();
        assert_eq!(last[4..], [3, 6, 10, 0, 0, 5, 129, 6, 9, 9, 9, 9]);
        let ack = packet(Code::CONFIGURE_ACK, 3, &last[4..]);
        assert!(!ipcp.answered(&ControlPacket::parse(&ack).unwrap()));
        assert_eq!(ipcp.lease(), None);
        let theirs = packet(Code::CONFIGURE_REQUEST, 9, &[3, 6, 10, 0, 0, 1]);
        ipcp.answer(&ControlPacket::parse(&theirs).unwrap())
            .unwrap();
        let expected = Lease {
            address: Some(Ipv4Addr::new(10, 0, 0, 5)),
            gateway: Some(Ipv4Addr::new(10, 0, 0, 1)),
            primary_dns: Some(Ipv4Addr::new(9, 9, 9, 9)),
            secondary_dns: None,
        };
        assert_eq!(ipcp.lease(), Some(expected));
    }
}
