//! Images of every kind arrive as the disk that they stand for.

use super::picture::{Picture, Style, Tables};
use super::*;

/// The disk of a file, whichever way it takes. Answers whether one pass without the tables
/// was enough.
fn check(style: Style, seed: u64) -> bool {
    let picture = Picture::new(style, seed);
    let was_enough = check_unknown(&picture, style, seed);
    let mut rng = TestRng::new(seed + 1);
    let mut paper = Paper::new(rng.is_one_in(2));
    let result = decode(&picture.file, style.virtual_size, &mut paper, &mut rng);
    assert_eq!(result, FileResult::Written, "{seed}: {style:?}");
    assert!(paper.bytes == picture.disk, "{seed}: {style:?}");
    if !paper.is_all_zeros {
        assert!(paper.is_written.iter().all(|byte| *byte), "{style:?}");
    }
    was_enough
}

fn check_unknown(picture: &Picture, style: Style, seed: u64) -> bool {
    let mut rng = TestRng::new(seed + 2);
    let mut paper = Paper::new(rng.is_one_in(2));
    let result = decode_unknown(&picture.file, style.virtual_size, &mut paper, &mut rng);
    if let (FileResult::Stopped(_), true) = result {
        // Only compressed clusters of a few bytes each can be so entangled.
        assert!(style.compressed > 0, "{seed}: {style:?}");
        return false;
    }
    assert_eq!(result, (FileResult::Written, false), "{seed}: {style:?}");
    assert!(paper.bytes == picture.disk, "{seed}: {style:?}");
    true
}

#[test]
fn all_kinds_of_images_arrive_whole() {
    let mut enough = 0;
    for seed in 0..200 {
        enough += i32::from(check(
            Style::any(&mut TestRng::new(seed + 1000), 512 << 10),
            seed,
        ));
    }
    assert!(
        enough > 190,
        "for {enough} of 200 images one pass was enough"
    );
}

#[test]
fn the_largest_clusters_arrive_whole() {
    for (seed, compressed) in [(1, 0), (2, 1)] {
        let style = Style {
            cluster_bits: 21,
            virtual_size: (9 << 20) + 512,
            is_shuffled: true,
            compressed,
            ..Style::default()
        };
        assert!(check(style, seed));
    }
}

#[test]
fn what_memory_cannot_keep_waits_behind_the_image() {
    let (mut staged, mut enough, mut refused) = (0, 0, 0);
    for seed in 0..200 {
        let style = Style {
            tables: [Tables::Last, Tables::LevelTwoLate][usize::from(seed % 3 == 0)],
            ..Style::any(&mut TestRng::new(seed + 3000), 512 << 10)
        };
        let picture = Picture::new(style, seed);
        let length = picture.file.len();
        for (room, is_plenty) in [
            (4 * length + (1 << 20), true),
            (length / 2, false),
            (0, false),
        ] {
            let mut rng = TestRng::new(seed + 4);
            let mut paper = Paper::new(rng.is_one_in(2));
            paper.room = room;
            // The blocks of these tests are of up to 150 KiB.
            let memory = (160 << 10) + usize::try_from(rng.below(64 << 10)).unwrap();
            let size = style.virtual_size;
            let (result, needs_tables) =
                decode_deferred(&picture.file, size, memory, &mut paper, &mut rng);
            staged += usize::from(!paper.staged.is_empty());
            if result == FileResult::Written {
                assert!(
                    !needs_tables && paper.bytes == picture.disk,
                    "{seed}: {style:?}"
                );
                enough += usize::from(is_plenty);
                continue;
            }
            // Nothing is lost: the tables are asked for and the file is read once more.
            assert!(needs_tables, "{seed}: {style:?}: {result:?}");
            assert!(paper.staged.is_empty(), "{seed}: {style:?}: {result:?}");
            refused += usize::from(!is_plenty);
            assert!(
                !is_plenty || style.compressed > 0,
                "{seed}: {style:?}: {result:?}"
            );
        }
    }
    // Else this test would show nothing.
    assert!(
        staged > 40 && refused > 40,
        "{staged} staged, {refused} refused"
    );
    assert!(
        enough > 190,
        "for {enough} of 200 images one pass was enough"
    );
}

