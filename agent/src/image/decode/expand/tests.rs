use std::io::Write;
use std::path::Path;

use liblzma::stream::Stream;
use proptest::prelude::*;

use super::*;
use crate::image::checksum::verified;
use crate::image::progress::Written;
use crate::image::write::{DiskExtent, WriteError};
use crate::system::Disks;
use crate::system::disk::LinuxDisks;

const MIB: usize = 1 << 20;
const FORMATS: [Format; 4] = [Format::Gzip, Format::Zstd, Format::Xz, Format::Bzip2];

fn compress(format: Format, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match format {
        Format::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            out = encoder.finish().unwrap();
        }
        Format::Zstd => {
            let mut encoder = ::zstd::Encoder::new(out, 1).unwrap();
            encoder.include_checksum(true).unwrap();
            encoder.write_all(bytes).unwrap();
            out = encoder.finish().unwrap();
        }
        Format::Xz => {
            let mut encoder = liblzma::write::XzEncoder::new(out, 0);
            encoder.write_all(bytes).unwrap();
            out = encoder.finish().unwrap();
        }
        _ => {
            let mut encoder = ::bzip2::write::BzEncoder::new(out, ::bzip2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            out = encoder.finish().unwrap();
        }
    }
    out
}

/// Half of it packs well, half does not.
fn content(length: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut content: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
    .take(length / 2)
    .collect();
    content.extend(std::iter::repeat_n(*b"text", length).flatten());
    content.truncate(length);
    content
}

fn expand(format: Format, file: &[u8], disk: &Path) -> Result<(), DecodeError> {
    let disk = LinuxDisks.open(disk).unwrap();
    let extent = DiskExtent::whole(disk.as_ref());
    let mut writer = ImageWriter::begin(disk, extent, Written::default())?;
    let mut expander = Expander::new(format).unwrap();
    for bytes in file.chunks(BLOCK) {
        expander.push(Block::of(bytes), &mut writer)?;
    }
    let _ = expander.finish(&mut writer)?;
    Ok(writer.finish(verified())?.release()?)
}

fn disk(size: usize) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(size as u64).unwrap();
    file
}

#[test]
fn what_was_packed_in_one_or_several_members_is_unpacked() {
    for format in FORMATS {
        let disk = disk(8 * MIB);
        let content = content(5 * MIB + 512);
        let one = compress(format, &content);
        let (first, second) = content.split_at(2 * MIB + 77);
        let several = [
            compress(format, first),
            compress(format, &[]),
            compress(format, second),
        ]
        .concat();
        for file in [one, several] {
            std::fs::write(disk.path(), vec![0xAA; 8 * MIB]).unwrap();
            expand(format, &file, disk.path()).unwrap();
            let bytes = std::fs::read(disk.path()).unwrap();
            assert!(bytes[..content.len()] == content, "{}", format.name());
            let inside = beginning(format, &file[..file.len().min(BLOCK)], false).unwrap();
            assert!(inside == content[..inside.len()] && inside.len() >= ENOUGH);
        }
    }
}

#[test]
fn what_is_cut_off_broken_or_followed_by_what_its_tool_refuses_is_refused() {
    let content = content(2 * MIB);
    for format in FORMATS {
        let disk = disk(4 * MIB);
        let whole = compress(format, &content);
        let length = whole.len();
        let mut files: Vec<Vec<u8>> = [0, 1, 7, length / 2, length - 9, length - 1]
            .map(|cut| whole[..cut].to_vec())
            .into();
        // What `gzip` and `bzip2` refuse; they ignore other bytes.
        files.push([&whole[..], &whole[..20]].concat());
        if matches!(format, Format::Xz | Format::Zstd) {
            files.push([&whole[..], b"rubbish, and more of it"].concat());
            files.push([&whole[..], &[0]].concat());
        } else {
            files.push([&whole[..], &whole[..1]].concat());
        }
        // Of zstd the digest of the file finds it: its check sum is not computed.
        let changed: &[usize] = match format {
            Format::Zstd => &[],
            _ => &[length / 3, length / 2],
        };
        for &at in changed {
            let mut broken = whole.clone();
            broken[at] ^= 0x10;
            files.push(broken);
        }
        for (index, file) in files.iter().enumerate() {
            let refused = expand(format, file, disk.path());
            assert!(
                matches!(&refused, Err(DecodeError::Compressed { format: found, offset, .. })
                    if *found == format && *offset <= file.len() as u64),
                "{} file {index}: {refused:?}",
                format.name()
            );
            let bytes = std::fs::read(disk.path()).unwrap();
            assert!(bytes[..MIB].iter().all(|byte| *byte == 0));
        }
    }
}

#[test]
fn the_fill_bytes_that_formats_allow_are_no_garbage() {
    let content = content(100_000);
    let disk = disk(MIB);
    let one = compress(Format::Xz, &content);
    let file = [&one[..], &[0; 8], &one, &[0; 4]].concat();
    expand(Format::Xz, &file, disk.path()).unwrap();
    let skipped = [
        &0x184D_2A50_u32.to_le_bytes()[..],
        &4_u32.to_le_bytes(),
        b"skip",
    ]
    .concat();
    let one = compress(Format::Zstd, &content);
    let file = [&one[..], &skipped, &one, &skipped].concat();
    expand(Format::Zstd, &file, disk.path()).unwrap();
    let bytes = std::fs::read(disk.path()).unwrap();
    assert!(bytes[..200_000] == [&content[..], &content].concat());
}

