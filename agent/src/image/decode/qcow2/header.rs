//! The header: what kind of qcow2 this is, and whether it is one that can be deployed.
//!
//! In come the first bytes of the file, out comes a [`Header`] whose numbers are within
//! bounds, before any memory depends on them. Snapshots and reference counts are not looked
//! at: reading the active disk needs neither, so lies in them have no effect.

use ironic_ondisk::size::SECTOR;

use super::error::{Defect, Qcow2Error, Structure};

const MAGIC: u32 = 0x5146_49fb;
/// Length of the header of version 2, and of the fields that both versions have.
const LENGTH_2: usize = 72;
const LENGTH_3: u32 = 104;
/// Where version 3 says how clusters are compressed.
const COMPRESSION_TYPE: usize = 104;

const CORRUPT: u64 = 1 << 1;
const EXTERNAL_DATA: u64 = 1 << 2;
const COMPRESSION: u64 = 1 << 3;
const SUBCLUSTERS: u64 = 1 << 4;
/// Dirty (only reference counts may be stale) and what is named above.
const KNOWN: u64 = 1 | CORRUPT | EXTERNAL_DATA | COMPRESSION | SUBCLUSTERS;

const EXTENSION_END: u32 = 0;
const EXTENSION_ENCRYPTION: u32 = 0x0537_be77;
const EXTENSION_DATA_FILE: u32 = 0x4441_5441;

/// QEMU's own limit, 32 MiB.
const LEVEL_ONE_LIMIT: u64 = (32 << 20) / 8;
/// The largest disk and file that the map can describe: a pebibyte.
pub(super) const MAX_IMAGE_BYTES: u64 = 1 << 50;

/// How clusters are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    /// Raw deflate streams.
    Deflate,
    Zstd,
}

/// The checked header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) cluster_bits: u32,
    /// Bytes of the disk, a multiple of 512.
    pub(super) virtual_size: u64,
    pub(super) level_one_offset: u64,
    /// Entries that the disk needs; more may be in the file.
    pub(super) level_one_entries: u64,
    pub(super) compression: Compression,
    /// L2 entries have 16 bytes and tell of 32 subclusters each.
    pub(super) has_subclusters: bool,
    /// Where QEMU keeps its reference counts: a table that is not read here.
    pub(super) refcount_table: (u64, u64),
    /// Bytes of the file, if the server said.
    pub(super) file_length: Option<u64>,
}

/// The big-endian numbers of a header.
struct HeaderFields<'a>(&'a [u8]);

