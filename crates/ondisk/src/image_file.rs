//! Files of images: what one may be, by its first bytes.
//!
//! This is not the question that [`crate::signature`] answers. There libblkid's rules say what a
//! device holds, and two formats at once are nothing. Here everything that a file looks like is
//! listed, as OpenStack's format inspector does it, because a file that looks like two things is
//! refused. What is seen is a mark and no more.

use crate::filesystem::fat::BootSector;
use crate::filesystem::{iso9660, udf};
use crate::partition_table::{mbr, strict};
use crate::volume::luks;

/// Where the first descriptor of a CD has its mark.
const CD: usize = 32_769;

/// What the file of an image may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageFormat {
    /// The bytes of a disk.
    Raw,
    /// The same, with a partition table.
    Gpt,
    /// The same, and it is a CD image.
    Iso,
    /// The same, encrypted.
    Luks,
    /// QEMU's own format.
    Qcow2,
    /// QEMU's older format.
    Qed,
    /// A disk of VMware.
    Vmdk,
    /// A disk of Virtual PC.
    Vhd,
    /// A disk of Hyper-V.
    Vhdx,
    /// A disk of VirtualBox.
    Vdi,
    /// Compressed by gzip.
    Gzip,
    /// Compressed by xz.
    Xz,
    /// Compressed by zstd.
    Zstd,
    /// Compressed by bzip2.
    Bzip2,
}

/// Marks of image files: format, offset, bytes. Those of on-disk formats are those of
/// [`crate::signature`].
const SIGNATURES: [(ImageFormat, usize, &[u8]); 16] = [
    (ImageFormat::Qcow2, 0, b"QFI\xfb"),
    (ImageFormat::Qed, 0, b"QED\0"),
    (ImageFormat::Vmdk, 0, b"KDMV"),
    (ImageFormat::Vmdk, 0, b"# Disk DescriptorFile"),
    (ImageFormat::Vhd, 0, b"conectix"),
    (ImageFormat::Vhdx, 0, b"vhdxfile"),
    (ImageFormat::Vdi, 0x40, &[0x7f, 0x10, 0xda, 0xbe]),
    (ImageFormat::Luks, 0, luks::MAGIC),
    (ImageFormat::Iso, CD, iso9660::STANDARD),
    (ImageFormat::Iso, CD, udf::SECOND),
    (ImageFormat::Iso, CD, udf::THIRD),
    (ImageFormat::Gpt, 510, &mbr::SIGNATURE),
    (ImageFormat::Gzip, 0, &[0x1f, 0x8b, 0x08]),
    (ImageFormat::Xz, 0, b"\xfd7zXZ\0"),
    (ImageFormat::Zstd, 0, &[0x28, 0xb5, 0x2f, 0xfd]),
    (ImageFormat::Bzip2, 0, b"BZh"),
];

impl ImageFormat {
    /// What Ironic and OpenStack's image service call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Gpt => "gpt",
            Self::Iso => "iso",
            Self::Luks => "luks",
            Self::Qcow2 => "qcow2",
            Self::Qed => "qed",
            Self::Vmdk => "vmdk",
            Self::Vhd => "vhd",
            Self::Vhdx => "vhdx",
            Self::Vdi => "vdi",
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
        }
    }

    /// The format with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let mut formats = SIGNATURES.iter().map(|(format, ..)| *format);
        formats.find(|format| format.name() == name)
    }

    /// Whether the bytes of the file are those of the disk.
    #[must_use]
    pub fn is_verbatim(self) -> bool {
        matches!(self, Self::Raw | Self::Gpt | Self::Iso | Self::Luks)
    }

    /// Whether it is compressed bytes of another file.
    #[must_use]
    pub fn is_compression(self) -> bool {
        matches!(self, Self::Gzip | Self::Xz | Self::Zstd | Self::Bzip2)
    }
}

/// Everything that the beginning of an image looks like, in the order of the table; empty
/// means plain bytes.
#[must_use]
pub fn sniff(head: &[u8]) -> Vec<ImageFormat> {
    let mut seen: Vec<ImageFormat> = SIGNATURES
        .iter()
        .filter(|(_, offset, bytes)| {
            head.get(*offset..)
                .is_some_and(|rest| rest.starts_with(bytes))
        })
        .map(|(format, ..)| *format)
        .collect();
    // A FAT file system ends its boot sector like a partition table does.
    let has_entries = head
        .get(446..510)
        .is_some_and(|table| table.iter().any(|byte| *byte != 0));
    if !has_entries && BootSector::parse(head).is_some() {
        seen.retain(|format| *format != ImageFormat::Gpt);
    }
    // Three letters are too few: a first block or the end must follow the block size.
    const BZIP2: [&[u8]; 2] = [b"1AY&SY", &[0x17, 0x72, 0x45, 0x38, 0x50, 0x90]];
    let is_bzip2 = matches!(head.get(3), Some(b'1'..=b'9'))
        && BZIP2
            .iter()
            .any(|next| head.get(4..).is_some_and(|rest| rest.starts_with(next)));
    seen.retain(|format| *format != ImageFormat::Bzip2 || is_bzip2);
    if begins_with_skippable_frame(head) {
        seen.push(ImageFormat::Zstd);
    }
    // One compressed file of 65,536 has these two bytes by chance, but no table before them.
    if seen.iter().any(|format| format.is_compression()) && strict::check(head).is_err() {
        seen.retain(|format| *format != ImageFormat::Gpt);
    }
    seen.dedup();
    seen
}

/// A zstd file may begin with frames for somebody else, as those of `pzstd` do. Other formats
/// have such frames, too: one of zstd must follow.
fn begins_with_skippable_frame(head: &[u8]) -> bool {
    let mut rest = head;
    let mut skipped = false;
    while let Some((frame, after)) = rest.split_first_chunk::<8>() {
        let [a, b, c, d, length @ ..] = *frame;
        if !(0x184d_2a50..=0x184d_2a5f).contains(&u32::from_le_bytes([a, b, c, d])) {
            break;
        }
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        let Some(next) = after.get(length..) else {
            return false;
        };
        (rest, skipped) = (next, true);
    }
    skipped && rest.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
}

/// The version of LUKS that a file names; `None` if it ends before. There are 1 and 2.
#[must_use]
pub fn luks_version(head: &[u8]) -> Option<u16> {
    luks::version(head)
}
