use std::path::Path;

use proptest::prelude::*;

use super::super::checksum::verified;
use super::*;
use crate::system::Disks;
use crate::system::disk::LinuxDisks;
use crate::system::disk::testing::{CacheLoss, PowerCut};

const MIB: usize = 1 << 20;

fn disk(size: usize) -> (tempfile::NamedTempFile, Box<dyn Disk>) {
    disk_with(&vec![0xAA; size])
}

fn disk_with(content: &[u8]) -> (tempfile::NamedTempFile, Box<dyn Disk>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    let disk = LinuxDisks.open(file.path()).unwrap();
    (file, disk)
}

fn blocks(image: &[u8]) -> Vec<Arc<Block>> {
    image.chunks(MIB).map(Block::of).collect()
}

fn begin(disk: Box<dyn Disk>) -> Result<ImageWriter, WriteError> {
    let extent = DiskExtent::whole(disk.as_ref());
    ImageWriter::begin(disk, extent, Written::default())
}

fn write(disk: Box<dyn Disk>, blocks: &[Arc<Block>]) -> Result<(), WriteError> {
    let mut writer = begin(disk)?;
    for block in blocks {
        writer.append(Arc::clone(block))?;
    }
    writer.finish(verified())?.release()
}

/// How an image gets to the writer.
#[derive(Debug, Clone, Copy)]
enum Way {
    Blocks,
    Bytes,
    /// Pieces of this length in an order of this seed.
    Scattered(usize, u64),
    /// Everything waits behind the image before it gets to its place.
    Staged,
}

fn send(writer: &mut ImageWriter, way: Way, image: &[u8]) -> Result<(), WriteError> {
    match way {
        Way::Blocks => blocks(image)
            .into_iter()
            .try_for_each(|block| writer.append(block)),
        Way::Bytes => image
            .chunks(77_777)
            .try_for_each(|bytes| writer.append_bytes(bytes)),
        Way::Scattered(length, seed) => {
            writer.declare(image.len() as u64)?;
            let is_zeroed = seed % 2 == 1 && writer.clear(seed % 4 == 1)?;
            let mut pieces: Vec<_> = image.chunks(length).enumerate().collect();
            pieces.sort_by_key(|(index, _)| {
                (*index as u64 + 1).wrapping_mul(seed.wrapping_mul(2) | 1) % 1009
            });
            for (index, bytes) in pieces {
                let offset = (index * length) as u64;
                if bytes.iter().any(|byte| *byte != 0) {
                    if index % 2 == 0 {
                        writer.write_at(offset, bytes)?;
                    } else {
                        for (block, start) in blocks(bytes).iter().zip((0..).step_by(MIB)) {
                            writer.write_block(offset + start, block, 0..block.len())?;
                        }
                    }
                } else if !is_zeroed {
                    writer.zero(offset, bytes.len() as u64)?;
                }
            }
            Ok(())
        }
        Way::Staged => {
            writer.declare(image.len() as u64)?;
            let mut waiting = Vec::new();
            for (bytes, offset) in image.chunks(MIB).zip((0..).step_by(MIB)) {
                let Some(at) = writer.stage(bytes)? else {
                    panic!("no room behind the image");
                };
                waiting.push((offset, at, bytes.len()));
            }
            for (offset, at, length) in waiting {
                let bytes = writer.staged(at, length)?;
                writer.write_at(offset, &bytes)?;
            }
            Ok(())
        }
    }
}

/// An image whose first bytes and last sector tell that it is there.
fn image(length: usize) -> Vec<u8> {
    let mut image = vec![0x11; length];
    image[3 * MIB..5 * MIB].fill(0);
    image[510..512].copy_from_slice(&[0x55, 0xaa]);
    image[length - 512..length - 504].copy_from_slice(b"EFI PART");
    image
}

fn has_table(path: &Path) -> bool {
    let bytes = std::fs::read(path).unwrap();
    bytes[510..512] == [0x55, 0xaa] || bytes[bytes.len() - 512..].starts_with(b"EFI PART")
}

