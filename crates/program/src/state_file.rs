//! Files that are replaced whole: those of the state directory, which only its owner can read, and
//! others that programs read meanwhile.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

/// Makes a file with the permissions `mode`. What root makes belongs to the owner of its directory:
/// a gateway that runs as a user of its own could not read it otherwise.
///
/// # Errors
/// Those of making it; there is one already.
pub fn create(path: &Path, mode: u32) -> io::Result<File> {
    // `create_new` does not follow links: the owner of the directory cannot make root give away
    // another file.
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    let owner = match path.parent() {
        Some(directory) if file.metadata()?.uid() == 0 => fs::metadata(directory).ok(),
        _ => None,
    };
    if let Some(owner) = owner.filter(|owner| owner.uid() != 0) {
        match fchown(&file, Some(owner.uid()), Some(owner.gid())) {
            // Root of a container may not give files away, or does not know the owner.
            Err(error)
                if [ErrorKind::PermissionDenied, ErrorKind::InvalidInput]
                    .contains(&error.kind()) => {}
            given => given?,
        }
    }
    Ok(file)
}

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
    let mut file = create(path, mode)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

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

    #[test]
    fn what_root_makes_belongs_to_the_owner_of_the_directory() {
        let state = tempfile::tempdir().unwrap();
        let file = state.path().join("state.json");
        replace(&file, b"1").unwrap();
        if fs::metadata(&file).unwrap().uid() != 0 {
            eprintln!("not run: only root can give files away");
            return;
        }
        chown(state.path(), Some(4711), Some(4712)).unwrap();
        replace(&file, b"2").unwrap();
        let made = fs::metadata(&file).unwrap();
        assert_eq!(
            (made.uid(), made.gid(), made.mode() & 0o777),
            (4711, 4712, 0o600)
        );
    }

    #[test]
    fn a_link_in_the_directory_gives_no_other_file_away() {
        let state = tempfile::tempdir().unwrap();
        let other = state.path().join("other");
        fs::write(&other, "1").unwrap();
        symlink(&other, state.path().join("lock")).unwrap();
        let error = create(&state.path().join("lock"), 0o600).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    }
}
