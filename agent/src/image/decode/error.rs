//! Why a file does not become a disk.

use std::io;

use thiserror::Error;

use super::format::Format;
use super::qcow2::Qcow2Error;
use crate::image::write::WriteError;

/// Why a file does not become a disk.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// The disk did not take the bytes.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The file is not what its compression says.
    #[error("{source} (byte {offset} of the {} image)", format.name())]
    Compressed {
        /// The compression.
        format: Format,
        /// Where in the file.
        offset: u64,
        /// What is wrong with it.
        source: ExpandError,
    },
    /// The file is not a qcow2 image that can be written.
    #[error(transparent)]
    Qcow2(#[from] Qcow2Error),
}

impl DecodeError {
    /// Whether the bytes of the file are at fault, rather than the disk.
    pub(in crate::image) fn is_about_bytes(&self) -> bool {
        match self {
            Self::Write(_) => false,
            Self::Compressed { .. } | Self::Qcow2(_) => true,
        }
    }
}

/// What is wrong with a compressed file, or what to do about it.
#[derive(Debug, Error)]
pub enum ExpandError {
    /// There is no memory for a decoder of Zstandard.
    #[error("the decoder cannot start: {0}")]
    StartZstd(#[source] io::Error),
    /// There is no memory for a decoder of xz.
    #[error("the decoder cannot start: {0}")]
    StartXz(#[source] liblzma::stream::Error),
    /// Damaged gzip data.
    #[error("broken data: {0}")]
    Gzip(#[source] flate2::DecompressError),
    /// Damaged Zstandard data.
    #[error("broken data: {0}")]
    Zstd(#[source] io::Error),
    /// Damaged xz data.
    #[error("broken data: {0}")]
    Xz(#[source] liblzma::stream::Error),
    /// Damaged bzip2 data.
    #[error("broken data: {0}")]
    Bzip2(#[source] ::bzip2::Error),
    /// Unpacking Zstandard data would need too much memory.
    #[error(
        "its window is larger than {mib} MiB: compress it without --long and --ultra (zstd -19 or \
         less)"
    )]
    Window {
        /// The largest window.
        mib: u32,
    },
    /// Unpacking xz data would need too much memory.
    #[error(
        "it needs more than {mib} MiB of memory to unpack: compress it with xz -9 or less, or \
         with zstd"
    )]
    Memory {
        /// The limit.
        mib: u64,
    },
    /// An xz file with a check that cannot be computed.
    #[error("its kind of check is not known: compress it with xz --check=crc64")]
    UnknownCheck,
    /// An xz file whose parts are not aligned.
    #[error("padding of a wrong length")]
    Padding,
    /// Neither input nor output goes on.
    #[error("the decompressor stands still")]
    Stuck,
    /// The end is missing.
    #[error("the file ends before the compressed data does")]
    CutOff,
    /// Something else stands behind the end.
    #[error("{bytes} bytes that are not compressed data follow it")]
    Trailing {
        /// Bytes that follow.
        bytes: u64,
    },
    /// Too little can be seen of what is inside.
    #[error("the first {file} bytes of the file hold only {image} bytes of the image")]
    TooLittle {
        /// Bytes of the file that were looked at.
        file: usize,
        /// Bytes that they unpack to.
        image: usize,
    },
}
