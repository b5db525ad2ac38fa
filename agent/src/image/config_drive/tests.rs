use std::io::{Seek as _, Write as _};

use ironic_ondisk::size::MIB;
use proptest::prelude::*;

use ironic_ondisk::partition_table::guid::Guid;

use super::*;
use crate::disk::partition::table::PartitionTable;
use crate::system::Disks;
use crate::system::disk::Disk;
use crate::system::disk::{DiskError, Geometry, LinuxDisks};

/// A config drive as Ironic makes them.
const DRIVE: &[u8] = include_bytes!("../../../../crates/fuzz/corpus/iso9660/rock-ridge.iso.gz");

/// A file that claims to be a disk with large sectors.
#[derive(Debug)]
struct LargeSectors(Box<dyn Disk>);

impl Disk for LargeSectors {
    fn geometry(&self) -> Geometry {
        Geometry {
            sector_size: 4096,
            ..self.0.geometry()
        }
    }
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        self.0.read_at(offset, buffer)
    }
    fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        self.0.write_at(offset, data)
    }
    fn zero(&mut self, offset: u64, length: u64) -> Result<(), DiskError> {
        self.0.zero(offset, length)
    }
    fn punch(&mut self, offset: u64, length: u64) -> Result<bool, DiskError> {
        self.0.punch(offset, length)
    }
    fn sync(&mut self) -> Result<(), DiskError> {
        self.0.sync()
    }
    fn reread_table(&mut self) -> Result<(), DiskError> {
        self.0.reread_table()
    }
}

fn disk(size: u64, sector_size: u32) -> (tempfile::NamedTempFile, Box<dyn Disk>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), vec![0xAA; usize::try_from(size).unwrap()]).unwrap();
    let mut disk = LinuxDisks.open(file.path()).unwrap();
    if sector_size == 4096 {
        disk = Box::new(LargeSectors(disk));
    }
    (file, disk)
}

/// Behind a whole-disk image, as it came.
const BEHIND: ConfigDrivePurpose = ConfigDrivePurpose {
    is_to_measure: false,
    is_fat_wanted: false,
};

fn drive(bytes: &[u8], is_fat_wanted: bool) -> ConfigDrive {
    let purpose = ConfigDrivePurpose {
        is_fat_wanted,
        ..BEHIND
    };
    ConfigDrive::new(bytes.to_vec(), "node", false, purpose).unwrap()
}

fn unpacked(drive: &ConfigDrive) -> Vec<u8> {
    let mut bytes = Vec::new();
    drive.unpacked().read_to_end(&mut bytes).unwrap();
    bytes
}

/// The table of a new disk, with one small partition.
fn table(disk: &dyn Disk) -> PartitionTable {
    let layout = crate::disk::partition::layout::LayoutRequest {
        boot_mode: crate::machine::BootMode::Uefi,
        label: crate::machine::ironic_node::DiskLabel::Gpt,
        is_power: false,
        efi_system: 2,
        bios_boot: 0,
        ephemeral: 0,
        swap: 0,
        config_drive: 0,
        root: 2,
    };
    let geometry = disk.geometry();
    let layout = layout.layout(geometry).unwrap();
    layout.table(geometry, None, &mut || Guid([5; 16])).unwrap()
}

