//! What lies on a disk that decides whether it may be erased: file systems that other
//! machines may be using, members of arrays, Ironic's virtual media. Reads only.
//!
//! A disk is examined whole: itself, and every partition in its table, whether or not the
//! kernel made devices of them. Signatures: [`ironic_ondisk::signature`]; table layouts: UEFI
//! specification, chapter 5.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ironic_ondisk::raid::linux;
use ironic_ondisk::signature::{self, LINUX_RAID};

use super::block::{BlockDevice, Kind};
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
}

/// A file system that other machines may be using.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// What it is: `VMFS`, `GPFS`, `GFS2`, `OCFS2`.
    pub what: &'static str,
    /// The partition's number; `None` for the device itself.
    pub partition: Option<u32>,
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
/// The type of VMFS in a table of MS-DOS.
const VMFS_TYPE: u8 = 0xfb;
/// Types of extended partitions.
const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];

/// Examines a device. Blocks.
///
/// # Errors
/// The device cannot be read.
pub fn probe(system: &System, device: &BlockDevice) -> io::Result<Content> {
    let file = File::open(path_of(system, device))?;
    let sector = u64::from(device.logical_sectors.unwrap_or(512));
    Medium {
        source: &file,
        size: device.size,
        sector,
    }
    .examine()
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

impl ironic_ondisk::Source for Device {
    type Error = io::Error;

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

/// Bytes at offsets.
trait Source {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl Source for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }
}

struct Medium<'a, S> {
    source: &'a S,
    size: u64,
    sector: u64,
}

/// A part of a medium.
struct Part<'a, S> {
    medium: &'a Medium<'a, S>,
    start: u64,
    size: u64,
}

impl<S> Clone for Part<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Part<'_, S> {}

impl<S: Source> ironic_ondisk::Source for Part<'_, S> {
    type Error = io::Error;

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let source = self.medium.source;
        source.read_at(buffer, self.start.saturating_add(offset))
    }
}

/// A partition in a table. Offsets and sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Partition {
    number: u32,
    start: u64,
    size: u64,
    shared: Option<&'static str>,
}

impl<S: Source> Medium<'_, S> {
    fn examine(&self) -> io::Result<Content> {
        let mut content = Content::default();
        self.examine_area(&mut content, None, 0, self.size)?;
        for partition in self.partitions()? {
            if let Some(what) = partition.shared {
                content.shared.push(Shared {
                    what,
                    partition: Some(partition.number),
                });
            }
            self.examine_area(
                &mut content,
                Some(partition.number),
                partition.start,
                partition.size,
            )?;
        }
        content.shared.dedup();
        Ok(content)
    }

    /// Bytes of the medium; `None` beyond its end, or beyond `end`.
    fn bytes<const N: usize>(&self, offset: u64, end: u64) -> io::Result<Option<[u8; N]>> {
        let last = offset.checked_add(N as u64);
        if last.is_none_or(|last| last > end.min(self.size)) {
            return Ok(None);
        }
        let mut buffer = [0; N];
        self.source.read_at(&mut buffer, offset)?;
        Ok(Some(buffer))
    }

    /// What lies in the medium itself, or in one partition of it.
    fn examine_area(
        &self,
        content: &mut Content,
        partition: Option<u32>,
        start: u64,
        size: u64,
    ) -> io::Result<()> {
        let part = Part {
            medium: self,
            start,
            size: size.min(self.size.saturating_sub(start)),
        };
        let shared = signature::shared(part)?;
        content
            .shared
            .extend(shared.into_iter().map(|what| Shared { what, partition }));
        let found = signature::find(part, self.sector)?;
        let members = found
            .iter()
            .filter(|found| found.signature.name == LINUX_RAID);
        for member in members {
            content.raid_member |= partition.is_none();
            let label = member.identity.label.as_deref();
            let name = label.and_then(linux::volume_name).map(str::to_owned);
            content.volume_name = content.volume_name.take().or(name);
        }
        if partition.is_none() {
            let is_media = |label: String| label.eq_ignore_ascii_case(VIRTUAL_MEDIA_LABEL);
            let certain = signature::decide(found, part.size).certain();
            let label = certain.and_then(|found| found.identity.label);
            content.virtual_media = label.is_some_and(is_media);
        }
        Ok(())
    }

    /// The partitions of a GUID table, the second copy where the first is broken, or else of
    /// a table of MS-DOS.
    fn partitions(&self) -> io::Result<Vec<Partition>> {
        // A disk may carry a table that was written for sectors of another size.
        for sector in [self.sector, 512, 4096] {
            let copies = [sector, self.size.saturating_sub(sector)];
            for header in copies {
                if let Some(partitions) = self.guid_partitions(header, sector)? {
                    return Ok(partitions);
                }
            }
        }
        self.msdos_partitions()
    }

    fn guid_partitions(&self, header: u64, sector: u64) -> io::Result<Option<Vec<Partition>>> {
        const MOST_ENTRIES: u32 = 1024;
        let Some(header) = self.bytes::<92>(header, self.size)? else {
            return Ok(None);
        };
        if !header.starts_with(b"EFI PART") {
            return Ok(None);
        }
        let table = u64_at(&header, 72).saturating_mul(sector);
        let count = u32_at(&header, 80).min(MOST_ENTRIES);
        let size = u32_at(&header, 84);
        if size < 128 {
            return Ok(None);
        }
        let mut partitions = Vec::new();
        for index in 0..count {
            let offset = table.saturating_add(u64::from(index) * u64::from(size));
            let Some(entry) = self.bytes::<48>(offset, self.size)? else {
                break;
            };
            if entry[..16] == [0; 16] {
                continue;
            }
            let (first, last) = (u64_at(&entry, 32), u64_at(&entry, 40));
            let sectors = last.saturating_sub(first).saturating_add(1);
            let shared = SHARED_TYPES
                .iter()
                .find(|(guid, _)| entry.starts_with(guid));
            partitions.push(Partition {
                number: index + 1,
                start: first.saturating_mul(sector),
                size: sectors.saturating_mul(sector),
                shared: shared.map(|(_, what)| *what),
            });
        }
        Ok(Some(partitions))
    }

    fn msdos_partitions(&self) -> io::Result<Vec<Partition>> {
        const MOST_LOGICAL: u32 = 128;
        let mut partitions = Vec::new();
        let mut chain = None;
        for (number, entry) in (1..).zip(self.msdos_entries(0)?) {
            if EXTENDED.contains(&entry.kind) {
                chain = Some(entry.start);
            }
            partitions.extend(entry.partition(number, 0, self.sector));
        }
        // Each logical partition has a table of its own: itself, relative to that table, and
        // the next table, relative to the extended partition.
        let Some(extended) = chain else {
            return Ok(partitions);
        };
        let mut table = extended;
        for number in 5..5 + MOST_LOGICAL {
            let offset = table.saturating_mul(self.sector);
            let entries = self.msdos_entries(offset)?;
            let mut next = None;
            for entry in entries {
                if EXTENDED.contains(&entry.kind) {
                    next.get_or_insert_with(|| extended.saturating_add(entry.start));
                } else {
                    partitions.extend(entry.partition(number, offset, self.sector));
                }
            }
            match next {
                Some(next) if next > table => table = next,
                _ => break,
            }
        }
        Ok(partitions)
    }

    fn msdos_entries(&self, offset: u64) -> io::Result<Vec<MsdosEntry>> {
        let Some(sector) = self.bytes::<512>(offset, self.size)? else {
            return Ok(Vec::new());
        };
        if sector[510..] != [0x55, 0xaa] {
            return Ok(Vec::new());
        }
        let entries = sector[446..510].chunks_exact(16).map(|entry| MsdosEntry {
            kind: entry[4],
            start: u64::from(u32_at(entry, 8)),
            sectors: u64::from(u32_at(entry, 12)),
        });
        Ok(entries.collect())
    }
}

