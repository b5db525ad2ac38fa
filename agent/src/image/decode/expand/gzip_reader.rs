//! gzip data in memory, unpacked as it is read: by the same rules as an image.

use std::io::{self, Read};

use super::gzip::Gzip;
use super::members::Members;
use super::{DecodeError, ExpandError, Expander, Format};

/// What gzip data unpacks to. Zeros may follow it; other bytes, which in an image are ignored with
/// a warning, are an error.
pub(in crate::image) struct GzipReader<'a> {
    expander: Expander,
    rest: &'a [u8],
}

impl<'a> GzipReader<'a> {
    pub(in crate::image) fn new(packed: &'a [u8]) -> Self {
        Self {
            expander: Expander {
                format: Format::Gzip,
                expand: Box::new(Members::<Gzip>::new()),
                consumed: 0,
            },
            rest: packed,
        }
    }
}

impl Read for GzipReader<'_> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        while !output.is_empty() {
            let step = self.expander.step(&mut self.rest, output);
            let (goes_on, produced) = step.map_err(reason)?;
            if produced > 0 {
                return Ok(produced);
            }
            if !goes_on {
                self.expander.check_complete().map_err(reason)?;
                let bytes = self.expander.expand.ignored();
                if bytes > 0 {
                    return Err(io::Error::other(ExpandError::Trailing { bytes }));
                }
                break;
            }
        }
        Ok(0)
    }
}

/// What is wrong, without the place in an image.
fn reason(error: DecodeError) -> io::Error {
    match error {
        DecodeError::Compressed { source, .. } => io::Error::other(source),
        other => io::Error::other(other),
    }
}