#[test]
fn a_cd_is_rebuilt_where_it_could_not_be_read() {
    for (sector_size, is_fat_wanted, is_rebuilt) in [
        (512, false, false),
        (512, true, true),
        (4096, false, true),
        (4096, true, true),
    ] {
        let (file, mut disk) = disk(80 * MIB, sector_size);
        let drive = drive(DRIVE, is_fat_wanted);
        let mut table = table(disk.as_ref());
        drive
            .place(disk.as_mut(), &mut table, Guid([9; 16]), "/dev/sda")
            .unwrap();
        let partition = table.partitions(sector_size)[2];
        assert!(partition.size >= 64 * MIB);
        let start = usize::try_from(partition.offset).unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        let placed = &bytes[start..start + usize::try_from(partition.size).unwrap()];
        assert_eq!(
            identity::find(placed)
                .and_then(|found| found.identity.label)
                .map(|label| label.to_ascii_lowercase()),
            Some(LABEL.to_owned())
        );
        let original = unpacked(&drive);
        if !is_rebuilt {
            assert!(placed[..original.len()] == original);
            continue;
        }
        // The deployed system finds the same files.
        let sort = |mut tree: Tree<'_>| {
            tree.files.sort_by(|left, right| left.path.cmp(&right.path));
            let files = tree.files.into_iter();
            files
                .map(|file| (file.path, file.content.map(std::borrow::Cow::into_owned)))
                .collect::<Vec<_>>()
        };
        let (moved, original) = (fat::read(placed).unwrap(), Tree::of_iso(&original).unwrap());
        assert_eq!(sort(moved), sort(original));
        let in_sectors = u32::from(u16::from_le_bytes([placed[11], placed[12]]));
        assert_eq!(in_sectors, sector_size);
    }
}

#[test]
fn what_cannot_be_read_or_moved_is_refused_before_anything_is_written() {
    let mut ext = vec![0; 64 << 10];
    ext[1080..1082].copy_from_slice(&[0x53, 0xef]);
    let small = drive(&ext, false);
    let refused = small.size_on(4096).unwrap_err().to_string();
    assert!(refused.contains("its blocks have 1024 bytes"), "{refused}");
    assert_eq!(small.size_on(512).unwrap(), 64 << 10);
    ext[1048] = 2;
    assert_eq!(drive(&ext, false).size_on(4096).unwrap(), 64 << 10);
    let refused = drive(&ext, true).size_on(512).unwrap_err().to_string();
    assert!(refused.contains("config_drive_rebuild"), "{refused}");
    // A CD that is only a beginning.
    let mut cut = unpacked(&drive(DRIVE, false));
    cut.truncate(40_000);
    assert!(drive(&cut, true).size_on(512).is_err());
}

#[test]
fn a_fat_drive_of_small_sectors_moves_to_large_ones() {
    let mut tree = Tree::default();
    tree.file("openstack.json".to_owned(), b"{}".to_vec())
        .unwrap();
    let mut volume = fat::build(2 * MIB, 512, "config-2", 1, &tree).unwrap();
    let mut bytes = Vec::new();
    volume.rewind().unwrap();
    volume.read_to_end(&mut bytes).unwrap();
    let drive = drive(&bytes, false);
    assert_eq!(drive.size_on(512).unwrap(), 2 * MIB);
    let (file, mut disk) = disk(4 * MIB, 4096);
    drive.put(disk.as_mut(), MIB, MIB).unwrap();
    let placed = std::fs::read(file.path()).unwrap();
    let range = usize::try_from(MIB).unwrap()..usize::try_from(2 * MIB).unwrap();
    assert_eq!(fat::read(&placed[range.clone()]).unwrap(), tree);
    assert!(placed[range.end..].iter().all(|byte| *byte == 0xAA));
}

#[test]
fn a_drive_that_unpacks_to_too_much_is_refused() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for _ in 0..65 {
        encoder.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let large = encoder.finish().unwrap();
    let refused = ConfigDrive::new(large.clone(), "node", false, BEHIND).unwrap_err();
    assert!(
        refused.to_string().contains("maximum limit of 64MiB"),
        "{refused}"
    );
    // A partition that is made to its measure is not bound to that.
    let beside = ConfigDrivePurpose {
        is_to_measure: true,
        ..BEHIND
    };
    let taken = ConfigDrive::new(large, "node", false, beside).unwrap();
    assert_eq!(taken.size_on(512).unwrap(), 65 * MIB);
    // Its files would have to be in memory.
    let rebuilt = ConfigDrivePurpose {
        is_fat_wanted: true,
        ..beside
    };
    let rebuilt = ConfigDrive::new(taken.bytes, "node", false, rebuilt).unwrap();
    let refused = rebuilt.size_on(512).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("up to 67108864 bytes, and it has 68157440"),
        "{refused}"
    );
}

