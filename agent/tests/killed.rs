//! A power cut, as near as a test comes to it: the process is killed at many points of an
//! image, without a word. The disk shows the old partition table while everything that it names
//! is as it was, the new one once all of the verified image is there, and none in between.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and this one runs the program"
)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};

const MIB: usize = 1 << 20;
const SECTOR: usize = 512;
const IMAGE: usize = 5 * MIB;
const DISK: usize = 8 * MIB;

/// Bytes without a pattern; others for another seed.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d ^ seed;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A disk with a GUID partition table, primary and backup.
fn gpt_disk(length: usize, seed: u64) -> Vec<u8> {
    let mut disk = noise(length, seed);
    disk[..MIB].fill(0);
    disk[length - MIB..].fill(0);
    let mut cursor = std::io::Cursor::new(disk);
    let mut table = gptman::GPT::new_from(&mut cursor, 512, [7; 16]).unwrap();
    table[1] = gptman::GPTPartitionEntry {
        partition_type_guid: [3; 16],
        unique_partition_guid: [1; 16],
        starting_lba: 2048,
        ending_lba: 4095,
        attribute_bits: 0,
        partition_name: "root".into(),
    };
    gptman::GPT::write_protective_mbr_into(&mut cursor, 512).unwrap();
    table.write_into(&mut cursor).unwrap();
    cursor.into_inner()
}

/// A qcow2 image whose tables are in front of its data, as `qemu-img convert` puts them.
fn qcow2(image: &[u8]) -> Vec<u8> {
    const CLUSTER: usize = 64 << 10;
    const COPIED: u64 = 1 << 63;
    let [level_one, level_two, counts, data] = [1, 2, 3, 4].map(|number| number * CLUSTER);
    let mut file = vec![0; data];
    let mut put = |offset: usize, bytes: &[u8]| {
        file[offset..offset + bytes.len()].copy_from_slice(bytes);
    };
    put(0, b"QFI\xfb\0\0\0\x02");
    put(20, &16_u32.to_be_bytes());
    put(24, &(image.len() as u64).to_be_bytes());
    put(36, &1_u32.to_be_bytes());
    put(40, &(level_one as u64).to_be_bytes());
    put(48, &(counts as u64).to_be_bytes());
    put(56, &1_u32.to_be_bytes());
    put(level_one, &(level_two as u64 | COPIED).to_be_bytes());
    for number in 0..image.len().div_ceil(CLUSTER) {
        let entry = (data + number * CLUSTER) as u64 | COPIED;
        put(level_two + 8 * number, &entry.to_be_bytes());
    }
    file.extend_from_slice(image);
    file
}

/// Sends `limit` bytes of the body to any client, and counts.
fn serve(body: Vec<u8>, limit: Arc<AtomicUsize>, sent: Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes());
            let limit = limit.load(Ordering::SeqCst).min(body.len());
            for piece in body[..limit].chunks(16 << 10) {
                // The other side may be dead.
                if stream.write_all(piece).is_err() {
                    break;
                }
                sent.fetch_add(piece.len(), Ordering::SeqCst);
            }
            // Silent until the other side goes away.
            let _ = stream.read(&mut [0; 1]);
        }
    });
    format!("http://{address}/disk")
}

fn start(format: &str, url: &str, digest: &str, device: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_ironic-agent"))
        .args(["write-image", "--disk-format", format, "--url", url])
        .args(["--sha256", digest, "--device"])
        .arg(device)
        .env_remove("http_proxy")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Places at which a firmware or a kernel finds a partition table.
fn tables(disk: &[u8]) -> Vec<&'static str> {
    let is_header = |at: usize| disk[at..].starts_with(b"EFI PART");
    [
        ("a master boot record", disk[510..512] == [0x55, 0xaa]),
        ("a primary table", is_header(SECTOR)),
        ("the image's backup", is_header(IMAGE - SECTOR)),
        ("the disk's backup", is_header(DISK - SECTOR)),
    ]
    .into_iter()
    .filter_map(|(name, is_there)| is_there.then_some(name))
    .collect()
}

/// Whether the disk still begins as it did.
fn shows_old_record(path: &Path) -> bool {
    let mut sector = [0; SECTOR];
    let mut file = std::fs::File::open(path).unwrap();
    file.read_exact(&mut sector).unwrap();
    sector[510..] == [0x55, 0xaa]
}

#[test]
fn a_disk_shows_a_partition_table_only_with_all_of_its_raw_image() {
    kill_at_fifty_points("raw", |image| image.to_vec());
}

#[test]
fn a_disk_shows_a_partition_table_only_with_all_of_its_compressed_image() {
    kill_at_fifty_points("raw", |image| zstd::bulk::compress(image, 1).unwrap());
}

#[test]
fn a_disk_shows_a_partition_table_only_with_all_of_its_qcow2_image() {
    kill_at_fifty_points("qcow2", qcow2);
}

fn kill_at_fifty_points(format: &str, pack: impl FnOnce(&[u8]) -> Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    let (old, image) = (gpt_disk(DISK, 1), gpt_disk(IMAGE, 2));
    let file = pack(&image);
    let length = file.len();
    let digest = hex::encode(Sha256::digest(&file));
    let limit = Arc::new(AtomicUsize::new(0));
    let sent = Arc::new(AtomicUsize::new(0));
    let url = serve(file, Arc::clone(&limit), Arc::clone(&sent));
    let random = noise(50 * 8, 3);
    // What was found after a kill: the old disk, none, the whole image.
    let mut found = [0; 3];
    for (number, random) in random.chunks_exact(8).enumerate() {
        let random = u64::from_le_bytes(random.try_into().unwrap());
        // A few are killed before anything is written, the others after: half of them in the
        // download, half around its end. With less than a block the disk is not touched.
        let is_early = number % 10 == 0;
        let stop = match number % 2 {
            0 if is_early => usize::try_from(random % MIB as u64).unwrap(),
            0 => MIB + usize::try_from(random % (length - MIB) as u64).unwrap(),
            _ => length,
        };
        limit.store(stop, Ordering::SeqCst);
        sent.store(0, Ordering::SeqCst);
        std::fs::write(&path, &old).unwrap();
        let mut child = start(format, &url, &digest, &path);
        while sent.load(Ordering::SeqCst) < stop && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        // The new record looks like the old one, where this thread missed what was between.
        while !is_early && shows_old_record(&path) && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        // From nothing to somewhat longer than the rest takes.
        std::thread::sleep(Duration::from_micros((random >> 32) & 0xffff));
        child.kill().unwrap();
        let ended = child.wait().unwrap();

        let disk = std::fs::read(&path).unwrap();
        let seen = tables(&disk);
        // Between the tables, which are fitted to the disk.
        let is_whole = disk[MIB..IMAGE - MIB] == image[MIB..IMAGE - MIB];
        if seen.is_empty() {
            found[1] += 1;
        } else if disk[MIB..DISK - MIB] == old[MIB..DISK - MIB] {
            found[0] += 1;
        } else {
            assert!(is_whole, "kill {number} at {stop}: {seen:?}");
            found[2] += 1;
        }
        assert!(
            !ended.success() || (is_whole && seen.len() >= 3),
            "{seen:?}"
        );
    }
    println!("kills that left the old disk, no table, the whole image: {found:?}");
    // Those that were killed while bytes were missing.
    assert!(found[1] >= 20, "too few kills hit the middle: {found:?}");
}
