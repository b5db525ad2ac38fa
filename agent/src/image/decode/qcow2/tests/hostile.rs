//! One file per refusal, and files that chance has changed.

use super::super::error::Structure;
use super::picture::{Picture, Style, Tables, get64, pack, set32, set64};
use super::*;

const SIZE: u64 = 1 << 20;
const CLUSTER: usize = 1 << 16;

fn plain() -> Picture {
    Picture::new(
        Style {
            virtual_size: SIZE,
            ..Style::default()
        },
        3,
    )
}

fn refused(change: impl FnOnce(&mut Picture)) -> Defect {
    refused_of(plain(), change)
}

fn refused_of(mut picture: Picture, change: impl FnOnce(&mut Picture)) -> Defect {
    change(&mut picture);
    let mut paper = Paper::new(true);
    match decode(&picture.file, SIZE, &mut paper, &mut TestRng::new(1)) {
        FileResult::Refused(refusal) => {
            assert_eq!(paper.declared, None);
            refusal.defect
        }
        result => panic!("{result:?}"),
    }
}

fn stopped_of(mut picture: Picture, change: impl FnOnce(&mut Picture)) -> String {
    change(&mut picture);
    let mut paper = Paper::new(true);
    match decode(&picture.file, SIZE, &mut paper, &mut TestRng::new(1)) {
        FileResult::Stopped(reason) => reason,
        result => panic!("{result:?}"),
    }
}

#[test]
fn an_image_that_was_not_closed_is_taken() {
    let mut picture = plain();
    // The first incompatible feature: what counts the references may be wrong.
    set64(&mut picture.file, 72, 1);
    let mut paper = Paper::new(true);
    let result = decode(&picture.file, SIZE, &mut paper, &mut TestRng::new(1));
    assert_eq!(result, FileResult::Written);
    assert!(paper.bytes == picture.disk);
}

#[test]
fn headers_that_cannot_be_deployed_are_refused() {
    let set =
        |offset: usize, value: u64| refused(move |picture| set64(&mut picture.file, offset, value));
    let set_short =
        |offset: usize, value: u32| refused(move |picture| set32(&mut picture.file, offset, value));
    let cut = |length: usize| refused(move |picture| picture.file.truncate(length));

    assert_eq!(set_short(0, 0x5146_49fa), Defect::NotQcow2);
    assert_eq!(
        cut(2),
        Defect::ShortHeader {
            found: 2,
            needed: 4
        }
    );
    assert_eq!(
        cut(40),
        Defect::ShortHeader {
            found: 40,
            needed: 72
        }
    );
    assert_eq!(
        cut(100),
        Defect::ShortHeader {
            found: 100,
            needed: 104
        }
    );
    assert_eq!(set_short(4, 1), Defect::Version(1));
    assert_eq!(set_short(4, 4), Defect::Version(4));
    assert_eq!(set(8, 0x200), Defect::BackingFile);
    assert_eq!(set_short(32, 1), Defect::Encrypted(1));
    assert_eq!(set_short(32, 2), Defect::Encrypted(2));
    assert_eq!(set(72, 1 << 2), Defect::ExternalData);
    // What says most about the image is reported first.
    assert_eq!(set(72, 1 << 1 | 1 << 2 | 1 << 40), Defect::ExternalData);
    assert_eq!(set(72, 1 << 1), Defect::Corrupt);
    assert_eq!(set(72, 1 << 5 | 1), Defect::UnknownFeatures(1 << 5));
    assert_eq!(set(72, 1 << 63), Defect::UnknownFeatures(1 << 63));
    assert_eq!(set(72, 1 << 3), Defect::CompressionBit { kind: 0, bit: 1 });
    let kind = |kind: u8| refused(move |picture| picture.file[104] = kind);
    assert_eq!(kind(1), Defect::CompressionBit { kind: 1, bit: 0 });
    assert_eq!(kind(2), Defect::CompressionType(2));
    assert_eq!(set_short(20, 8), Defect::ClusterSize(8));
    assert_eq!(set_short(20, 22), Defect::ClusterSize(22));
    let small_subclusters = refused(|picture| {
        set64(&mut picture.file, 72, 1 << 4);
        set32(&mut picture.file, 20, 13);
    });
    assert_eq!(small_subclusters, Defect::ClusterSize(13));
    assert_eq!(set_short(96, 7), Defect::RefcountOrder(7));
    assert_eq!(set_short(100, 96), Defect::HeaderLength(96));
    assert_eq!(set_short(100, 107), Defect::HeaderLength(107));
    assert_eq!(set_short(100, 1 << 20), Defect::HeaderLength(1 << 20));
    assert_eq!(set(24, 511), Defect::Empty);
    let limit = 1 << 50;
    let size = u64::MAX / 512 * 512;
    assert_eq!(set(24, u64::MAX), Defect::BeyondReason { size, limit });
    let (size, available) = (SIZE + 512, SIZE);
    assert_eq!(set(24, size), Defect::TooLarge { size, available });
    let (needed, limit) = (1, 4 << 20);
    let found = 0;
    let defect = Defect::LevelOneSize {
        found,
        needed,
        limit,
    };
    assert_eq!(set_short(36, 0), defect);
    let found = 0xffff_ffff;
    let defect = Defect::LevelOneSize {
        found,
        needed,
        limit,
    };
    assert_eq!(set_short(36, 0xffff_ffff), defect);
}

