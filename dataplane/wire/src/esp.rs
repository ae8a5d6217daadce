//! ESP (RFC 4303) from the outside: header, trailer bounds, and what shares UDP port 4500 with it (RFC 3948).
//!
//! ```text
//! 0 SPI | 4 sequence number | 8 IV, ciphertext { payload | padding 0–255 | pad length 1 | next header 1 }, ICV
//! ```

use crate::fixed;
use crate::id::Spi;
use crate::ipv4::Protocol;
use crate::malformed::Malformed;
use crate::writer::{Overflow, Writer};

/// Bytes of SPI and sequence number.
pub const HEADER_LEN: usize = 8;
/// Bytes of pad length and next header.
pub const TRAILER_LEN: usize = 2;
/// Bytes of zero before IKE on port 4500 (RFC 3948 §2.2).
pub const MARKER_LEN: usize = 4;
/// The whole payload of a NAT keepalive (RFC 3948 §2.3).
pub const KEEPALIVE: [u8; 1] = [0xFF];

mod field {
    use core::ops::Range;

    pub(super) const SPI: Range<usize> = 0..4;
    pub(super) const SEQUENCE: Range<usize> = 4..8;
}

/// An ESP packet, still sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Names the association at the receiver.
    pub spi: Spi,
    /// The low 32 bits of the sequence number.
    pub sequence: u32,
    /// IV, ciphertext and ICV.
    pub body: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Takes all of `bytes` as one packet; whether the body is long enough depends on the association's suite.
    ///
    /// # Errors
    /// `Truncated` below 8 bytes.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (header, body) = bytes
            .split_first_chunk::<HEADER_LEN>()
            .ok_or(Malformed::Truncated)?;
        Ok(Self {
            spi: Spi(fixed::u32(header, field::SPI)),
            sequence: fixed::u32(header, field::SEQUENCE),
            body,
        })
    }
}

/// The eight bytes before the IV; they are the additional data of AES-GCM too (RFC 4106 §5).
#[inline]
pub fn header(spi: Spi, sequence: u32) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    fixed::put_u32(&mut header, field::SPI, spi.0);
    fixed::put_u32(&mut header, field::SEQUENCE, sequence);
    header
}

/// What a datagram on port 4500 carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EspInUdp<'a> {
    /// A single byte 0xFF that keeps a NAT mapping alive.
    Keepalive,
    /// An IKE message; the marker is left out.
    Ike(&'a [u8]),
    /// An ESP packet; its SPI is not zero.
    Esp(Packet<'a>),
    /// Too short to be any of them, or nothing at all.
    Runt,
}

impl<'a> EspInUdp<'a> {
    /// Tells apart the payload of a UDP datagram from or to port 4500.
    ///
    /// # Source
    /// RFC 3948 §2: an SPI of zero marks IKE.
    #[inline]
    pub fn parse(payload: &'a [u8]) -> Self {
        if payload == KEEPALIVE {
            return Self::Keepalive;
        }
        if let Some((marker, message)) = payload.split_first_chunk::<MARKER_LEN>()
            && *marker == [0; MARKER_LEN]
        {
            return if message.is_empty() {
                Self::Runt
            } else {
                Self::Ike(message)
            };
        }
        Packet::parse(payload).map_or(Self::Runt, Self::Esp)
    }
}

/// The end of a decrypted packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Bytes of the payload before the padding.
    pub payload_len: usize,
    /// Bytes of padding.
    pub pad_len: u8,
    /// What the payload is; 59 marks a dummy packet (RFC 4303 §2.6).
    pub next_header: Protocol,
}

impl Trailer {
    /// Reads the last two bytes of `plaintext`: payload, padding and trailer. What the padding holds is not looked at.
    ///
    /// # Errors
    /// `Truncated` below 2 bytes; `Padding` if the pad length counts more than there is.
    #[inline]
    pub fn parse(plaintext: &[u8]) -> Result<Self, Malformed> {
        let (rest, [pad_len, next_header]) =
            plaintext.split_last_chunk().ok_or(Malformed::Truncated)?;
        let payload_len = rest
            .len()
            .checked_sub(usize::from(*pad_len))
            .ok_or(Malformed::Padding(*pad_len))?;
        Ok(Self {
            payload_len,
            pad_len: *pad_len,
            next_header: Protocol(*next_header),
        })
    }

