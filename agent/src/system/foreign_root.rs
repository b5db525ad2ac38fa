//! The root of a file system that is not trusted, changed from outside.
//!
//! Its symbolic links are the tenant's: followed as the root of the ramdisk they could lead
//! anywhere. Here every path is resolved by the kernel *within* the tree, as the tenant's own
//! system would: an absolute link starts at the tree's root, and `..` ends there.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{self, AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Uid};

/// Directories that are made on the way, unless something else is asked for.
const DIRECTORY: u32 = 0o755;
/// Files that are made, unless something else is asked for.
const FILE: u32 = 0o644;
/// More names than any directory that is read here; a damaged one may have no end.
const MAX_NAMES: usize = 1 << 16;
/// The kernel asks to try again when something was renamed at the same time.
const ATTEMPTS: usize = 16;

/// The root of a mounted file system.
#[derive(Debug)]
pub struct ForeignRoot(OwnedFd);

/// Whose a file is and what may be done with it. What is absent stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Number of the user.
    pub owner: Option<u32>,
    /// Number of the group.
    pub group: Option<u32>,
}

/// What a name in a directory stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A link, a pipe, a device.
    Other,
}

impl ForeignRoot {
    /// The tree whose root is this directory.
    ///
    /// # Errors
    /// There is no such directory.
    pub fn open(root: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(fs::openat(CWD, root, flags, Mode::empty())?))
    }

    /// Whether there is a directory of this path.
    #[must_use]
    pub fn has_directory(&self, path: &str) -> bool {
        self.directory(path).is_ok()
    }

    /// Makes the directories above a path that are not there. `mode` is that of the last one,
    /// if it has to be made.
    ///
    /// # Errors
    /// Those of the file system; something on the way that is not a directory.
    pub fn make_parent(&self, path: &str, mode: Option<u32>) -> io::Result<()> {
        let names = names(path);
        let parents = names.split_last().map_or(&[][..], |(_, parents)| parents);
        let mut above = self.directory("")?;
        for (index, name) in parents.iter().enumerate() {
            let so_far = parents[..=index].join("/");
            above = match self.directory(&so_far) {
                Ok(directory) => directory,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::mkdirat(&above, *name, Mode::from_raw_mode(DIRECTORY))?;
                    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    let made = fs::openat(&above, *name, flags, Mode::empty())?;
                    // Not left to the agent's umask; FAT has no modes to change.
                    if let Some(mode) = mode.filter(|_| index + 1 == parents.len()) {
                        fs::fchmod(&made, Mode::from_raw_mode(mode))?;
                    }
                    self.directory(&so_far)?
                }
                Err(error) => return Err(error),
            };
        }
        Ok(())
    }

    /// Writes a file, whose directory exists, and puts it on the disk.
    ///
    /// # Errors
    /// Those of the file system; a path that is not a regular file.
    pub fn write(&self, path: &str, content: &[u8]) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE;
        // Nothing is cut off before it is known to be a file.
        let mut file = self.regular(path, flags)?;
        file.set_len(0)?;
        file.write_all(content)?;
        file.sync_all()
    }

    /// Writes a file, whose directory exists, with the content of a regular file of another
    /// tree, of any size, and puts it on the disk.
    ///
    /// # Errors
    /// Those of the file systems; a path that is not a regular file; a file that would not fit,
    /// before anything is written.
    pub fn copy_from(&self, source: &Self, from: &str, to: &str) -> io::Result<()> {
        let mut content = source.regular(from, OFlags::RDONLY)?;
        let mut file = self.regular(to, OFlags::WRONLY | OFlags::CREATE)?;
        file.set_len(0)?;
        let length = content.metadata()?.len();
        let room = fs::fstatvfs(&file)?;
        if length > room.f_bavail.saturating_mul(room.f_frsize) {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!("{from} has {length} bytes, which do not fit"),
            ));
        }
        // Not to the end: a file that grows would never end.
        io::copy(&mut (&mut content).take(length), &mut file)?;
        file.sync_all()
    }

    /// Changes what an existing file or directory is.
    ///
    /// # Errors
    /// Those of the file system; a path that is neither.
    pub fn change(&self, path: &str, attributes: Attributes) -> io::Result<()> {
        if attributes == Attributes::default() {
            return Ok(());
        }
        let file = self.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK)?;
        let kind = FileType::from_raw_mode(fs::fstat(&file)?.st_mode);
        if !matches!(kind, FileType::RegularFile | FileType::Directory) {
            return Err(io::Error::other("it is neither a file nor a directory"));
        }
        let Attributes { mode, owner, group } = attributes;
        // Before the mode: a change of owner takes set-user-ID bits away.
        if owner.is_some() || group.is_some() {
            let (owner, group) = (owner.map(Uid::from_raw), group.map(Gid::from_raw));
            fs::fchown(&file, owner, group)?;
        }
        if let Some(mode) = mode {
            fs::fchmod(&file, Mode::from_raw_mode(mode))?;
        }
        Ok(())
    }

    /// Removes a file or a link. `false`: there was none.
    ///
    /// # Errors
    /// Those of the file system; a directory is never removed.
    pub fn remove(&self, path: &str) -> io::Result<bool> {
        let names = names(path);
        let Some((last, parents)) = names.split_last() else {
            return Err(io::Error::other("it is the root"));
        };
        let removed = self
            .directory(&parents.join("/"))
            .and_then(|parent| Ok(fs::unlinkat(&parent, *last, AtFlags::empty())?));
        match removed {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What is in a directory, in the order of the names. Names that are not UTF-8 are left out.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn entries(&self, path: &str) -> io::Result<Vec<(String, EntryKind)>> {
        let directory = self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut entries = Vec::new();
        for entry in fs::Dir::read_from(&directory)? {
            if entries.len() == MAX_NAMES {
                let text = format!("a directory has more than {MAX_NAMES} entries");
                return Err(io::Error::other(text));
            }
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else {
                continue;
            };
            if name == "." || name == ".." {
                continue;
            }
            let found = fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let kind = match FileType::from_raw_mode(found.st_mode) {
                FileType::Directory => EntryKind::Directory,
                FileType::RegularFile => EntryKind::File,
                _ => EntryKind::Other,
            };
            entries.push((name.to_owned(), kind));
        }
        entries.sort();
        Ok(entries)
    }

    /// The content of a regular file of at most `limit` bytes.
    ///
    /// # Errors
    /// Those of the file system; a path that is not a regular file, or a larger one.
    pub fn read(&self, path: &str, limit: u64) -> io::Result<Vec<u8>> {
        let file = self.regular(path, OFlags::RDONLY)?;
        let mut content = Vec::new();
        file.take(limit.saturating_add(1))
            .read_to_end(&mut content)?;
        if content.len() as u64 > limit {
            return Err(io::Error::other(format!("it is larger than {limit} bytes")));
        }
        Ok(content)
    }

    fn directory(&self, path: &str) -> io::Result<OwnedFd> {
        self.open_at(path, OFlags::PATH | OFlags::DIRECTORY)
    }

    fn regular(&self, path: &str, flags: OFlags) -> io::Result<File> {
        // A pipe must not make the agent wait for its other end.
        let file = self.open_at(path, flags | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        if FileType::from_raw_mode(fs::fstat(&file)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("it is not a regular file"));
        }
        Ok(File::from(file))
    }

    fn open_at(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let names = names(path);
        let relative = if names.is_empty() {
            ".".to_owned()
        } else {
            names.join("/")
        };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let mode = if flags.contains(OFlags::CREATE) {
            Mode::from_raw_mode(FILE)
        } else {
            Mode::empty()
        };
        let mut attempts = ATTEMPTS;
        loop {
            attempts -= 1;
            let flags = flags | OFlags::CLOEXEC;
            match fs::openat2(&self.0, relative.as_str(), flags, mode, resolve) {
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) if attempts > 0 => {}
                result => return Ok(result?),
            }
        }
    }
}

