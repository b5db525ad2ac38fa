//! What lies on a disk that decides whether it may be erased: file systems that other
//! machines may be using, members of arrays, Ironic's virtual media. Reads only.
//!
//! A disk is examined whole: itself, and every partition that any table on it claims, whether
//! or not that table counts and the kernel made devices of them. Signatures:
//! [`ironic_ondisk::signature`]; tables: [`ironic_ondisk::partition_table::survey`].

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ironic_ondisk::Source;
use ironic_ondisk::partition_table::survey::{Claim, PartitionType, survey};
use ironic_ondisk::raid::linux;
use ironic_ondisk::read::Area;
use ironic_ondisk::signature::{self, LINUX_RAID};
use ironic_ondisk::size::Geometry;

use crate::machine::block::{BlockDevice, Kind};
use crate::system::System;

/// What was found on a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// File systems that other machines may be using.
    pub shared: Vec<Shared>,
    /// It is a member of a Linux RAID array; what its partitions are is told by themselves.
    pub raid_member: bool,
    /// The name of that array as its creator gave it, without the host's.
    pub volume_name: Option<String>,
    /// It is labelled as a medium that Ironic inserted to configure this ramdisk. Whoever wrote
    /// it may have done so, too: see [`BlockDevice::may_be_virtual_media`].
    pub virtual_media: bool,
    /// Its tables claim more partitions than were looked at.
    pub is_cut: bool,
}

/// A file system that other machines may be using.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// What it is: `VMFS`, `GPFS`, `GFS2`, `OCFS2`.
    pub what: &'static str,
    /// The partition, and the table that claims it if that is not the one that counts; `None`
    /// for the device itself.
    pub partition: Option<String>,
}

/// The label of the medium with the ramdisk's configuration.
const VIRTUAL_MEDIA_LABEL: &str = "ir-vfd-dev";

/// GUID partition types, as they are written on disk: the first three groups backwards.
const SHARED_TYPES: [([u8; 16], &str); 2] = [
    (
        // AA31E02A-400F-11DB-9590-000C2911D1B8
        [
            0x2a, 0xe0, 0x31, 0xaa, 0x0f, 0x40, 0xdb, 0x11, 0x95, 0x90, 0x00, 0x0c, 0x29, 0x11,
            0xd1, 0xb8,
        ],
        "VMFS",
    ),
    (
        // 37AFFC90-EF7D-4E96-91C3-2D7AE055B174
        [
            0x90, 0xfc, 0xaf, 0x37, 0x7d, 0xef, 0x96, 0x4e, 0x91, 0xc3, 0x2d, 0x7a, 0xe0, 0x55,
            0xb1, 0x74,
        ],
        "GPFS",
    ),
];
/// The type of VMFS in an MBR partition table.
const VMFS_TYPE: u8 = 0xfb;

/// Examines a device. Blocks.
///
/// # Errors
/// The device cannot be read.
pub fn probe(system: &System, device: &BlockDevice) -> io::Result<Content> {
    let mut opened = Device {
        file: File::open(path_of(system, device))?,
        size: device.size,
    };
    let geometry = Geometry {
        size: device.size,
        sector_size: device.logical_sectors.unwrap_or(512),
    };
    examine(&mut opened, geometry)
}

/// Where superblocks of Linux RAID begin on a device. Blocks.
///
/// # Errors
/// The device cannot be read.
pub fn superblocks(system: &System, device: &BlockDevice) -> io::Result<Vec<u64>> {
    linux::superblocks(Device::open(&path_of(system, device))?)
}

fn path_of(system: &System, device: &BlockDevice) -> PathBuf {
    match device.kind {
        Kind::File => PathBuf::from(&device.name),
        _ => system.root.path(&device.name),
    }
}

/// A device, or a file that plays one, opened to be looked at.
#[derive(Debug)]
pub struct Device {
    file: File,
    size: u64,
}

impl Device {
    /// Opens it. Its size is where its end is: a device has none in its entry.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let size = file.seek(SeekFrom::End(0))?;
        Ok(Self { file, size })
    }
}

