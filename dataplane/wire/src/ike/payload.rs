//! Chains of payloads behind the header (RFC 2408 §3.2).
//!
//! ```text
//!  | next | 0 | length (with these 4 bytes) | body … |  next payload … | [padding of the cipher]
//! ```

use super::{Malformed, PayloadType};
use crate::reader::Reader;

/// Payloads in one message: a Windows client sends 10, an Apple client 18.
pub const MAX_PAYLOADS: usize = 48;

/// A payload as the chain holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload<'a> {
    /// Its kind, from the field before it.
    pub kind: PayloadType,
    /// What follows its generic header.
    pub body: &'a [u8],
}

/// A checked chain of payloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain<'a> {
    first: PayloadType,
    bytes: &'a [u8],
    padding: &'a [u8],
}

impl<'a> Chain<'a> {
    /// Checks the chain in `bytes`, whose first payload is of kind `first`.
    ///
    /// What follows the last payload is [`Self::padding`]; in clear it must be empty, which is for the caller to ask.
    ///
    /// # Errors
    /// `Truncated` or `Length` if a payload does not fit, `Reserved` if a reserved byte is set, `TooMany` above
    /// [`MAX_PAYLOADS`].
    pub fn parse(first: PayloadType, bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let mut kind = first;
        let mut count = 0_usize;
        while kind != PayloadType::NONE {
            (_, kind) = take(kind, &mut reader)?;
            count += 1;
            if count > MAX_PAYLOADS {
                return Err(Malformed::TooMany);
            }
        }
        let padding = reader.rest();
        let len = bytes.len() - padding.len();
        Ok(Self {
            first,
            bytes: bytes.get(..len).unwrap_or_default(),
            padding,
        })
    }

    /// The payloads with their generic headers, without padding.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What follows the last payload.
    pub const fn padding(&self) -> &'a [u8] {
        self.padding
    }

    /// The first payload, and the chain behind it: what a HASH in front of a message covers (RFC 2409 §5.5).
    pub fn split_first(&self) -> Option<(Payload<'a>, Self)> {
        let mut reader = Reader::new(self.bytes);
        let (payload, next) = self.next_of(&mut reader)?;
        let rest = Self {
            first: next,
            bytes: reader.rest(),
            padding: self.padding,
        };
        Some((payload, rest))
    }

    /// The payloads in their order.
    pub fn iter(&self) -> impl Iterator<Item = Payload<'a>> + use<'a> {
        let mut chain = *self;
        core::iter::from_fn(move || {
            let (payload, rest) = chain.split_first()?;
            chain = rest;
            Some(payload)
        })
    }

    /// Bodies of all payloads of one kind.
    pub fn all(&self, kind: PayloadType) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.iter()
            .filter(move |payload| payload.kind == kind)
            .map(|payload| payload.body)
    }

    /// Body of the only payload of a kind; `None` if there is none or more than one.
    pub fn only(&self, kind: PayloadType) -> Option<&'a [u8]> {
        let mut bodies = self.all(kind);
        let body = bodies.next()?;
        bodies.next().is_none().then_some(body)
    }

    fn next_of(&self, reader: &mut Reader<'a>) -> Option<(Payload<'a>, PayloadType)> {
        if self.first == PayloadType::NONE {
            return None;
        }
        take(self.first, reader).ok()
    }
}

/// Takes one payload; returns it with the kind of the next.
fn take<'a>(
    kind: PayloadType,
    reader: &mut Reader<'a>,
) -> Result<(Payload<'a>, PayloadType), Malformed> {
    let next = PayloadType(reader.u8()?);
    if reader.u8()? != 0 {
        return Err(Malformed::Reserved);
    }
    let len = usize::from(reader.u16()?)
        .checked_sub(4)
        .ok_or(Malformed::Length)?;
    let body = reader.take(len)?;
    Ok((Payload { kind, body }, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; 15] = [200, 0, 0, 6, 1, 2, 0, 0, 0, 5, 3, 0, 0, 0, 0];

    #[test]
    fn unknown_payloads_survive_and_padding_is_apart() {
        let chain = Chain::parse(PayloadType::NONCE, &BYTES).unwrap();
        let mut payloads = chain.iter();
        assert_eq!(
            payloads.next(),
            Some(Payload {
                kind: PayloadType::NONCE,
                body: &[1, 2]
            })
        );
        assert_eq!(
            payloads.next(),
            Some(Payload {
                kind: PayloadType(200),
                body: &[3]
            })
        );
        assert_eq!(payloads.next(), None);
        assert_eq!(chain.padding(), [0; 4]);
    }

    #[test]
    fn the_chain_behind_a_payload_starts_at_its_generic_header() {
        let chain = Chain::parse(PayloadType::NONCE, &BYTES).unwrap();
        let (_, rest) = chain.split_first().unwrap();
        assert_eq!(rest.bytes(), [0, 0, 0, 5, 3]);
        assert_eq!(rest.only(PayloadType(200)), Some(&[3][..]));
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        for (len, error) in [
            (0, Malformed::Length),
            (3, Malformed::Length),
            (12, Malformed::Truncated),
            (0xFFFF, Malformed::Truncated),
        ] {
            let [high, low] = u16::to_be_bytes(len);
            let bytes = [0, 0, high, low, 1, 2, 3, 4, 5, 6, 7];
            assert_eq!(Chain::parse(PayloadType::SA, &bytes), Err(error), "{len}");
        }
    }

    #[test]
    fn every_short_input_is_refused() {
        for len in 0..11 {
            assert_eq!(
                Chain::parse(PayloadType::NONCE, &BYTES[..len]),
                Err(Malformed::Truncated)
            );
        }
    }

    #[test]
    fn a_reserved_byte_is_refused() {
        let bytes = [0, 1, 0, 4];
        assert_eq!(
            Chain::parse(PayloadType::SA, &bytes),
            Err(Malformed::Reserved)
        );
    }

    #[test]
    fn an_endless_chain_is_cut() {
        let bytes = [[13, 0, 0, 4]; MAX_PAYLOADS + 1];
        assert_eq!(
            Chain::parse(PayloadType::VENDOR_ID, bytes.as_flattened()),
            Err(Malformed::TooMany)
        );
    }

    #[test]
    fn two_payloads_of_a_kind_are_not_the_only_one() {
        let bytes = [10, 0, 0, 4, 0, 0, 0, 4];
        let chain = Chain::parse(PayloadType::NONCE, &bytes).unwrap();
        assert_eq!(chain.only(PayloadType::NONCE), None);
        assert_eq!(chain.all(PayloadType::NONCE).count(), 2);
    }
}
