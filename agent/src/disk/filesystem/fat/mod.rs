//! FAT file systems: an empty one for firmware, one with the files of a config drive, and
//! what is in one. Nothing is mounted: it works on files and without the kernel's help.
//!
//! What is made is made in one go, from files that are all known: they lie one behind the
//! other, and nothing is ever changed. The layout is that of Microsoft's `fatgen103`.

use std::io::{self, Seek, SeekFrom, Write};

use thiserror::Error;

use crate::disk::filesystem::copy_tree::{File, Tree};
use crate::disk::filesystem::image_in_memory::Volume;

mod names;
mod read;

use names::{DirectoryNames, SLOT};

pub use read::read;

/// Sectors before the tables in FAT32, and where it keeps its notes and copies of both.
const RESERVED: u64 = 32;
const NOTES: u64 = 1;
const COPIES: u64 = 6;
/// Entries of the root directory where it has a fixed place.
const ROOT_ENTRIES: u64 = 512;
/// There are two tables, for no reason that is left.
const TABLES: u64 = 2;
/// The first cluster.
const FIRST: u32 = 2;
/// From this size on it is FAT32, as `mkfs.fat` does it.
const LARGE: u64 = 512 << 20;
/// With fewer clusters it is FAT12; with this many and more, FAT32.
const CLUSTERS_OF_16: u64 = 4085;
const CLUSTERS_OF_32: u64 = 65_525;
/// What ends a chain of clusters, in all three kinds.
const END: u32 = 0x0fff_ffff;

/// How wide an entry of the tables is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FatWidth {
    Fat12,
    Fat16,
    Fat32,
}

/// Where everything is. All numbers but `cluster` count sectors.
#[derive(Debug, Clone, Copy)]
struct FatGeometry {
    kind: FatWidth,
    /// Bytes.
    sector: u64,
    /// Sectors in a cluster.
    cluster: u64,
    total: u64,
    reserved: u64,
    table: u64,
    root: u64,
    /// Clusters in all.
    clusters: u64,
}

impl FatGeometry {
    fn new(size: u64, sector_size: u32) -> io::Result<Self> {
        let sector = u64::from(sector_size);
        if !(512..=4096).contains(&sector) || !sector.is_power_of_two() {
            return Err(FatError::SectorSize(sector_size).into());
        }
        let is_large = size >= LARGE;
        let bytes = match size >> 20 {
            0..=240 => 4096,
            241..512 => 8192,
            512..=8191 => 4096,
            8192..=16_383 => 8192,
            16_384..=32_767 => 16_384,
            _ => 32_768,
        };
        let cluster = bytes / sector;
        let total = size / sector;
        // For all clusters that there could be: a table may be longer than it must.
        let width = if is_large { 4 } else { 2 };
        let table = ((total / cluster + u64::from(FIRST)) * width).div_ceil(sector);
        let (reserved, root) = if is_large {
            (RESERVED, 0)
        } else {
            (1, ROOT_ENTRIES * SLOT as u64 / sector)
        };
        let data = total.checked_sub(reserved + TABLES * table + root);
        let clusters = data.unwrap_or_default() / cluster;
        let kind = match (is_large, clusters < CLUSTERS_OF_16) {
            (true, _) => FatWidth::Fat32,
            (false, true) => FatWidth::Fat12,
            (false, false) => FatWidth::Fat16,
        };
        let is_right = (clusters >= CLUSTERS_OF_32) == is_large;
        if clusters == 0 || !is_right || u32::try_from(total).is_err() {
            return Err(FatError::Size(size).into());
        }
        Ok(Self {
            kind,
            sector,
            cluster,
            total,
            reserved,
            table,
            root,
            clusters,
        })
    }

    fn cluster_bytes(&self) -> u64 {
        self.cluster * self.sector
    }

    /// Where a cluster starts, in bytes.
    fn at(&self, cluster: u32) -> u64 {
        let first = self.reserved + TABLES * self.table + self.root;
        first * self.sector + u64::from(cluster - FIRST) * self.cluster_bytes()
    }

