//! Files of the state directory that only its owner can read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

/// Makes a file with the permissions `mode`. What root makes belongs to the owner of its directory:
/// a gateway that runs as a user of its own could not read it otherwise.
///
/// # Errors
/// Those of making it; there is one already.
pub fn create(path: &Path, mode: u32) -> io::Result<File> {
    // This follows no link, so that whoever has the directory cannot have another file given away.
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
    let new = path.with_extension("new");
    // A leftover would keep its own permissions.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = create(&new, mode)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;

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