#[test]
fn extensions_are_looked_through() {
    let extension = |kind: u32, length: u32| {
        refused(move |picture| {
            set32(&mut picture.file, 112, kind);
            set32(&mut picture.file, 116, length);
        })
    };
    assert_eq!(extension(0x0537_be77, 16), Defect::Encrypted(2));
    assert_eq!(extension(0x4441_5441, 16), Defect::ExternalData);
    let (kind, length) = (0x6803_f857, 1 << 16);
    assert_eq!(extension(kind, length), Defect::Extension { kind, length });
    let (kind, length) = (1, u32::MAX);
    assert_eq!(extension(kind, length), Defect::Extension { kind, length });
    // Behind another one.
    let second = refused(|picture| {
        set32(&mut picture.file, 128, 0x4441_5441);
    });
    assert_eq!(second, Defect::ExternalData);
}

#[test]
fn tables_must_be_where_tables_can_be() {
    let level_one = |offset: u64| refused(move |picture| set64(&mut picture.file, 40, offset));
    let (first, second) = (Structure::Header, Structure::LevelOne);
    assert_eq!(level_one(0), Defect::Overlap { first, second });
    let (what, offset) = (second, 0x10200);
    assert_eq!(level_one(offset), Defect::Unaligned { what, offset });
    let length = plain().file.len() as u64;
    let outside = |what, start: u64, size: u64| {
        let end = start + size;
        Defect::Outside {
            what,
            start,
            end,
            length,
        }
    };
    assert_eq!(level_one(1 << 40), outside(second, 1 << 40, 8));

    let entry = |entry: u64| {
        refused(move |picture| {
            let at = picture.level_one;
            set64(&mut picture.file, at, entry);
        })
    };
    let table = Structure::LevelOne;
    for reserved in [1, 1 << 8, 1 << 56, 1 << 62] {
        let found = 0x20000 | reserved;
        assert_eq!(
            entry(found),
            Defect::Reserved {
                table,
                entry: found
            }
        );
    }
    let (what, offset) = (Structure::LevelTwo, 0x10200);
    assert_eq!(entry(offset), Defect::Unaligned { what, offset });
    assert_eq!(entry(1 << 40), outside(what, 1 << 40, 1 << 16));
    let on_itself = entry(plain().level_one as u64);
    assert!(matches!(on_itself, Defect::Overlap { .. }), "{on_itself}");
}

#[test]
fn a_table_is_not_used_twice() {
    // Two L2 tables of 64 entries.
    let style = Style {
        cluster_bits: 9,
        virtual_size: 64 << 10,
        ..Style::default()
    };
    let picture = Picture::new(style, 4);
    assert_eq!(picture.level_two.len(), 2);
    let defect = refused_of(picture, |picture| {
        let table = get64(&picture.file, picture.level_one);
        let at = picture.level_one + 8;
        set64(&mut picture.file, at, table);
    });
    let (first, second) = (Structure::LevelTwo, Structure::LevelTwo);
    assert_eq!(defect, Defect::Overlap { first, second });
}

#[test]
fn clusters_must_be_where_clusters_can_be() {
    let entry = |entry: u64| {
        refused(move |picture| {
            let at = picture.plain[0];
            set64(&mut picture.file, at, entry);
        })
    };
    let table = Structure::LevelTwo;
    for reserved in [2, 1 << 8, 1 << 56, 1 << 61] {
        let found = 0x40000 | reserved;
        assert_eq!(
            entry(found),
            Defect::Reserved {
                table,
                entry: found
            }
        );
    }
    let (what, offset) = (Structure::Cluster, 0x40200);
    assert_eq!(entry(offset), Defect::Unaligned { what, offset });
    let (start, end) = (1 << 30, (1 << 30) + 1);
    let length = plain().file.len() as u64;
    let outside = Defect::Outside {
        what,
        start,
        end,
        length,
    };
    assert_eq!(entry(start), outside);
    let second = Structure::Cluster;
    let overlaps = |first| Defect::Overlap { first, second };
    assert_eq!(
        entry(plain().level_one as u64),
        overlaps(Structure::LevelOne)
    );
    assert_eq!(
        entry(plain().level_two[0] as u64),
        overlaps(Structure::LevelTwo)
    );
    let twice = get64(&plain().file, plain().plain[1]);
    assert_eq!(entry(twice), overlaps(Structure::Cluster));

    let old = Style {
        version: 2,
        virtual_size: SIZE,
        ..Style::default()
    };
    let defect = refused_of(Picture::new(old, 3), |picture| {
        let at = picture.plain[0];
        let entry = get64(&picture.file, at);
        set64(&mut picture.file, at, entry | 1);
    });
    assert_eq!(defect, Defect::ZeroInVersion2);
}

