//! Building a message: the header, then payload after payload; next-payload fields and lengths are filled in.

use core::ops::Range;

use super::{Header, PayloadType};
use crate::writer::{Overflow, Writer};

/// Where the header's length field is.
mod field {
    use core::ops::Range;

    pub(super) const NEXT: usize = 16;
    pub(super) const LENGTH: Range<usize> = 24..28;
}

/// Writes one ISAKMP message into a borrowed buffer.
#[derive(Debug)]
pub struct MessageWriter<'a> {
    writer: Writer<'a>,
    /// Where the next payload's kind goes.
    next_at: usize,
}

/// A HASH payload whose value is computed over what follows it.
#[derive(Clone, Debug)]
#[must_use = "the hash stays zero until it is filled"]
pub struct HashSlot(Range<usize>);

impl<'a> MessageWriter<'a> {
    /// Starts a message; the `next` field of `header` is not used.
    ///
    /// # Errors
    /// [`Overflow`] if the buffer is shorter than a header.
    pub fn new(buffer: &'a mut [u8], header: &Header) -> Result<Self, Overflow> {
        let mut writer = Writer::new(buffer);
        let header = Header {
            next: PayloadType::NONE,
            ..*header
        };
        header.emit(&mut writer)?;
        Ok(Self {
            writer,
            next_at: field::NEXT,
        })
    }

    /// Appends a payload whose body `write` writes.
    ///
    /// # Errors
    /// [`Overflow`] if it does not fit.
    pub fn payload(
        &mut self,
        kind: PayloadType,
        write: impl FnOnce(&mut Writer<'a>) -> Result<(), Overflow>,
    ) -> Result<(), Overflow> {
        let start = self.writer.len();
        self.writer.u8(PayloadType::NONE.0)?;
        self.writer.u8(0)?;
        let len = self.writer.length_field()?;
        write(&mut self.writer)?;
        self.writer.close(len, start)?;
        let next = self
            .writer
            .written_mut()
            .get_mut(self.next_at)
            .ok_or(Overflow)?;
        *next = kind.0;
        self.next_at = start;
        Ok(())
    }

    /// Appends a payload with a given body.
    ///
    /// # Errors
    /// [`Overflow`] if it does not fit.
    pub fn put(&mut self, kind: PayloadType, body: &[u8]) -> Result<(), Overflow> {
        self.payload(kind, |writer| writer.put(body))
    }

    /// Appends a HASH payload of `len` zero bytes, to be filled by [`Self::fill`].
    ///
    /// # Errors
    /// [`Overflow`] if it does not fit.
    pub fn hash_slot(&mut self, len: usize) -> Result<HashSlot, Overflow> {
        self.payload(PayloadType::HASH, |writer| writer.zeros(len))?;
        let end = self.writer.len();
        Ok(HashSlot(end - len..end))
    }

    /// The payloads behind `slot`, with their generic headers: what its hash covers (RFC 2409 §5.5, §5.7).
    pub fn behind(&self, slot: &HashSlot) -> &[u8] {
        self.writer.written().get(slot.0.end..).unwrap_or_default()
    }

    /// Sets the hash.
    ///
    /// # Errors
    /// [`Overflow`] if `hash` is not as long as the slot.
    pub fn fill(&mut self, slot: HashSlot, hash: &[u8]) -> Result<(), Overflow> {
        let place = self.writer.written_mut().get_mut(slot.0).ok_or(Overflow)?;
        if place.len() != hash.len() {
            return Err(Overflow);
        }
        place.copy_from_slice(hash);
        Ok(())
    }

    /// Ends a message in the clear; returns its length in bytes.
    ///
    /// # Errors
    /// [`Overflow`] if it is longer than the length field can say.
    pub fn finish(mut self) -> Result<usize, Overflow> {
        let len = self.writer.len();
        let value = u32::try_from(len).map_err(|_| Overflow)?;
        let place = self
            .writer
            .written_mut()
            .get_mut(field::LENGTH)
            .ok_or(Overflow)?;
        place.copy_from_slice(&value.to_be_bytes());
        Ok(len)
    }

    /// Ends a message that will be encrypted in blocks of `block` bytes: zeros are appended until the part behind the header is
    /// a whole number of them. The length field counts them (RFC 2409 appendix B).
    ///
    /// # Errors
    /// [`Overflow`] if they do not fit.
    pub fn finish_padded(mut self, block: usize) -> Result<usize, Overflow> {
        let body = self.writer.len() - Header::LEN;
        let padding = body.next_multiple_of(block.max(1)) - body;
        self.writer.zeros(padding)?;
        self.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ike::{Chain, Cookie, ExchangeType, Flags, MessageId, Version};

    const HEADER: Header = Header {
        initiator: Cookie([1; 8]),
        responder: Cookie([2; 8]),
        next: PayloadType::NONE,
        version: Version::V1_0,
        exchange: ExchangeType::QUICK_MODE,
        flags: Flags::ENCRYPTED,
        message_id: MessageId(7),
    };

    #[test]
    fn the_chain_links_itself_and_the_lengths_are_right() {
        let mut buffer = [0xA5; 64];
        let mut message = MessageWriter::new(&mut buffer, &HEADER).unwrap();
        message.put(PayloadType::HASH, &[1, 2]).unwrap();
        message.put(PayloadType::NONCE, &[3]).unwrap();
        let len = message.finish().unwrap();
        let (header, body) = Header::split(&buffer[..len]).unwrap();
        assert_eq!(
            header,
            Header {
                next: PayloadType::HASH,
                ..HEADER
            }
        );
        let chain = Chain::parse(header.next, body).unwrap();
        assert!(chain.padding().is_empty());
        assert!(
            chain
                .iter()
                .map(|p| (p.kind, p.body))
                .eq([(PayloadType::HASH, &[1, 2][..]), (PayloadType::NONCE, &[3]),])
        );
    }

    #[test]
    fn a_hash_covers_what_follows_it() {
        let mut buffer = [0; 64];
        let mut message = MessageWriter::new(&mut buffer, &HEADER).unwrap();
        let slot = message.hash_slot(4).unwrap();
        message.put(PayloadType::NONCE, &[9; 3]).unwrap();
        assert_eq!(message.behind(&slot), [0, 0, 0, 7, 9, 9, 9]);
        assert_eq!(message.fill(slot.clone(), &[5; 3]), Err(Overflow));
        message.fill(slot, &[5; 4]).unwrap();
        let len = message.finish_padded(16).unwrap();
        assert_eq!(len, Header::LEN + 16);
        assert_eq!(
            buffer[28..len],
            [10, 0, 0, 8, 5, 5, 5, 5, 0, 0, 0, 7, 9, 9, 9, 0]
        );
    }

    #[test]
    fn a_message_that_does_not_fit_says_so() {
        let mut buffer = [0; 40];
        let mut message = MessageWriter::new(&mut buffer, &HEADER).unwrap();
        assert_eq!(message.put(PayloadType::NONCE, &[0; 9]), Err(Overflow));
        assert!(MessageWriter::new(&mut [0; 27], &HEADER).is_err());
    }
}
