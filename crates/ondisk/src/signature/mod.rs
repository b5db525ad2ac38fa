//! The one table of signatures: what may lie on a disk, a partition or an array, where its
//! marks are, and where its identity is. All questions about the content of a device are
//! answered by it: whether it may be erased, what it is called, by which driver it is mounted,
//! whether an image is one file system.
//!
//! The order is that of `libblkid`, and so is the rule of what counts when several are there:
//! see [`decide`].

use crate::filesystem::{
    btrfs, exfat, ext, fat, hfs, iso9660, nilfs2, ntfs, small, swap, udf, xfs,
};
use crate::identity::FormatIdentity;
use crate::raid::{firmware, linux};
use crate::read::Source;
use crate::size::MIB;
use crate::text;
use crate::volume::{bitlocker, luks, lvm, mapper, vmfs, zfs};
use crate::window::{self, Window};

/// What a format is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// Files.
    FileSystem,
    /// It is part of another device.
    Member,
    /// It is encrypted or verified.
    Crypto,
    /// Anything else.
    Other,
}

/// Bytes at an offset.
type MagicBytes = (u64, &'static [u8]);
/// Reads the identity of what begins with a mark at this offset; `None`: it is not there.
type Probe = fn(&mut Window<'_>, u64) -> Option<FormatIdentity>;

#[derive(Debug, Clone, Copy)]
enum FieldReading {
    /// Offsets from the mark: sixteen bytes, and a text of a length.
    Fields(Option<u64>, Option<(u64, u64)>),
    Function(Probe),
}

/// A format that may be found.
#[derive(Debug, Clone, Copy)]
pub struct Signature {
    /// What `blkid` and udev call it.
    pub name: &'static str,
    /// What it is for.
    pub usage: Usage,
    /// The name by which the kernel mounts it, where we do.
    pub driver: Option<&'static str>,
    /// What it is called when other machines may be using it.
    pub shared: Option<&'static str>,
    /// An image that is nothing else has one partition to `parted`: itself.
    pub is_disk_image: bool,
    /// Others may begin at the same place on purpose: CDs do.
    is_tolerant: bool,
    smallest: u64,
    /// None: its function finds it.
    marks: &'static [MagicBytes],
    reading: FieldReading,
}

impl Signature {
    const fn new(name: &'static str, usage: Usage, marks: &'static [MagicBytes]) -> Self {
        Self {
            name,
            usage,
            driver: None,
            shared: None,
            is_disk_image: false,
            is_tolerant: false,
            smallest: 0,
            marks,
            reading: FieldReading::Fields(None, None),
        }
    }

    const fn file_system(name: &'static str, marks: &'static [MagicBytes]) -> Self {
        Self::new(name, Usage::FileSystem, marks)
    }

    const fn member(name: &'static str, marks: &'static [MagicBytes]) -> Self {
        Self::new(name, Usage::Member, marks)
    }

    const fn crypto(name: &'static str, marks: &'static [MagicBytes]) -> Self {
        Self::new(name, Usage::Crypto, marks)
    }

    const fn other(name: &'static str, marks: &'static [MagicBytes]) -> Self {
        Self::new(name, Usage::Other, marks)
    }

    const fn read_by(mut self, probe: Probe) -> Self {
        self.reading = FieldReading::Function(probe);
        self
    }

    /// Offsets from the mark.
    const fn fields(mut self, uuid: Option<u64>, label: Option<(u64, u64)>) -> Self {
        self.reading = FieldReading::Fields(uuid, label);
        self
    }

    const fn at_least(mut self, smallest: u64) -> Self {
        self.smallest = smallest;
        self
    }

    const fn mounted_as(mut self, driver: &'static str) -> Self {
        self.driver = Some(driver);
        self
    }

    const fn shared_as(mut self, what: &'static str) -> Self {
        self.shared = Some(what);
        self
    }

    const fn disk_image(mut self) -> Self {
        self.is_disk_image = true;
        self
    }

    const fn tolerant(mut self) -> Self {
        self.is_tolerant = true;
        self
    }

    fn probe(&self, window: &mut Window<'_>) -> Option<FormatIdentity> {
        if window.size() < self.smallest {
            return None;
        }
        let at = match self.marks {
            [] => 0,
            marks => {
                let mut marks = marks.iter();
                marks.find(|(at, bytes)| window.has(*at, bytes))?.0
            }
        };
        match self.reading {
            FieldReading::Function(probe) => probe(window, at),
            FieldReading::Fields(uuid, label) => Some(FormatIdentity {
                uuid: uuid
                    .and_then(|uuid| window.bytes(at + uuid, 16))
                    .and_then(|bytes| text::uuid(&bytes)),
                label: label
                    .and_then(|(label, length)| window.bytes(at + label, length))
                    .and_then(|bytes| text::label(&bytes)),
            }),
        }
    }
}

const EXT: &[MagicBytes] = &[(1080, &[0x53, 0xef])];
const GFS: &[MagicBytes] = &[(64 << 10, &[0x01, 0x16, 0x19, 0x70, 0, 0, 0, 1])];
const HFS: MagicBytes = (1024, b"BD");
const BCACHE: &[u8] = b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81";
const BCACHEFS: &[u8] = b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef";
const STRATIS: &[u8] = b"!Stra0tis\x86\xff\x02^\x41rh";

/// All signatures. A new one is a line here, and a function where its fields are not enough.
#[rustfmt::skip]
pub static SIGNATURES: &[Signature] = &[
    Signature::member(LINUX_RAID, &[]).read_by(linux::probe),
    Signature::member(DDF, &[]).at_least(192 << 10).read_by(firmware::ddf),
    Signature::member(IMSM, &[]).at_least(64 << 10).read_by(firmware::imsm),
    Signature::other("bcache", &[(4120, BCACHE)]).at_least(8192).read_by(mapper::bcache),
    Signature::member("drbd", &[]).at_least(64 << 10).read_by(mapper::drbd),
    Signature::other("ceph_bluestore", &[(0, b"bluestore block device")]),
    Signature::member("LVM2_member", &[(536, LVM2), (24, LVM2), (1048, LVM2), (1560, LVM2)]).read_by(lvm::second),
    Signature::member("LVM1_member", &[(0, b"HM")]).read_by(lvm::first),
    Signature::other("DM_snapshot_cow", &[(0, b"SnAp")]),
    Signature::crypto("DM_verity_hash", &[(0, b"verity\0\0")]).read_by(mapper::verity),
    Signature::crypto("DM_integrity", &[(0, b"integrt\0")]).read_by(mapper::integrity),
    Signature::crypto("crypto_LUKS", &[(0, luks::MAGIC)]).read_by(luks::probe),
    Signature::member("VMFS_volume_member", &[(MIB, &[0x0d, 0xd0, 0x01, 0xc0])]).read_by(vmfs::member).shared_as("VMFS"),
    Signature::member("ubi", &[(0, b"UBI#")]).read_by(mapper::ubi),
    Signature::other("vdo", &[(0, b"dmvdo001")]).fields(Some(40), None),
    Signature::member("stratis", &[(516, STRATIS), (4612, STRATIS)]).at_least(8192).read_by(mapper::stratis),
    Signature::crypto("BitLocker", &[(0, bitlocker::VISTA), (0, bitlocker::LATER), (0, bitlocker::TO_GO)]).read_by(bitlocker::probe),
    Signature::file_system("vfat", &[]).read_by(fat::probe).mounted_as("vfat").disk_image(),
    Signature::other("swsuspend", SUSPENDED).at_least(MIN_SWAP_BYTES).read_by(swap::suspended),
    Signature::other("swap", OLD_SWAP).at_least(MIN_SWAP_BYTES).read_by(swap::old).disk_image(),
    Signature::other("swap", SWAP).at_least(MIN_SWAP_BYTES).read_by(swap::new).disk_image(),
    Signature::file_system("xfs", &[(0, b"XFSB")]).read_by(xfs::probe).mounted_as("xfs").disk_image(),
    Signature::other("xfs_external_log", &[]).at_least(10 * MIB).read_by(xfs::log),
    Signature::file_system("ext4", EXT).read_by(ext::ext4).mounted_as("ext4").disk_image(),
    Signature::file_system("ext3", EXT).read_by(ext::ext3).mounted_as("ext4").disk_image(),
    Signature::file_system("ext2", EXT).read_by(ext::ext2).mounted_as("ext4").disk_image(),
    Signature::other("jbd", EXT).read_by(ext::journal).disk_image(),
    Signature::file_system("reiserfs", REISER).at_least(128 << 10).read_by(small::reiserfs).disk_image(),
    Signature::file_system("reiser4", &[(64 << 10, b"ReIsEr4")]).at_least(128 << 10).fields(Some(20), Some((36, 16))),
    Signature::file_system("jfs", &[(32 << 10, b"JFS1")]).at_least(16 * MIB).read_by(small::jfs).disk_image(),
    Signature::file_system("udf", &[]).read_by(udf::probe).tolerant().disk_image(),
    Signature::file_system("iso9660", &[(32769, iso9660::STANDARD)]).read_by(iso9660::probe).mounted_as("iso9660").tolerant().disk_image(),
    Signature::file_system("iso9660", &[(32777, b"CDROM")]).read_by(iso9660::high_sierra).tolerant().disk_image(),
    Signature::file_system("zfs_member", &[]).at_least(64 * MIB).read_by(zfs::probe),
    Signature::file_system("hfsplus", &[HFS, (1024, b"H+"), (1024, b"HX")]).read_by(hfs::hfs_plus).disk_image(),
    Signature::file_system("hfs", &[HFS]).read_by(hfs::hfs).tolerant().disk_image(),
    Signature::file_system("ufs", UFS).read_by(small::ufs).disk_image(),
    Signature::file_system("ntfs", &[(3, b"NTFS    ")]).read_by(ntfs::probe).disk_image(),
    Signature::file_system("ReFS", &[(0, b"\0\0\0ReFS\0")]),
    Signature::file_system("cramfs", &[(0, &[0x45, 0x3d, 0xcd, 0x28]), (0, &[0x28, 0xcd, 0x3d, 0x45])]).fields(None, Some((48, 16))),
    Signature::file_system("romfs", &[(0, b"-rom1fs-")]).fields(None, Some((16, 16))),
    Signature::file_system("minix", &[]).read_by(small::minix),
    Signature::file_system("gfs", GFS).at_least(32 * MIB).read_by(small::gfs1).shared_as("GFS2"),
    Signature::file_system("gfs2", GFS).at_least(32 * MIB).read_by(small::gfs2).shared_as("GFS2"),
    Signature::file_system("ocfs2", OCFS2).at_least(14_000 << 10).fields(Some(0x150), Some((0x110, 64))).shared_as("OCFS2"),
    Signature::file_system("oracleasm", &[(32, b"ORCLDISK")]).fields(None, Some((8, 24))),
    Signature::file_system("vxfs", &[(1024, &[0xf5, 0xfc, 0x01, 0xa5]), (8192, &[0xa5, 0x01, 0xfc, 0xf5])]),
    Signature::file_system("squashfs", &[(0, b"hsqs")]).read_by(small::squashfs),
    Signature::file_system("squashfs3", &[(0, b"sqsh"), (0, b"hsqs")]).read_by(small::squashfs3),
    Signature::file_system("nss", &[(4096, b"SPB5")]).fields(Some(348), None),
    Signature::file_system("btrfs", &[(0x1_0040, b"_BHRfS_M")]).at_least(MIB).read_by(btrfs::probe).mounted_as("btrfs").disk_image(),
    Signature::file_system("ubifs", &[(0, &[0x31, 0x18, 0x10, 0x06])]).fields(Some(108), None),
    Signature::file_system("bfs", &[(0, &[0xce, 0xfa, 0xad, 0x1b])]),
    Signature::file_system("VMFS", &[(2 * MIB, &[0x5e, 0xf1, 0xab, 0x2f])]).read_by(vmfs::file_system).shared_as("VMFS"),
    Signature::file_system("nilfs2", &[]).at_least(MIB).read_by(nilfs2::probe).disk_image(),
    Signature::file_system("exfat", &[(3, b"EXFAT   ")]).read_by(exfat::probe),
    Signature::file_system("f2fs", &[(1024, &[0x10, 0x20, 0xf5, 0xf2])]).read_by(small::f2fs).mounted_as("f2fs").disk_image(),
    Signature::file_system("apfs", &[(32, b"NXSB")]).read_by(small::apfs),
    Signature::file_system("zonefs", &[(0, b"SFOZ")]).fields(Some(40), Some((8, 32))),
    Signature::file_system("erofs", &[(1024, &[0xe2, 0xe1, 0xf5, 0xe0])]).fields(Some(48), Some((64, 16))),
    Signature::file_system("bcachefs", &[(4120, BCACHEFS)]).fields(Some(32), Some((48, 32))),
];

/// A member of a Linux RAID array, of an array of Intel's firmware, of one of other firmware.
pub const LINUX_RAID: &str = "linux_raid_member";
/// See [`LINUX_RAID`].
pub const IMSM: &str = "isw_raid_member";
/// See [`LINUX_RAID`].
pub const DDF: &str = "ddf_raid_member";

const LVM2: &[u8] = b"LVM2 001";
const MIN_SWAP_BYTES: u64 = 40 << 10;
/// At the end of the first page, which has 4 to 64 KiB.
const SWAP: &[MagicBytes] = &[
    (0xff6, b"SWAPSPACE2"),
    (0x1ff6, b"SWAPSPACE2"),
    (0x3ff6, b"SWAPSPACE2"),
    (0x7ff6, b"SWAPSPACE2"),
    (0xfff6, b"SWAPSPACE2"),
];
const OLD_SWAP: &[MagicBytes] = &[
    (0xff6, b"SWAP-SPACE"),
    (0x1ff6, b"SWAP-SPACE"),
    (0x3ff6, b"SWAP-SPACE"),
    (0x7ff6, b"SWAP-SPACE"),
    (0xfff6, b"SWAP-SPACE"),
];
const SUSPENDED: &[MagicBytes] = &[
    (0, swap::TUX_ON_ICE),
    (0xff6, b"S1SUSPEND"),
    (0xff6, b"S2SUSPEND"),
    (0xff6, b"ULSUSPEND"),
    (0xff6, b"LINHIB0001"),
    (0x3ff6, b"S1SUSPEND"),
    (0x3ff6, b"S2SUSPEND"),
    (0x3ff6, b"LINHIB0001"),
    (0xfff6, b"S1SUSPEND"),
    (0xfff6, b"S2SUSPEND"),
    (0xfff6, b"LINHIB0001"),
];
const REISER: &[MagicBytes] = &[
    (0x2034, b"ReIsErFs"),
    (0x1_0034, b"ReIsEr2Fs"),
    (0x1_0034, b"ReIsEr3Fs"),
    (0x1_0034, b"ReIsErFs"),
    (0x2014, b"ReIsErFs"),
];
/// The superblock is in block 2, whatever the size of blocks.
const OCFS2: &[MagicBytes] = &[
    (1024, b"OCFSV2"),
    (2048, b"OCFSV2"),
    (4096, b"OCFSV2"),
    (8192, b"OCFSV2"),
];
/// Both versions in both orders of bytes, at four places.
const UFS: &[MagicBytes] = &[
    (0x55c, &[0x54, 0x19, 0x01, 0x00]),
    (0x55c, &[0x00, 0x01, 0x19, 0x54]),
    (0x55c, &[0x19, 0x01, 0x54, 0x19]),
    (0x55c, &[0x19, 0x54, 0x01, 0x19]),
    (0x255c, &[0x54, 0x19, 0x01, 0x00]),
    (0x255c, &[0x00, 0x01, 0x19, 0x54]),
    (0x255c, &[0x19, 0x01, 0x54, 0x19]),
    (0x255c, &[0x19, 0x54, 0x01, 0x19]),
    (0x1_055c, &[0x54, 0x19, 0x01, 0x00]),
    (0x1_055c, &[0x00, 0x01, 0x19, 0x54]),
    (0x1_055c, &[0x19, 0x01, 0x54, 0x19]),
    (0x1_055c, &[0x19, 0x54, 0x01, 0x19]),
    (0x4_055c, &[0x19, 0x01, 0x54, 0x19]),
    (0x4_055c, &[0x19, 0x54, 0x01, 0x19]),
];

/// A format that was found.
#[derive(Debug, Clone)]
pub struct FoundFormat {
    /// Which.
    pub signature: &'static Signature,
    /// Its identity and its label.
    pub identity: FormatIdentity,
}

/// What a device is.
#[derive(Debug, Clone)]
pub enum DeviceContent {
    /// Nothing that is known.
    Nothing,
    /// This.
    Is(FoundFormat),
    /// One of several that exclude each other: nobody can tell which, and neither the kernel
    /// nor udev report any.
    Ambiguous(Vec<FoundFormat>),
}

impl DeviceContent {
    /// What it is, if that is certain.
    #[must_use]
    pub fn certain(self) -> Option<FoundFormat> {
        match self {
            Self::Is(found) => Some(found),
            Self::Nothing | Self::Ambiguous(_) => None,
        }
    }
}

/// All formats that are there, in the order of the table. `sector` is the size of the
/// device's logical sectors.
///
/// # Errors
/// What the source said.
pub fn find<S: Source>(source: S, sector: u64) -> Result<Vec<FoundFormat>, S::Error> {
    window::look(source, sector.max(512), |window| {
        let found = SIGNATURES.iter().filter_map(|signature| {
            let identity = signature.probe(window)?;
            Some(FoundFormat {
                signature,
                identity,
            })
        });
        found.collect()
    })
}

/// What a device is.
///
/// # Errors
/// What the source said.
pub fn identify<S: Source>(source: S, sector: u64) -> Result<DeviceContent, S::Error> {
    let size = source.size();
    Ok(decide(find(source, sector)?, size))
}

/// The rule of `blkid -p`: of what is encrypted or the member of an array nothing else counts
/// behind it in the table; else there may be one format, or several that tolerate each other,
/// of which the first counts. On a floppy disk the first counts always, and no arrays.
#[must_use]
pub fn decide(found: Vec<FoundFormat>, size: u64) -> DeviceContent {
    const FLOPPY: u64 = 1440 << 10;
    let is_floppy = size <= FLOPPY;
    let mut counting: Vec<FoundFormat> = Vec::new();
    let mut is_strict = false;
    for found in found {
        let usage = found.signature.usage;
        if is_floppy && usage == Usage::Member {
            continue;
        }
        let ends = is_floppy || matches!(usage, Usage::Member | Usage::Crypto);
        is_strict |= !ends && !found.signature.is_tolerant;
        counting.push(found);
        if ends {
            break;
        }
    }
    if counting.len() > 1 && is_strict {
        return DeviceContent::Ambiguous(counting);
    }
    let first = counting.into_iter().next();
    first.map_or(DeviceContent::Nothing, DeviceContent::Is)
}

/// The name by which the kernel mounts what is there: the first format of the table that has
/// one. What else may be there does not matter, since a mount is asked for what was written.
///
/// # Errors
/// What the source said.
pub fn driver<S: Source>(source: S) -> Result<Option<&'static str>, S::Error> {
    window::look(source, 512, |window| {
        let mut mounted = SIGNATURES.iter().filter(|known| known.driver.is_some());
        let found = mounted.find(|known| known.probe(window).is_some());
        found.and_then(|known| known.driver)
    })
}

/// What other machines may be using, by its marks alone: what is half overwritten, too small
/// or of an unknown version has no identity, but it is not free either.
///
/// # Errors
/// What the source said.
pub fn shared<S: Source>(source: S) -> Result<Vec<&'static str>, S::Error> {
    window::look(source, 512, |window| {
        let mut names = Vec::new();
        for signature in SIGNATURES {
            let Some(name) = signature.shared else {
                continue;
            };
            let mut marks = signature.marks.iter();
            if !names.contains(&name) && marks.any(|(at, bytes)| window.has(*at, bytes)) {
                names.push(name);
            }
        }
        names
    })
}

#[cfg(test)]
mod tests;
