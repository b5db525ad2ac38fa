use ironic_ondisk::size::MIB;

use super::*;
use crate::disk::partition::layout::{LayoutRequest, Role};
use crate::machine::BootMode;
use crate::system::Disks;
use crate::system::disk::LinuxDisks;

fn wish(boot_mode: BootMode, label: DiskLabel) -> LayoutRequest {
    LayoutRequest {
        boot_mode,
        label,
        is_power: false,
        efi_system: 4,
        bios_boot: 1,
        ephemeral: 3,
        swap: 2,
        config_drive: 1,
        root: 8,
    }
}

fn disk(size: u64) -> (tempfile::NamedTempFile, Box<dyn Disk>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(size).unwrap();
    let disk = LinuxDisks.open(file.path()).unwrap();
    (file, disk)
}

/// Identities that count up.
fn counting(mut from: u8) -> impl FnMut() -> Guid {
    move || {
        from += 1;
        Guid([from; 16])
    }
}

#[test]
fn another_library_reads_a_new_gpt() {
    for sector_size in [512_u32, 4096] {
        let (file, mut disk) = disk(32 * MIB);
        let geometry = Geometry {
            size: 32 * MIB,
            sector_size,
        };
        let layout = wish(BootMode::Uefi, DiskLabel::Gpt)
            .layout(geometry)
            .unwrap();
        let table = layout.table(geometry, None, &mut counting(0)).unwrap();
        table.write(disk.as_mut()).unwrap();
        let sector = u64::from(sector_size);
        let other = gptman::GPT::read_from(&mut file.reopen().unwrap(), sector).unwrap();
        assert_eq!(other.header.disk_guid, [1; 16]);
        assert_eq!(other.iter().filter(|(_, entry)| entry.is_used()).count(), 5);
        for (planned, identity) in layout.partitions.iter().zip(2..) {
            let entry = &other[planned.number];
            assert_eq!(entry.starting_lba * sector, planned.offset);
            assert_eq!(entry.size().unwrap() * sector, planned.size);
            assert_eq!(entry.unique_partition_guid, [identity; 16]);
            assert_eq!(entry.partition_type_guid, planned.role.kind().gpt.0);
        }
        let mut record = [0; 512];
        disk.read_at(0, &mut record).unwrap();
        let sectors = u32::try_from(32 * MIB / sector - 1).unwrap();
        assert_eq!(record[446..454], [0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff]);
        assert_eq!(record[454..458], [1, 0, 0, 0]);
        assert_eq!(record[458..462], sectors.to_le_bytes());
    }
}

#[test]
fn another_library_reads_a_new_master_boot_record() {
    let (file, mut disk) = disk(32 * MIB);
    let layout = wish(BootMode::Bios, DiskLabel::Msdos)
        .layout(disk.geometry())
        .unwrap();
    let table = layout
        .table(disk.geometry(), None, &mut counting(0x11))
        .unwrap();
    table.write(disk.as_mut()).unwrap();
    let other = mbrman::MBRHeader::read_from(&mut file.reopen().unwrap()).unwrap();
    assert_eq!(other.disk_signature, [0x12; 4]);
    let kinds: Vec<_> = other.iter().map(|(_, entry)| entry.sys).collect();
    assert_eq!(kinds, [0x83, 0x82, 0x83, 0x83]);
    let active: Vec<_> = other.iter().map(|(_, entry)| entry.is_active()).collect();
    assert_eq!(active, [false, false, false, true]);
    assert_eq!(other[4].starting_lba, 7 * 2048);
    let read = PartitionTable::read(disk.as_mut()).unwrap().unwrap();
    let root = read.partitions(512)[3];
    assert_eq!(read.partuuid(root), "12121212-04");
}

