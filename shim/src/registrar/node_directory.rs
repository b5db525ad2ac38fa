//! The directory of node files, read again when one of them changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::node_file::{FileLocation, InvalidNodeFile, NodeDescription, NodeFileError, parse};

/// Files that are read.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// The largest file, in bytes: 100,000 nodes.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// The directory, and what its files held when they were last read.
#[derive(Debug)]
pub struct NodeDirectory {
    path: PathBuf,
    files: BTreeMap<PathBuf, KnownFile>,
}

/// A file as it was read.
#[derive(Debug)]
struct KnownFile {
    version: FileVersion,
    /// What it held when it was last right: a typing error in a file that was right forgets no
    /// node.
    nodes: Vec<NodeDescription>,
}

/// Distinguishes a file from itself before a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileVersion {
    inode: u64,
    length: u64,
    changed: (i64, i64),
}

impl FileVersion {
    fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            length: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// What a look at the directory has found.
#[derive(Debug, Default)]
pub struct DirectoryChange {
    /// Whether the nodes may be others than before.
    pub is_changed: bool,
    /// The files that were read and are wrong.
    pub errors: Vec<NodeFileError>,
}

impl NodeDirectory {
    /// The directory at `path`, of which nothing was read.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            files: BTreeMap::new(),
        }
    }

    /// The nodes as the files described them when they were last read and right, in the order of
    /// the files.
    pub fn nodes(&self) -> impl Iterator<Item = NodeDescription> {
        self.files
            .values()
            .flat_map(|file| file.nodes.iter().cloned())
    }

    /// Reads the files that have changed. Blocks.
    ///
    /// # Errors
    /// The directory cannot be read; nothing has changed then.
    pub fn refresh(&mut self) -> io::Result<DirectoryChange> {
        let mut found = DirectoryChange::default();
        let mut paths = BTreeSet::new();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            if is_node_file(&path) {
                paths.insert(path);
            }
        }
        let before = self.files.len();
        self.files.retain(|path, _| paths.contains(path));
        found.is_changed = self.files.len() != before;
        for path in paths {
            self.refresh_file(path, &mut found);
        }
        Ok(found)
    }

    fn refresh_file(&mut self, path: PathBuf, found: &mut DirectoryChange) {
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            // It was removed after the directory was read: the next look sees that.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return found.errors.push(fault(path, error.into())),
        };
        let version = FileVersion::of(&metadata);
        let known = self.files.get(&path);
        if known.is_some_and(|known| known.version == version) {
            return;
        }
        let nodes = match read(&path, &metadata) {
            Ok(nodes) => {
                found.is_changed = true;
                nodes
            }
            Err(error) => {
                found.errors.push(error);
                let known = self.files.remove(&path);
                known.map_or_else(Vec::new, |known| known.nodes)
            }
        };
        self.files.insert(path, KnownFile { version, nodes });
    }
}

/// Hidden files are those that editors and Kubernetes keep beside the real ones.
fn is_node_file(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.as_encoded_bytes());
    let extension = path.extension().and_then(|extension| extension.to_str());
    name.is_some_and(|name| !name.starts_with(b"."))
        && extension.is_some_and(|extension| EXTENSIONS.contains(&extension))
}

fn read(path: &Path, metadata: &Metadata) -> Result<Vec<NodeDescription>, NodeFileError> {
    let text = if metadata.len() > MAX_FILE_BYTES {
        Err(InvalidNodeFile::TooLarge(MAX_FILE_BYTES))
    } else {
        fs::read_to_string(path).map_err(InvalidNodeFile::from)
    };
    let text = text.map_err(|source| fault(path.to_owned(), source))?;
    parse(&Arc::new(path.to_owned()), &text)
}

fn fault(path: PathBuf, source: InvalidNodeFile) -> NodeFileError {
    NodeFileError {
        location: FileLocation {
            path: Arc::new(path),
            line: 0,
        },
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u8) -> String {
        format!("uuid: 0000000{number}-0000-4000-8000-000000000000\nserial_number: S{number}\n")
    }

    fn serials(directory: &NodeDirectory) -> Vec<String> {
        directory.nodes().map(|node| node.serial_number).collect()
    }

    #[test]
    fn files_are_read_when_they_change_and_a_fault_is_that_of_its_file_alone() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let mut directory = NodeDirectory::new(folder.path());
        write("a.yaml", &node(1));
        write("b.json", "{\"uuid\": 1}");
        write("c.yml", &node(3));
        write(".d.yaml", &node(4));
        write("e.txt", "no node");
        let found = directory.refresh().unwrap();
        assert_eq!(serials(&directory), ["S1", "S3"]);
        assert!(found.is_changed);
        let [error] = found.errors.try_into().unwrap();
        assert!(error.to_string().contains("b.json:1: "), "{error}");
        // It is said once.
        let found = directory.refresh().unwrap();
        assert!(!found.is_changed && found.errors.is_empty());
        // What was right counts until the file is right again.
        write("a.yaml", "uuid: [");
        let found = directory.refresh().unwrap();
        assert_eq!((found.is_changed, found.errors.len()), (false, 1));
        assert_eq!(serials(&directory), ["S1", "S3"]);
        write("a.yaml", &node(2));
        assert!(directory.refresh().unwrap().is_changed);
        fs::remove_file(folder.path().join("c.yml")).unwrap();
        assert!(directory.refresh().unwrap().is_changed);
        assert_eq!(serials(&directory), ["S2"]);
    }

    #[test]
    fn directory_that_is_not_there_forgets_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nodes");
        let mut directory = NodeDirectory::new(&path);
        assert!(directory.refresh().is_err());
        fs::create_dir(&path).unwrap();
        fs::write(path.join("a.yaml"), node(1)).unwrap();
        directory.refresh().unwrap();
        fs::rename(&path, folder.path().join("elsewhere")).unwrap();
        assert!(directory.refresh().is_err());
        assert_eq!(serials(&directory), ["S1"]);
    }
}