    /// The sector that says all this.
    fn boot_sector(&self, label: [u8; 11], serial: u32) -> [u8; 512] {
        let mut boot = [0; 512];
        let is_32 = self.kind == FatWidth::Fat32;
        let small = |number: u64| u16::try_from(number).unwrap_or_default().to_le_bytes();
        let large = |number: u64| u32::try_from(number).unwrap_or_default().to_le_bytes();
        boot[..3].copy_from_slice(if is_32 {
            b"\xeb\x58\x90"
        } else {
            b"\xeb\x3c\x90"
        });
        boot[3..11].copy_from_slice(b"MSWIN4.1");
        boot[11..13].copy_from_slice(&small(self.sector));
        boot[13] = u8::try_from(self.cluster).unwrap_or_default();
        boot[14..16].copy_from_slice(&small(self.reserved));
        boot[16] = 2;
        // A fixed disk; tracks and heads that nobody counts any more.
        boot[21] = 0xf8;
        boot[24..26].copy_from_slice(&32_u16.to_le_bytes());
        boot[26..28].copy_from_slice(&64_u16.to_le_bytes());
        if is_32 || self.total > u64::from(u16::MAX) {
            boot[32..36].copy_from_slice(&large(self.total));
        } else {
            boot[19..21].copy_from_slice(&small(self.total));
        }
        let (at, name) = match self.kind {
            FatWidth::Fat12 => (36, b"FAT12   "),
            FatWidth::Fat16 => (36, b"FAT16   "),
            FatWidth::Fat32 => (64, b"FAT32   "),
        };
        if is_32 {
            boot[36..40].copy_from_slice(&large(self.table));
            boot[44..48].copy_from_slice(&FIRST.to_le_bytes());
            boot[48..50].copy_from_slice(&small(NOTES));
            boot[50..52].copy_from_slice(&small(COPIES));
        } else {
            boot[17..19].copy_from_slice(&small(ROOT_ENTRIES));
            boot[22..24].copy_from_slice(&small(self.table));
        }
        boot[at] = 0x80;
        boot[at + 2] = 0x29;
        boot[at + 3..at + 7].copy_from_slice(&serial.to_le_bytes());
        boot[at + 7..at + 18].copy_from_slice(&label);
        boot[at + 18..at + 26].copy_from_slice(name);
        boot[510..].copy_from_slice(&[0x55, 0xaa]);
        boot
    }

    /// What FAT32 notes about its free clusters.
    fn notes(&self, next: u32) -> [u8; 512] {
        let used = u64::from(next - FIRST);
        let free = u32::try_from(self.clusters - used).unwrap_or(u32::MAX);
        let mut notes = [0; 512];
        notes[..4].copy_from_slice(b"RRaA");
        notes[484..488].copy_from_slice(b"rrAa");
        notes[488..492].copy_from_slice(&free.to_le_bytes());
        notes[492..496].copy_from_slice(&next.to_le_bytes());
        notes[510..].copy_from_slice(&[0x55, 0xaa]);
        notes
    }
}

/// A file system in the making.
struct FatBuilder {
    geometry: FatGeometry,
    volume: Volume,
    /// The chains, from the first entry of the table.
    chains: Vec<u32>,
}