#[test]
fn what_is_kept_keeps_its_identity() {
    for (boot_mode, label) in [
        (BootMode::Uefi, DiskLabel::Gpt),
        (BootMode::Bios, DiskLabel::Msdos),
    ] {
        let geometry = Geometry {
            size: 32 * MIB,
            sector_size: 512,
        };
        let old = wish(boot_mode, label).layout(geometry).unwrap();
        let old = old.table(geometry, None, &mut counting(0)).unwrap();
        // The next deployment has another swap and no config drive.
        let next = LayoutRequest {
            swap: 3,
            config_drive: 0,
            ..wish(boot_mode, label)
        };
        let next = next.layout(geometry).unwrap();
        let kept = next.kept(Some(&old), 512).unwrap().unwrap();
        let table = next
            .table(geometry, Some((&old, kept)), &mut counting(100))
            .unwrap();
        let ephemeral = next.find(Role::Ephemeral).unwrap();
        let partitions = table.partitions(512);
        let same = partitions[ephemeral.number as usize - 1];
        assert_eq!(same, kept);
        assert_eq!(old.partuuid(kept), table.partuuid(same));
        // A table of the other kind, none, or another size: not the same partition.
        assert!(next.kept(None, 512).is_err());
        let larger = LayoutRequest {
            ephemeral: 4,
            ..wish(boot_mode, label)
        };
        let larger = larger.layout(geometry).unwrap();
        assert!(larger.kept(Some(&old), 512).is_err());
    }
}

/// Images made by `dd` over an older disk are like that: firmware and Linux go by the record.
#[test]
fn what_is_left_of_an_older_gpt_does_not_count() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(8 << 20).unwrap();
    let mut cursor = std::io::Cursor::new(vec![0; 8 << 20]);
    let mut old = gptman::GPT::new_from(&mut cursor, 512, [7; 16]).unwrap();
    gptman::GPT::write_protective_mbr_into(&mut cursor, 512).unwrap();
    old.write_into(&mut cursor).unwrap();
    let mut bytes = cursor.into_inner();
    for (kind, is_gpt) in [(0xee, true), (0x83, false)] {
        bytes[450] = kind;
        std::fs::write(file.path(), &bytes).unwrap();
        let mut disk = LinuxDisks.open(file.path()).unwrap();
        let table = PartitionTable::read(disk.as_mut()).unwrap().unwrap();
        assert_eq!(matches!(table, PartitionTable::Gpt(..)), is_gpt, "{kind:x}");
    }
}

#[test]
fn logical_partitions_follow_those_of_the_table() {
    use ironic_ondisk::partition_table::testing::mbr;
    for (primary, logical) in [(0, 1), (1, 0), (1, 1), (2, 3), (3, 9)] {
        let mut bytes = vec![0; 8 << 20];
        let mut entries: Vec<_> = (0..primary).map(|index| (0x83, 64 + index, 1)).collect();
        entries.push((0x0f, 2048, 12_000));
        mbr(&mut bytes, 0, &entries);
        for index in 0..logical {
            let next = (0x05, 64 * (index + 1), 64);
            let entries = [(0x83, 1, 32), next];
            let count = if index + 1 < logical { 2 } else { 1 };
            let at = u64::from(2048 + 64 * index) * 512;
            mbr(&mut bytes, at, &entries[..count]);
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        let mut disk = LinuxDisks.open(file.path()).unwrap();
        let found = partitions_of(disk.as_mut()).unwrap();
        let numbers: Vec<u32> = found.iter().map(|partition| partition.number).collect();
        let expected: Vec<u32> = (1..primary + 2).chain(5..5 + logical).collect();
        assert_eq!(numbers, expected);
    }
}

#[test]
fn damaged_input() {
    let file = tempfile::NamedTempFile::new().unwrap();
    ironic_fuzz::run("table", |bytes| {
        std::fs::write(file.path(), bytes).unwrap();
        // A larger disk than the image, and one of the same size.
        for size in [128 << 10, bytes.len().next_multiple_of(512).max(512) as u64] {
            file.as_file().set_len(size).unwrap();
            let mut disk = LinuxDisks.open(file.path()).unwrap();
            let Ok(Some(mut table)) = PartitionTable::read(disk.as_mut()) else {
                continue;
            };
            for partition in table.partitions(512) {
                let _ = table.partuuid(partition);
            }
            for partition in table.logical(disk.as_mut()).unwrap() {
                let (offset, size) = (partition.offset, partition.size);
                assert!(offset.checked_add(size).is_some());
                let _ = crate::disk::filesystem::identity::label(disk.as_mut(), offset, size);
            }
            let _ = table.fit();
            let _ = table.add_last(512, 4096, 512, Guid([5; 16]));
            let _ = table.write(disk.as_mut());
        }
    });
}