#[test]
fn ignored_bytes_are_counted_also_across_blocks() {
    let content = content(100_000);
    for (format, tail, ignored) in [
        (Format::Gzip, vec![0; 3 * BLOCK], None),
        (Format::Gzip, [&[0; 700][..], b"x"].concat(), Some(701)),
        (Format::Gzip, b"FWx0 and metadata".to_vec(), Some(17)),
        (Format::Gzip, vec![0x1F, 0x8C, 1], Some(3)),
        (
            Format::Bzip2,
            vec![0; 2 * BLOCK + 1],
            Some(2 * BLOCK as u64 + 1),
        ),
        (Format::Bzip2, b"BZh0".to_vec(), Some(4)),
        (Format::Xz, vec![0; 512], None),
    ] {
        let file = [compress(format, &content), tail.clone()].concat();
        for length in [BLOCK, 1, 2, 511] {
            if file.len() / length > 200_000 {
                continue;
            }
            let disk = disk(MIB);
            let disk = LinuxDisks.open(disk.path()).unwrap();
            let extent = DiskExtent::whole(disk.as_ref());
            let mut writer = ImageWriter::begin(disk, extent, Written::default()).unwrap();
            let mut expander = Expander::new(format).unwrap();
            for bytes in file.chunks(length) {
                expander.push(Block::of(bytes), &mut writer).unwrap();
            }
            let trailer = expander.finish(&mut writer).unwrap();
            assert_eq!(
                trailer.map(|trailer| trailer.bytes),
                ignored,
                "{}",
                format.name()
            );
        }
    }
}

#[test]
fn a_bomb_ends_at_the_end_of_the_disk() {
    for format in FORMATS {
        let disk = disk(3 * MIB);
        let bomb = compress(format, &vec![0; 64 * MIB]);
        assert!(bomb.len() < MIB);
        let refused = expand(format, &bomb, disk.path()).unwrap_err();
        assert!(
            matches!(refused, DecodeError::Write(WriteError::TooLarge { available, .. })
                if available == 3 << 20),
            "{refused}"
        );
    }
}

#[test]
fn what_needs_too_much_memory_is_refused_at_its_head_with_a_way_out() {
    let mut encoder = ::zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(&content(2 * MIB)).unwrap();
    let zstd = encoder.finish().unwrap();
    let options = {
        let mut options = liblzma::stream::LzmaOptions::new_preset(0).unwrap();
        options.dict_size(128 << 20);
        options
    };
    let mut filters = liblzma::stream::Filters::new();
    filters.lzma2(&options);
    let stream = Stream::new_stream_encoder(&filters, liblzma::stream::Check::Crc64).unwrap();
    let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(&content(1000)).unwrap();
    let xz = encoder.finish().unwrap();
    for (format, file, way_out) in [
        (Format::Zstd, zstd, "without --long"),
        (Format::Xz, xz, "xz -9 or less"),
    ] {
        let head = &file[..file.len().min(BLOCK)];
        let refused = beginning(format, head, false).unwrap_err().to_string();
        assert!(refused.contains(way_out), "{refused}");
    }
    // The largest of the usual.
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 9);
    xz.write_all(&content(1000)).unwrap();
    let inside = beginning(Format::Xz, &xz.finish().unwrap(), true).unwrap();
    assert_eq!(inside.len(), 1000);
}

#[test]
fn a_file_that_hides_its_content_behind_its_head_is_refused() {
    let skipped = {
        let length = 2_u32 << 20;
        let mut frame = 0x184D_2A50_u32.to_le_bytes().to_vec();
        frame.extend(length.to_le_bytes());
        frame.resize(8 + length as usize, 0);
        frame
    };
    let file = [skipped, compress(Format::Zstd, &content(MIB))].concat();
    let refused = beginning(Format::Zstd, &file[..BLOCK], false).unwrap_err();
    assert!(
        refused.to_string().contains("hold only 0 bytes"),
        "{refused}"
    );
}

#[test]
fn zstd_tells_its_length() {
    let known = ::zstd::bulk::compress(&content(1000), 1).unwrap();
    assert_eq!(announced_length(Format::Zstd, &known), Some(1000));
    assert_eq!(announced_length(Format::Zstd, &known[..100]), Some(1000));
    // Of several frames the first tells only its own.
    let several = [&known[..], &known].concat();
    assert_eq!(announced_length(Format::Zstd, &several), None);
    assert_eq!(
        announced_length(Format::Zstd, &several[..known.len() + 1]),
        None
    );
    let unknown = compress(Format::Zstd, &content(1000));
    assert_eq!(announced_length(Format::Zstd, &unknown), None);
    assert_eq!(announced_length(Format::Gzip, &unknown), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn mutated_files_never_write_beyond_the_disk_nor_hang(
        format in proptest::sample::select(FORMATS.to_vec()),
        changes in proptest::collection::vec((0..60_000_usize, 0..=255_u8), 1..6),
    ) {
        let mut file = compress(format, &content(100_000));
        for (at, byte) in changes {
            let length = file.len();
            file[at % length] = byte;
        }
        let disk = disk(MIB);
        // Whatever comes of it, it ends.
        let _ = expand(format, &file, disk.path());
        prop_assert_eq!(std::fs::metadata(disk.path()).unwrap().len(), MIB as u64);
    }
}

#[test]
fn damaged_input() {
    let disk = disk(MIB);
    ironic_fuzz::run("compressed", |bytes| {
        for format in FORMATS {
            let disk = LinuxDisks.open(disk.path()).unwrap();
            let extent = DiskExtent::whole(disk.as_ref());
            let mut writer = ImageWriter::begin(disk, extent, Written::default()).unwrap();
            let mut expander = Expander::new(format).unwrap();
            let pushed = expander.push(Block::of(bytes), &mut writer);
            let _ = pushed.and_then(|()| expander.finish(&mut writer).map(drop));
        }
    });
}