impl FatBuilder {
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.volume.seek(SeekFrom::Start(at))?;
        self.volume.write_all(bytes)
    }

    /// The clusters for so many bytes; 0 for none.
    fn take(&mut self, length: u64) -> io::Result<u32> {
        let count = length.div_ceil(self.geometry.cluster_bytes());
        if count == 0 {
            return Ok(0);
        }
        // As many as there are clusters, at most.
        let first = u32::try_from(self.chains.len()).unwrap_or(END);
        let last = u64::from(first) + count - 1;
        if last - u64::from(FIRST) >= self.geometry.clusters {
            return Err(FatError::Full.into());
        }
        for next in u64::from(first) + 1..=last {
            self.chains.push(u32::try_from(next).unwrap_or(END));
        }
        self.chains.push(END);
        Ok(first)
    }

    /// Writes a directory with everything that is in it. `files` are all files, `prefix` is
    /// its path with a slash at the end, `own` where it is.
    fn directory(
        &mut self,
        files: &[File<'_>],
        prefix: &str,
        own: u32,
        mut slots: Vec<u8>,
    ) -> io::Result<()> {
        let mut names = DirectoryNames::default();
        for file in children(files, prefix) {
            let name = &file.path[prefix.len()..];
            let (first, length) = match &file.content {
                Some(content) => {
                    let first = self.take(content.len() as u64)?;
                    if first > 0 {
                        self.write(self.geometry.at(first), content)?;
                    }
                    (first, u32::try_from(content.len()).unwrap_or(u32::MAX))
                }
                None => {
                    let prefix = format!("{}/", file.path);
                    let first = self.take(directory_size(files, &prefix, 2))?;
                    // The root is called 0, wherever it is.
                    let above = if slots.first() == Some(&b'.') { own } else { 0 };
                    let mut dots = names::dot(1, first).to_vec();
                    dots.extend(names::dot(2, above));
                    self.directory(files, &prefix, first, dots)?;
                    (first, 0)
                }
            };
            let is_directory = file.content.is_none();
            slots.extend(names.entry(name, is_directory, first, length)?);
        }
        let at = if own == 0 {
            (self.geometry.reserved + TABLES * self.geometry.table) * self.geometry.sector
        } else {
            self.geometry.at(own)
        };
        self.write(at, &slots)
    }

    /// Writes the tables and what comes before them.
    fn finish(mut self, label: [u8; 11], serial: u32) -> io::Result<Volume> {
        let geometry = self.geometry;
        let mut table = Vec::new();
        for (number, entry) in self.chains.iter().enumerate() {
            let bytes = entry.to_le_bytes();
            match geometry.kind {
                FatWidth::Fat32 => table.extend(bytes),
                FatWidth::Fat16 => table.extend(&bytes[..2]),
                FatWidth::Fat12 if number % 2 == 0 => table.extend([bytes[0], bytes[1] & 0x0f]),
                // One and a half bytes each: the other half is in the byte before.
                FatWidth::Fat12 => {
                    let entry = (entry & 0xfff) << 4;
                    if let Some(last) = table.last_mut() {
                        *last |= entry.to_le_bytes()[0];
                    }
                    table.push(entry.to_le_bytes()[1]);
                }
            }
        }
        for copy in 0..TABLES {
            let at = (geometry.reserved + copy * geometry.table) * geometry.sector;
            self.write(at, &table)?;
        }
        let boot = geometry.boot_sector(label, serial);
        self.write(0, &boot)?;
        if geometry.kind == FatWidth::Fat32 {
            let next = u32::try_from(self.chains.len()).unwrap_or(END);
            self.write(COPIES * geometry.sector, &boot)?;
            for at in [NOTES, COPIES + NOTES] {
                self.write(at * geometry.sector, &geometry.notes(next))?;
            }
        }
        Ok(self.volume)
    }
}

/// What is directly in a directory.
fn children<'a>(files: &'a [File<'a>], prefix: &str) -> impl Iterator<Item = &'a File<'a>> {
    files.iter().filter(move |file| {
        let name = file.path.strip_prefix(prefix);
        name.is_some_and(|name| !name.is_empty() && !name.contains('/'))
    })
}