#[test]
fn neighbours_are_one_extent() {
    let style = Style {
        virtual_size: 64 << 20,
        ..Style::default()
    };
    let mut picture = Picture::new(style, 5);
    // All clusters one after the other, as `qemu-img convert` makes them.
    let table = picture.level_two[0];
    let first = picture.file.len().next_multiple_of(1 << 16);
    for index in 0..1024 {
        let host = (first + (index << 16)) as u64;
        picture::set64(&mut picture.file, table + index * 8, host);
    }
    picture.file.resize(first + (64 << 20), 0x11);
    let (_, map) = prepare(&picture.file, 64 << 20).unwrap();
    assert_eq!(map.len(), 1);
}

#[test]
fn tables_that_are_near_are_one_request() {
    let style = Style {
        cluster_bits: 12,
        virtual_size: 8 << 20,
        tables: Tables::Last,
        ..Style::default()
    };
    let picture = Picture::new(style, 7);
    let head = &picture.file[..512];
    let header = Header::parse(head, Some(picture.file.len() as u64), 8 << 20).unwrap();
    let parts = Whole::new(&picture.file);
    now(learn(&header, head, &parts, MEMORY)).unwrap();
    assert_eq!(picture.level_two.len(), 4);
    // The L1 table, and all four L2 tables.
    assert_eq!(parts.asked.into_inner(), 2);
}

#[test]
fn the_map_stays_within_its_bound() {
    let style = Style {
        cluster_bits: 9,
        virtual_size: 1 << 20,
        is_shuffled: true,
        ..Style::default()
    };
    let picture = Picture::new(style, 11);
    let header = Header::parse(&picture.file[..512], None, 1 << 20).unwrap();
    let whole = |limit| {
        let parts = Whole::new(&picture.file);
        now(learn(&header, &[], &parts, limit))
    };
    let needed = whole(MEMORY).unwrap().memory();
    assert!(needed < 30 << 10, "{needed}");
    let Err(LearnError::Refused(refusal)) = whole(needed / 2) else {
        panic!("too large a map");
    };
    let limit = needed / 2;
    assert_eq!(refusal.defect, Defect::MapTooLarge { limit });
    // Beside what is deferred there is less room for it, and then the tables are read first.
    let (deferred, mut paper) = (MEMORY - limit, Paper::new(true));
    let rng = &mut TestRng::new(12);
    let (result, needs_tables) = decode_deferred(&picture.file, 1 << 20, deferred, &mut paper, rng);
    assert!(
        matches!(&result, FileResult::Stopped(reason) if reason.contains("the map of the image"))
    );
    assert!(needs_tables);
}

#[test]
fn a_file_is_read_again_for_what_lies_before() {
    struct SlicedStream<'a> {
        rest: &'a [u8],
        whole: &'a [u8],
        readings: &'a AtomicUsize,
    }
    impl super::super::reread::RestartableStream for SlicedStream<'_> {
        async fn next(&mut self) -> Result<Option<Bytes>, crate::image::source::SourceError> {
            let (piece, rest) = self.rest.split_at(self.rest.len().min(3));
            self.rest = rest;
            Ok(Some(Bytes::copy_from_slice(piece)).filter(|piece| !piece.is_empty()))
        }

        async fn again(&self) -> Result<Self, crate::image::source::SourceError> {
            self.readings.fetch_add(1, Ordering::Relaxed);
            let rest = self.whole;
            Ok(Self { rest, ..*self })
        }
    }
    let readings = AtomicUsize::new(0);
    let file: Vec<u8> = (0..100).collect();
    let stream = SlicedStream {
        rest: &[],
        whole: &file,
        readings: &readings,
    };
    let read = AtomicU64::new(0);
    let parts = super::super::RereadSource::new(&stream, &read);
    let part = |first: u64, length: u64| now(parts.part(first, length));
    assert_eq!(part(10, 5).unwrap(), file[10..15]);
    assert_eq!(part(15, 1).unwrap(), file[15..16]);
    assert_eq!(part(40, 60).unwrap(), file[40..]);
    assert_eq!(read.load(Ordering::Relaxed), 100);
    assert_eq!(readings.load(Ordering::Relaxed), 1);
    assert_eq!(part(0, 4).unwrap(), file[..4]);
    assert_eq!(readings.load(Ordering::Relaxed), 2);
    let error = part(99, 2).unwrap_err();
    assert_eq!(error.to_string(), "the file ended at byte 100");
}
