//! Security association payload: proposals, each with its transforms (RFC 2408 §3.4–§3.6, RFC 2407 §4.6.1).
//!
//! ```text
//!  SA body    | DOI (4) | situation (4) | proposal … |
//!  proposal   | next 2/0 | 0 | length (2) | number | protocol | SPI size | transforms | SPI … | transform … |
//!  transform  | next 3/0 | 0 | length (2) | number | id | 0 (2) | attribute … |
//! ```

use super::{
    Attribute, Attributes, DOI_IPSEC, Malformed, PayloadType, ProtocolId, SIT_IDENTITY_ONLY,
};
use crate::reader::Reader;
use crate::writer::{Overflow, Writer};

/// A checked SA payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sa<'a> {
    proposals: &'a [u8],
}

/// One proposal; those with the same number belong together (ESP and AH, or ESP and IPComp).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal<'a> {
    /// Its number.
    pub number: u8,
    /// What the transforms are for.
    pub protocol: ProtocolId,
    /// The sender's SPI: empty or of any length in phase 1, four bytes for ESP.
    pub spi: &'a [u8],
    transforms: &'a [u8],
}

/// One transform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transform<'a> {
    /// Its number.
    pub number: u8,
    /// What it is: KEY_IKE in phase 1, an [`EspTransform`](super::EspTransform) for ESP.
    pub id: u8,
    /// Its attributes.
    pub attributes: Attributes<'a>,
}

impl<'a> Sa<'a> {
    /// Checks the body of an SA payload with everything inside.
    ///
    /// # Errors
    /// `Domain` if it is not IPsec's with identity-only; `Truncated`, `Length` or `Reserved` if a list inside is wrong.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        if reader.u32()? != DOI_IPSEC || reader.u32()? != SIT_IDENTITY_ONLY {
            return Err(Malformed::Domain);
        }
        let proposals = reader.rest();
        let mut last = false;
        while !last {
            let (proposal, is_last) = take_proposal(&mut reader)?;
            proposal.check()?;
            last = is_last;
        }
        if !reader.is_empty() {
            return Err(Malformed::Length);
        }
        Ok(Self { proposals })
    }

    /// The proposals in their order.
    pub fn proposals(&self) -> impl Iterator<Item = Proposal<'a>> + use<'a> {
        let mut reader = Reader::new(self.proposals);
        core::iter::from_fn(move || Some(take_proposal(&mut reader).ok()?.0))
    }

    /// Appends the body of an SA payload.
    ///
    /// # Errors
    /// [`Overflow`] if it does not fit, or a list is longer than its count can say.
    pub fn emit(proposals: &[ProposalSpec<'_>], writer: &mut Writer<'_>) -> Result<(), Overflow> {
        writer.u32(DOI_IPSEC)?;
        writer.u32(SIT_IDENTITY_ONLY)?;
        let last = proposals.len().saturating_sub(1);
        for (index, proposal) in proposals.iter().enumerate() {
            let next = if index == last {
                PayloadType::NONE
            } else {
                PayloadType::PROPOSAL
            };
            proposal.emit(next, writer)?;
        }
        Ok(())
    }
}

impl<'a> Proposal<'a> {
    /// The transforms in their order.
    pub fn transforms(&self) -> impl Iterator<Item = Transform<'a>> + use<'a> {
        let mut reader = Reader::new(self.transforms);
        core::iter::from_fn(move || Some(take_transform(&mut reader).ok()?.0))
    }

    /// The SPI of an ESP proposal; `None` unless it has four bytes.
    pub fn esp_spi(&self) -> Option<u32> {
        self.spi.try_into().ok().map(u32::from_be_bytes)
    }

    fn check(&self) -> Result<(), Malformed> {
        let mut reader = Reader::new(self.transforms);
        while !reader.is_empty() {
            take_transform(&mut reader)?;
        }
        Ok(())
    }
}

/// Takes one proposal; says whether it is the last. Its transforms are counted, not yet checked inside.
fn take_proposal<'a>(reader: &mut Reader<'a>) -> Result<(Proposal<'a>, bool), Malformed> {
    let (last, mut body) = take_nested(reader, PayloadType::PROPOSAL)?;
    let number = body.u8()?;
    let protocol = ProtocolId(body.u8()?);
    let spi_len = usize::from(body.u8()?);
    let count = body.u8()?;
    let spi = body.take(spi_len)?;
    let transforms = body.rest();
    for index in 1..=count {
        let (is_last, _) = take_nested(&mut body, PayloadType::TRANSFORM)?;
        if is_last != (index == count) {
            return Err(Malformed::Length);
        }
    }
    if !body.is_empty() {
        return Err(Malformed::Length);
    }
    Ok((
        Proposal {
            number,
            protocol,
            spi,
            transforms,
        },
        last,
    ))
}

/// Takes one transform; says whether it is the last.
fn take_transform<'a>(reader: &mut Reader<'a>) -> Result<(Transform<'a>, bool), Malformed> {
    let (last, mut body) = take_nested(reader, PayloadType::TRANSFORM)?;
    let number = body.u8()?;
    let id = body.u8()?;
    if body.u16()? != 0 {
        return Err(Malformed::Reserved);
    }
    let attributes = Attributes::parse(body.rest())?;
    Ok((
        Transform {
            number,
            id,
            attributes,
        },
        last,
    ))
}