fn subclusters() -> Picture {
    let style = Style {
        has_subclusters: true,
        virtual_size: SIZE,
        ..Style::default()
    };
    Picture::new(style, 3)
}

#[test]
fn subclusters_are_data_or_zeros() {
    let bits = |bits: u64| {
        refused_of(subclusters(), move |picture| {
            let at = picture.plain[0] + 8;
            set64(&mut picture.file, at, bits);
        })
    };
    let both = 1 << 35 | 1 << 3;
    assert_eq!(bits(both), Defect::Subclusters(both));
    let nowhere = refused_of(subclusters(), |picture| {
        let at = picture.plain[0];
        set64(&mut picture.file, at, 0);
        set64(&mut picture.file, at + 8, 1);
    });
    assert_eq!(nowhere, Defect::Subclusters(1));
    let defect = refused_of(subclusters(), |picture| {
        let at = picture.plain[0];
        let entry = get64(&picture.file, at);
        set64(&mut picture.file, at, entry | 1);
    });
    assert!(matches!(defect, Defect::Reserved { .. }), "{defect}");
}

fn compressed(is_zstd: bool) -> Picture {
    let style = Style {
        is_zstd,
        compressed: 1,
        virtual_size: SIZE,
        ..Style::default()
    };
    let picture = Picture::new(style, 3);
    assert!(picture.compressed.len() > 3);
    picture
}

#[test]
fn compressed_clusters_must_be_where_they_can_be() {
    let set = |change: fn(u64) -> u64| {
        refused_of(compressed(false), move |picture| {
            let at = picture.compressed[1];
            let entry = change(get64(&picture.file, at));
            set64(&mut picture.file, at, entry);
        })
    };
    let second = Structure::Compressed;
    let defect = set(|_| 1 << 62 | 9);
    let first = Structure::Header;
    assert_eq!(defect, Defect::Overlap { first, second });
    let defect = set(|entry| entry + (1 << 40));
    assert!(matches!(defect, Defect::Outside { .. }), "{defect}");
    // At the same byte as another, and long before its end.
    let first = Structure::Compressed;
    let defect = refused_of(compressed(false), |picture| {
        let entry = get64(&picture.file, picture.compressed[0]);
        let at = picture.compressed[1];
        set64(&mut picture.file, at, entry);
    });
    assert_eq!(defect, Defect::Overlap { first, second });
    let defect = set(|entry| entry | 0xff << 54);
    assert!(
        matches!(defect, Defect::Overlap { .. } | Defect::Outside { .. }),
        "{defect}"
    );
}

#[test]
fn a_compressed_cluster_is_exactly_one_cluster() {
    let replaced = |is_zstd: bool, bytes: &[u8]| {
        let packed = pack(bytes, is_zstd);
        stopped_of(compressed(is_zstd), move |picture| {
            let at = usize::try_from(get64(&picture.file, picture.compressed[0]) & 0xff_ffff);
            let at = at.unwrap();
            picture.file[at..at + packed.len()].copy_from_slice(&packed);
        })
    };
    for is_zstd in [false, true] {
        let short = replaced(is_zstd, &vec![0; CLUSTER - 1]);
        assert!(short.contains("unpacks to 65535 bytes"), "{short}");
        let long = replaced(is_zstd, &vec![0; CLUSTER + 1]);
        assert!(long.contains("longer than a cluster"), "{long}");
        // A bomb.
        let long = replaced(is_zstd, &vec![0; 100 * CLUSTER]);
        assert!(long.contains("longer than a cluster"), "{long}");
        let rubbish = stopped_of(compressed(is_zstd), |picture| {
            let at = get64(&picture.file, picture.compressed[0]) & 0xff_ffff;
            let at = usize::try_from(at).unwrap();
            picture.file[at..at + 20].fill(0xff);
        });
        assert!(rubbish.contains("is damaged"), "{rubbish}");
        assert!(rubbish.contains("of the qcow2 image"), "{rubbish}");
    }
}

