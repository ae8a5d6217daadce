//! Bodies of the smaller payloads: identification, notification, delete, NAT original address.
//!
//! ```text
//!  identification  | type | protocol | port (2) | data … |                                    RFC 2407 §4.6.2
//!  notification    | DOI (4) | protocol | SPI size | type (2) | SPI … | data … |              RFC 2408 §3.14
//!  delete          | DOI (4) | protocol | SPI size | count (2) | SPI … |                      RFC 2408 §3.15
//!  NAT-OA          | type | 0 (3) | address |                                                RFC 3947 §5.2
//! ```

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{DOI_IPSEC, IdType, Malformed, NotifyType, ProtocolId};
use crate::reader::Reader;
use crate::writer::{Overflow, Writer};

/// An identity, or a quick mode selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identification<'a> {
    /// What `data` is.
    pub kind: IdType,
    /// IP protocol; 0 for any.
    pub protocol: u8,
    /// Port; 0 for any.
    pub port: u16,
    /// Address or name.
    pub data: &'a [u8],
}

impl<'a> Identification<'a> {
    /// Reads the body of an identification payload.
    ///
    /// # Errors
    /// `Truncated` below four bytes; `Length` if an address has the wrong size.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let id = Self {
            kind: IdType(reader.u8()?),
            protocol: reader.u8()?,
            port: reader.u16()?,
            data: reader.rest(),
        };
        let right = match id.kind {
            IdType::IPV4 => id.data.len() == 4,
            IdType::IPV4_SUBNET => id.data.len() == 8,
            IdType::IPV6 => id.data.len() == 16,
            _ => true,
        };
        if right {
            Ok(id)
        } else {
            Err(Malformed::Length)
        }
    }

    /// The address, if it is one.
    pub fn address(&self) -> Option<IpAddr> {
        match self.kind {
            IdType::IPV4 | IdType::IPV6 => address(self.data),
            _ => None,
        }
    }

    /// Appends the body.
    ///
    /// # Errors
    /// [`Overflow`] if it does not fit.
    pub fn emit(&self, writer: &mut Writer<'_>) -> Result<(), Overflow> {
        writer.u8(self.kind.0)?;
        writer.u8(self.protocol)?;
        writer.u16(self.port)?;
        writer.put(self.data)
    }
}

/// A notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification<'a> {
    /// Protocol of the SPI.
    pub protocol: ProtocolId,
    /// What is notified.
    pub kind: NotifyType,
    /// SPI, or both cookies, or empty.
    pub spi: &'a [u8],
    /// Further data.
    pub data: &'a [u8],
}

impl<'a> Notification<'a> {
    /// Reads the body of a notification payload; the domain of interpretation is not looked at (some peers send 0).
    ///
    /// # Errors
    /// `Truncated` if the fields or the SPI do not fit.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        reader.u32()?;
        let protocol = ProtocolId(reader.u8()?);
        let spi_len = usize::from(reader.u8()?);
        let kind = NotifyType(reader.u16()?);
        let spi = reader.take(spi_len)?;
        Ok(Self {
            protocol,
            kind,
            spi,
            data: reader.rest(),
        })
    }

    /// Appends the body.
    ///
    /// # Errors
    /// [`Overflow`] if it does not fit or the SPI is longer than 255 bytes.
    pub fn emit(&self, writer: &mut Writer<'_>) -> Result<(), Overflow> {
        writer.u32(DOI_IPSEC)?;
        writer.u8(self.protocol.0)?;
        writer.u8(u8::try_from(self.spi.len()).map_err(|_| Overflow)?)?;
        writer.u16(self.kind.0)?;
        writer.put(self.spi)?;
        writer.put(self.data)
    }
}

/// A delete payload: SAs that the sender no longer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deletion<'a> {
    /// Protocol of the SPIs.
    pub protocol: ProtocolId,
    spi_len: u8,
    spis: &'a [u8],
}