    /// The trailer that brings a payload of `payload_len` bytes to a multiple of `alignment`: a power of two, 4 to 128.
    #[inline]
    pub fn aligning(payload_len: usize, alignment: usize, next_header: Protocol) -> Self {
        let mask = alignment.saturating_sub(1);
        let over = payload_len.saturating_add(TRAILER_LEN) & mask;
        let pad_len = u8::try_from(alignment.saturating_sub(over) & mask).unwrap_or(0);
        Self {
            payload_len,
            pad_len,
            next_header,
        }
    }

    /// Bytes of payload, padding and trailer.
    #[inline]
    pub const fn plaintext_len(&self) -> usize {
        self.payload_len + self.pad_len as usize + TRAILER_LEN
    }

    /// Writes padding and trailer to the front of `tail`, the bytes behind the payload, and returns their length.
    ///
    /// # Errors
    /// [`Overflow`] if `tail` is shorter.
    /// # Source
    /// RFC 4303 §2.4: the padding counts 1, 2, 3, …
    #[inline]
    pub fn emit(&self, tail: &mut [u8]) -> Result<usize, Overflow> {
        let pad_len = usize::from(self.pad_len);
        if pad_len == 0 {
            *tail.first_chunk_mut().ok_or(Overflow)? = [0, self.next_header.0];
            return Ok(TRAILER_LEN);
        }
        let (padding, rest) = tail.split_at_mut_checked(pad_len).ok_or(Overflow)?;
        let trailer = rest.first_chunk_mut::<TRAILER_LEN>().ok_or(Overflow)?;
        for (byte, count) in padding.iter_mut().zip(1_u8..) {
            *byte = count;
        }
        *trailer = [self.pad_len, self.next_header.0];
        Ok(pad_len + TRAILER_LEN)
    }
}