impl Source for Device {
    type Error = io::Error;

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

fn examine<E>(source: &mut dyn Source<Error = E>, geometry: Geometry) -> Result<Content, E> {
    let mut content = Content::default();
    let found = survey(source, geometry)?;
    content.is_cut = found.is_cut;
    examine_area(source, geometry, &mut content, None)?;
    let mut seen = BTreeSet::from([0]);
    for claim in &found.claims {
        if let Some(what) = shared_type(claim) {
            content.shared.push(Shared {
                what,
                partition: Some(claim.to_string()),
            });
        }
        // Two tables may claim the same place.
        if seen.insert(claim.start) || claim.counts {
            examine_area(source, geometry, &mut content, Some(claim))?;
        }
    }
    content.shared.dedup();
    Ok(content)
}

fn shared_type(claim: &Claim) -> Option<&'static str> {
    match claim.kind {
        PartitionType::Gpt(kind) => {
            let mut types = SHARED_TYPES.iter();
            types
                .find(|(guid, _)| *guid == kind.0)
                .map(|(_, what)| *what)
        }
        PartitionType::Mbr(kind) => (kind == VMFS_TYPE).then_some("VMFS"),
    }
}

/// What lies in the device itself, or in one partition of it.
fn examine_area<E>(
    source: &mut dyn Source<Error = E>,
    geometry: Geometry,
    content: &mut Content,
    claim: Option<&Claim>,
) -> Result<(), E> {
    let (start, size) = claim.map_or_else(|| (0, source.size()), |claim| (claim.start, claim.size));
    // Where it ends, tables may disagree: a file system is where it begins.
    let shared = signature::shared(Area::new(&mut *source, start, u64::MAX))?;
    content.shared.extend(shared.into_iter().map(|what| Shared {
        what,
        partition: claim.map(Claim::to_string),
    }));
    if claim.is_some_and(|claim| !claim.counts) {
        return Ok(());
    }
    let area = Area::new(&mut *source, start, size);
    let size = area.size();
    let found = signature::find(area, geometry.sector())?;
    let members = found
        .iter()
        .filter(|found| found.signature.name == LINUX_RAID);
    for member in members {
        content.raid_member |= claim.is_none();
        let label = member.identity.label.as_deref();
        let name = label.and_then(linux::volume_name).map(str::to_owned);
        content.volume_name = content.volume_name.take().or(name);
    }
    if claim.is_none() {
        let is_media = |label: String| label.eq_ignore_ascii_case(VIRTUAL_MEDIA_LABEL);
        let certain = signature::decide(found, size).certain();
        let label = certain.and_then(|found| found.identity.label);
        content.virtual_media = label.is_some_and(is_media);
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn put(disk: &mut [u8], offset: usize, bytes: &[u8]) {
        disk[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    const RAID_MAGIC: [u8; 4] = 0xa92b_4efc_u32.to_le_bytes();

    /// Makes it a member of an array: a superblock of version 1 at this place.
    pub(crate) fn superblock(disk: &mut [u8], offset: usize, name: &str) {
        disk[offset..offset + 256].fill(0);
        put(disk, offset, &RAID_MAGIC);
        put(disk, offset + 4, &1_u32.to_le_bytes());
        put(disk, offset + 32, name.as_bytes());
        put(disk, offset + 144, &(offset as u64 / 512).to_le_bytes());
    }

    fn examined(disk: &[u8], sector: u32) -> Content {
        let geometry = Geometry {
            size: disk.len() as u64,
            sector_size: sector,
        };
        examine(&mut &*disk, geometry).unwrap()
    }

    /// A FAT16 file system of 1 MiB whose root directory has nothing but this label.
    pub(crate) fn fat(label: [u8; 11]) -> Vec<u8> {
        let mut disk = vec![0; MIB];
        // Sectors of 512 bytes, clusters of one, one reserved, two tables of eight, sixteen
        // entries in the root directory, 2,048 sectors, on a hard disk.
        let parameters = [0, 2, 1, 1, 0, 2, 16, 0, 0, 8, 0xf8, 8, 0];
        put(&mut disk, 11, &parameters);
        put(&mut disk, 54, b"FAT16   ");
        put(&mut disk, 510, &[0x55, 0xaa]);
        put(&mut disk, 17 * 512, &label);
        disk[17 * 512 + 11] = 0x08;
        disk
    }

    /// Writes an MBR partition table with entries of type, start and length in sectors.
    pub(crate) fn msdos(disk: &mut [u8], offset: usize, entries: &[(u8, u32, u32)]) {
        put(disk, offset + 510, &[0x55, 0xaa]);
        for (index, (kind, start, sectors)) in entries.iter().enumerate() {
            let at = offset + 446 + 16 * index;
            disk[at + 4] = *kind;
            put(disk, at + 8, &start.to_le_bytes());
            put(disk, at + 12, &sectors.to_le_bytes());
        }
    }

    /// Writes a GUID table whose header is at `header`, with types and first and last sectors.
    fn guid(
        disk: &mut [u8],
        header: usize,
        table: u64,
        sector: usize,
        entries: &[([u8; 16], u64, u64)],
    ) {
        put(disk, header, b"EFI PART");
        put(disk, header + 72, &table.to_le_bytes());
        put(disk, header + 80, &128_u32.to_le_bytes());
        put(disk, header + 84, &128_u32.to_le_bytes());
        for (index, (kind, first, last)) in entries.iter().enumerate() {
            let at = usize::try_from(table).unwrap() * sector + 128 * index;
            put(disk, at, kind);
            put(disk, at + 32, &first.to_le_bytes());
            put(disk, at + 40, &last.to_le_bytes());
        }
    }

    const LINUX: [u8; 16] = [7; 16];
    const MIB: usize = 1 << 20;

    /// What is found first, and the number of its partition, whatever table claims it.
    fn first_shared(disk: &[u8], sector: u32) -> Option<(&'static str, Option<u32>)> {
        let first = examined(disk, sector).shared.into_iter().next()?;
        let number = first.partition.map(|text| {
            let word = text.split(' ').nth(1).unwrap();
            word.parse().unwrap()
        });
        Some((first.what, number))
    }

    #[test]
    fn an_empty_disk_and_a_tiny_one_hold_nothing() {
        for size in [0, 1, 512, 1024, 8192, MIB, 4 * MIB] {
            assert_eq!(examined(&vec![0; size], 512), Content::default(), "{size}");
        }
    }

    #[test]
    fn partition_types_are_found_in_both_sizes_of_sectors_and_in_the_copy() {
        for (sector, told) in [(512, 512), (4096, 4096), (512, 4096), (4096, 512)] {
            let mut disk = vec![0; 4 * MIB];
            let entries = [(LINUX, 40, 50), (SHARED_TYPES[1].0, 51, 60)];
            guid(&mut disk, sector, 2, sector, &entries);
            assert_eq!(
                first_shared(&disk, told),
                Some(("GPFS", Some(2))),
                "{sector}"
            );

            let mut disk = vec![0; 4 * MIB];
            let header = disk.len() - sector;
            guid(
                &mut disk,
                header,
                100,
                sector,
                &[(SHARED_TYPES[0].0, 40, 50)],
            );
            assert_eq!(
                first_shared(&disk, told),
                Some(("VMFS", Some(1))),
                "{sector}"
            );
        }
    }

    #[test]
    fn msdos_types_are_found_also_in_logical_partitions() {
        let mut disk = vec![0; 4 * MIB];
        msdos(&mut disk, 0, &[(0x83, 8, 8), (VMFS_TYPE, 16, 8)]);
        assert_eq!(first_shared(&disk, 512), Some(("VMFS", Some(2))));

        let mut disk = vec![0; 4 * MIB];
        msdos(&mut disk, 0, &[(0x83, 8, 8), (0x05, 100, 1000)]);
        msdos(&mut disk, 100 * 512, &[(0x83, 1, 8), (0x05, 50, 100)]);
        msdos(&mut disk, 150 * 512, &[(VMFS_TYPE, 1, 8)]);
        assert_eq!(first_shared(&disk, 512), Some(("VMFS", Some(6))));
    }

    #[test]
    fn a_chain_of_tables_that_bites_its_tail_ends() {
        let mut disk = vec![0; MIB];
        msdos(&mut disk, 0, &[(0x0f, 100, 1000)]);
        msdos(&mut disk, 100 * 512, &[(0x83, 1, 8), (0x05, 0, 100)]);
        assert_eq!(examined(&disk, 512), Content::default());
    }

    /// Each mark of the table, on the disk and in a partition.
    #[test]
    fn file_systems_are_found_on_the_disk_and_in_partitions() {
        let cases: [(usize, &[u8], &str); 4] = [
            (65536, &[0x01, 0x16, 0x19, 0x70, 0, 0, 0, 1], "GFS2"),
            (MIB, &[0x0d, 0xd0, 0x01, 0xc0], "VMFS"),
            (2 * MIB, &[0x5e, 0xf1, 0xab, 0x2f], "VMFS"),
            (4096, b"OCFSV2", "OCFS2"),
        ];
        for (offset, magic, what) in cases {
            let mut disk = vec![0; 4 * MIB];
            put(&mut disk, offset, magic);
            assert_eq!(first_shared(&disk, 512), Some((what, None)));

            let mut disk = vec![0; 6 * MIB];
            guid(&mut disk, 512, 2, 512, &[(LINUX, 2048, 12000)]);
            put(&mut disk, MIB + offset, magic);
            assert_eq!(first_shared(&disk, 512), Some((what, Some(1))));
        }
    }

    #[test]
    fn members_of_arrays_are_found_in_all_versions() {
        let size = 2 * MIB + 4096;
        for offset in [0, 4096, size - 8192] {
            let mut disk = vec![0; size];
            superblock(&mut disk, offset, "box:large");
            let content = examined(&disk, 512);
            assert!(content.raid_member, "{offset}");
            assert_eq!(content.volume_name.as_deref(), Some("large"), "{offset}");
        }
        let mut disk = vec![0; size];
        put(&mut disk, (size & !0xffff) - 0x1_0000, &RAID_MAGIC);
        let content = examined(&disk, 512);
        assert!(content.raid_member && content.volume_name.is_none());

        // A partition makes no member of its disk; but it has a name.
        let mut disk = vec![0; 4 * MIB];
        msdos(&mut disk, 0, &[(0x83, 2048, 2049)]);
        let mut partition = vec![0; 8192];
        superblock(&mut partition, 4096, "alone");
        put(&mut disk, MIB, &partition);
        let content = examined(&disk, 512);
        assert_eq!(content.volume_name.as_deref(), Some("alone"));
        assert!(!content.raid_member);
    }

    #[test]
    fn a_magic_number_alone_makes_no_member() {
        let mut whole = vec![0; 2 * MIB];
        superblock(&mut whole, 4096, "box:large");
        assert!(examined(&whole, 512).raid_member);
        // Another version, another place, another magic number.
        for (at, byte) in [(4100, 2), (4096 + 144, 9), (4096, 0)] {
            let mut disk = whole.clone();
            disk[at] = byte;
            assert!(!examined(&disk, 512).raid_member, "{at}");
        }
    }

    #[test]
    fn virtual_media_are_known_by_their_label() {
        let fat16 = fat(*b"IR-VFD-DEV ");
        let mut iso = vec![0; MIB];
        put(&mut iso, 32768, b"\x01CD001");
        put(&mut iso, 32808, b"ir-vfd-dev                      ");
        for disk in [&fat16, &iso] {
            assert!(examined(disk, 512).virtual_media);
        }
        put(&mut iso, 32808, b"ir-vfd-dev2");
        assert!(!examined(&iso, 512).virtual_media);
        // A partition is none.
        let mut disk = vec![0; 4 * MIB];
        guid(&mut disk, 512, 2, 512, &[(LINUX, 2048, 4096)]);
        put(&mut disk, MIB, &fat16);
        assert!(!examined(&disk, 512).virtual_media);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn nonsense_is_survived(
            seed in proptest::collection::vec(any::<u8>(), 2048),
            sector in prop_oneof![Just(512_u32), Just(4096), Just(520)],
            efi in any::<bool>(),
        ) {
            let mut disk = seed.repeat(8);
            put(&mut disk, 510, &[0x55, 0xaa]);
            if efi {
                put(&mut disk, 512, b"EFI PART");
            }
            examined(&disk, sector);
        }
    }

    #[test]
    fn foreign_bytes() {
        crate::fuzz::run("table", |bytes| {
            for sector in [512, 4096] {
                examined(bytes, sector);
            }
        });
    }
}
