//! The file is the disk.

use std::sync::Arc;

use super::{Decode, Trailer};
use crate::image::block::Block;
use crate::image::write::{WriteError, Writer};

/// Passes everything on.
pub(super) struct Verbatim;

impl Decode for Verbatim {
    fn push(&mut self, block: Arc<Block>, writer: &mut Writer) -> Result<(), WriteError> {
        writer.append(block)
    }

    fn finish(&mut self, _: &mut Writer) -> Result<Option<Trailer>, WriteError> {
        Ok(None)
    }
}
