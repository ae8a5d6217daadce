//! What we want of IPCP, and what the peer may want (RFC 1332, RFC 1877).

use std::net::Ipv4Addr;

use culvert_wire::ppp::frame::Protocol;
use culvert_wire::ppp::ipcp::IpcpOption;
use culvert_wire::ppp::option::Options;
use culvert_wire::writer::{Overflow, Writer};
use serde::{Deserialize, Serialize};

use crate::ppp::negotiation::{Policy, Review};
use crate::ppp::output::Cause;

/// Both ends' addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ipcp {
    /// Ours, unless the peer does not want to know.
    gateway: Option<Ipv4Addr>,
    /// The peer's.
    pub(super) address: Ipv4Addr,
    primary_dns: Option<Ipv4Addr>,
    secondary_dns: Option<Ipv4Addr>,
}

impl Ipcp {
    pub(super) fn new(gateway: Ipv4Addr, address: Ipv4Addr, dns: &[Ipv4Addr]) -> Self {
        Self {
            gateway: Some(gateway),
            address,
            primary_dns: dns.first().copied(),
            secondary_dns: dns.get(1).copied(),
        }
    }

    /// The value that we grant in place of the one asked for; `None` if we have none.
    fn granted<'a>(&self, option: IpcpOption<'a>) -> Option<IpcpOption<'a>> {
        match option {
            IpcpOption::IpAddress(_) => Some(IpcpOption::IpAddress(self.address)),
            IpcpOption::PrimaryDns(_) => self.primary_dns.map(IpcpOption::PrimaryDns),
            IpcpOption::SecondaryDns(_) => self.secondary_dns.map(IpcpOption::SecondaryDns),
            IpcpOption::Other(_) => None,
        }
    }
}

impl Policy for Ipcp {
    const PROTOCOL: Protocol = Protocol::IPCP;

    fn request(&self) -> Vec<u8> {
        list(self.gateway.map(IpcpOption::IpAddress))
    }

    fn review(&mut self, options: Options<'_>, last: bool) -> Review {
        let (mut naks, mut rejects) = (Vec::new(), Vec::new());
        let mut has_address = false;
        for option in options.flatten().map(IpcpOption::from) {
            has_address |= matches!(option, IpcpOption::IpAddress(_));
            match self.granted(option) {
                Some(granted) if granted == option => {}
                Some(granted) if !last => naks.push(granted),
                Some(_) | None => rejects.push(option),
            }
        }
        if !has_address && !last {
            naks.push(IpcpOption::IpAddress(self.address));
        }
        match (rejects.is_empty(), naks.is_empty()) {
            (false, _) => Review::Reject(list(rejects)),
            (true, false) => Review::Nak(list(naks)),
            (true, true) => Review::Ack,
        }
    }

    /// Our address is not the peer's to choose.
    fn yield_to(&mut self, _options: Options<'_>, _spare: u32) -> Result<(), Cause> {
        Ok(())
    }

    fn leave_out(&mut self, options: Options<'_>) -> Result<(), Cause> {
        let mut options = options.flatten().map(IpcpOption::from);
        if options.any(|option| matches!(option, IpcpOption::IpAddress(_))) {
            self.gateway = None;
        }
        Ok(())
    }
}

fn list<'a>(options: impl IntoIterator<Item = IpcpOption<'a>>) -> Vec<u8> {
    let mut buffer = [0; 1_536];
    let mut writer = Writer::new(&mut buffer);
    // As with LCP: what does not fit waits for the next round.
    let fits: Result<(), Overflow> = options
        .into_iter()
        .try_for_each(|option| option.put(&mut writer));
    let _ = fits;
    writer.written().to_vec()
}