/// Writes the non-ESP marker and `message` for port 4500, and returns their length.
///
/// # Errors
/// [`Overflow`] if `payload` is shorter than both.
pub fn emit_ike(payload: &mut [u8], message: &[u8]) -> Result<usize, Overflow> {
    let mut writer = Writer::new(payload);
    writer.zeros(MARKER_LEN)?;
    writer.put(message)?;
    Ok(writer.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::vec::Vec;

    use super::*;
    use crate::{eth, ipv4, sample, udp};

    fn udp_payload(frame: &[u8]) -> Vec<u8> {
        let packet = ipv4::Packet::parse(&frame[eth::HEADER_LEN..]).unwrap();
        udp::Datagram::parse(packet.payload())
            .unwrap()
            .payload()
            .to_vec()
    }

    #[test]
    fn a_captured_packet_deconstructs() {
        let frame = sample::esp_frame();
        let packet = Packet::parse(&frame[34..]).unwrap();
        assert_eq!((packet.spi, packet.sequence), (Spi(0xC3A9_1B19), 7));
        assert_eq!(packet.body.len(), 16 + 48 + 12);
        assert_eq!(header(packet.spi, packet.sequence), frame[34..42]);
    }

    #[test]
    fn every_truncation_is_refused() {
        let frame = sample::esp_frame();
        for len in 0..HEADER_LEN {
            assert_eq!(
                Packet::parse(&frame[34..34 + len]),
                Err(Malformed::Truncated)
            );
        }
    }

    #[test]
    fn captured_datagrams_on_4500_are_told_apart() {
        let ike = udp_payload(&sample::nat_ike_frame());
        assert_eq!(EspInUdp::parse(&ike), EspInUdp::Ike(&ike[4..]));
        let esp = udp_payload(&sample::nat_esp_frame());
        let packet = Packet {
            spi: Spi(0xC253_03B8),
            sequence: 2,
            body: &esp[8..],
        };
        assert_eq!(EspInUdp::parse(&esp), EspInUdp::Esp(packet));
    }

    #[test]
    fn keepalives_and_runts_are_told_apart() {
        assert_eq!(EspInUdp::parse(&[0xFF]), EspInUdp::Keepalive);
        for runt in [
            &[][..],
            &[0],
            &[0xFE],
            &[0xFF, 0xFF],
            &[0; 3],
            &[0; 4],
            &[0, 0, 0, 1],
            &[1; 7],
        ] {
            assert_eq!(EspInUdp::parse(runt), EspInUdp::Runt, "{runt:?}");
        }
        assert_eq!(EspInUdp::parse(&[0, 0, 0, 0, 9]), EspInUdp::Ike(&[9]));
        assert!(matches!(
            EspInUdp::parse(&[0, 0, 0, 1, 0, 0, 0, 0]),
            EspInUdp::Esp(_)
        ));
    }

    /// Short frames are padded to 60 bytes: the keepalive is told by the UDP length, not by what arrived.
    #[test]
    fn a_keepalive_is_told_in_a_padded_frame() {
        let mut frame = sample::nat_esp_frame();
        frame.truncate(42);
        ipv4::set_fragment(&mut frame[14..], 29, ipv4::Fragment::default());
        frame[38..40].copy_from_slice(&[0, 9]);
        frame.push(0xFF);
        frame.resize(60, 0);
        assert_eq!(EspInUdp::parse(&udp_payload(&frame)), EspInUdp::Keepalive);
    }

    #[test]
    fn a_captured_trailer_parses() {
        let plaintext = sample::lcp_plaintext();
        let trailer = Trailer::parse(&plaintext).unwrap();
        assert_eq!(
            trailer,
            Trailer {
                payload_len: 38,
                pad_len: 8,
                next_header: Protocol::UDP
            }
        );
        assert_eq!(trailer, Trailer::aligning(38, 16, Protocol::UDP));
        assert_eq!(trailer.plaintext_len(), plaintext.len());
        let mut tail = [0xA5; 11];
        assert_eq!(trailer.emit(&mut tail), Ok(10));
        assert_eq!(tail[..10], plaintext[38..]);
        assert_eq!(tail[10], 0xA5);
        assert_eq!(trailer.emit(&mut tail[..9]), Err(Overflow));
    }

    #[test]
    fn padding_beyond_the_front_is_refused() {
        assert_eq!(Trailer::parse(&[]), Err(Malformed::Truncated));
        assert_eq!(Trailer::parse(&[17]), Err(Malformed::Truncated));
        assert_eq!(Trailer::parse(&[1, 17]), Err(Malformed::Padding(1)));
        let whole = Trailer {
            payload_len: 0,
            pad_len: 1,
            next_header: Protocol::UDP,
        };
        assert_eq!(Trailer::parse(&[9, 1, 17]), Ok(whole));
    }

    #[test]
    fn the_longest_padding_and_dummies_parse() {
        let mut plaintext = std::vec![0xEE; 255];
        plaintext.extend([255, Protocol::NO_NEXT_HEADER.0]);
        let dummy = Trailer {
            payload_len: 0,
            pad_len: 255,
            next_header: Protocol::NO_NEXT_HEADER,
        };
        assert_eq!(Trailer::parse(&plaintext), Ok(dummy));
        assert_eq!(
            Trailer::parse(&plaintext[1..]),
            Err(Malformed::Padding(255))
        );
    }

    #[test]
    fn ike_goes_out_behind_its_marker() {
        let mut payload = [0xA5; 7];
        assert_eq!(emit_ike(&mut payload, &[1, 2]), Ok(6));
        assert_eq!(EspInUdp::parse(&payload[..6]), EspInUdp::Ike(&[1, 2]));
        assert_eq!(emit_ike(&mut payload[..5], &[1, 2]), Err(Overflow));
    }

    proptest! {
        #[test]
        fn a_trailer_aligns_and_parses_back(len in 0..1_600_usize, power in 2..8_u32, next: u8) {
            let trailer = Trailer::aligning(len, 1 << power, Protocol(next));
            prop_assert_eq!(trailer.plaintext_len() % (1 << power), 0);
            prop_assert!(u32::from(trailer.pad_len) < 1 << power);
            let mut plaintext = std::vec![0xFF; trailer.plaintext_len()];
            trailer.emit(&mut plaintext[len..]).unwrap();
            prop_assert_eq!(Trailer::parse(&plaintext), Ok(trailer));
        }

        #[test]
        fn no_bytes_panic_and_nothing_is_lost(bytes: Vec<u8>) {
            if let Ok(trailer) = Trailer::parse(&bytes) {
                prop_assert_eq!(trailer.plaintext_len(), bytes.len());
            }
            match EspInUdp::parse(&bytes) {
                EspInUdp::Keepalive => prop_assert_eq!(&bytes[..], &KEEPALIVE[..]),
                EspInUdp::Ike(message) => prop_assert_eq!(message.len() + MARKER_LEN, bytes.len()),
                EspInUdp::Esp(packet) => {
                    prop_assert!(packet.spi != Spi(0));
                    prop_assert_eq!(packet.body.len() + HEADER_LEN, bytes.len());
                }
                EspInUdp::Runt => prop_assert!(bytes.len() < HEADER_LEN),
            }
        }
    }
}
