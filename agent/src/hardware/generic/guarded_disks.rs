//! Nothing that is guarded is ever erased: the three steps on generated disks.
//!
//! Each disk has tables of one or two kinds, whole or damaged, for sectors of either size, in
//! partitions, too, and a file system that other machines may be using in one of the places
//! that one of the tables names. The steps must leave it as it is and say what they found. A
//! disk without such a file system is erased, so that the test sees a guard and not a step
//! that never erases.

#![allow(
    clippy::cast_possible_truncation,
    reason = "places on a disk of 8 MiB, chosen at random"
)]

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use ironic_ondisk::partition_table::testing::{self, Shape};
use ironic_ondisk::size::MIB;

use super::erase_devices::EraseDevices;
use super::erase_devices_express::EraseDevicesExpress;
use super::erase_devices_metadata::EraseDevicesMetadata;
use super::testing::{Bench, failure};
use crate::failure::FailureKind;
use crate::hardware::Step;
use crate::machine::testing::FakeMachine;
use crate::system::RunError;
use crate::system::process::Script;

const DISKS: u64 = 2_000;
const SIZE: u64 = 8 << 20;
const PAGE: usize = 4096;

/// What is guarded, with the place of its mark behind the start of its partition.
const MARKS: [(&str, u64, &[u8]); 7] = [
    ("GFS2", 65536, &[0x01, 0x16, 0x19, 0x70, 0, 0, 0, 1]),
    ("VMFS", MIB, &[0x0d, 0xd0, 0x01, 0xc0]),
    ("VMFS", 2 * MIB, &[0x5e, 0xf1, 0xab, 0x2f]),
    ("OCFS2", 1024, b"OCFSV2"),
    ("OCFS2", 2048, b"OCFSV2"),
    ("OCFS2", 4096, b"OCFSV2"),
    ("OCFS2", 8192, b"OCFSV2"),
];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64) as usize]
    }
}

/// A disk in the making: its bytes, and the bytes at which partitions start.
struct DiskBuilder {
    random: Random,
    bytes: Vec<u8>,
    starts: Vec<u64>,
    what: String,
    sector: u32,
}

impl DiskBuilder {
    /// Partitions: first sectors in different parts of the disk, so that a mark in one of them
    /// does not lie in another.
    fn places(&mut self, count: u64) -> Vec<u64> {
        let sector = u64::from(self.sector);
        let slot = 4 * MIB / count.max(1);
        (0..count)
            .map(|index| {
                let within = self.random.below(slot / 2 / sector) * sector;
                (MIB / 4 + index * slot + within) / sector
            })
            .collect()
    }

    fn mbr(&mut self) {
        let count = 1 + self.random.below(4);
        let places = self.places(count);
        let mut entries: Vec<_> = places
            .iter()
            .map(|first| (0x83, *first as u32, 64))
            .collect();
        // In any order.
        let turn = self.random.below(count) as usize;
        entries.rotate_left(turn);
        testing::mbr(&mut self.bytes, 0, &entries);
        let sector = u64::from(self.sector);
        self.starts
            .extend(places.iter().map(|first| first * sector));
        self.what += &format!("MBR of {count}; ");
    }

    /// Logical partitions whose links lie in any order.
    fn chain(&mut self) {
        let (sector, count) = (u64::from(self.sector), 2 + self.random.below(8));
        let mut places = self.places(count);
        for index in (1..places.len()).rev() {
            let other = self.random.below(index as u64 + 1) as usize;
            places.swap(index, other);
        }
        // The first link is where the extended partition begins.
        let first = MIB / 8 / sector;
        let links: Vec<u64> = std::iter::once(first)
            .chain(places.iter().skip(1).map(|place| place - 8))
            .collect();
        let kind = self.random.one_of(&[0x05, 0x0f, 0x85]);
        testing::mbr(&mut self.bytes, 0, &[(kind, first as u32, 12_000)]);
        for (index, place) in places.iter().enumerate() {
            let (at, next) = (links[index], links.get(index + 1));
            let next = next.map_or((0, 0, 0), |next| (0x05, (next - first) as u32, 72));
            // Linux takes the entries in any order, too.
            let mut entries = [(0x83, (place - at) as u32, 64), next];
            if self.random.below(4) == 0 {
                entries.reverse();
            }
            testing::mbr(&mut self.bytes, at * sector, &entries);
        }
        self.starts
            .extend(places.iter().map(|place| place * sector));
        self.what += &format!("chain of {count}; ");
    }

