//! Attributes of a transform (RFC 2408 §3.3).
//!
//! ```text
//!  |1| class (15 bits) | value (16 bits) |        |0| class (15 bits) | length (16 bits) | value … |
//! ```

use super::Malformed;
use crate::reader::Reader;
use crate::writer::{Overflow, Writer};

/// Set in the class of an attribute whose value fits 16 bits.
const SHORT: u16 = 0x8000;

/// One attribute; written in the form in which it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute<'a> {
    /// Type and value: four bytes.
    Short {
        /// Class: 0 to 0x7FFF.
        class: u16,
        /// Value.
        value: u16,
    },
    /// Type, length and value.
    Long {
        /// Class: 0 to 0x7FFF.
        class: u16,
        /// Value.
        value: &'a [u8],
    },
}

impl Attribute<'_> {
    /// The class.
    pub const fn class(&self) -> u16 {
        match *self {
            Self::Short { class, .. } | Self::Long { class, .. } => class,
        }
    }

    /// The value as a number; `None` if it is longer than eight bytes or empty.
    pub fn number(&self) -> Option<u64> {
        match *self {
            Self::Short { value, .. } => Some(u64::from(value)),
            Self::Long { value, .. } if value.is_empty() || value.len() > 8 => None,
            Self::Long { value, .. } => Some(
                value
                    .iter()
                    .fold(0, |number, &byte| (number << 8) | u64::from(byte)),
            ),
        }
    }

    /// Appends the attribute.
    ///
    /// # Errors
    /// [`Overflow`] if it does not fit.
    pub fn emit(&self, writer: &mut Writer<'_>) -> Result<(), Overflow> {
        match *self {
            Self::Short { class, value } => {
                writer.u16(class | SHORT)?;
                writer.u16(value)
            }
            Self::Long { class, value } => {
                writer.u16(class & !SHORT)?;
                writer.u16(u16::try_from(value.len()).map_err(|_| Overflow)?)?;
                writer.put(value)
            }
        }
    }
}

/// A checked list of attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes<'a> {
    bytes: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// Checks a list that fills `bytes`.
    ///
    /// # Errors
    /// `Truncated` if an attribute does not fit.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            take(&mut reader)?;
        }
        Ok(Self { bytes })
    }

    /// The list as it was sent.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The attributes in their order.
    pub fn iter(&self) -> impl Iterator<Item = Attribute<'a>> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        core::iter::from_fn(move || take(&mut reader).ok())
    }
}

fn take<'a>(reader: &mut Reader<'a>) -> Result<Attribute<'a>, Malformed> {
    let class = reader.u16()?;
    let second = reader.u16()?;
    if class & SHORT != 0 {
        return Ok(Attribute::Short {
            class: class & !SHORT,
            value: second,
        });
    }
    let value = reader.take(usize::from(second))?;
    Ok(Attribute::Long { class, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; 12] = [0x80, 11, 0, 1, 0, 12, 0, 4, 0, 0, 0x70, 0x80];

    #[test]
    fn both_forms_are_read_as_numbers() {
        let attributes = Attributes::parse(&BYTES).unwrap();
        let mut iter = attributes.iter();
        assert_eq!(
            iter.next(),
            Some(Attribute::Short {
                class: 11,
                value: 1
            })
        );
        let life = iter.next().unwrap();
        assert_eq!((life.class(), life.number()), (12, Some(28_800)));
        assert_eq!(iter.next(), None);
    }

    #[test]
    fn round_trip() {
        let mut buffer = [0; 12];
        let mut writer = Writer::new(&mut buffer);
        for attribute in Attributes::parse(&BYTES).unwrap().iter() {
            attribute.emit(&mut writer).unwrap();
        }
        assert_eq!(writer.written(), BYTES);
    }

    #[test]
    fn cut_attributes_are_refused() {
        for len in (1..4).chain(5..12) {
            assert_eq!(Attributes::parse(&BYTES[..len]), Err(Malformed::Truncated));
        }
    }

    #[test]
    fn a_number_that_does_not_fit_is_none() {
        let value = [1; 9];
        assert_eq!(
            Attribute::Long {
                class: 12,
                value: &value
            }
            .number(),
            None
        );
        assert_eq!(
            Attribute::Long {
                class: 12,
                value: &[]
            }
            .number(),
            None
        );
        assert_eq!(
            Attribute::Long {
                class: 12,
                value: &[0xFF; 8]
            }
            .number(),
            Some(u64::MAX)
        );
    }
}
