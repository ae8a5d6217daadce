//! Options of the IP Control Protocol (RFC 1332 §3, RFC 1877).

use core::net::Ipv4Addr;

use crate::ppp::option::{self, RawOption};
use crate::writer::{Overflow, Writer};

/// Type of an IPCP option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u8);

#[allow(missing_docs, reason = "the names are the RFCs'")]
impl Kind {
    pub const IP_ADDRESSES: Self = Self(1);
    pub const IP_COMPRESSION: Self = Self(2);
    pub const IP_ADDRESS: Self = Self(3);
    pub const PRIMARY_DNS: Self = Self(129);
    pub const PRIMARY_NBNS: Self = Self(130);
    pub const SECONDARY_DNS: Self = Self(131);
    pub const SECONDARY_NBNS: Self = Self(132);
}

/// An option whose length fits its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpcpOption<'a> {
    /// The sender's own address; unspecified to be given one.
    IpAddress(Ipv4Addr),
    /// The first name server the sender will use.
    PrimaryDns(Ipv4Addr),
    /// The second.
    SecondaryDns(Ipv4Addr),
    /// Every other type, and known types with a wrong length.
    Other(RawOption<'a>),
}

impl<'a> From<RawOption<'a>> for IpcpOption<'a> {
    fn from(raw: RawOption<'a>) -> Self {
        let &[a, b, c, d] = raw.data else {
            return Self::Other(raw);
        };
        let address = Ipv4Addr::new(a, b, c, d);
        match Kind(raw.kind) {
            Kind::IP_ADDRESS => Self::IpAddress(address),
            Kind::PRIMARY_DNS => Self::PrimaryDns(address),
            Kind::SECONDARY_DNS => Self::SecondaryDns(address),
            _ => Self::Other(raw),
        }
    }
}

impl IpcpOption<'_> {
    /// Appends the option.
    ///
    /// # Errors
    /// [`Overflow`] if it does not fit.
    pub fn put(&self, writer: &mut Writer<'_>) -> Result<(), Overflow> {
        let (kind, address) = match self {
            Self::IpAddress(address) => (Kind::IP_ADDRESS, address),
            Self::PrimaryDns(address) => (Kind::PRIMARY_DNS, address),
            Self::SecondaryDns(address) => (Kind::SECONDARY_DNS, address),
            Self::Other(raw) => return option::put(writer, raw.kind, raw.data),
        };
        option::put(writer, kind.0, &address.octets())
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::ppp::option::Options;

    /// Options of the server's Configure-Nak of pppd 2.4.9, captured in `direct-ss-gcm`, frame 34.
    const NAK: &str = "03060a63010a81060a63000a83060a63000a";

    fn parsed(data: &[u8]) -> Vec<IpcpOption<'_>> {
        Options::new(data).map(|raw| raw.unwrap().into()).collect()
    }

    #[test]
    fn deconstruct() {
        let data = hex::decode(NAK).unwrap();
        let server = Ipv4Addr::new(10, 99, 0, 10);
        assert_eq!(
            parsed(&data),
            [
                IpcpOption::IpAddress(Ipv4Addr::new(10, 99, 1, 10)),
                IpcpOption::PrimaryDns(server),
                IpcpOption::SecondaryDns(server),
            ]
        );
    }

    #[test]
    fn captured_options_round_trip() {
        let data = hex::decode(NAK).unwrap();
        let mut buffer = [0; 64];
        let mut writer = Writer::new(&mut buffer);
        for option in parsed(&data) {
            option.put(&mut writer).unwrap();
        }
        assert_eq!(writer.written(), data);
    }

    #[test]
    fn other_types_and_wrong_lengths_survive() {
        let data = [2, 6, 0, 0x2D, 15, 1, 3, 5, 10, 0, 0, 130, 6, 1, 2, 3, 4];
        let options = parsed(&data);
        assert!(
            options
                .iter()
                .all(|option| matches!(option, IpcpOption::Other(_)))
        );
        let mut buffer = [0; 32];
        let mut writer = Writer::new(&mut buffer);
        for option in options {
            option.put(&mut writer).unwrap();
        }
        assert_eq!(writer.written(), data);
    }
}