#[test]
fn gzip_data_is_padded_by_zeros_and_by_nothing_else() {
    let content = unpacked(&drive(DRIVE, false));
    assert!(identity::is_iso(&content));
    for padding in [&[0_u8; 0][..], &[0], &[0; 700]] {
        let padded = [DRIVE, padding].concat();
        assert!(unpacked(&drive(&padded, false)) == content);
    }
    // Several members are one drive.
    let twice = drive(&[DRIVE, DRIVE].concat(), false);
    assert!(unpacked(&twice) == content.repeat(2));
    for rubbish in [&b"x"[..], b"xy", b"\0\0x", &[0x1f], &DRIVE[..20]] {
        let followed = [DRIVE, rubbish].concat();
        let refused = ConfigDrive::new(followed, "node", false, BEHIND).unwrap_err();
        assert!(refused.to_string().contains("decompressing"), "{refused}");
    }
}

#[test]
fn a_logical_partition_of_the_image_is_found_by_its_label() {
    let (file, mut disk) = disk(8 * MIB, 512);
    disk.zero(0, 8 * MIB).unwrap();
    let mut sector = [0; 512];
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    let mut link = sector;
    // An extended partition from MiB 1 to 7; in it one partition from MiB 2 to 4.
    sector[450] = 0x05;
    sector[454..462].copy_from_slice(&[0, 8, 0, 0, 0, 48, 0, 0]);
    disk.write_at(0, &sector).unwrap();
    link[450] = 0x0c;
    link[454..462].copy_from_slice(&[0, 8, 0, 0, 0, 16, 0, 0]);
    disk.write_at(MIB, &link).unwrap();
    let labelled = crate::machine::block::guarded_filesystem::tests::fat(*b"config-2   ");
    disk.write_at(2 * MIB, &labelled).unwrap();
    let mut table = PartitionTable::read(disk.as_mut()).unwrap().unwrap();
    let before = std::fs::read(file.path()).unwrap();
    let drive = drive(DRIVE, false);
    drive
        .place(disk.as_mut(), &mut table, Guid([1; 16]), "/dev/sda")
        .unwrap();
    let after = std::fs::read(file.path()).unwrap();
    let start = usize::try_from(2 * MIB).unwrap();
    let content = unpacked(&drive);
    assert_eq!(after[start..start + content.len()], content);
    assert_eq!(after[..start], before[..start], "no partition was added");
}

proptest! {
    #[test]
    fn any_head_is_judged(head in proptest::collection::vec(any::<u8>(), 0..3000), large in any::<bool>()) {
        let _ = place::is_readable(&head, if large { 4096 } else { 512 });
    }
}

#[test]
fn damaged_input() {
    ironic_fuzz::run("drive", |bytes| {
        let _ = decode_base64(bytes);
        for is_trusted in [false, true] {
            let Ok(drive) = ConfigDrive::new(bytes.to_vec(), "n", is_trusted, BEHIND) else {
                continue;
            };
            let mut unpacked = Vec::new();
            drive.unpacked().read_to_end(&mut unpacked).unwrap();
            assert_eq!(unpacked.len() as u64, drive.size);
        }
    });
}

#[test]
fn damaged_input_of_a_file_system() {
    let unpacked = |packed: &[u8]| {
        let mut bytes = Vec::new();
        GzipReader::new(packed).read_to_end(&mut bytes).unwrap();
        bytes
    };
    let iso = unpacked(DRIVE);
    let (file, mut disk) = disk(MIB, 512);
    drive(DRIVE, true).put(disk.as_mut(), 0, MIB).unwrap();
    let fat = std::fs::read(file.path()).unwrap();
    ironic_fuzz::run_on("a config drive's file system", &[iso, fat], |bytes| {
        // As FAT it goes to another disk, file by file.
        if let Ok(drive) = ConfigDrive::new(bytes.to_vec(), "n", false, BEHIND) {
            let wanted = ConfigDrive {
                is_fat_wanted: true,
                ..drive
            };
            let _ = wanted.put(disk.as_mut(), 0, MIB);
        }
    });
}
