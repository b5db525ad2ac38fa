//! Compressed images, from the server to the disk.

use super::*;

pub(super) fn zstd(bytes: &[u8]) -> Vec<u8> {
    ::zstd::bulk::compress(bytes, 1).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ::bzip2::write::BzEncoder::new(Vec::new(), ::bzip2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_compressed_raw_image_is_unpacked_and_its_file_is_what_is_verified() {
    let image = mbr_image(3 * MIB);
    for (file, disk_format) in [
        (gzip(&image), json!("raw")),
        (zstd(&image), json!("raw")),
        (zstd(&image), Value::Null),
        (xz(&image), json!("raw")),
        (xz(&image), json!("xz")),
        (bzip2(&image), json!("raw")),
        (bzip2(&image), Value::Null),
        // As pigz, pixz and pbzip2 make them, in several members.
        (
            [gzip(&image[..MIB]), gzip(&image[MIB..])].concat(),
            json!("raw"),
        ),
        (
            [xz(&image[..MIB]), vec![0; 8], xz(&image[MIB..])].concat(),
            json!("raw"),
        ),
        (
            [bzip2(&image[..MIB]), bzip2(&image[MIB..])].concat(),
            json!("raw"),
        ),
        // As pzstd makes it, in several frames.
        (
            [
                &[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 9, 9, 9, 9],
                &zstd(&image[..MIB])[..],
                &zstd(&image[MIB..]),
            ]
            .concat(),
            json!("raw"),
        ),
    ] {
        let bench = Bench::new(8 * MIB);
        let server = Server::start([("/i", Page::new(file.clone()))]).await;
        let mut image_info = info(&server.url("/i"), &file);
        image_info["disk_format"] = disk_format;
        bench.deploy(image_info.clone(), None).await.unwrap();
        assert!(bench.disk()[..image.len()] == image);
        // The digest of the content is that of another file.
        image_info["os_hash_value"] = json!(hex::encode(Sha256::digest(&image)));
        let failure = bench.deploy(image_info, None).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::ImageChecksum);
        bench.assert_unbootable();
    }
}

#[tokio::test]
async fn a_byte_that_changed_on_its_way_leaves_an_unbootable_disk() {
    let image = mbr_image(3 * MIB);
    for file in [gzip(&image), zstd(&image), xz(&image), bzip2(&image)] {
        for at in [20, file.len() / 3, file.len() / 2, file.len() - 5] {
            let mut changed = file.clone();
            changed[at] ^= 0x10;
            let bench = Bench::new(8 * MIB);
            let server = Server::start([("/i", Page::new(changed))]).await;
            let failure = bench.deploy(info(&server.url("/i"), &file), None).await;
            failure.unwrap_err();
            if bench.disk()[..MIB].iter().any(|byte| *byte != 0xAA) {
                bench.assert_unbootable();
            }
        }
    }
}

#[tokio::test]
async fn without_inspection_raw_means_the_bytes_of_the_file() {
    let mut bench = Bench::new(8 * MIB);
    bench.config.disable_deep_image_inspection = true;
    let file = zstd(&mbr_image(3 * MIB));
    let server = Server::start([("/i", Page::new(file.clone()))]).await;
    let failure = bench
        .deploy(info(&server.url("/i"), &file), None)
        .await
        .unwrap_err();
    // These bytes are not a disk, as their beginning shows.
    assert!(
        failure.details.contains("unrecognised disk label"),
        "{failure}"
    );
    bench.assert_untouched();
}

#[tokio::test]
async fn what_cannot_be_unpacked_to_this_disk_is_refused_before_it_is_touched() {
    let mut qcow2 = mbr_image(3 * MIB);
    qcow2[..4].copy_from_slice(b"QFI\xfb");
    let large = zstd(&vec![0; 9 * MIB]);
    let broken = {
        let mut broken = gzip(&mbr_image(3 * MIB));
        broken[3] = 0xff;
        broken
    };
    for (file, kind, text) in [
        (
            gzip(&qcow2),
            FailureKind::InvalidImage,
            "inside the gzip image",
        ),
        (
            zstd(&gzip(&qcow2)),
            FailureKind::InvalidImage,
            "actually gzip",
        ),
        (large, FailureKind::ImageWrite, "has 9437184 bytes"),
        (broken, FailureKind::InvalidImage, "of the gzip image"),
    ] {
        let bench = Bench::new(8 * MIB);
        let server = Server::start([("/i", Page::new(file.clone()))]).await;
        let failure = bench
            .deploy(info(&server.url("/i"), &file), None)
            .await
            .unwrap_err();
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(failure.details.contains(text), "{failure}");
        bench.assert_untouched();
    }
}

#[tokio::test]
async fn a_truncated_or_endless_file_leaves_an_unbootable_disk() {
    let whole = gzip(&noise(7 * MIB));
    let image = [&mbr_image(3 * MIB)[..], &vec![0; 60 * MIB]].concat();
    for (file, text) in [
        (
            whole[..whole.len() - 5].to_vec(),
            "ends before the compressed data",
        ),
        (gzip(&image), "more than 8388608 bytes"),
    ] {
        let bench = Bench::new(8 * MIB);
        let server = Server::start([("/i", Page::new(file.clone()))]).await;
        let failure = bench
            .deploy(info(&server.url("/i"), &file), None)
            .await
            .unwrap_err();
        assert!(failure.details.contains(text), "{failure}");
        bench.assert_unbootable();
        bench.assert_next_works().await;
    }
}
