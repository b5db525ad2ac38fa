//! File systems: whether one is there, its identity and its label.
//!
//! A function here takes the place where a mark of its format was found and tells what it
//! finds there, or `None` when the mark is all there is. It checks what `libblkid` checks and
//! no more, so that both tell the same. Formats that need no check are lines in
//! [`crate::signature`].

pub(crate) mod btrfs;
pub(crate) mod exfat;
pub mod ext;
pub mod fat;
pub(crate) mod hfs;
pub mod iso9660;
pub(crate) mod nilfs2;
pub(crate) mod ntfs;
pub(crate) mod small;
pub(crate) mod swap;
pub(crate) mod udf;
pub(crate) mod xfs;
