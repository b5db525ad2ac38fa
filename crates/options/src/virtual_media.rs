//! What was read from virtual media, and when that is done.
//!
//! One program of a machine reads the media and announces the end; the others wait for it
//! before they read their options.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The directory that holds what was read from virtual media.
pub const DIRECTORY: &str = "/run/ironic-virtual-media";

/// The file of parameters on virtual media, and in [`DIRECTORY`].
pub const PARAMETERS: &str = "parameters.txt";

/// Says that the media were read.
const COMPLETE: &str = "complete";

/// The directory below `root`.
#[must_use]
pub fn directory(root: &Path) -> PathBuf {
    root.join(DIRECTORY.trim_start_matches('/'))
}

/// Announces that virtual media were read, for this boot.
///
/// # Errors
/// The file that says so cannot be written.
pub fn announce(root: &Path) -> io::Result<()> {
    let directory = directory(root);
    // The agent token may be among the parameters.
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)?;
    fs::write(directory.join(COMPLETE), "")
}

/// Whether virtual media were read since the machine was booted.
#[must_use]
pub fn were_read(root: &Path) -> bool {
    directory(root).join(COMPLETE).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_reading_is_seen_by_others() {
        let root = tempfile::tempdir().unwrap();
        assert!(!were_read(root.path()));
        announce(root.path()).unwrap();
        assert!(were_read(root.path()));
        announce(root.path()).unwrap();
    }
}
