//! Reading: bytes at offsets, numbers in bytes.

use thiserror::Error;

/// Bytes at offsets: a disk, a partition, an image, memory.
pub trait Source {
    /// Why bytes could not be read.
    type Error;

    /// How many bytes there are.
    fn size(&self) -> u64;

    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// The range does not lie inside the source, or the medium failed.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), Self::Error>;
}

impl<S: Source + ?Sized> Source for &mut S {
    type Error = S::Error;

    fn size(&self) -> u64 {
        (**self).size()
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), Self::Error> {
        (**self).read_at(offset, buffer)
    }
}

/// A range that does not lie inside of its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("bytes {offset} to {end} do not lie inside of {size} bytes")]
pub struct OutOfBounds {
    /// The first byte.
    pub offset: u64,
    /// The byte behind the last.
    pub end: u64,
    /// The size of the source.
    pub size: u64,
}

impl Source for &[u8] {
    type Error = OutOfBounds;

    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), OutOfBounds> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let found = self.get(start..).and_then(|rest| rest.get(..buffer.len()));
        let Some(found) = found else {
            return Err(OutOfBounds {
                offset,
                end: offset.saturating_add(buffer.len() as u64),
                size: self.len() as u64,
            });
        };
        buffer.copy_from_slice(found);
        Ok(())
    }
}

/// A contiguous part of a source, for example a partition of a disk. Offsets count from its
/// start.
#[derive(Debug)]
pub struct Area<S> {
    source: S,
    start: u64,
    size: u64,
}

impl<S: Source> Area<S> {
    /// The part from `start` on, of `size` bytes or as many as there are.
    pub fn new(source: S, start: u64, size: u64) -> Self {
        let size = size.min(source.size().saturating_sub(start));
        Self {
            source,
            start,
            size,
        }
    }
}

impl<S: Source> Source for Area<S> {
    type Error = S::Error;

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), S::Error> {
        // What lies outside of the part must not be read as if it were inside.
        let end = offset.saturating_add(buffer.len() as u64);
        let from = if end > self.size {
            u64::MAX
        } else {
            self.start.saturating_add(offset)
        };
        self.source.read_at(from, buffer)
    }
}

/// `N` bytes from `offset` on. `None`: they do not lie inside the source.
///
/// # Errors
/// What the source said.
pub fn array<const N: usize, S: Source + ?Sized>(
    source: &mut S,
    offset: u64,
) -> Result<Option<[u8; N]>, S::Error> {
    if !is_inside(source, offset, N as u64) {
        return Ok(None);
    }
    let mut bytes = [0; N];
    source.read_at(offset, &mut bytes)?;
    Ok(Some(bytes))
}

/// `length` bytes from `offset` on. `None`: they do not lie inside the source. The caller
/// bounds the length.
///
/// # Errors
/// What the source said.
pub fn bytes<S: Source + ?Sized>(
    source: &mut S,
    offset: u64,
    length: usize,
) -> Result<Option<Vec<u8>>, S::Error> {
    if !is_inside(source, offset, length as u64) {
        return Ok(None);
    }
    let mut bytes = vec![0; length];
    source.read_at(offset, &mut bytes)?;
    Ok(Some(bytes))
}

fn is_inside<S: Source + ?Sized>(source: &S, offset: u64, length: u64) -> bool {
    let end = offset.checked_add(length);
    end.is_some_and(|end| end <= source.size())
}

/// `N` bytes of a structure. `None`: it is shorter.
#[must_use]
pub fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// A little-endian number of 16 bits.
#[must_use]
pub fn le_u16(bytes: &[u8], at: usize) -> Option<u16> {
    field(bytes, at).map(u16::from_le_bytes)
}

/// A little-endian number of 32 bits.
#[must_use]
pub fn le_u32(bytes: &[u8], at: usize) -> Option<u32> {
    field(bytes, at).map(u32::from_le_bytes)
}

/// A little-endian number of 64 bits.
#[must_use]
pub fn le_u64(bytes: &[u8], at: usize) -> Option<u64> {
    field(bytes, at).map(u64::from_le_bytes)
}

/// A big-endian number of 16 bits.
#[must_use]
pub fn be_u16(bytes: &[u8], at: usize) -> Option<u16> {
    field(bytes, at).map(u16::from_be_bytes)
}

/// A big-endian number of 32 bits.
#[must_use]
pub fn be_u32(bytes: &[u8], at: usize) -> Option<u32> {
    field(bytes, at).map(u32::from_be_bytes)
}

/// A big-endian number of 64 bits.
#[must_use]
pub fn be_u64(bytes: &[u8], at: usize) -> Option<u64> {
    field(bytes, at).map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTING: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

    #[test]
    fn numbers_are_read_in_both_orders_and_never_beyond_the_end() {
        assert_eq!(le_u16(&COUNTING, 1), Some(0x0201));
        assert_eq!(be_u16(&COUNTING, 1), Some(0x0102));
        assert_eq!(le_u32(&COUNTING, 12), Some(0x0f0e_0d0c));
        assert_eq!(be_u32(&COUNTING, 12), Some(0x0c0d_0e0f));
        assert_eq!(le_u64(&COUNTING, 8), Some(0x0f0e_0d0c_0b0a_0908));
        assert_eq!(be_u64(&COUNTING, 8), Some(0x0809_0a0b_0c0d_0e0f));
        assert_eq!(le_u64(&COUNTING, 9), None);
        assert_eq!(be_u16(&COUNTING, usize::MAX), None);
    }

    #[test]
    fn what_lies_outside_of_a_source_is_not_there() {
        let mut source = &COUNTING[..];
        assert_eq!(array(&mut source, 14), Ok(Some([14, 15])));
        assert_eq!(array::<2, _>(&mut source, 15), Ok(None));
        assert_eq!(array::<2, _>(&mut source, u64::MAX), Ok(None));
        assert_eq!(bytes(&mut source, 0, 17), Ok(None));
        assert!(source.read_at(15, &mut [0; 2]).is_err());
    }

    #[test]
    fn an_area_ends_where_it_ends() {
        let mut source = &COUNTING[..];
        let mut area = Area::new(&mut source, 4, 4);
        assert_eq!(area.size(), 4);
        assert_eq!(array(&mut area, 2), Ok(Some([6, 7])));
        assert_eq!(array::<2, _>(&mut area, 3), Ok(None));
        // The bytes are in the source, not in the area.
        assert!(area.read_at(3, &mut [0; 2]).is_err());
        assert_eq!(Area::new(&mut source, 12, 100).size(), 4);
        assert_eq!(Area::new(&mut source, 100, 100).size(), 0);
    }
}
