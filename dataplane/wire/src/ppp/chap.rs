//! The Challenge Handshake Authentication Protocol (RFC 1994 §4, RFC 2759 §3–§6).
//!
//! ```text
//! Challenge, Response: |  Value-Size   |  Value ...   |  Name ...
//! Success, Failure:    |  Message ...
//! ```

use crate::ppp::control::Code;
use crate::reader::{Reader, Truncated};
use crate::writer::{Overflow, Writer};

/// Code of a Challenge.
pub const CHALLENGE: Code = Code(1);
/// Code of a Response.
pub const RESPONSE: Code = Code(2);
/// Code of a Success; its data is the message.
pub const SUCCESS: Code = Code(3);
/// Code of a Failure; its data is the message.
pub const FAILURE: Code = Code(4);

/// Length of an MS-CHAPv2 Response's value in bytes (RFC 2759 §4).
pub const MS_CHAP_V2_RESPONSE_LEN: usize = 49;

/// The data of a Challenge or Response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The challenge, or the response to it: 0 to 255 bytes.
    pub value: &'a [u8],
    /// Who sends it: whatever is left of the packet.
    pub name: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads the data of a Challenge or Response.
    ///
    /// # Errors
    /// [`Truncated`] if the value's size is beyond what is there.
    pub fn parse(data: &'a [u8]) -> Result<Self, Truncated> {
        let mut reader = Reader::new(data);
        let len = reader.u8()?;
        Ok(Self {
            value: reader.take(usize::from(len))?,
            name: reader.rest(),
        })
    }

    /// Appends the data.
    ///
    /// # Errors
    /// [`Overflow`] if it does not fit or the value is longer than 255 bytes.
    pub fn put(&self, writer: &mut Writer<'_>) -> Result<(), Overflow> {
        writer.u8(u8::try_from(self.value.len()).map_err(|_| Overflow)?)?;
        writer.put(self.value)?;
        writer.put(self.name)
    }
}

/// The value of an MS-CHAPv2 Response (RFC 2759 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsChapV2Response<'a> {
    /// The peer's own challenge.
    pub peer_challenge: &'a [u8; 16],
    /// Its answer to both challenges.
    pub nt_response: &'a [u8; 24],
}

impl<'a> MsChapV2Response<'a> {
    /// Reads the value of a Response; its reserved and flags bytes are ignored.
    ///
    /// # Errors
    /// [`Truncated`] if it is not 49 bytes long.
    pub fn parse(value: &'a [u8]) -> Result<Self, Truncated> {
        let value: &[u8; MS_CHAP_V2_RESPONSE_LEN] = value.try_into().map_err(|_| Truncated)?;
        let (peer_challenge, rest) = value.split_first_chunk().ok_or(Truncated)?;
        let (_reserved, rest) = rest.split_first_chunk::<8>().ok_or(Truncated)?;
        let (nt_response, _flags) = rest.split_first_chunk().ok_or(Truncated)?;
        Ok(Self {
            peer_challenge,
            nt_response,
        })
    }

    /// Appends the value: 49 bytes, reserved and flags bytes zero.
    ///
    /// # Errors
    /// [`Overflow`] if it does not fit.
    pub fn put(&self, writer: &mut Writer<'_>) -> Result<(), Overflow> {
        writer.put(self.peer_challenge)?;
        writer.zeros(8)?;
        writer.put(self.nt_response)?;
        writer.u8(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Data of the Response of pppd 2.4.9, captured in `direct-ss-gcm`, frame 29.
    const CAPTURED: &str = "31a536514814afbba1fa6077daa460063000000000000000005580\
        3045e988b6eaf8a14a7f24ea2cab59fdd80b28c7588e00616c696365";

    #[test]
    fn deconstruct() {
        let data = hex::decode(CAPTURED).unwrap();
        let packet = Packet::parse(&data).unwrap();
        assert_eq!(packet.name, b"alice");
        let response = MsChapV2Response::parse(packet.value).unwrap();
        assert_eq!(
            hex::encode(response.peer_challenge),
            "a536514814afbba1fa6077daa4600630"
        );
        assert_eq!(
            hex::encode(response.nt_response),
            "55803045e988b6eaf8a14a7f24ea2cab59fdd80b28c7588e"
        );
    }

    #[test]
    fn captured_responses_round_trip() {
        let data = hex::decode(CAPTURED).unwrap();
        let packet = Packet::parse(&data).unwrap();
        let mut value = [0; MS_CHAP_V2_RESPONSE_LEN];
        MsChapV2Response::parse(packet.value)
            .unwrap()
            .put(&mut Writer::new(&mut value))
            .unwrap();
        let mut buffer = [0; 64];
        let mut writer = Writer::new(&mut buffer);
        let again = Packet {
            value: &value,
            name: packet.name,
        };
        again.put(&mut writer).unwrap();
        assert_eq!(writer.written(), data);
    }

    #[test]
    fn a_value_size_beyond_the_packet_is_refused() {
        let data = hex::decode(CAPTURED).unwrap();
        for len in 0..50 {
            assert_eq!(Packet::parse(&data[..len]), Err(Truncated), "at {len}");
        }
        assert_eq!(Packet::parse(&data[..50]).unwrap().name, b"");
    }

    #[test]
    fn a_response_has_one_length() {
        for len in [0, 16, 48, 50, 255] {
            assert_eq!(MsChapV2Response::parse(&[0; 255][..len]), Err(Truncated));
        }
    }
}
