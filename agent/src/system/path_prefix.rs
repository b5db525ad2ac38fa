//! A prefix in front of every path that is read from `/proc`, `/sys`, `/etc`, `/dev/disk`.

use std::io;
use std::path::{Path, PathBuf};

/// Where the kernel says which boot this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The directory that stands for `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPrefix {
    directory: PathBuf,
    is_writable: bool,
}

impl PathPrefix {
    /// Uses `directory` as `/`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            is_writable: true,
        }
    }

    /// The same directory, of which nothing may be changed.
    #[must_use]
    pub(super) fn read_only(self) -> Self {
        Self {
            is_writable: false,
            ..self
        }
    }

    /// `path` (absolute) below this root, to be made, changed or removed. The only way to a
    /// path that is written: [`PathPrefix::path`] is for reading.
    ///
    /// # Errors
    /// `ReadOnlyFilesystem` in a simulation.
    pub fn writable(&self, path: impl AsRef<Path>) -> io::Result<PathBuf> {
        if self.is_writable {
            return Ok(self.path(path));
        }
        Err(io::Error::new(
            io::ErrorKind::ReadOnlyFilesystem,
            "a simulation changes nothing of the machine",
        ))
    }

    /// `path` (absolute) below this root.
    #[must_use]
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.directory.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The text of a file, without the white space at its end. What firmware and devices say
    /// of themselves may hold any bytes: those that are not UTF-8 become replacement
    /// characters, and the rest is kept.
    ///
    /// # Errors
    /// Those of reading.
    pub fn read(&self, path: impl AsRef<Path>) -> io::Result<String> {
        let bytes = std::fs::read(self.path(path))?;
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        text.truncate(text.trim_end().len());
        Ok(text)
    }

    /// The text of a file that the kernel offers only on some machines.
    #[must_use]
    pub fn read_optional(&self, path: impl AsRef<Path>) -> Option<String> {
        self.read(path).ok()
    }

    /// The text of a file that need not exist, where it matters that it is not merely unreadable.
    ///
    /// # Errors
    /// Those of reading, but that there is no such file.
    pub fn read_if_there(&self, path: impl AsRef<Path>) -> io::Result<Option<String>> {
        match self.read(path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The kernel's identifier of this boot, a UUID; `None` where it does not say it.
    #[must_use]
    pub fn boot_id(&self) -> Option<String> {
        self.read_optional(BOOT_ID)
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
        let root = PathPrefix::new("/tmp/machine");
        assert_eq!(
            root.path("/proc/cmdline"),
            Path::new("/tmp/machine/proc/cmdline")
        );
        assert_eq!(
            root.path("proc/cmdline"),
            Path::new("/tmp/machine/proc/cmdline")
        );
        assert_eq!(PathPrefix::new("/").path("/proc"), Path::new("/proc"));
    }

    #[test]
    fn only_a_writable_root_gives_paths_to_write() {
        let root = PathPrefix::new("/tmp/machine");
        assert_eq!(
            root.writable("/run/x").unwrap(),
            Path::new("/tmp/machine/run/x")
        );
        let error = root.read_only().writable("/run/x").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ReadOnlyFilesystem);
    }

    #[test]
    fn boots_have_identifiers_where_the_kernel_says_them() {
        let directory = tempfile::tempdir().unwrap();
        let root = PathPrefix::new(directory.path());
        assert_eq!(root.boot_id(), None);
        let random = root.path("/proc/sys/kernel/random");
        std::fs::create_dir_all(&random).unwrap();
        std::fs::write(random.join("boot_id"), "one\n").unwrap();
        assert_eq!(root.boot_id().as_deref(), Some("one"));
    }

    #[test]
    fn keeps_what_can_be_read_of_a_text_that_is_not_utf8() {
        let directory = tempfile::tempdir().unwrap();
        let root = PathPrefix::new(directory.path());
        for (bytes, text) in [
            (
                &b"Herstellername \xfc GmbH\n"[..],
                "Herstellername \u{fffd} GmbH",
            ),
            (b"\xff\xfe", "\u{fffd}\u{fffd}"),
            ("Größe \n".as_bytes(), "Größe"),
            (b"", ""),
        ] {
            std::fs::write(directory.path().join("text"), bytes).unwrap();
            assert_eq!(root.read("/text").unwrap(), text);
            assert_eq!(root.read_optional("/text").as_deref(), Some(text));
        }
        assert!(root.read("/missing").is_err());
        assert_eq!(root.read_if_there("/missing").unwrap(), None);
        assert_eq!(root.read_if_there("/text").unwrap().as_deref(), Some(""));
        assert!(root.read_if_there("/").is_err());
    }
}
