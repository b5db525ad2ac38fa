use proptest::prelude::*;

use super::*;
use crate::partition_table::guid::Guid;
use crate::partition_table::testing::{self, Shape};
use crate::size::MIB;

fn geometry(size: u64) -> Geometry {
    Geometry {
        size,
        sector_size: 512,
    }
}

fn partition(number: u32, first: u64, last: u64) -> GptPartition {
    GptPartition {
        number,
        kind: kinds::EFI_SYSTEM.gpt,
        guid: Guid([u8::try_from(number).unwrap(); 16]),
        first,
        last,
    }
}

/// A disk of `size` bytes that begins with a table for `table_size` bytes.
fn disk(table_size: u64, size: u64) -> Vec<u8> {
    let mut table = Gpt::new(geometry(table_size), Guid([7; 16])).unwrap();
    table.insert(partition(1, 2048, 4095)).unwrap();
    table.insert(partition(3, 4096, 6143)).unwrap();
    let mut bytes = vec![0xaa; usize::try_from(size).unwrap()];
    write(&mut bytes, &table);
    bytes
}

fn write(bytes: &mut [u8], table: &Gpt) {
    for (offset, part) in table.copies().into_iter().flatten() {
        testing::put(bytes, offset, &part);
    }
}

fn read(bytes: &[u8], at: u64) -> Result<Gpt, Damage> {
    Gpt::read(&mut &*bytes, geometry(bytes.len() as u64), at).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_fitted_table_is_that_of_the_larger_disk(extra in 0_u64..5_000) {
        let size = 8 * MIB + extra * 512;
        let mut bytes = disk(8 * MIB, size);
        let mut table = read(&bytes, PRIMARY).unwrap();
        table = Gpt { geometry: geometry(size), ..table };
        prop_assert_eq!(table.fit().unwrap(), extra > 0);
        prop_assert!(!table.fit().unwrap(), "a second time there is nothing to do");
        write(&mut bytes, &table);
        prop_assert_eq!(&read(&bytes, PRIMARY).unwrap(), &table);
        // The backup alone says the same.
        prop_assert_eq!(&read(&bytes, size / 512 - 1).unwrap(), &table);
    }

    #[test]
    fn damage_is_noticed(at in 512_usize..1536, value in any::<u8>()) {
        let mut bytes = disk(8 * MIB, 8 * MIB);
        let before = bytes[at];
        bytes[at] = value;
        // What lies between the header and its entries means nothing.
        let means_nothing = before == value || (604..1024).contains(&at);
        prop_assert_eq!(read(&bytes, PRIMARY).is_ok(), means_nothing);
    }

    #[test]
    fn any_header_with_right_checksums_is_survived(
        fields in any::<[u64; 4]>(),
        shape in any::<[u32; 2]>(),
        size in 0_u32..600,
    ) {
        let mut header = vec![0; 512];
        header[..8].copy_from_slice(SIGNATURE);
        header[12..16].copy_from_slice(&size.to_le_bytes());
        header[24] = 1;
        for (at, value) in [32, 40, 48, 72].into_iter().zip(fields) {
            header[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        for (at, value) in [80, 84].into_iter().zip(shape) {
            header[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        let sum = crc32fast::hash(&header[..(size as usize).min(512)]);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        if let Ok(mut table) = Gpt::parse(geometry(8 * MIB), &header, PRIMARY) {
            let _ = table.fit();
            let _ = table.copies();
        }
    }
}

#[test]
fn what_the_specification_allows_is_taken() {
    for (shape, is_valid) in [
        (
            Shape {
                header: 92,
                ..Shape::default()
            },
            true,
        ),
        (
            Shape {
                header: 512,
                ..Shape::default()
            },
            true,
        ),
        (
            Shape {
                header: 513,
                ..Shape::default()
            },
            false,
        ),
        (
            Shape {
                header: 91,
                ..Shape::default()
            },
            false,
        ),
        (
            Shape {
                entry: 256,
                ..Shape::default()
            },
            true,
        ),
        (
            Shape {
                entry: 1024,
                ..Shape::default()
            },
            true,
        ),
        (
            Shape {
                entry: 192,
                ..Shape::default()
            },
            false,
        ),
        (
            Shape {
                entry: 64,
                ..Shape::default()
            },
            false,
        ),
        (
            Shape {
                count: 4096,
                ..Shape::default()
            },
            true,
        ),
        (
            Shape {
                count: 4096,
                entry: 1024,
                ..Shape::default()
            },
            true,
        ),
        (
            Shape {
                count: 1,
                ..Shape::default()
            },
            true,
        ),
        (
            Shape {
                count: 0,
                ..Shape::default()
            },
            false,
        ),
        (
            Shape {
                sector: 4096,
                header: 4096,
                ..Shape::default()
            },
            true,
        ),
        (
            Shape {
                sector: 4096,
                header: 4097,
                ..Shape::default()
            },
            false,
        ),
    ] {
        let bytes = testing::gpt(16 * MIB, shape, &[(1, 10_000, 12_000)]);
        let geometry = Geometry {
            size: 16 * MIB,
            sector_size: shape.sector,
        };
        let last = geometry.sectors() - 1;
        for at in [PRIMARY, last] {
            let found = Gpt::read(&mut &bytes[..], geometry, at).unwrap();
            assert_eq!(found.is_ok(), is_valid, "{shape:?} {at}: {found:?}");
        }
    }
}

#[test]
fn a_partition_is_added_at_the_end_with_the_first_free_number() {
    let bytes = disk(8 * MIB, 100 * MIB);
    let mut table = read(&bytes, PRIMARY).unwrap();
    table.fit().unwrap();
    let added = table.add_last(64 * MIB, 1, Guid([9; 16])).unwrap();
    assert_eq!((added.number, added.kind), (2, kinds::LINUX.gpt));
    assert_eq!(added.first % 2048, 0);
    assert_eq!(added.last, 100 * MIB / 512 - 34);
    let size = (added.last + 1 - added.first) * 512;
    assert!((64 * MIB..65 * MIB + MIB).contains(&size), "{size}");
    assert_eq!(
        kinds::LINUX.gpt.to_string(),
        "0fc63daf-8483-4772-8e79-3d69d8477de4"
    );
    assert_eq!(
        kinds::EFI_SYSTEM.gpt.to_string(),
        "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
    );
    // Nothing is free any more.
    let refused = table.add_last(64 * MIB, 1, Guid([8; 16]));
    assert!(matches!(refused, Err(GptError::NoRoom { free: 0, .. })));
}

#[test]
fn less_than_wanted_is_taken_when_it_is_enough() {
    let bytes = disk(8 * MIB, 8 * MIB);
    let mut table = read(&bytes, PRIMARY).unwrap();
    let mut other = table.clone();
    // Partitions end at 3 MiB, the backup table begins 33 sectors before 8 MiB.
    let free = 5 * MIB - 33 * 512;
    assert!(matches!(
        table.add_last(64 * MIB, free + 1, Guid([9; 16])),
        Err(GptError::NoRoom { free: found, .. }) if found == free
    ));
    let added = other.add_last(64 * MIB, free, Guid([9; 16])).unwrap();
    assert_eq!(
        (added.first, added.last),
        (3 * MIB / 512, 8 * MIB / 512 - 34)
    );
}

#[test]
fn contradictions_are_named() {
    // The image was cut: its table is for 8 MiB, partition 3 ends at 3 MiB.
    let bytes = disk(8 * MIB, 8 * MIB);
    let mut table = read(&bytes[..3 << 20], PRIMARY).unwrap();
    assert!(!table.is_inside_of_disk());
    assert!(matches!(
        table.fit(),
        Err(GptError::BeyondEnd {
            number: 3,
            last: 6143,
            ..
        })
    ));
    for (first, last, expected) in [
        (5000, 7000, GptError::Overlap(3, 4)),
        (
            7000,
            6999,
            GptError::Backwards {
                number: 4,
                first: 7000,
                last: 6999,
            },
        ),
    ] {
        let mut table = read(&bytes, PRIMARY).unwrap();
        table.put(partition(4, first, last)).unwrap();
        assert_eq!(table.fit(), Err(expected));
    }
}

#[test]
fn a_name_is_cut_to_what_an_entry_holds() {
    let bytes = disk(8 * MIB, 8 * MIB);
    let mut table = read(&bytes, PRIMARY).unwrap();
    table.set_name(3, &"n".repeat(40));
    table.set_name(77, "nobody");
    let entry = &table.entries[2 * 128..3 * 128];
    assert_eq!(entry[NAME_AT..NAME_AT + 4], *b"n\0n\0");
    assert_eq!(entry[126..], *b"n\0");
}
