//! Files of the state directory that only root can read.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Replaces a file that only its owner can read, and makes its directory.
///
/// # Errors
/// Those of writing; the earlier file is whole then.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    replace_with_mode(path, content, 0o600)
}

/// The same for a file whose permissions are `mode`.
///
/// # Errors
/// Those of writing; the earlier file is whole then.
pub fn replace_with_mode(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let draft = draft_of(path);
    let written = write(&draft, content, mode).and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        // What it is that cannot be written was said; the draft may not be there.
        let _ = fs::remove_file(&draft);
    }
    written
}

/// A file beside this one that no other writer has: two at once, of one program or of two, must not
/// put a half-written file in its place.
fn draft_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().map(OsString::from).unwrap_or_default();
    // The keys of each RandomState are others.
    let number = RandomState::new().hash_one(std::process::id());
    name.push(format!(".{number:016x}.new"));
    path.with_file_name(name)
}

fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const LENGTH: usize = 100_000;

    #[test]
    fn writers_at_once_leave_one_whole_file_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state/tokens.json");
        std::thread::scope(|scope| {
            for writer in 0..4_u8 {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..20 {
                        replace(path, &[writer; LENGTH]).unwrap();
                        let read = fs::read(path).unwrap();
                        assert_eq!(read.len(), LENGTH);
                        assert!(read.iter().all(|byte| *byte == read[0]));
                    }
                });
            }
        });
        // Of two files that differ in their extension alone, each has its own permissions.
        replace_with_mode(&path.with_extension("crt"), b"c", 0o644).unwrap();
        let folder = path.parent().unwrap();
        let mut left: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name(), entry.metadata().unwrap().permissions()))
            .map(|(name, permissions)| (name, permissions.mode() & 0o777))
            .collect();
        left.sort_unstable();
        let expected: [(OsString, u32); 2] =
            [("tokens.crt".into(), 0o644), ("tokens.json".into(), 0o600)];
        assert_eq!(left, expected);
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("taken");
        fs::create_dir_all(path.join("inside")).unwrap();
        replace(&path, b"text").unwrap_err();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