impl<'a> Deletion<'a> {
    /// Reads the body of a delete payload; the domain of interpretation is not looked at.
    ///
    /// # Errors
    /// `Truncated` if the fields do not fit; `Length` if the SPIs are not exactly as many as said.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        reader.u32()?;
        let protocol = ProtocolId(reader.u8()?);
        let spi_len = reader.u8()?;
        let count = reader.u16()?;
        let spis = reader.rest();
        if spi_len == 0 || spis.len() != usize::from(spi_len) * usize::from(count) {
            return Err(Malformed::Length);
        }
        Ok(Self {
            protocol,
            spi_len,
            spis,
        })
    }

    /// The SPIs; pairs of cookies for ISAKMP.
    pub fn spis(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        // `parse` refuses a length of zero.
        self.spis.chunks_exact(usize::from(self.spi_len.max(1)))
    }

    /// Appends the body of a delete payload for one SA.
    ///
    /// # Errors
    /// [`Overflow`] if it does not fit or the SPI is longer than 255 bytes.
    pub fn emit_one(
        protocol: ProtocolId,
        spi: &[u8],
        writer: &mut Writer<'_>,
    ) -> Result<(), Overflow> {
        writer.u32(DOI_IPSEC)?;
        writer.u8(protocol.0)?;
        writer.u8(u8::try_from(spi.len()).map_err(|_| Overflow)?)?;
        writer.u16(1)?;
        writer.put(spi)
    }
}

/// Reads the body of a NAT original address payload.
///
/// # Errors
/// `Truncated` below four bytes; `Length` if the address is neither IPv4 nor IPv6 as its type says.
pub fn nat_original(body: &[u8]) -> Result<IpAddr, Malformed> {
    let id = Identification::parse(body)?;
    id.address().ok_or(Malformed::Length)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(octets).into());
    }
    let octets = <[u8; 16]>::try_from(bytes).ok()?;
    Some(Ipv6Addr::from(octets).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_round_trips() {
        let body = [1, 17, 0x06, 0xA5, 192, 168, 7, 101];
        let id = Identification::parse(&body).unwrap();
        assert_eq!((id.protocol, id.port), (17, 1701));
        assert_eq!(id.address(), Some(Ipv4Addr::new(192, 168, 7, 101).into()));
        let mut buffer = [0; 8];
        id.emit(&mut Writer::new(&mut buffer)).unwrap();
        assert_eq!(buffer, body);
    }

    #[test]
    fn addresses_of_the_wrong_size_are_refused() {
        for kind in [1, 4, 5] {
            assert_eq!(
                Identification::parse(&[kind, 0, 0, 0, 1, 2, 3]),
                Err(Malformed::Length)
            );
        }
        assert_eq!(Identification::parse(&[2, 0, 0]), Err(Malformed::Truncated));
    }

    #[test]
    fn a_name_is_no_address() {
        let id = Identification::parse(b"\x02\x00\x00\x00host").unwrap();
        assert_eq!((id.kind, id.address()), (IdType::FQDN, None));
    }

    #[test]
    fn a_notification_round_trips() {
        let notification = Notification {
            protocol: ProtocolId::ISAKMP,
            kind: NotifyType::R_U_THERE,
            spi: &[7; 16],
            data: &[0, 0, 0, 9],
        };
        let mut buffer = [0; 28];
        notification.emit(&mut Writer::new(&mut buffer)).unwrap();
        assert_eq!(Notification::parse(&buffer), Ok(notification));
        for len in 0..24 {
            assert_eq!(
                Notification::parse(&buffer[..len]),
                Err(Malformed::Truncated)
            );
        }
    }

    #[test]
    fn a_delete_counts_its_spis() {
        let body = [0, 0, 0, 1, 3, 4, 0, 2, 1, 1, 1, 1, 2, 2, 2, 2];
        let deletion = Deletion::parse(&body).unwrap();
        assert!(deletion.spis().eq([&[1; 4][..], &[2; 4]]));
        assert_eq!(Deletion::parse(&body[..15]), Err(Malformed::Length));
        let empty = [0, 0, 0, 1, 3, 0, 0xFF, 0xFF];
        assert_eq!(Deletion::parse(&empty), Err(Malformed::Length));
    }

    #[test]
    fn an_original_address_is_read_in_both_families() {
        assert_eq!(
            nat_original(&[1, 0, 0, 0, 10, 0, 0, 1]),
            Ok(Ipv4Addr::new(10, 0, 0, 1).into())
        );
        let mut six = [0; 20];
        six[0] = 5;
        six[19] = 1;
        assert_eq!(nat_original(&six), Ok(Ipv6Addr::LOCALHOST.into()));
        assert_eq!(nat_original(&[2, 0, 0, 0, b'a']), Err(Malformed::Length));
    }
}
