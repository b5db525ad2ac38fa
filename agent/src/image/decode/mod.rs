//! From the bytes of a file to the bytes of a disk.

use std::sync::Arc;

use super::block::Block;
use super::write::ImageWriter;
use format::Format;

mod error;
mod expand;
pub(super) mod format;
pub(super) mod qcow2;
mod verbatim;

pub use error::DecodeError;
use error::ExpandError;
pub(super) use expand::{GzipReader, Trailer, announced_length, beginning};

use expand::Expander;

/// A stage between the download and the disk. It runs on a thread of its own and may have
/// more; nothing that it writes lets the disk boot.
pub(super) trait Decode: Send {
    /// Takes the next bytes of the file and writes what they stand for. The blocks join
    /// without gaps, and only the last is shorter than a full one.
    fn push(&mut self, block: Arc<Block>, writer: &mut ImageWriter) -> Result<(), DecodeError>;

    /// The file is at its end: writes what is left and refuses what is unfinished. Answers
    /// what of the file was ignored.
    fn finish(&mut self, writer: &mut ImageWriter) -> Result<Option<Trailer>, DecodeError>;
}

/// How a file is decoded: the format, and what was learnt about the file beforehand.
#[derive(Debug)]
pub(super) enum DecodePlan {
    /// The file is the disk.
    Verbatim,
    /// The file is a compressed disk.
    Compressed(Format),
    /// The file holds the disk in clusters.
    Qcow2(qcow2::Qcow2Plan),
}

impl DecodePlan {
    /// The plan for a format about which there is nothing to learn; `None` for one that is
    /// not decoded.
    pub(super) fn of(format: Format) -> Option<Self> {
        if format.is_verbatim() {
            Some(Self::Verbatim)
        } else {
            format.is_compression().then_some(Self::Compressed(format))
        }
    }
}

/// The stage that follows a plan.
pub(super) fn decoder(plan: DecodePlan) -> Box<dyn Decode> {
    match plan {
        DecodePlan::Verbatim => Box::new(verbatim::Verbatim),
        DecodePlan::Compressed(format) => match Expander::new(format) {
            Some(expander) => Box::new(expander),
            None => Box::new(verbatim::Verbatim),
        },
        DecodePlan::Qcow2(plan) => Box::new(qcow2::Qcow2::new(plan)),
    }
}
