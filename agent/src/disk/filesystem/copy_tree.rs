//! Files on their way from one file system to another.

use std::borrow::Cow;
use std::io;

use ironic_ondisk::filesystem::iso9660::{self, IsoContent, IsoError};
use ironic_ondisk::size::MIB;
use thiserror::Error;

/// Directories within directories.
pub(super) use ironic_ondisk::filesystem::iso9660::MAX_DIRECTORY_DEPTH;
/// More files than any config drive has.
const MAX_FILES: usize = 10_000;
/// The bytes of all files: no file system whose files are moved is larger.
const MAX_TOTAL_BYTES: u64 = 64 * MIB;

/// A file, or a directory if it has no content. Paths are relative, with `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File<'a> {
    /// Where it is.
    pub path: String,
    /// What it holds; `None` for a directory.
    pub content: Option<Cow<'a, [u8]>>,
}

/// Directories and files, each after the directory that it is in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree<'a> {
    /// In the order in which they are to be made.
    pub files: Vec<File<'a>>,
    bytes: u64,
}

/// Why files could not be read out of a file system.
#[derive(Debug, Error)]
pub enum TreeError {
    /// It is damaged.
    #[error("the file system is damaged: {0}")]
    Damaged(IsoError),
    /// The reader gave up.
    #[error("the file system cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// A name that no file can have.
    #[error("a file is called {0:?}")]
    Name(String),
    /// Not a file and not a directory.
    #[error("{0} is neither a file nor a directory")]
    Kind(String),
    /// Directories in directories in directories.
    #[error("its directories are nested more than {0} times")]
    TooDeep(usize),
    /// More than a config drive has.
    #[error("it has more than {MAX_FILES} files, or more than {MAX_TOTAL_BYTES} bytes in them")]
    TooMuch,
}

impl From<IsoError> for TreeError {
    fn from(error: IsoError) -> Self {
        match error {
            IsoError::Name(name) => Self::Name(name),
            IsoError::TooDeep => Self::TooDeep(MAX_DIRECTORY_DEPTH),
            damage => Self::Damaged(damage),
        }
    }
}

impl<'a> Tree<'a> {
    /// How many bytes may still be added.
    #[must_use]
    pub fn room(&self) -> u64 {
        MAX_TOTAL_BYTES - self.bytes
    }

    /// The files of an ISO 9660 file system.
    ///
    /// # Errors
    /// It is damaged, has too much, or something that is neither a file nor a directory.
    pub fn of_iso(bytes: &'a [u8]) -> Result<Self, TreeError> {
        let mut tree = Self::default();
        iso9660::visit_tree(bytes, |entry| match entry.content {
            IsoContent::Directory => tree.directory(entry.path),
            IsoContent::File(content) => tree.file(entry.path, content),
            IsoContent::Other => Err(TreeError::Kind(entry.path)),
        })?;
        Ok(tree)
    }

    /// Adds a directory.
    ///
    /// # Errors
    /// Too many of them, or an invalid name.
    pub fn directory(&mut self, path: String) -> Result<(), TreeError> {
        self.add(path, None)
    }

    /// Adds a file.
    ///
    /// # Errors
    /// Too much, or an invalid name.
    pub fn file(
        &mut self,
        path: String,
        content: impl Into<Cow<'a, [u8]>>,
    ) -> Result<(), TreeError> {
        let content = content.into();
        if content.len() as u64 > self.room() {
            return Err(TreeError::TooMuch);
        }
        self.bytes += content.len() as u64;
        self.add(path, Some(content))
    }

    fn add(&mut self, path: String, content: Option<Cow<'a, [u8]>>) -> Result<(), TreeError> {
        let name = path.rsplit('/').next().unwrap_or(&path);
        if matches!(name, "" | "." | "..") || name.contains(['\0', '\\']) {
            return Err(TreeError::Name(name.to_owned()));
        }
        if self.files.len() >= MAX_FILES {
            return Err(TreeError::TooMuch);
        }
        self.files.push(File { path, content });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_files_and_bytes_are_limited() {
        let mut tree = Tree::default();
        for name in ["", ".", "..", "a/..", "a\0b", "a\\b"] {
            assert!(matches!(
                tree.directory(name.to_owned()),
                Err(TreeError::Name(_))
            ));
        }
        for number in 0..MAX_FILES {
            tree.directory(number.to_string()).unwrap();
        }
        assert!(matches!(
            tree.directory("more".to_owned()),
            Err(TreeError::TooMuch)
        ));
        let mut tree = Tree::default();
        let half = vec![0; 33 << 20];
        tree.file("a".to_owned(), half.as_slice()).unwrap();
        assert!(matches!(
            tree.file("b".to_owned(), half.as_slice()),
            Err(TreeError::TooMuch)
        ));
    }
}
