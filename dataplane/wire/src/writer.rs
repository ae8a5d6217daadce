//! A bounded cursor for building messages: lengths are filled in afterwards, so a length field can never disagree with what follows it.

/// The message does not fit the buffer, or a part does not fit its length field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

/// Writes big-endian values into a borrowed buffer.
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

/// A 16-bit length field whose value is not known yet.
#[derive(Debug)]
#[must_use = "the length field stays zero until it is closed"]
pub struct LengthField {
    at: usize,
}

impl<'a> Writer<'a> {
    /// Starts at the front of `buffer`.
    pub const fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, len: 0 }
    }

    /// Number of bytes written.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing has been written.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Everything written so far.
    pub fn written(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }

    /// Everything written so far, to encrypt or patch in place.
    pub fn written_mut(&mut self) -> &mut [u8] {
        self.buffer.get_mut(..self.len).unwrap_or_default()
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// [`Overflow`] if they do not fit; then nothing is written.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), Overflow> {
        let end = self.len.checked_add(bytes.len()).ok_or(Overflow)?;
        self.buffer
            .get_mut(self.len..end)
            .ok_or(Overflow)?
            .copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    /// Appends one byte.
    ///
    /// # Errors
    /// [`Overflow`] if it does not fit.
    pub fn u8(&mut self, value: u8) -> Result<(), Overflow> {
        self.put(&[value])
    }

    /// Appends a 16-bit number.
    ///
    /// # Errors
    /// [`Overflow`] if it does not fit.
    pub fn u16(&mut self, value: u16) -> Result<(), Overflow> {
        self.put(&value.to_be_bytes())
    }

    /// Appends a 32-bit number.
    ///
    /// # Errors
    /// [`Overflow`] if it does not fit.
    pub fn u32(&mut self, value: u32) -> Result<(), Overflow> {
        self.put(&value.to_be_bytes())
    }

    /// Appends `len` zero bytes.
    ///
    /// # Errors
    /// [`Overflow`] if they do not fit.
    pub fn zeros(&mut self, len: usize) -> Result<(), Overflow> {
        let end = self.len.checked_add(len).ok_or(Overflow)?;
        self.buffer.get_mut(self.len..end).ok_or(Overflow)?.fill(0);
        self.len = end;
        Ok(())
    }

    /// Appends a 16-bit length field, to be closed by [`Writer::close`].
    ///
    /// # Errors
    /// [`Overflow`] if it does not fit.
    pub fn length_field(&mut self) -> Result<LengthField, Overflow> {
        let at = self.len;
        self.u16(0)?;
        Ok(LengthField { at })
    }

    /// Sets `field` to the number of bytes written since `start`, plus nothing: `start` is where the counted part begins.
    ///
    /// # Errors
    /// [`Overflow`] if the part is longer than 65,535 bytes or begins after the end.
    #[expect(clippy::needless_pass_by_value, reason = "a field is closed once")]
    pub fn close(&mut self, field: LengthField, start: usize) -> Result<(), Overflow> {
        let len = self.len.checked_sub(start).ok_or(Overflow)?;
        self.patch_u16(field.at, u16::try_from(len).map_err(|_| Overflow)?)
    }

    /// Overwrites the 16-bit number at `at`, which must already be written.
    ///
    /// # Errors
    /// [`Overflow`] if `at` is not within what is written.
    pub fn patch_u16(&mut self, at: usize, value: u16) -> Result<(), Overflow> {
        let field = self.written_mut().get_mut(at..).ok_or(Overflow)?;
        *field.first_chunk_mut::<2>().ok_or(Overflow)? = value.to_be_bytes();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_field_counts_from_where_it_is_told() {
        let mut buffer = [0xFF; 8];
        let mut writer = Writer::new(&mut buffer);
        let start = writer.len();
        writer.u8(7).unwrap();
        let field = writer.length_field().unwrap();
        writer.put(&[1, 2]).unwrap();
        writer.close(field, start).unwrap();
        assert_eq!(writer.written(), [7, 0, 5, 1, 2]);
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        let mut buffer = [0; 3];
        let mut writer = Writer::new(&mut buffer);
        writer.u16(0x0102).unwrap();
        assert_eq!(writer.u16(0x0304), Err(Overflow));
        assert_eq!(writer.written(), [1, 2]);
    }
}
