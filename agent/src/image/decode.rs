//! From the bytes of a file to the bytes of a disk. Only verbatim formats so far.

use std::sync::Arc;

use super::block::Block;
use super::format::Format;
use super::write::{WriteError, Writer};

/// A stage between the download and the disk, on the writer's thread.
pub(super) trait Decode: Send {
    /// Takes the next bytes of the file and writes what they stand for.
    fn push(&mut self, block: Arc<Block>, writer: &mut Writer) -> Result<(), WriteError>;
}

/// The stage for a format, of those that [`super::format::decide`] lets pass.
pub(super) fn decoder(_format: Format) -> Box<dyn Decode> {
    Box::new(Verbatim)
}

/// The file is the disk.
struct Verbatim;

impl Decode for Verbatim {
    fn push(&mut self, block: Arc<Block>, writer: &mut Writer) -> Result<(), WriteError> {
        writer.append(block)
    }
}
