//! What the partition table of an image decides.

use ironic_ondisk::partition_table::decide::{TableDecision, decide};
use ironic_ondisk::partition_table::testing::{self, Shape};

use super::server::{Page, Server};
use super::*;

const IMAGE: u64 = 3 * MIB as u64;
const DISK: usize = 8 * MIB;

/// Deploys an image to a disk of this size. Answers what was said, and the bench.
async fn deployed(image: &[u8], size: usize) -> (Result<String, Failure>, Bench) {
    let bench = Bench::new(size);
    let server = Server::start([("/i", Page::new(image.to_vec()))]).await;
    let result = bench.deploy(info(&server.url("/i"), image), None).await;
    (result, bench)
}

fn with_mbr(entries: &[(u8, u32, u32)]) -> Vec<u8> {
    let mut image = vec![0; 3 * MIB];
    testing::mbr(&mut image, 0, entries);
    image
}

fn with_gpt(shape: Shape) -> Vec<u8> {
    testing::gpt(IMAGE, shape, &[(1, 2100, 3000), (2, 3001, 4000)])
}

#[tokio::test]
async fn what_contradicts_itself_in_the_first_mebibyte_is_refused_before_the_disk_is_touched() {
    let broken = |primary, backup| {
        with_gpt(Shape {
            primary,
            backup,
            ..Shape::default()
        })
    };
    let overlapping = testing::gpt(IMAGE, Shape::default(), &[(1, 2100, 3000), (2, 2900, 4000)]);
    let beyond = testing::gpt(IMAGE, Shape::default(), &[(1, 2100, 90_000)]);
    let unannounced = with_gpt(Shape {
        is_announced: false,
        primary: false,
        ..Shape::default()
    });
    for (image, text) in [
        (
            with_mbr(&[(0x83, 2048, 200_000)]),
            "partition 1 ends at sector 202047",
        ),
        (
            with_mbr(&[(0x83, 200_000, 2048)]),
            "partition 1 ends at sector 202047",
        ),
        (
            with_mbr(&[(0x83, 0, 6144)]),
            "partition 1 starts at sector 0",
        ),
        (
            with_mbr(&[(0x83, 2048, 2048), (0x83, 3000, 100)]),
            "partitions 1 and 2 overlap",
        ),
        (with_mbr(&[(0x83, 2048, 0)]), "has no partition"),
        (
            with_mbr(&[(0xee, 1, 6143)]),
            "a protective record announces",
        ),
        // The backup is not at the end of the larger disk, where it is looked for.
        (broken(false, true), "a protective record announces"),
        (broken(false, false), "a protective record announces"),
        (overlapping, "partitions 1 and 2 overlap"),
        (beyond, "partition 1 ends at sector 90000"),
        (unannounced, "no protective record"),
    ] {
        let (result, bench) = deployed(&image, DISK).await;
        let failure = result.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Deployment);
        assert!(failure.details.contains(text), "{text}: {failure}");
        bench.assert_untouched();
    }
}

#[tokio::test]
async fn what_contradicts_itself_further_on_leaves_an_unbootable_disk() {
    let links = [
        // Nothing where the chain leads; outside of the extended partition; in a circle.
        (
            vec![(0x83_u8, 8, 100), (0x05, 1000, 100)],
            "no link of it is",
        ),
        (
            vec![(0x83, 8, 5000)],
            "lies outside of the extended partition",
        ),
        (
            vec![(0x83, 8, 100), (0x05, 0, 100)],
            "comes back to sector 2100",
        ),
    ];
    for (link, text) in links {
        let mut image = with_mbr(&[(0x05, 2100, 3000)]);
        testing::mbr(&mut image, 2100 * 512, &link);
        let (result, bench) = deployed(&image, DISK).await;
        let failure = result.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Deployment);
        assert!(failure.details.contains(text), "{text}: {failure}");
        bench.assert_unbootable();
    }
}

#[tokio::test]
async fn a_table_that_is_whole_but_for_a_part_is_written_anew() {
    for (shape, size) in [
        // No record announces it.
        (
            Shape {
                is_announced: false,
                ..Shape::default()
            },
            DISK,
        ),
        // The backup alone, at the disk's end.
        (
            Shape {
                primary: false,
                ..Shape::default()
            },
            3 * MIB,
        ),
        (
            Shape {
                backup: false,
                ..Shape::default()
            },
            3 * MIB,
        ),
        // What the specification allows.
        (
            Shape {
                header: 512,
                entry: 256,
                count: 1024,
                ..Shape::default()
            },
            DISK,
        ),
    ] {
        let (result, bench) = deployed(&with_gpt(shape), size).await;
        result.unwrap();
        let disk = bench.disk();
        let geometry = crate::system::disk::Geometry {
            size: size as u64,
            sector_size: 512,
        };
        let decision = decide(&mut &disk[..], geometry).unwrap();
        let TableDecision::Gpt {
            table,
            repair: None,
            ..
        } = decision
        else {
            panic!("{shape:?}: {decision:?}");
        };
        assert_eq!(table.backup(), size as u64 / 512 - 1);
        let firsts: Vec<_> = table.partitions().map(|found| found.first).collect();
        assert_eq!(firsts, [2100, 3001]);
    }
}

#[tokio::test]
async fn entries_without_length_or_type_are_passed_over() {
    for entries in [
        vec![(0x83, 2048, 0), (0x83, 2048, 4096)],
        vec![(0, 0, 6144), (0xef, 2048, 4096)],
        vec![(0x83, 1, 6143)],
    ] {
        let image = with_mbr(&entries);
        let (result, bench) = deployed(&image, DISK).await;
        result.unwrap();
        assert_eq!(bench.disk()[..image.len()], image);
    }
}

/// The mapped data of a qcow2 image tells as much as a raw image does.
#[tokio::test]
async fn a_qcow2_image_is_refused_by_what_its_first_clusters_hold() {
    let image = with_mbr(&[(0x83, 0, 6144)]);
    let file = super::interrupted::qcow2_in_order(&image);
    let bench = Bench::new(DISK);
    let server = Server::start([("/i", Page::new(file.clone()))]).await;
    let mut info = info(&server.url("/i"), &file);
    info["disk_format"] = json!("qcow2");
    let failure = bench.deploy(info, None).await.unwrap_err();
    assert!(failure.details.contains("starts at sector 0"), "{failure}");
    bench.assert_untouched();
}