#[test]
fn zeros_and_data_arrive_where_they_belong() {
    let (file, disk) = disk(9 * MIB);
    let image = image(8 * MIB + 100);
    write(disk, &blocks(&image)).unwrap();
    let bytes = std::fs::read(file.path()).unwrap();
    assert!(bytes[..image.len()] == image);
    assert!(
        bytes[image.len()..8 * MIB + 512]
            .iter()
            .all(|byte| *byte == 0)
    );
}

/// Writes with a power cut after every number of changes until it succeeds.
fn cut_power_at_every_moment(way: Way, punches: bool, loss: CacheLoss, image: &[u8], size: usize) {
    let mut was_cut = 0;
    // What the disk was before: it boots.
    let before = [0x55, 0xaa].repeat(size / 2);
    for changes in 0.. {
        let (file, disk) = disk_with(&before);
        let disk = PowerCut::after(changes, punches).losing(loss).feed(disk);
        let written = begin(disk).and_then(|mut writer| {
            send(&mut writer, way, image)?;
            writer.finish(verified())?.release()
        });
        let bytes = std::fs::read(file.path()).unwrap();
        let is_whole = bytes[..image.len()] == *image;
        match written {
            Ok(()) => {
                assert!(is_whole, "{way:?}");
                assert!(!bytes[image.len()..].contains(&0x11), "{way:?}");
                break;
            }
            // The old contents are still whole, but for the backup of their table.
            Err(_) if bytes[..size - MIB] == before[..size - MIB] => {}
            Err(_) => {
                was_cut += 1;
                // Everything but the beginning may be there.
                assert!(
                    bytes[..MIB].iter().all(|byte| *byte == 0) || is_whole,
                    "{way:?} after {changes} changes, losing {loss:?}"
                );
                // Nothing of it waits where a backup table would be.
                assert!(!bytes[image.len().max(size - MIB)..].contains(&0x11));
            }
        }
    }
    assert!(was_cut > 7, "only {was_cut} moments were tried");
}

