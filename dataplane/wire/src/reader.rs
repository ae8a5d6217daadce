//! A checked cursor over received bytes: the only place where lengths that a peer sent are compared with what is there.

/// The bytes end before the value does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated;

/// Reads big-endian values off the front of borrowed bytes.
///
/// Every method either takes exactly what it names or takes nothing and returns [`Truncated`].
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Number of bytes not yet read.
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether everything has been read.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Everything not yet read, without reading it.
    pub const fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// Takes `len` bytes.
    ///
    /// # Errors
    /// [`Truncated`] if fewer are left.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Truncated> {
        let (head, tail) = self.bytes.split_at_checked(len).ok_or(Truncated)?;
        self.bytes = tail;
        Ok(head)
    }

    /// Takes an array of `N` bytes.
    ///
    /// # Errors
    /// [`Truncated`] if fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let (head, tail) = self.bytes.split_first_chunk::<N>().ok_or(Truncated)?;
        self.bytes = tail;
        Ok(*head)
    }

    /// Takes one byte.
    ///
    /// # Errors
    /// [`Truncated`] at the end.
    pub fn u8(&mut self) -> Result<u8, Truncated> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Takes a 16-bit number.
    ///
    /// # Errors
    /// [`Truncated`] if fewer than 2 bytes are left.
    pub fn u16(&mut self) -> Result<u16, Truncated> {
        self.array().map(u16::from_be_bytes)
    }

    /// Takes a 32-bit number.
    ///
    /// # Errors
    /// [`Truncated`] if fewer than 4 bytes are left.
    pub fn u32(&mut self) -> Result<u32, Truncated> {
        self.array().map(u32::from_be_bytes)
    }

    /// Takes `len` bytes as a reader of their own, so that a nested list cannot read past its parent's claim.
    ///
    /// # Errors
    /// [`Truncated`] if fewer are left.
    pub fn sub(&mut self, len: usize) -> Result<Self, Truncated> {
        self.take(len).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_read_takes_nothing() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.u32(), Err(Truncated));
        assert_eq!(reader.u16(), Ok(0x0102));
        assert_eq!(reader.take(2), Err(Truncated));
        assert_eq!(reader.u8(), Ok(3));
        assert!(reader.is_empty());
    }

    #[test]
    fn a_nested_reader_ends_where_its_parent_said() {
        let mut reader = Reader::new(&[1, 2, 3, 4]);
        let mut nested = reader.sub(2).unwrap();
        assert_eq!(nested.u16(), Ok(0x0102));
        assert_eq!(nested.u8(), Err(Truncated));
        assert_eq!(reader.u16(), Ok(0x0304));
    }
}
