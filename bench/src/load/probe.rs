//! Packets that know when, by whom and in which direction they were sent.
//!
//! ```text
//! IPv4 20 | UDP 8 | magic 4 | run 2 | direction 1 | 0 | client 4 | sequence 8 | sent, ns 8 | zeros to the size wanted
//! ```

use std::net::Ipv4Addr;

use culvert_wire::ipv4::{self, Fragment, Header, Packet, Protocol};
use culvert_wire::reader::{Reader, Truncated};
use culvert_wire::writer::{Overflow, Writer};

/// Bytes of the smallest probe.
pub const MIN_LEN: usize = ipv4::HEADER_LEN + UDP_HEADER + 28;
/// Bytes of the largest probe.
pub const MAX_LEN: usize = 1_500;

const UDP_HEADER: usize = 8;
/// The discard port (RFC 863), should a probe leave the test.
const PORT: u16 = 9;
const MAGIC: u32 = 0xC51A_E27B;
const TTL: u8 = 64;

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From a client to the network.
    Up,
    /// From the network to a client.
    Down,
}

/// What a probe says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Index of the run it was sent in.
    pub run: u16,
    /// Its direction.
    pub direction: Direction,
    /// Index of the client.
    pub client: u32,
    /// Counts the packets of this client and direction, from 1.
    pub sequence: u64,
    /// When it was sent, in nanoseconds.
    pub sent_ns: u64,
}

/// Where a probe comes from and goes to.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// Its source address.
    pub source: Ipv4Addr,
    /// Its destination address.
    pub destination: Ipv4Addr,
}

impl Probe {
    /// Writes an IP packet of `len` bytes, [`MIN_LEN`] to [`MAX_LEN`], to the front of `packet`, whose rest must be zero.
    ///
    /// # Errors
    /// [`Overflow`] if `packet` or `len` is too short, or `len` too long.
    pub fn emit(&self, ends: Ends, packet: &mut [u8], len: usize) -> Result<(), Overflow> {
        if len > MAX_LEN {
            return Err(Overflow);
        }
        let mut writer = Writer::new(packet.get_mut(..len).ok_or(Overflow)?);
        let total_len = u16::try_from(len).map_err(|_| Overflow)?;
        writer.put(&header(ends, total_len).to_bytes())?;
        for port in [PORT, PORT] {
            writer.u16(port)?;
        }
        writer.u16(total_len - HEADER_LEN)?;
        // RFC 768: zero means that there is no checksum.
        writer.u16(0)?;
        writer.u32(MAGIC)?;
        writer.u16(self.run)?;
        writer.u8(match self.direction {
            Direction::Up => 0,
            Direction::Down => 1,
        })?;
        writer.u8(0)?;
        writer.u32(self.client)?;
        writer.put(&self.sequence.to_be_bytes())?;
        writer.put(&self.sent_ns.to_be_bytes())
    }

    /// Reads the probe in an IP packet; `None` if there is none.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let packet = Packet::parse(packet).ok()?;
        let payload = packet.payload().get(UDP_HEADER..)?;
        if packet.protocol() != Protocol::UDP || packet.is_fragment() {
            return None;
        }
        Self::read(&mut Reader::new(payload)).ok().flatten()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, Truncated> {
        if reader.u32()? != MAGIC {
            return Ok(None);
        }
        let run = reader.u16()?;
        let direction = match reader.u8()? {
            0 => Direction::Up,
            1 => Direction::Down,
            _ => return Ok(None),
        };
        reader.u8()?;
        Ok(Some(Self {
            run,
            direction,
            client: reader.u32()?,
            sequence: u64::from_be_bytes(reader.array()?),
            sent_ns: u64::from_be_bytes(reader.array()?),
        }))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "20")]
const HEADER_LEN: u16 = ipv4::HEADER_LEN as u16;

const fn header(ends: Ends, total_len: u16) -> Header {
    Header {
        traffic_class: 0,
        total_len,
        identification: 0,
        dont_fragment: true,
        fragment: Fragment {
            offset: 0,
            more: false,
        },
        ttl: TTL,
        protocol: Protocol::UDP,
        source: ends.source,
        destination: ends.destination,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROBE: Probe = Probe {
        run: 3,
        direction: Direction::Down,
        client: 999,
        sequence: 1 << 40,
        sent_ns: 77,
    };
    const ENDS: Ends = Ends {
        source: Ipv4Addr::new(10, 0, 0, 1),
        destination: Ipv4Addr::new(10, 0, 0, 2),
    };

    #[test]
    fn a_probe_of_any_size_reads_back() {
        for len in [MIN_LEN, 64, 1_400, MAX_LEN] {
            let mut packet = [0; MAX_LEN];
            PROBE.emit(ENDS, &mut packet, len).unwrap();
            assert_eq!(Probe::parse(&packet), Some(PROBE));
            assert!(Packet::parse(&packet).unwrap().checksum_ok());
            assert_eq!(Packet::parse(&packet).unwrap().total_len(), len);
        }
    }

    #[test]
    fn what_is_too_short_or_not_ours_is_none() {
        let mut packet = [0; MAX_LEN];
        assert_eq!(PROBE.emit(ENDS, &mut packet, MIN_LEN - 1), Err(Overflow));
        PROBE.emit(ENDS, &mut packet, MIN_LEN).unwrap();
        packet[28] ^= 1;
        assert_eq!(Probe::parse(&packet), None);
        assert_eq!(Probe::parse(&packet[..40]), None);
    }
}
