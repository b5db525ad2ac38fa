use ironic_ondisk::partition_table::testing::{self, Shape};
use ironic_ondisk::read::OutOfBounds;
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

fn examined(disk: &[u8], sector: u32) -> GuardedContent {
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
/// AA31E02A-400F-11DB-9590-000C2911D1B8
const VMFS: [u8; 16] = [
    0x2a, 0xe0, 0x31, 0xaa, 0x0f, 0x40, 0xdb, 0x11, 0x95, 0x90, 0x00, 0x0c, 0x29, 0x11, 0xd1, 0xb8,
];
/// 37AFFC90-EF7D-4E96-91C3-2D7AE055B174
const GPFS: [u8; 16] = [
    0x90, 0xfc, 0xaf, 0x37, 0x7d, 0xef, 0x96, 0x4e, 0x91, 0xc3, 0x2d, 0x7a, 0xe0, 0x55, 0xb1, 0x74,
];
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
        assert_eq!(
            examined(&vec![0; size], 512),
            GuardedContent::default(),
            "{size}"
        );
    }
}

#[test]
fn partition_types_are_found_in_both_sizes_of_sectors_and_in_the_copy() {
    for (sector, logical) in [(512, 512), (4096, 4096), (512, 4096), (4096, 512)] {
        let mut disk = vec![0; 4 * MIB];
        let entries = [(LINUX, 40, 50), (GPFS, 51, 60)];
        guid(&mut disk, sector, 2, sector, &entries);
        assert_eq!(
            first_shared(&disk, logical),
            Some(("GPFS", Some(2))),
            "{sector}"
        );

        let mut disk = vec![0; 4 * MIB];
        let header = disk.len() - sector;
        guid(&mut disk, header, 100, sector, &[(VMFS, 40, 50)]);
        assert_eq!(
            first_shared(&disk, logical),
            Some(("VMFS", Some(1))),
            "{sector}"
        );
    }
}

#[test]
fn msdos_types_are_found_also_in_logical_partitions() {
    let mut disk = vec![0; 4 * MIB];
    msdos(&mut disk, 0, &[(0x83, 8, 8), (0xfb, 16, 8)]);
    assert_eq!(first_shared(&disk, 512), Some(("VMFS", Some(2))));

    let mut disk = vec![0; 4 * MIB];
    msdos(&mut disk, 0, &[(0x83, 8, 8), (0x05, 100, 1000)]);
    msdos(&mut disk, 100 * 512, &[(0x83, 1, 8), (0x05, 50, 100)]);
    msdos(&mut disk, 150 * 512, &[(0xfb, 1, 8)]);
    assert_eq!(first_shared(&disk, 512), Some(("VMFS", Some(6))));
}

#[test]
fn a_chain_of_tables_that_bites_its_tail_ends() {
    let mut disk = vec![0; MIB];
    msdos(&mut disk, 0, &[(0x0f, 100, 1000)]);
    msdos(&mut disk, 100 * 512, &[(0x83, 1, 8), (0x05, 0, 100)]);
    assert_eq!(examined(&disk, 512), GuardedContent::default());
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

/// Bytes that count how often they are read.
struct CountedReads<'a> {
    bytes: &'a [u8],
    reads: usize,
}

impl Source for CountedReads<'_> {
    type Error = OutOfBounds;

    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), OutOfBounds> {
        self.reads += 1;
        self.bytes.read_at(offset, buffer)
    }
}

#[test]
fn claims_without_end_are_not_looked_at() {
    let looked_at = |disk: &[u8]| {
        let mut counted = CountedReads {
            bytes: disk,
            reads: 0,
        };
        let geometry = Geometry {
            size: disk.len() as u64,
            sector_size: 512,
        };
        let content = examine(&mut counted, geometry).unwrap();
        (content, counted.reads)
    };
    let size = 16 << 20;
    let shape = Shape {
        count: 32_768,
        primary: false,
        backup: false,
        ..Shape::default()
    };
    let partitions: Vec<_> = (1..=5000_u32)
        .map(|number| (number, 8400 + u64::from(number), 8400 + u64::from(number)))
        .collect();
    let hostile = testing::gpt(size, shape, &partitions);
    let (content, reads) = looked_at(&hostile);
    assert!(content.is_cut && content.shared.is_empty());
    let (_, usual) = looked_at(&vec![0; hostile.len()]);
    assert!(reads < usual + 100, "{reads} reads instead of {usual}");
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
    // A partition is not such a file system.
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
fn damaged_input() {
    ironic_fuzz::run("table", |bytes| {
        for sector in [512, 4096] {
            examined(bytes, sector);
        }
    });
}
