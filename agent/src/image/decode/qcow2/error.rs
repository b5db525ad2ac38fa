//! Everything for which a qcow2 image is refused, in words for the one who made the image.

use thiserror::Error;

/// Why a qcow2 image is refused, and at which byte of the file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{defect} (byte {at} of the qcow2 image)")]
pub struct Qcow2Error {
    /// What is wrong.
    pub defect: Defect,
    /// Offset in the file.
    pub at: u64,
}

/// What is wrong with a qcow2 image.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Defect {
    #[error("the header has {found} bytes, {needed} are needed")]
    ShortHeader { found: usize, needed: usize },
    #[error("there is no qcow2 header")]
    NotQcow2,
    #[error("version {0} of the format; only 2 and 3 are known")]
    Version(u32),
    #[error(
        "the image has a backing file: a deployable image must be whole (qemu-img convert makes one)"
    )]
    BackingFile,
    #[error("the image keeps its data in an external file")]
    ExternalData,
    #[error("the image is encrypted (method {0})")]
    Encrypted(u32),
    #[error("the image is marked as corrupt: qemu-img check -r may repair it")]
    Corrupt,
    #[error("the image uses features that are not known (incompatible bits {0:#x})")]
    UnknownFeatures(u64),
    #[error("compression type {0} is not known")]
    CompressionType(u8),
    #[error("the compression type {kind} contradicts the feature bit, which is {bit}")]
    CompressionBit { kind: u8, bit: u8 },
    #[error("the header says that it has {0} bytes")]
    HeaderLength(u32),
    #[error("the header extension of type {kind:#010x} has {length} bytes and leaves the header")]
    Extension { kind: u32, length: u32 },
    #[error("clusters of 2^{0} bytes; 2^9 to 2^21 are allowed, with subclusters from 2^14")]
    ClusterSize(u32),
    #[error("a refcount order of {0}; at most 6 is allowed")]
    RefcountOrder(u32),
    #[error("the image is a disk of no bytes")]
    Empty,
    #[error("the image is a disk of {size} bytes, more than {limit} are beyond reason")]
    BeyondReason { size: u64, limit: u64 },
    #[error("the image is a disk of {size} bytes, and only {available} are there")]
    TooLarge { size: u64, available: u64 },
    #[error("the L1 table has {found} entries, {needed} are needed and {limit} allowed")]
    LevelOneSize { found: u64, needed: u64, limit: u64 },
    #[error("{what} is at byte {offset}, which is not a multiple of the cluster size")]
    Unaligned { what: Structure, offset: u64 },
    #[error("{what} lies at bytes {start} to {end}, and the file ends at {length}")]
    Outside {
        what: Structure,
        start: u64,
        end: u64,
        length: u64,
    },
    #[error("the entry {entry:#018x} in {table} has reserved bits")]
    Reserved { table: Structure, entry: u64 },
    #[error("{second} overlaps {first}: an image must use each part of the file once")]
    Overlap { first: Structure, second: Structure },
    #[error("a zero cluster in version 2 of the format")]
    ZeroInVersion2,
    #[error("subclusters {0:#018x} are both data and zeros, or data that is nowhere")]
    Subclusters(u64),
    #[error("the map of the image needs more than {limit} bytes of memory: use larger clusters")]
    MapTooLarge { limit: usize },
    #[error("{0} is not what the server sent when it was asked for it before")]
    Changed(Structure),
    #[error("the file ended at byte {0}, before all of its clusters had come")]
    EndsEarly(u64),
    #[error("the compressed cluster is damaged: {0}")]
    Compressed(&'static str),
    #[error("the compressed cluster unpacks to {found} bytes, clusters have {needed}")]
    CompressedLength { found: usize, needed: usize },
    #[error(
        "data comes before the tables that tell where it belongs, {deferred} bytes of it, for which \
         there is room neither in memory nor on the disk behind the image: serve the image from a \
         server that answers range requests, rewrite it (qemu-img convert), or choose a larger disk"
    )]
    Unplaceable { deferred: u64 },
}

/// A part of a qcow2 image, for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Structure {
    Header,
    LevelOne,
    LevelTwo,
    Cluster,
    Compressed,
}

impl std::fmt::Display for Structure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Header => "the header",
            Self::LevelOne => "the L1 table",
            Self::LevelTwo => "an L2 table",
            Self::Cluster => "a data cluster",
            Self::Compressed => "a compressed cluster",
        })
    }
}

impl Defect {
    /// Says where it is.
    pub fn at(self, at: u64) -> Qcow2Error {
        Qcow2Error { defect: self, at }
    }
}