impl HeaderFields<'_> {
    fn u32(&self, offset: usize) -> Result<u32, Qcow2Error> {
        self.bytes(offset).map(u32::from_be_bytes)
    }

    fn u64(&self, offset: usize) -> Result<u64, Qcow2Error> {
        self.bytes(offset).map(u64::from_be_bytes)
    }

    /// The version of the format, if it is one that is known.
    fn version(&self) -> Result<u32, Qcow2Error> {
        if self.u32(0)? != MAGIC {
            return Err(Defect::NotQcow2.at(0));
        }
        let version = self.u32(4)?;
        if !(2..=3).contains(&version) {
            return Err(Defect::Version(version).at(4));
        }
        if self.0.len() < LENGTH_2 {
            let (found, needed) = (self.0.len(), LENGTH_2);
            return Err(Defect::ShortHeader { found, needed }.at(0));
        }
        Ok(version)
    }

    /// Refuses an image that is not all there is, or is encrypted.
    fn check_whole(&self) -> Result<(), Qcow2Error> {
        if self.u64(8)? != 0 {
            return Err(Defect::BackingFile.at(8));
        }
        match self.u32(32)? {
            0 => Ok(()),
            method => Err(Defect::Encrypted(method).at(32)),
        }
    }

    /// The size of a cluster as a power of two.
    fn cluster_bits(&self, features: &Features) -> Result<u32, Qcow2Error> {
        let bits = self.u32(20)?;
        let smallest = if features.has_subclusters { 14 } else { 9 };
        if (smallest..=21).contains(&bits) {
            Ok(bits)
        } else {
            Err(Defect::ClusterSize(bits).at(20))
        }
    }

    /// Bytes of the disk, for which there must be room.
    fn virtual_size(&self, available: u64) -> Result<u64, Qcow2Error> {
        // Like QEMU: what does not fill a sector is not there.
        let size = self.u64(24)? / SECTOR * SECTOR;
        if size == 0 {
            return Err(Defect::Empty.at(24));
        }
        if size > MAX_IMAGE_BYTES {
            let limit = MAX_IMAGE_BYTES;
            return Err(Defect::BeyondReason { size, limit }.at(24));
        }
        if size > available {
            return Err(Defect::TooLarge { size, available }.at(24));
        }
        Ok(size)
    }

    /// Where the table of reference counts begins and ends.
    fn refcount_table(&self, cluster: u64) -> Result<(u64, u64), Qcow2Error> {
        let length = u64::from(self.u32(56)?).saturating_mul(cluster);
        let start = self.u64(48)?;
        // Only to know what need not be kept; nonsense there costs nothing.
        if start.is_multiple_of(cluster) && start >= cluster && start < MAX_IMAGE_BYTES {
            Ok((start, start.saturating_add(length)))
        } else {
            Ok((0, 0))
        }
    }

    fn bytes<const N: usize>(&self, offset: usize) -> Result<[u8; N], Qcow2Error> {
        let needed = offset + N;
        self.0
            .get(offset..needed)
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| {
                let found = self.0.len();
                Defect::ShortHeader { found, needed }.at(0)
            })
    }
}

impl Header {
    /// Reads the header from the beginning of a file of `file_length` bytes, if that is
    /// known, for a place with `available` bytes.
    pub(super) fn parse(
        head: &[u8],
        file_length: Option<u64>,
        available: u64,
    ) -> Result<Self, Qcow2Error> {
        let fields = HeaderFields(head);
        let version = fields.version()?;
        fields.check_whole()?;
        let features = Features::parse(&fields, version)?;
        let cluster_bits = fields.cluster_bits(&features)?;
        let cluster = 1_u64 << cluster_bits;
        if u64::from(features.header_length) > cluster {
            return Err(Defect::HeaderLength(features.header_length).at(100));
        }
        check_extensions(&fields, features.header_length, cluster)?;
        let virtual_size = fields.virtual_size(available)?;
        if let Some(size) = file_length.filter(|length| *length > MAX_IMAGE_BYTES) {
            let limit = MAX_IMAGE_BYTES;
            return Err(Defect::BeyondReason { size, limit }.at(0));
        }
        let mut header = Self {
            version,
            cluster_bits,
            virtual_size,
            level_one_offset: fields.u64(40)?,
            level_one_entries: 0,
            compression: features.compression,
            has_subclusters: features.has_subclusters,
            refcount_table: fields.refcount_table(cluster)?,
            file_length,
        };
        let needed = virtual_size.div_ceil(header.level_two_entries() << cluster_bits);
        let found = u64::from(fields.u32(36)?);
        let limit = LEVEL_ONE_LIMIT;
        if found < needed || found > limit {
            return Err(Defect::LevelOneSize {
                found,
                needed,
                limit,
            }
            .at(36));
        }
        header.level_one_entries = needed;
        header.check_table(Structure::LevelOne, header.level_one_offset, needed * 8, 40)?;
        Ok(header)
    }

