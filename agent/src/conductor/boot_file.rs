//! What a process of the agent leaves to the next one of the same boot.

use std::fs;
use std::io;
use std::path::PathBuf;

use ironic_program::state_file;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::system::PathPrefix;

/// One file in the state directory that only root can read. What another boot has left is not
/// taken: secrets in it may have been copied with the disk that it lay on.
#[derive(Debug, Clone)]
pub(super) struct BootFile {
    path: PathBuf,
    boot: String,
}

#[derive(Serialize, Deserialize)]
struct BootContent<T> {
    boot_id: String,
    #[serde(flatten)]
    content: T,
}

impl BootFile {
    /// The file at this path, for the boot that `root` is in.
    pub(super) fn new(path: PathBuf, root: &PathPrefix) -> Self {
        Self {
            path,
            boot: root.boot_id().unwrap_or_default(),
        }
    }

    /// What this boot's earlier process kept.
    pub(super) fn recall<T: DeserializeOwned>(&self) -> Option<T> {
        let text = fs::read(&self.path).ok()?;
        let kept: BootContent<T> = serde_json::from_slice(&text).ok()?;
        (kept.boot_id == self.boot).then_some(kept.content)
    }

    /// Keeps this instead of what was kept before.
    ///
    /// # Errors
    /// Those of writing; the earlier file is whole then.
    pub(super) fn keep<T: Serialize>(&self, content: &T) -> io::Result<()> {
        let kept = BootContent {
            boot_id: self.boot.clone(),
            content,
        };
        state_file::replace(&self.path, &serde_json::to_vec(&kept)?)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A root whose kernel says that this is its boot.
    pub(crate) fn machine(boot_id: &str) -> (tempfile::TempDir, PathPrefix) {
        let directory = tempfile::tempdir().unwrap();
        let random = directory.path().join("proc/sys/kernel/random");
        fs::create_dir_all(&random).unwrap();
        fs::write(random.join("boot_id"), boot_id).unwrap();
        let root = PathPrefix::new(directory.path());
        (directory, root)
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Note {
        text: String,
    }

    fn note(text: &str) -> Note {
        Note { text: text.into() }
    }

    #[test]
    fn what_is_kept_is_recalled_within_one_boot() {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join("made/on/demand/note.json");
        let (_first, first) = machine("boot-1\n");
        let file = BootFile::new(path.clone(), &first);
        assert_eq!(file.recall::<Note>(), None);
        file.keep(&note("old")).unwrap();
        file.keep(&note("new")).unwrap();
        let again = BootFile::new(path.clone(), &first);
        assert_eq!(again.recall::<Note>(), Some(note("new")));
        let (_second, second) = machine("boot-2\n");
        let later = BootFile::new(path.clone(), &second);
        assert_eq!(later.recall::<Note>(), None);

        // An agent of another version goes on with it.
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, r#"{"boot_id":"boot-1","text":"new"}"#);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(&path, "garbage").unwrap();
        assert_eq!(file.recall::<Note>(), None);
    }
}