/// The bytes of a directory that starts with `extra` entries.
fn directory_size(files: &[File<'_>], prefix: &str, extra: usize) -> u64 {
    let names = children(files, prefix).map(|file| names::slots(&file.path[prefix.len()..]));
    ((names.sum::<usize>() + extra) * SLOT) as u64
}

/// A label as FAT keeps it: eleven bytes, padded with blanks.
fn padded(name: &str) -> [u8; 11] {
    let mut label = [b' '; 11];
    for (to, from) in label.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    label
}

/// Why a file system cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
enum FatError {
    #[error("sectors of {0} bytes are not supported")]
    SectorSize(u32),
    #[error("no FAT file system has {0} bytes")]
    Size(u64),
    #[error("the files do not fit")]
    Full,
    #[error("there are too many files in the first directory")]
    RootFull,
    #[error("FAT knows no file called {0:?}")]
    Name(String),
    #[error("two files are called {0} without regard to case")]
    SameName(String),
    #[error("too many names are like {0}")]
    ShortNames(String),
}

impl From<FatError> for io::Error {
    fn from(error: FatError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

/// An empty file system of `size` bytes. `serial` is its identity, see [`crate::disk::filesystem::identity`].
///
/// # Errors
/// No such file system has this size: too small, or with more sectors than 32 bits can count.
pub fn format(size: u64, sector_size: u32, label: &str, serial: u32) -> io::Result<Volume> {
    build(size, sector_size, label, serial, &Tree::default())
}

/// How many bytes from its beginning an empty file system of `size` bytes is made of; what
/// is behind them is free. On the safe side.
#[must_use]
pub fn tables(size: u64) -> u64 {
    // Two tables of at most four bytes for each cluster of at least 4096, and a MiB for the
    // boot sectors and the root directory.
    (size / 256 + (1 << 20)).min(size)
}

/// A file system of `size` bytes with the files of `tree`.
///
/// # Errors
/// They do not fit, or have names that FAT does not know.
pub fn build(
    size: u64,
    sector_size: u32,
    label: &str,
    serial: u32,
    tree: &Tree<'_>,
) -> io::Result<Volume> {
    let geometry = FatGeometry::new(size, sector_size)?;
    let mut builder = FatBuilder {
        geometry,
        volume: Volume::new(size),
        // The first two entries belong to no cluster.
        chains: vec![0x0fff_fff8, END],
    };
    let label = padded(label);
    let root = directory_size(&tree.files, "", 1);
    let own = match geometry.kind {
        FatWidth::Fat32 => builder.take(root)?,
        _ if root > ROOT_ENTRIES * SLOT as u64 => return Err(FatError::RootFull.into()),
        _ => 0,
    };
    let volume_label = names::volume_label(label).to_vec();
    builder.directory(&tree.files, "", own, volume_label)?;
    builder.finish(label, serial)
}

/// How many bytes a file system must have for [`build`] to succeed, on the safe side.
#[must_use]
pub fn size_for(tree: &Tree<'_>) -> u64 {
    // No cluster is larger in a volume of this size.
    let cluster = 4096;
    let files = tree.files.iter().map(|file| {
        let length = file.content.as_ref().map_or(0, |content| content.len());
        // The entry, and what is left of a cluster by the file or by the directory.
        let name = (names::slots(&file.path) * SLOT) as u64;
        (length as u64).next_multiple_of(cluster) + cluster + name
    });
    let content: u64 = files.sum();
    // The tables take less than a sixteenth, the fixed part less than 256 KiB.
    content + content / 16 + (256 << 10)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use ironic_ondisk::size::MIB;
    use proptest::prelude::*;

    use super::*;
    use ironic_ondisk::Source;
    use ironic_ondisk::filesystem::fat::BootSector;
    use ironic_ondisk::signature;

    use crate::system::disk::LinuxDisks;
    use crate::system::process::Programs;
    use crate::system::{Cmd, Disks, Run, RunError};

    fn bytes(mut volume: Volume) -> Vec<u8> {
        let mut bytes = Vec::new();
        volume.rewind().unwrap();
        volume.read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// A volume of a size, to be looked at.
    struct Made(Volume, u64);

    impl Source for Made {
        type Error = io::Error;

        fn size(&self) -> u64 {
            self.1
        }

        fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            self.0.seek(SeekFrom::Start(offset))?;
            self.0.read_exact(buffer)
        }
    }

    fn sample() -> Tree<'static> {
        let mut tree = Tree::default();
        tree.directory("openstack".to_owned()).unwrap();
        tree.directory("openstack/latest".to_owned()).unwrap();
        let meta = br#"{"uuid": "x"}"#.to_vec();
        tree.file("openstack/latest/meta_data.json".to_owned(), meta)
            .unwrap();
        tree.file(
            "openstack/latest/a name with blanks, and long.txt".to_owned(),
            vec![7; 100_000],
        )
        .unwrap();
        tree
    }

    #[test]
    fn an_empty_one_has_label_and_identity() {
        for (size, sector_size) in [
            (550 * MIB, 512),
            (550 * MIB, 4096),
            (64 * MIB, 4096),
            (2 * MIB, 512),
        ] {
            let mut volume = format(size, sector_size, "efi-part", 0x1234_abcd).unwrap();
            let mut head = [0; 512];
            volume.rewind().unwrap();
            volume.read_exact(&mut head).unwrap();
            assert_eq!(BootSector::parse(&head).unwrap().sector_size, sector_size);
            let content = signature::identify(Made(volume, size), 512).unwrap();
            let found = content.certain().unwrap().identity;
            assert_eq!(found.label.as_deref(), Some("efi-part"));
            assert_eq!(found.uuid.as_deref(), Some("1234-ABCD"));
        }
        assert!(format(1000, 512, "x", 1).is_err());
        assert!(format(MIB, 520, "x", 1).is_err());
    }

    #[test]
    fn files_come_back_and_fit_into_the_promised_size() {
        let tree = sample();
        for sector_size in [512, 4096] {
            let size = size_for(&tree).next_multiple_of(MIB);
            let volume = build(size, sector_size, "CONFIG-2", 1, &tree).unwrap();
            let read = read(&bytes(volume)).unwrap();
            assert_eq!(read.files, tree.files);
        }
        // Not into less.
        assert!(build(100 << 10, 512, "CONFIG-2", 1, &tree).is_err());
    }

    #[tokio::test]
    async fn the_programs_that_check_such_file_systems_are_content() {
        let sizes = [
            1, 2, 16, 17, 64, 240, 241, 300, 511, 512, 550, 8191, 8192, 40_000,
        ];
        for (size, sector_size) in sizes.iter().flat_map(|size| [(*size, 512), (*size, 4096)]) {
            let size = size * MIB + 3 * 4096;
            let volume = build(size, sector_size, "CONFIG-2", 1, &sample()).unwrap();
            let file = tempfile::NamedTempFile::new().unwrap();
            file.as_file().set_len(size).unwrap();
            let mut disk = LinuxDisks.open(file.path()).unwrap();
            volume.write_to(disk.as_mut(), 0).unwrap();
            // Another library reads it, too.
            let options = fatfs::FsOptions::new().update_accessed_date(false);
            let system = fatfs::FileSystem::new(file.as_file(), options).unwrap();
            let mut meta = String::new();
            let path = "openstack/latest/meta_data.json";
            let mut read = system.root_dir().open_file(path).unwrap();
            read.read_to_string(&mut meta).unwrap();
            assert_eq!(meta, r#"{"uuid": "x"}"#);
            drop(read);
            drop(system);
            let check = Cmd::new("fsck.vfat").args(["-n", file.path().to_str().unwrap()]);
            match Programs.run(check).await {
                Err(RunError::Missing { program }) => eprintln!("not checked: {program}"),
                said => drop(said.unwrap()),
            }
        }
    }

    #[test]
    fn two_names_that_fat_takes_for_one_are_refused() {
        let mut tree = Tree::default();
        tree.file("a".to_owned(), vec![1]).unwrap();
        tree.file("A".to_owned(), vec![2]).unwrap();
        assert!(build(8 * MIB, 512, "CONFIG-2", 1, &tree).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn damage_is_survived(marks in proptest::collection::vec((0..40_000_usize, any::<u8>()), 1..20)) {
            let mut bytes = bytes(build(2 * MIB, 512, "CONFIG-2", 1, &sample()).unwrap());
            for (at, byte) in marks {
                bytes[at] = byte;
            }
            let _ = read(&bytes);
        }
    }
}
