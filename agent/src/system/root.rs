//! A prefix in front of every path that is read from `/proc`, `/sys`, `/etc`, `/dev/disk`.

use std::io;
use std::path::{Path, PathBuf};

/// The directory that stands for `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Root {
    /// Uses `directory` as `/`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self(directory.into())
    }

    /// `path` (absolute) below this root.
    #[must_use]
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The text of a file, without the white space at its end.
    ///
    /// # Errors
    /// Those of reading; text that is not UTF-8 is an `InvalidData` error.
    pub fn read(&self, path: impl AsRef<Path>) -> io::Result<String> {
        let mut text = std::fs::read_to_string(self.path(path))?;
        text.truncate(text.trim_end().len());
        Ok(text)
    }

    /// The text of a file that the kernel offers only on some machines.
    #[must_use]
    pub fn read_optional(&self, path: impl AsRef<Path>) -> Option<String> {
        self.read(path).ok()
    }

    /// The names in a directory, sorted; empty when there is no such directory.
    #[must_use]
    pub fn names(&self, path: impl AsRef<Path>) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(path)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    /// Whether a path exists.
    #[must_use]
    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.path(path).exists()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn puts_the_prefix_before_absolute_and_relative_paths() {
        let root = Root::new("/tmp/machine");
        assert_eq!(
            root.path("/proc/cmdline"),
            Path::new("/tmp/machine/proc/cmdline")
        );
        assert_eq!(
            root.path("proc/cmdline"),
            Path::new("/tmp/machine/proc/cmdline")
        );
        assert_eq!(Root::new("/").path("/proc"), Path::new("/proc"));
    }
}