/// The names in a path.
fn names(path: &str) -> Vec<&str> {
    path.split('/')
        .filter(|name| !name.is_empty() && *name != ".")
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir, create_dir_all, metadata, read, write};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    /// A tree in `in`, and beside it what must not be touched.
    fn tree() -> (tempfile::TempDir, ForeignRoot) {
        let dir = tempfile::tempdir().unwrap();
        create_dir(dir.path().join("in")).unwrap();
        create_dir(dir.path().join("etc")).unwrap();
        write(dir.path().join("etc/passwd"), "ours").unwrap();
        let tree = ForeignRoot::open(&dir.path().join("in")).unwrap();
        (dir, tree)
    }

    fn mode(path: &Path) -> u32 {
        metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn files_and_the_directories_above_them_are_made() {
        let (dir, tree) = tree();
        let root = dir.path().join("in");
        tree.make_parent("/a/b/c", Some(0o703)).unwrap();
        tree.write("/a/b/c", b"text").unwrap();
        let attributes = Attributes {
            mode: Some(0o602),
            ..Attributes::default()
        };
        tree.change("/a/b/c", attributes).unwrap();
        assert_eq!(read(root.join("a/b/c")).unwrap(), b"text");
        assert_eq!(mode(&root.join("a/b/c")), 0o602);
        assert_eq!(mode(&root.join("a/b")), 0o703);
        assert_eq!(mode(&root.join("a")), 0o755);
        // What exists keeps its mode, and a shorter text leaves nothing of a longer one.
        tree.make_parent("a/b/c", Some(0o777)).unwrap();
        tree.write("a/b/c", b"x").unwrap();
        assert_eq!(mode(&root.join("a/b")), 0o703);
        assert_eq!(mode(&root.join("a/b/c")), 0o602);
        assert_eq!(read(root.join("a/b/c")).unwrap(), b"x");
        assert!(tree.has_directory("a/b"));
        assert!(!tree.has_directory("a/b/c"));
        assert!(!tree.has_directory("etc"));
    }

    #[test]
    fn links_never_lead_out_of_the_tree() {
        let (dir, tree) = tree();
        let root = dir.path().join("in");
        let outside = dir.path().join("etc");
        for (name, target) in [
            ("absolute", outside.to_str().unwrap()),
            ("upwards", "../etc"),
            ("far", "../../../../../../../etc"),
            ("magic", "/proc/self/root"),
        ] {
            symlink(target, root.join(name)).unwrap();
            let path = format!("{name}/passwd");
            assert!(tree.write(&path, b"theirs").is_err(), "{name}");
            assert!(tree.make_parent(&path, None).is_err(), "{name}");
            assert!(!tree.remove(&path).unwrap(), "{name}");
        }
        symlink(outside.join("passwd"), root.join("file")).unwrap();
        assert!(tree.write("file", b"theirs").is_err());
        assert!(tree.write("../etc/passwd", b"theirs").is_err());
        assert_eq!(read(outside.join("passwd")).unwrap(), b"ours");
        // Within the tree they lead where the tenant's system would follow them.
        create_dir_all(root.join("etc")).unwrap();
        tree.write("upwards/passwd", b"theirs").unwrap();
        tree.write("far/shadow", b"theirs").unwrap();
        assert_eq!(read(root.join("etc/passwd")).unwrap(), b"theirs");
        assert_eq!(read(root.join("etc/shadow")).unwrap(), b"theirs");
        assert_eq!(read(outside.join("passwd")).unwrap(), b"ours");
        // A link is removed itself, not what it names.
        assert!(tree.remove("file").unwrap());
        assert_eq!(read(outside.join("passwd")).unwrap(), b"ours");
    }

    #[test]
    fn only_regular_files_are_written() {
        let (dir, tree) = tree();
        let root = dir.path().join("in");
        create_dir(root.join("directory")).unwrap();
        assert!(tree.write("directory", b"x").is_err());
        assert!(tree.remove("directory").is_err());
        fs::mknodat(CWD, root.join("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert!(tree.write("pipe", b"x").is_err());
        assert!(tree.write("missing/file", b"x").is_err());
        let attributes = Attributes {
            mode: Some(0o600),
            ..Attributes::default()
        };
        assert!(tree.change("missing", attributes).is_err());
        assert!(tree.change("pipe", attributes).is_err());
        assert!(tree.remove("/").is_err());
        assert!(!tree.remove("missing/file").unwrap());
    }

    #[test]
    fn what_is_there_is_listed_and_read_up_to_a_limit() {
        let (dir, tree) = tree();
        let root = dir.path().join("in");
        create_dir_all(root.join("d/sub")).unwrap();
        write(root.join("d/file"), "text").unwrap();
        symlink("/etc/passwd", root.join("d/link")).unwrap();
        assert_eq!(
            tree.entries("/d").unwrap(),
            [
                ("file".to_owned(), EntryKind::File),
                ("link".to_owned(), EntryKind::Other),
                ("sub".to_owned(), EntryKind::Directory),
            ]
        );
        assert_eq!(
            tree.entries("").unwrap(),
            [("d".to_owned(), EntryKind::Directory)]
        );
        assert_eq!(tree.read("d/file", 4).unwrap(), b"text");
        assert!(tree.read("d/file", 3).is_err());
        assert!(tree.read("d/link", 100).is_err());
        assert!(tree.read("d/sub", 100).is_err());
        assert!(tree.entries("none").is_err());
    }

    #[test]
    fn an_owner_that_is_not_named_stays() {
        let (dir, tree) = tree();
        tree.write("file", b"x").unwrap();
        let path = dir.path().join("in/file");
        let before = metadata(&path).unwrap();
        let attributes = Attributes {
            mode: Some(0o4755),
            owner: Some(before.uid()),
            group: None,
        };
        tree.change("file", attributes).unwrap();
        let after = metadata(&path).unwrap();
        assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
        assert_eq!(mode(&path), 0o4755);
    }
}