/// An entry of a table of MS-DOS, in sectors.
struct MsdosEntry {
    kind: u8,
    start: u64,
    sectors: u64,
}

impl MsdosEntry {
    fn partition(&self, number: u32, base: u64, sector: u64) -> Option<Partition> {
        (self.kind != 0 && self.sectors > 0).then(|| Partition {
            number,
            start: base.saturating_add(self.start.saturating_mul(sector)),
            size: self.sectors.saturating_mul(sector),
            shared: (self.kind == VMFS_TYPE).then_some("VMFS"),
        })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
    field.map_or(0, |field| u32::from_le_bytes(*field))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
    field.map_or(0, |field| u64::from_le_bytes(*field))
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Source for Vec<u8> {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            let start = usize::try_from(offset).unwrap();
            buffer.copy_from_slice(&self[start..start + buffer.len()]);
            Ok(())
        }
    }

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

    fn examined(disk: &Vec<u8>, sector: u64) -> Content {
        let size = disk.len() as u64;
        Medium {
            source: disk,
            size,
            sector,
        }
        .examine()
        .unwrap()
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

    /// Writes a table of MS-DOS with entries of type, start and length in sectors.
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

    fn shared(what: &'static str, partition: Option<u32>) -> Vec<Shared> {
        vec![Shared { what, partition }]
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
                examined(&disk, told).shared,
                shared("GPFS", Some(2)),
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
                examined(&disk, told).shared,
                shared("VMFS", Some(1)),
                "{sector}"
            );
        }
    }

    #[test]
    fn msdos_types_are_found_also_in_logical_partitions() {
        let mut disk = vec![0; 4 * MIB];
        msdos(&mut disk, 0, &[(0x83, 8, 8), (VMFS_TYPE, 16, 8)]);
        assert_eq!(examined(&disk, 512).shared, shared("VMFS", Some(2)));

        let mut disk = vec![0; 4 * MIB];
        msdos(&mut disk, 0, &[(0x83, 8, 8), (0x05, 100, 1000)]);
        msdos(&mut disk, 100 * 512, &[(0x83, 1, 8), (0x05, 50, 100)]);
        msdos(&mut disk, 150 * 512, &[(VMFS_TYPE, 1, 8)]);
        assert_eq!(examined(&disk, 512).shared, shared("VMFS", Some(6)));
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
            assert_eq!(examined(&disk, 512).shared, shared(what, None));

            let mut disk = vec![0; 6 * MIB];
            guid(&mut disk, 512, 2, 512, &[(LINUX, 2048, 12000)]);
            put(&mut disk, MIB + offset, magic);
            assert_eq!(examined(&disk, 512).shared, shared(what, Some(1)));
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
        guid(&mut disk, 512, 2, 512, &[(LINUX, 2048, 4096)]);
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
            sector in prop_oneof![Just(512_u64), Just(4096), Just(520)],
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
}