    fn gpt(&mut self, is_announced: bool) {
        let count = 1 + self.random.below(4);
        let places = self.places(count);
        let shape = Shape {
            sector: self.sector,
            header: self.random.one_of(&[92, 128, self.sector]),
            entry: self.random.one_of(&[128, 128, 256, 512]),
            count: self.random.one_of(&[128, 128, 16, 1_025, 2_049]),
            is_announced,
            primary: self.random.below(3) > 0,
            backup: self.random.below(3) > 0,
        };
        // The last entry is as good as the first.
        let mut partitions: Vec<_> = (1..)
            .zip(&places)
            .map(|(number, first)| (number, *first, first + 63))
            .collect();
        if let Some(last) = partitions.last_mut().filter(|_| count > 1) {
            last.0 = shape.count;
        }
        testing::put_gpt(&mut self.bytes, shape, &partitions);
        let sector = u64::from(self.sector);
        self.starts
            .extend(places.iter().map(|first| first * sector));
        self.what += &format!("{shape:?}; ");
        // One of the copies may be gone altogether.
        match self.random.below(4) {
            0 => self.zero(sector, sector),
            1 => self.zero(SIZE - sector, sector),
            _ => {}
        }
    }

    fn zero(&mut self, offset: u64, length: u64) {
        let at = offset as usize;
        self.bytes[at..at + length as usize].fill(0);
    }

    /// A table in a partition, as a disk of a virtual machine has it.
    fn nested(&mut self) {
        let sector = u64::from(self.sector);
        let Some(base) = self.starts.last().copied() else {
            return;
        };
        let first = 8 + self.random.below(16);
        testing::mbr(&mut self.bytes, base, &[(0x83, first as u32, 32)]);
        self.starts.push(base + first * sector);
        self.what += "a table in a partition; ";
    }

    fn tables(&mut self) {
        match self.random.below(10) {
            0 => {}
            1 => self.mbr(),
            2 => self.chain(),
            3 | 4 => self.gpt(true),
            // What is left of another kind, on either side, and hybrid records.
            5 => {
                self.gpt(true);
                self.mbr();
            }
            6 => {
                self.gpt(true);
                self.chain();
            }
            7 => {
                self.mbr();
                self.gpt(false);
            }
            8 => {
                self.gpt(true);
                let place = self.places(1)[0];
                let entries = [(0xee, 1, 63), (0x83, place as u32, 64)];
                testing::mbr(&mut self.bytes, 0, &entries);
                self.starts.push(place * u64::from(self.sector));
                self.what += "hybrid; ";
            }
            _ => self.gpt(false),
        }
        if self.random.below(4) == 0 {
            self.nested();
        }
    }
}

/// A disk, a description of what is on it, the size of its sectors, and what is guarded there.
fn generate(number: u64) -> (Vec<u8>, String, u32, Option<&'static str>) {
    let mut random = Random(number);
    let disk_sector = random.one_of(&[512, 512, 4096]);
    // Now and then the tables were made for other sectors than the disk has.
    let sector = if random.below(6) == 0 {
        4608 - disk_sector
    } else {
        disk_sector
    };
    let mut making = DiskBuilder {
        random,
        bytes: vec![0; SIZE as usize],
        starts: vec![0],
        what: format!("disk {number}, sectors of {disk_sector}: "),
        sector,
    };
    making.tables();
    if number.is_multiple_of(20) {
        return (making.bytes, making.what, disk_sector, None);
    }
    let (what, offset, mark) = making.random.one_of(&MARKS);
    let start = making.random.one_of(&making.starts.clone());
    testing::put(&mut making.bytes, start + offset, mark);
    making.what += &format!("{what} at byte {start} + {offset}");
    (making.bytes, making.what, disk_sector, Some(what))
}

