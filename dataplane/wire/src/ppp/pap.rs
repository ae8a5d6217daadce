//! The Password Authentication Protocol (RFC 1334 §2).
//!
//! ```text
//! Authenticate-Request:  | Peer-ID Length | Peer-ID ... | Password Length | Password ...
//! Authenticate-Ack/-Nak: | Message Length | Message ...
//! ```

use core::fmt;

use crate::ppp::control::Code;
use crate::reader::{Reader, Truncated};
use crate::writer::{Overflow, Writer};

/// Code of an Authenticate-Request.
pub const REQUEST: Code = Code(1);
/// Code of an Authenticate-Ack.
pub const ACK: Code = Code(2);
/// Code of an Authenticate-Nak.
pub const NAK: Code = Code(3);

/// The data of an Authenticate-Request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// Who the peer says it is, 0 to 255 bytes.
    pub peer_id: &'a [u8],
    /// Its password, 0 to 255 bytes.
    pub password: &'a [u8],
}

impl<'a> Request<'a> {
    /// Reads the data of an Authenticate-Request.
    ///
    /// # Errors
    /// [`Truncated`] if a length is beyond what is there.
    pub fn parse(data: &'a [u8]) -> Result<Self, Truncated> {
        let mut reader = Reader::new(data);
        Ok(Self {
            peer_id: take(&mut reader)?,
            password: take(&mut reader)?,
        })
    }

    /// Appends the data.
    ///
    /// # Errors
    /// [`Overflow`] if it does not fit or a part is longer than 255 bytes.
    pub fn put(&self, writer: &mut Writer<'_>) -> Result<(), Overflow> {
        put(writer, self.peer_id)?;
        put(writer, self.password)
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pap::Request([redacted])")
    }
}

/// Reads the message of an Authenticate-Ack or -Nak; a missing one is empty.
///
/// # Errors
/// [`Truncated`] if its length is beyond what is there.
pub fn message(data: &[u8]) -> Result<&[u8], Truncated> {
    match data {
        [] => Ok(data),
        _ => take(&mut Reader::new(data)),
    }
}

/// Appends the message of an Authenticate-Ack or -Nak.
///
/// # Errors
/// [`Overflow`] if it does not fit or is longer than 255 bytes.
pub fn put_message(writer: &mut Writer<'_>, message: &[u8]) -> Result<(), Overflow> {
    put(writer, message)
}

fn take<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Truncated> {
    let len = reader.u8()?;
    reader.take(usize::from(len))
}

fn put(writer: &mut Writer<'_>, bytes: &[u8]) -> Result<(), Overflow> {
    writer.u8(u8::try_from(bytes.len()).map_err(|_| Overflow)?)?;
    writer.put(bytes)
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;

    #[test]
    fn a_request_round_trips() {
        let request = Request {
            peer_id: b"bob",
            password: b"builder-7",
        };
        let mut buffer = [0; 64];
        let mut writer = Writer::new(&mut buffer);
        request.put(&mut writer).unwrap();
        assert_eq!(writer.written(), b"\x03bob\x09builder-7");
        assert_eq!(Request::parse(writer.written()), Ok(request));
    }

    #[test]
    fn every_truncation_is_refused() {
        let data = b"\x03bob\x09builder-7";
        for len in 0..data.len() {
            assert_eq!(Request::parse(&data[..len]), Err(Truncated), "at {len}");
        }
    }

    #[test]
    fn names_of_255_bytes_pass_and_longer_ones_do_not() {
        let mut buffer = [0; 600];
        let mut writer = Writer::new(&mut buffer);
        let long = [b'x'; 256];
        let request = Request {
            peer_id: &long[1..],
            password: &long[1..],
        };
        request.put(&mut writer).unwrap();
        assert_eq!(Request::parse(writer.written()), Ok(request));
        assert_eq!(put_message(&mut writer, &long), Err(Overflow));
    }

    #[test]
    fn a_message_may_be_missing() {
        assert_eq!(message(b""), Ok(&b""[..]));
        assert_eq!(message(b"\x00"), Ok(&b""[..]));
        assert_eq!(message(b"\x02ok"), Ok(&b"ok"[..]));
        assert_eq!(message(b"\x03ok"), Err(Truncated));
    }

    #[test]
    fn a_password_is_not_printed() {
        let request = Request::parse(b"\x01a\x06secret").unwrap();
        assert!(!format!("{request:?}").contains("115"));
        assert_eq!(format!("{request:?}"), "pap::Request([redacted])");
    }
}