/// Takes the generic header and body of a proposal or transform; says whether it is the last of its list.
fn take_nested<'a>(
    reader: &mut Reader<'a>,
    kind: PayloadType,
) -> Result<(bool, Reader<'a>), Malformed> {
    let next = PayloadType(reader.u8()?);
    if next != kind && next != PayloadType::NONE {
        return Err(Malformed::Length);
    }
    if reader.u8()? != 0 {
        return Err(Malformed::Reserved);
    }
    let len = usize::from(reader.u16()?)
        .checked_sub(4)
        .ok_or(Malformed::Length)?;
    Ok((next == PayloadType::NONE, reader.sub(len)?))
}

/// A proposal to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProposalSpec<'a> {
    /// Its number.
    pub number: u8,
    /// What the transforms are for.
    pub protocol: ProtocolId,
    /// Our SPI.
    pub spi: &'a [u8],
    /// The transforms in order of preference.
    pub transforms: &'a [TransformSpec<'a>],
}

/// A transform to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransformSpec<'a> {
    /// Its number.
    pub number: u8,
    /// What it is.
    pub id: u8,
    /// Its attributes.
    pub attributes: &'a [Attribute<'a>],
}

impl ProposalSpec<'_> {
    fn emit(&self, next: PayloadType, writer: &mut Writer<'_>) -> Result<(), Overflow> {
        let start = writer.len();
        writer.u8(next.0)?;
        writer.u8(0)?;
        let len = writer.length_field()?;
        writer.u8(self.number)?;
        writer.u8(self.protocol.0)?;
        writer.u8(u8::try_from(self.spi.len()).map_err(|_| Overflow)?)?;
        writer.u8(u8::try_from(self.transforms.len()).map_err(|_| Overflow)?)?;
        writer.put(self.spi)?;
        let last = self.transforms.len().saturating_sub(1);
        for (index, transform) in self.transforms.iter().enumerate() {
            let next = if index == last {
                PayloadType::NONE
            } else {
                PayloadType::TRANSFORM
            };
            transform.emit(next, writer)?;
        }
        writer.close(len, start)
    }
}

impl TransformSpec<'_> {
    fn emit(&self, next: PayloadType, writer: &mut Writer<'_>) -> Result<(), Overflow> {
        let start = writer.len();
        writer.u8(next.0)?;
        writer.u8(0)?;
        let len = writer.length_field()?;
        writer.u8(self.number)?;
        writer.u8(self.id)?;
        writer.u16(0)?;
        for attribute in self.attributes {
            attribute.emit(writer)?;
        }
        writer.close(len, start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTRIBUTES: [Attribute<'_>; 2] = [
        Attribute::Short { class: 4, value: 2 },
        Attribute::Long {
            class: 2,
            value: &[0, 0, 0x0E, 0x10],
        },
    ];
    const TRANSFORMS: [TransformSpec<'_>; 2] = [
        TransformSpec {
            number: 1,
            id: 20,
            attributes: &ATTRIBUTES,
        },
        TransformSpec {
            number: 2,
            id: 12,
            attributes: &[],
        },
    ];

    fn emitted(buffer: &mut [u8]) -> &[u8] {
        let proposal = ProposalSpec {
            number: 1,
            protocol: ProtocolId::ESP,
            spi: &[1, 2, 3, 4],
            transforms: &TRANSFORMS,
        };
        let mut writer = Writer::new(buffer);
        Sa::emit(&[proposal, proposal], &mut writer).unwrap();
        let len = writer.len();
        &buffer[..len]
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut buffer = [0; 128];
        let sa = Sa::parse(emitted(&mut buffer)).unwrap();
        assert_eq!(sa.proposals().count(), 2);
        let proposal = sa.proposals().next().unwrap();
        assert_eq!(proposal.protocol, ProtocolId::ESP);
        assert_eq!(proposal.esp_spi(), Some(0x0102_0304));
        assert!(proposal.transforms().map(|t| t.id).eq([20, 12]));
        let first = proposal.transforms().next().unwrap();
        assert!(first.attributes.iter().eq(ATTRIBUTES));
    }

    #[test]
    fn every_short_input_is_refused() {
        let mut buffer = [0; 128];
        let bytes = emitted(&mut buffer);
        for len in 0..bytes.len() {
            assert!(Sa::parse(&bytes[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn a_wrong_transform_count_is_refused() {
        let mut buffer = [0; 128];
        emitted(&mut buffer);
        let len = emitted(&mut buffer).len();
        for count in [0, 1, 3, 255] {
            buffer[15] = count;
            assert!(Sa::parse(&buffer[..len]).is_err(), "{count}");
        }
    }

    #[test]
    fn another_domain_is_refused() {
        let mut buffer = [0; 128];
        let len = emitted(&mut buffer).len();
        buffer[3] = 0;
        assert_eq!(Sa::parse(&buffer[..len]), Err(Malformed::Domain));
    }

    #[test]
    fn bytes_behind_the_last_proposal_are_refused() {
        let mut buffer = [0; 128];
        let len = emitted(&mut buffer).len();
        assert_eq!(Sa::parse(&buffer[..=len]), Err(Malformed::Length));
    }
}