#[test]
fn a_power_cut_at_any_moment_leaves_no_table_or_the_whole_image() {
    let image = image(8 * MIB);
    for (way, size) in [
        (Way::Blocks, 8 * MIB),
        (Way::Bytes, 8 * MIB),
        (Way::Scattered(MIB, 7), 8 * MIB),
        (Way::Scattered(300_032, 3), 8 * MIB),
        (Way::Scattered(300_032, 4), 8 * MIB),
        (Way::Staged, 17 * MIB),
    ] {
        for punches in [true, false] {
            for loss in CacheLoss::KINDS {
                cut_power_at_every_moment(way, punches, loss, &image, size);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_dropped_writer_leaves_no_table(length in 5 * MIB..8 * MIB, dropped_after in 0_usize..8) {
        let size = 8 * MIB;
        // An image that fills the disk has its backup table in the disk's last sectors.
        let length = if dropped_after.is_multiple_of(2) { size } else { length };
        let (file, disk) = disk(size);
        let mut writer = begin(disk).unwrap();
        for block in blocks(&image(length)).into_iter().take(dropped_after) {
            writer.append(block).unwrap();
        }
        drop(writer);
        prop_assert!(!has_table(file.path()));
        let bytes = std::fs::read(file.path()).unwrap();
        prop_assert!(bytes[..MIB].iter().all(|byte| *byte == 0));
        prop_assert!(bytes[size - MIB..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn any_order_gives_the_image_and_nothing_shows_before_it_is_verified(
        sectors in 1..16_000_usize,
        piece in 1..6000_usize,
        seed in 0..1009_u64,
        punches in proptest::bool::ANY,
    ) {
        let size = 8 * MIB;
        let image = {
            let mut image = vec![0x11; sectors * 512];
            image[510..512].copy_from_slice(&[0x55, 0xaa]);
            let end = image.len();
            image[end / 2..end / 2 + end / 8].fill(0);
            image[end - 8..].copy_from_slice(b"EFI PART");
            image
        };
        let (file, disk) = disk(size);
        let disk = PowerCut::after(usize::MAX, punches).feed(disk);
        let mut writer = begin(disk).unwrap();
        send(&mut writer, Way::Scattered(piece * 512, seed), &image).unwrap();
        let unverified = std::fs::read(file.path()).unwrap();
        prop_assert!(unverified[..MIB].iter().all(|byte| *byte == 0));
        prop_assert!(image.len() <= MIB || !unverified[image.len() - 512..image.len()].ends_with(b"EFI PART"));
        writer.finish(verified()).unwrap().release().unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        prop_assert!(bytes[..image.len()] == image);
    }
}

#[test]
fn nothing_is_written_outside_a_declared_image() {
    let (file, disk) = disk(4 * MIB);
    let mut writer = begin(disk).unwrap();
    writer.declare(2 * MIB as u64).unwrap();
    assert!(writer.clear(false).unwrap());
    let block = &blocks(&[1; MIB])[0];
    for offset in [MIB as u64 + 1, 2 * MIB as u64, u64::MAX] {
        for outcome in [
            writer.write_at(offset, block),
            writer.write_block(offset, block, 0..MIB),
            writer.zero(offset, MIB as u64),
        ] {
            assert!(matches!(outcome, Err(WriteError::Outside { .. })));
        }
    }
    drop(writer);
    let bytes = std::fs::read(file.path()).unwrap();
    assert!(bytes.iter().all(|byte| *byte != 1));
}

#[test]
fn a_part_of_a_disk_is_written_and_nothing_around_it() {
    for way in [Way::Blocks, Way::Scattered(MIB, 5)] {
        let (file, disk) = disk(9 * MIB);
        let extent = DiskExtent {
            start: 2 * MIB as u64,
            length: 6 * MIB as u64,
        };
        let image = image(6 * MIB);
        let mut writer = ImageWriter::begin(disk, extent, Written::default()).unwrap();
        send(&mut writer, way, &image).unwrap();
        let unverified = std::fs::read(file.path()).unwrap();
        assert!(unverified[2 * MIB..3 * MIB].iter().all(|byte| *byte == 0));
        writer.finish(verified()).unwrap().release().unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        assert!(bytes[2 * MIB..8 * MIB] == image);
        assert!(
            bytes[..2 * MIB]
                .iter()
                .chain(&bytes[8 * MIB..])
                .all(|byte| *byte == 0xAA)
        );
        let (_file, disk) = self::disk(9 * MIB);
        let mut writer = ImageWriter::begin(disk, extent, Written::default()).unwrap();
        let refused = send(&mut writer, way, &vec![1; 6 * MIB + 512]).unwrap_err();
        assert!(
            matches!(refused, WriteError::TooLarge { available, .. } if available == extent.length)
        );
    }
}

#[test]
fn an_image_that_turns_out_too_large_is_refused() {
    let (file, disk) = disk(5 * MIB);
    let failure = write(disk, &blocks(&image(6 * MIB))).unwrap_err();
    assert!(matches!(failure, WriteError::TooLarge { .. }));
    assert!(
        failure.to_string().contains("more than 5242880 bytes"),
        "{failure}"
    );
    assert!(!has_table(file.path()));
}

#[test]
fn what_is_held_reads_and_changes_like_a_disk() {
    let (file, disk) = disk(3 * MIB);
    let mut writer = begin(disk).unwrap();
    writer.append(blocks(&[0x11; MIB]).remove(0)).unwrap();
    let mut held = writer.finish(verified()).unwrap();
    // Across the border of what is in memory.
    let border = MIB as u64 - 4;
    held.write_at(border, &[7; 8]).unwrap();
    held.zero(border + 2, 4).unwrap();
    let mut bytes = [1; 10];
    held.read_at(border - 1, &mut bytes).unwrap();
    assert_eq!(bytes, [0x11, 7, 7, 0, 0, 0, 0, 7, 7, 0xAA]);
    assert!(
        std::fs::read(file.path()).unwrap()[..MIB]
            .iter()
            .all(|byte| *byte == 0)
    );
    held.release().unwrap();
    let disk = std::fs::read(file.path()).unwrap();
    assert_eq!(disk[MIB - 5..MIB + 5], bytes);
}