#[test]
fn the_download_must_repeat_the_tables() {
    for what in [Structure::LevelOne, Structure::LevelTwo] {
        let picture = plain();
        let (header, map) = prepare(&picture.file, SIZE).unwrap();
        let mut file = picture.file.clone();
        // A place that nobody uses, in an entry that says nothing.
        let at = match what {
            Structure::LevelOne => picture.level_one,
            _ => picture.level_two[0] + CLUSTER - 8,
        };
        file[at] ^= 0x80;
        let mut paper = Paper::new(true);
        let changed = stream(&file, header, map, &mut paper, &mut TestRng::new(1)).unwrap_err();
        let changed = changed.to_string();
        assert!(
            changed.contains(&format!("{what} is not what the server")),
            "{changed}"
        );
    }
}

#[test]
fn a_file_that_ends_early_is_refused() {
    for (seed, tables) in [
        (1, Tables::First),
        (2, Tables::Last),
        (3, Tables::LevelTwoLate),
    ] {
        let style = Style {
            virtual_size: SIZE,
            compressed: 3,
            tables,
            ..Style::default()
        };
        let picture = Picture::new(style, seed);
        let mut used = picture.plain.iter().chain(&picture.compressed);
        assert!(used.next().is_some());
        let (header, map) = prepare(&picture.file, SIZE).unwrap();
        let last = map.iter().last().unwrap().host();
        let last = last.max(picture.level_two[0] as u64);
        drop((header, map));
        for length in [CLUSTER, 3 * CLUSTER, usize::try_from(last).unwrap()] {
            let (header, map) = prepare(&picture.file, SIZE).unwrap();
            let mut paper = Paper::new(true);
            let file = &picture.file[..length];
            let known = stream(file, header, map, &mut paper, &mut TestRng::new(1));
            let known = known.unwrap_err().to_string();
            assert!(known.contains("the file ended at byte"), "{known}");
            let mut paper = Paper::new(true);
            let unknown = decode_unknown(file, SIZE, &mut paper, &mut TestRng::new(1));
            assert!(
                matches!(&unknown, (FileResult::Stopped(reason), false) if reason.contains("ended at byte")),
                "{unknown:?}"
            );
        }
    }
}

#[test]
fn what_chance_does_to_a_file_is_refused_or_written_within_the_disk() {
    // `Paper` refuses what is outside of the disk, or written twice.
    let (mut written, mut refused) = (0, 0);
    for seed in 0..300 {
        let mut rng = TestRng::new(seed);
        let style = Style::any(&mut rng, 64 << 10);
        let mut picture = Picture::new(style, seed);
        let width = if style.has_subclusters { 16 } else { 8 };
        for _ in 0..=rng.below(3) {
            // Where it matters: the header, the tables, the entries.
            let length = picture.file.len() as u64;
            let table = picture.level_two.first().copied().unwrap_or(0);
            let at = match rng.below(5) {
                0 => rng.below(112),
                1 => picture.level_one as u64 + rng.below(16),
                2 => table as u64 + rng.below(width * 8),
                3 => table as u64 + rng.below(1 << style.cluster_bits),
                _ => rng.below(length),
            };
            let at = usize::try_from(at.min(length - 1)).unwrap();
            match rng.below(3) {
                0 => picture.file[at] ^= 1 << rng.below(8),
                1 => picture.file[at] = u8::try_from(rng.below(256)).unwrap(),
                _ => picture.file.truncate(at.max(1)),
            }
            if picture.file.len() < 200 {
                break;
            }
        }
        let mut paper = Paper::new(rng.is_one_in(2));
        match decode(&picture.file, style.virtual_size, &mut paper, &mut rng) {
            FileResult::Written => written += 1,
            FileResult::Refused(_) | FileResult::Stopped(_) => refused += 1,
        }
        let mut paper = Paper::new(rng.is_one_in(2));
        decode_unknown(&picture.file, style.virtual_size, &mut paper, &mut rng);
    }
    assert!(
        written > 20 && refused > 20,
        "{written} written, {refused} refused"
    );
}

/// What `qemu-img` makes, damaged. With the tables asked for ahead and without, the disk is the
/// same where both are content.
#[test]
fn damaged_input() {
    ironic_fuzz::run_on("qcow2", &ironic_fuzz::unpacked("qcow2"), |bytes| {
        let (mut asked, mut streamed) = (Paper::new(true), Paper::new(true));
        let result = decode(bytes, SIZE, &mut asked, &mut TestRng::new(1));
        let (other, _) = decode_unknown(bytes, SIZE, &mut streamed, &mut TestRng::new(2));
        if result == FileResult::Written && other == FileResult::Written {
            assert!(asked.bytes == streamed.bytes);
        }
    });
}