/// Pages with something in them, by their offsets.
type Pages<'a> = BTreeMap<u64, &'a [u8]>;

fn pages(bytes: &[u8]) -> Pages<'_> {
    let pages = (0..).zip(bytes.chunks(PAGE));
    pages
        .filter(|(_, page)| *page != [0; PAGE])
        .map(|(index, page)| (index * PAGE as u64, page))
        .collect()
}

fn write(file: &File, pages: &Pages<'_>) {
    file.set_len(0).unwrap();
    file.set_len(SIZE).unwrap();
    for (offset, page) in pages {
        file.write_all_at(page, *offset).unwrap();
    }
}

fn is_as_written(file: &File, pages: &Pages<'_>) -> bool {
    let mut found = vec![0; PAGE];
    pages.iter().all(|(offset, page)| {
        file.read_exact_at(&mut found, *offset).unwrap();
        found == **page
    })
}

/// Programs that erase are missing, so that what is erased is erased by the agent itself.
fn programs(step: &str) -> Script {
    let missing = |program: &str| {
        Err(RunError::Missing {
            program: program.into(),
        })
    };
    let script = Script::new();
    if step == "erase_devices" {
        return script
            .expect_result("hdparm -I /dev/sda", missing("hdparm"))
            .expect_result("smartctl -d ata /dev/sda -g security", missing("smartctl"))
            .expect("shred --force --zero --verbose --iterations 1 /dev/sda", "");
    }
    script.expect_result("wipefs --force --all /dev/sda", missing("wipefs"))
}

#[tokio::test]
async fn no_guarded_file_system_is_erased_on_two_thousand_disks() {
    let steps: [(&str, &dyn Step); 3] = [
        ("erase_devices", &EraseDevices),
        ("erase_devices_express", &EraseDevicesExpress),
        ("erase_devices_metadata", &EraseDevicesMetadata),
    ];
    let mut benches = BTreeMap::new();
    for sector in [512, 4096_u32] {
        let mut machine = FakeMachine::new();
        let disk = machine.sata_disk("sda", SIZE, 1);
        let size = format!("{disk}/queue/logical_block_size");
        machine.file(&size, &sector.to_string());
        machine.bytes("dev/sda", &[]);
        benches.insert(sector, Bench::new(machine));
    }
    let (mut guarded, mut erased) = (0, 0);
    for number in 0..DISKS {
        let (bytes, what, sector, mark) = generate(number);
        let bench = &benches[&sector];
        let path = bench.machine.path().join("dev/sda");
        let file = File::options().read(true).write(true).open(path).unwrap();
        let pages = pages(&bytes);
        for (name, step) in steps {
            write(&file, &pages);
            let Some(mark) = mark else {
                let (result, _) = bench.run(step, programs(name)).await;
                assert!(result.is_ok(), "{name}, {what}: {result:?}");
                // `shred` is not run here.
                assert!(
                    name == "erase_devices" || pages.is_empty() || !is_as_written(&file, &pages),
                    "{name} left {what}"
                );
                erased += 1;
                continue;
            };
            let (result, _) = bench.run(step, Script::new()).await;
            assert!(result.is_err(), "{name} erased {what}");
            let failure = failure(result);
            assert_eq!(failure.kind, FailureKind::ProtectedDevice, "{name}, {what}");
            assert!(failure.details.contains(mark), "{name}, {what}: {failure}");
            assert!(failure.details.contains("/dev/sda"), "{failure}");
            assert!(is_as_written(&file, &pages), "{name} changed {what}");
            guarded += 1;
        }
    }
    assert_eq!((guarded, erased), (1_900 * 3, 100 * 3));
}
