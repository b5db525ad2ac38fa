//! The file is the disk.

use std::sync::Arc;

use super::{Decode, DecodeError, Trailer};
use crate::image::block::Block;
use crate::image::write::ImageWriter;

/// Passes everything on.
pub(super) struct Verbatim;

impl Decode for Verbatim {
    fn push(&mut self, block: Arc<Block>, writer: &mut ImageWriter) -> Result<(), DecodeError> {
        Ok(writer.append(block)?)
    }

    fn finish(&mut self, _: &mut ImageWriter) -> Result<Option<Trailer>, DecodeError> {
        Ok(None)
    }
}
