//! Configuration options of LCP, IPCP and their like (RFC 1661 §6).
//!
//! ```text
//! |     Type      |    Length     |    Data ... (Length - 2 bytes)
//! ```

use crate::reader::{Reader, Truncated};
use crate::writer::{Overflow, Writer};

/// One option; what the type means depends on the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawOption<'a> {
    /// The type.
    pub kind: u8,
    /// The value, 0 to 253 bytes.
    pub data: &'a [u8],
}

/// Walks a list of options; ends after the first that does not parse.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    reader: Reader<'a>,
}

impl<'a> Options<'a> {
    /// Starts at the first option in `data`, the data of a Configure packet.
    pub const fn new(data: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(data),
        }
    }

    /// Whether every option of the list parses.
    pub fn is_well_formed(mut self) -> bool {
        self.all(|option| option.is_ok())
    }

    fn parse(&mut self) -> Result<RawOption<'a>, Truncated> {
        let kind = self.reader.u8()?;
        let len = usize::from(self.reader.u8()?);
        let data = self.reader.take(len.checked_sub(2).ok_or(Truncated)?)?;
        Ok(RawOption { kind, data })
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = Result<RawOption<'a>, Truncated>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let option = self.parse();
        if option.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(option)
    }
}

/// Appends an option.
///
/// # Errors
/// [`Overflow`] if it does not fit or `data` is longer than 253 bytes; part of it may then be written.
pub fn put(writer: &mut Writer<'_>, kind: u8, data: &[u8]) -> Result<(), Overflow> {
    let len = data.len().checked_add(2).ok_or(Overflow)?;
    writer.u8(kind)?;
    writer.u8(u8::try_from(len).map_err(|_| Overflow)?)?;
    writer.put(data)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn lengths_of_zero_one_and_beyond_end_the_walk() {
        for len in [0, 1, 7, 255] {
            let data = [1, 4, 5, 0, 3, len, 0, 0, 0, 0];
            let list: Vec<_> = Options::new(&data).collect();
            assert_eq!(list.len(), 2);
            assert_eq!(list[1], Err(Truncated));
            assert!(!Options::new(&data).is_well_formed());
        }
    }

    #[test]
    fn options_round_trip() {
        let mut buffer = [0; 300];
        let mut writer = Writer::new(&mut buffer);
        put(&mut writer, 7, &[]).unwrap();
        put(&mut writer, 1, &[5, 0x78]).unwrap();
        put(&mut writer, 200, &[9; 253]).unwrap();
        let list: Vec<_> = Options::new(writer.written()).map(Result::unwrap).collect();
        let kinds: Vec<_> = list.iter().map(|option| option.kind).collect();
        assert_eq!(kinds, [7, 1, 200]);
        assert_eq!(list[2].data, [9; 253]);
        assert_eq!(put(&mut writer, 1, &[0; 254]), Err(Overflow));
    }

    proptest::proptest! {
        #[test]
        fn random_bytes_are_walked_in_finite_time(bytes: Vec<u8>) {
            let read: usize = Options::new(&bytes).flatten().map(|option| 2 + option.data.len()).sum();
            proptest::prop_assert!(read <= bytes.len());
        }
    }
}