    /// Bytes of a cluster.
    pub(super) fn cluster(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// Bytes of a cluster, in memory.
    pub(super) fn cluster_in_memory(&self) -> usize {
        1 << self.cluster_bits
    }

    /// Entries of an L2 table, which fills one cluster.
    pub(super) fn level_two_entries(&self) -> u64 {
        self.cluster() / if self.has_subclusters { 16 } else { 8 }
    }

    /// Refuses a table that is not at a cluster's start, within the file and behind the
    /// header. `at` is where it is named.
    pub(super) fn check_table(
        &self,
        what: Structure,
        offset: u64,
        length: u64,
        at: u64,
    ) -> Result<(), Qcow2Error> {
        if !offset.is_multiple_of(self.cluster()) {
            return Err(Defect::Unaligned { what, offset }.at(at));
        }
        if offset < self.cluster() {
            let first = Structure::Header;
            return Err(Defect::Overlap {
                first,
                second: what,
            }
            .at(at));
        }
        self.check_inside(what, offset, offset.saturating_add(length), at)
    }

    /// Refuses what is not within the file.
    pub(super) fn check_inside(
        &self,
        what: Structure,
        start: u64,
        end: u64,
        at: u64,
    ) -> Result<(), Qcow2Error> {
        let length = self.file_length.unwrap_or(MAX_IMAGE_BYTES);
        if end > length {
            return Err(Defect::Outside {
                what,
                start,
                end,
                length,
            }
            .at(at));
        }
        Ok(())
    }
}

/// What version 3 adds.
struct Features {
    header_length: u32,
    compression: Compression,
    has_subclusters: bool,
}

impl Features {
    fn parse(fields: &HeaderFields<'_>, version: u32) -> Result<Self, Qcow2Error> {
        if version == 2 {
            return Ok(Self {
                header_length: 72,
                compression: Compression::Deflate,
                has_subclusters: false,
            });
        }
        let bits = fields.u64(72)?;
        // The order of the checks: what says most about the image comes first.
        if bits & EXTERNAL_DATA != 0 {
            return Err(Defect::ExternalData.at(72));
        }
        if bits & CORRUPT != 0 {
            return Err(Defect::Corrupt.at(72));
        }
        if bits & !KNOWN != 0 {
            return Err(Defect::UnknownFeatures(bits & !KNOWN).at(72));
        }
        let order = fields.u32(96)?;
        if order > 6 {
            return Err(Defect::RefcountOrder(order).at(96));
        }
        let header_length = fields.u32(100)?;
        if header_length < LENGTH_3 || !header_length.is_multiple_of(8) {
            return Err(Defect::HeaderLength(header_length).at(100));
        }
        let kind = if header_length > LENGTH_3 {
            fields.bytes::<1>(COMPRESSION_TYPE)?[0]
        } else {
            0
        };
        let compression = match (kind, bits & COMPRESSION != 0) {
            (0, false) => Compression::Deflate,
            (1, true) => Compression::Zstd,
            (0 | 1, bit) => {
                let bit = u8::from(bit);
                return Err(Defect::CompressionBit { kind, bit }.at(104));
            }
            (other, _) => return Err(Defect::CompressionType(other).at(104)),
        };
        Ok(Self {
            header_length,
            compression,
            has_subclusters: bits & SUBCLUSTERS != 0,
        })
    }
}

/// Walks over the extensions, which end with one of type 0 or with the cluster.
fn check_extensions(fields: &HeaderFields<'_>, start: u32, cluster: u64) -> Result<(), Qcow2Error> {
    let mut at = u64::from(start);
    // What a cluster of 2 MiB might hold behind the first megabyte is nothing that matters:
    // the two kinds that do have their feature bit or field as well.
    let end = cluster.min(fields.0.len() as u64);
    while at + 8 <= end {
        // Below a cluster, so it fits.
        let offset = usize::try_from(at).unwrap_or(usize::MAX - 8);
        let kind = fields.u32(offset)?;
        let length = fields.u32(offset + 4)?;
        match kind {
            EXTENSION_END => return Ok(()),
            EXTENSION_ENCRYPTION => return Err(Defect::Encrypted(2).at(at)),
            EXTENSION_DATA_FILE => return Err(Defect::ExternalData.at(at)),
            _ => {}
        }
        if u64::from(length) > cluster - (at + 8) {
            return Err(Defect::Extension { kind, length }.at(at));
        }
        at = (at + 8 + u64::from(length)).next_multiple_of(8);
    }
    Ok(())
}
