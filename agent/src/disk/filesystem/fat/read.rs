//! What is in a FAT file system.

use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};

use fatfs::{FileSystem, FsOptions};

use crate::disk::filesystem::copy_tree::{MAX_DIRECTORY_DEPTH, Tree, TreeError};

/// How often the whole of a file system may be read: every cluster is read once, and the table
/// for each of them. Chains of clusters and directories that lead back to themselves would be
/// read forever.
const PASSES: u64 = 4;

/// The files of a file system, if there are not more than `limits` allows.
///
/// # Errors
/// It is damaged, or too much.
pub fn read(bytes: &[u8]) -> Result<Tree<'static>, TreeError> {
    let mut tree = Tree::default();
    // Whatever it is read for must not change it, not even its access times.
    let options = FsOptions::new().update_accessed_date(false);
    let bounded = BoundedReader {
        inner: Cursor::new(bytes.to_vec()),
        left: (bytes.len() as u64).saturating_mul(PASSES),
    };
    let system = FileSystem::new(bounded, options)?;
    collect(&system.root_dir(), "", 0, &mut tree)?;
    Ok(tree)
}

/// A file system in memory of which only so much is read.
struct BoundedReader {
    inner: Cursor<Vec<u8>>,
    left: u64,
}

impl Read for BoundedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let left = self.left.checked_sub(read as u64);
        self.left = left.ok_or_else(|| {
            io::Error::other("it is damaged: its directories or files lead back to themselves")
        })?;
        Ok(read)
    }
}

impl Write for BoundedReader {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.inner.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Seek for BoundedReader {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.inner.seek(position)
    }
}

fn collect<T: fatfs::ReadWriteSeek>(
    directory: &fatfs::Dir<'_, T>,
    above: &str,
    depth: usize,
    tree: &mut Tree<'static>,
) -> Result<(), TreeError> {
    if depth > MAX_DIRECTORY_DEPTH {
        return Err(TreeError::TooDeep(MAX_DIRECTORY_DEPTH));
    }
    for entry in directory.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if name == "." || name == ".." {
            continue;
        }
        let path = format!("{above}{name}");
        if entry.is_dir() {
            tree.directory(path.clone())?;
            collect(&entry.to_dir(), &format!("{path}/"), depth + 1, tree)?;
        } else {
            let mut content = Vec::new();
            let mut file = entry.to_file().take(tree.room() + 1);
            file.read_to_end(&mut content)?;
            tree.file(path, content)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTOR: usize = 512;
    const ENTRY: usize = 32;

    /// A small FAT12 file system of one cluster for each sector: two tables of one sector, a
    /// root directory of one, then data from cluster 2 on.
    struct Volume(Vec<u8>);

    impl Volume {
        const ROOT: usize = 3 * SECTOR;

        fn new() -> Self {
            let mut bytes = vec![0; 200 * SECTOR];
            bytes[..3].copy_from_slice(&[0xeb, 0x3c, 0x90]);
            bytes[11..13].copy_from_slice(&512_u16.to_le_bytes());
            bytes[13] = 1; // sectors in a cluster
            bytes[14] = 1; // reserved sectors
            bytes[16] = 2; // tables
            bytes[17] = 16; // entries of the root directory
            bytes[19..21].copy_from_slice(&200_u16.to_le_bytes());
            bytes[21] = 0xf8;
            bytes[22] = 1; // sectors of a table
            bytes[38] = 0x29;
            bytes[54..62].copy_from_slice(b"FAT12   ");
            bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
            Self(bytes)
        }

        /// Lets a cluster be followed by another one.
        fn chain(mut self, cluster: usize, next: u16) -> Self {
            for table in [SECTOR, 2 * SECTOR] {
                let at = table + cluster + cluster / 2;
                let old = u16::from_le_bytes([self.0[at], self.0[at + 1]]);
                let new = if cluster.is_multiple_of(2) {
                    (old & 0xf000) | next
                } else {
                    (old & 0x000f) | (next << 4)
                };
                self.0[at..at + 2].copy_from_slice(&new.to_le_bytes());
            }
            self
        }

        /// Writes entry `number` of the directory at `place`.
        fn entry(mut self, place: usize, number: usize, name: &[u8; 11], first: u16) -> Self {
            let at = place + number * ENTRY;
            self.0[at..at + 11].copy_from_slice(name);
            self.0[at + 11] = 0x10; // a directory
            self.0[at + 26..at + 28].copy_from_slice(&first.to_le_bytes());
            self
        }

        fn cluster(number: usize) -> usize {
            4 * SECTOR + (number - 2) * SECTOR
        }
    }

    /// Every shape has an end, in less than a second.
    #[test]
    fn what_leads_back_to_itself_has_an_end() {
        let a = b"A          ";
        let deleted = b"\xe5          ";
        let start = || Volume::new().entry(Volume::ROOT, 0, a, 2);
        let full = |mut volume: Volume, name: &[u8; 11], first| {
            for number in 0..2 * SECTOR / ENTRY {
                volume = volume.entry(Volume::cluster(2), number, name, first);
            }
            volume
        };
        let shapes = [
            // A directory that holds itself.
            start().chain(2, 0xfff).entry(Volume::cluster(2), 0, a, 2),
            // One that holds itself many times.
            full(start().chain(2, 0xfff), a, 2),
            // One whose clusters are a ring, of nothing but deleted entries.
            full(start().chain(2, 2), deleted, 0),
            full(start().chain(2, 3).chain(3, 2), deleted, 0),
            // A ring of entries.
            full(start().chain(2, 2), a, 2),
        ];
        for (number, Volume(bytes)) in shapes.into_iter().enumerate() {
            let began = std::time::Instant::now();
            read(&bytes).expect_err(&number.to_string());
            assert!(began.elapsed().as_secs() < 5, "shape {number}");
        }
        let good = start().chain(2, 0xfff);
        assert_eq!(read(&good.0).unwrap().files.len(), 1);
    }
}
