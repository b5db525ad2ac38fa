//! The label of a file system, found where a config drive is looked for: FAT, ISO 9660 and
//! ext2 to 4.

use super::iso::is_iso;
use crate::system::disk::{Disk, DiskError};

/// Enough to see every label.
const HEAD: u64 = 40 << 10;

/// The label of the file system that starts at byte `offset` of a disk and has `size` bytes.
/// `None`: it has no label, or there is no known file system.
///
/// # Errors
/// What the disk said.
pub fn read(disk: &mut dyn Disk, offset: u64, size: u64) -> Result<Option<String>, DiskError> {
    let room = disk.geometry().size.saturating_sub(offset);
    // At most HEAD, which fits into memory.
    let length = usize::try_from(size.min(room).min(HEAD)).unwrap_or_default();
    let mut head = vec![0; length];
    disk.read_at(offset, &mut head)?;
    Ok(find(&head))
}

/// Whether bytes start a file system of a kind that config drives have.
#[must_use]
pub fn is_file_system(head: &[u8]) -> bool {
    is_iso(head) || is_ext(head) || is_fat(head)
}

/// Whether bytes start a FAT file system.
#[must_use]
pub fn is_fat(head: &[u8]) -> bool {
    fat_label(head).is_some()
}

/// The label in the first bytes of a file system; 40 KiB are enough.
#[must_use]
pub fn find(head: &[u8]) -> Option<String> {
    let bytes = if is_iso(head) {
        head.get(32808..32840)
    } else if is_ext(head) {
        head.get(1024 + 120..1024 + 136)
    } else {
        fat_label(head)
    }?;
    let end = bytes.iter().position(|byte| *byte == 0);
    let text = String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]);
    Some(text.trim_end().to_owned()).filter(|label| !label.is_empty())
}

/// Whether bytes start a file system of ext2, ext3 or ext4.
#[must_use]
pub fn is_ext(head: &[u8]) -> bool {
    head.get(1024 + 56..1024 + 58) == Some(&[0x53, 0xef])
}

/// FAT12 and FAT16 have their label at 43, FAT32 at 71, each after its extended signature.
fn fat_label(head: &[u8]) -> Option<&[u8]> {
    let is_signed = head.get(510..512) == Some(&[0x55, 0xaa]);
    let is_named = |at: usize| head.get(at..at + 3) == Some(b"FAT");
    if !is_signed {
        None
    } else if is_named(82) {
        head.get(71..82)
    } else if is_named(54) {
        head.get(43..54)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(marks: &[(usize, &[u8])]) -> Vec<u8> {
        let mut head = vec![0; 40 << 10];
        for (offset, bytes) in marks {
            head[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        head
    }

    #[test]
    fn labels_are_found_in_every_kind() {
        let sign: (usize, &[u8]) = (510, &[0x55, 0xaa]);
        for (head, label) in [
            (
                head(&[(82, b"FAT32   "), (71, b"CONFIG-2   "), sign]),
                Some("CONFIG-2"),
            ),
            (
                head(&[(54, b"FAT16   "), (43, b"config-2   "), sign]),
                Some("config-2"),
            ),
            (
                head(&[
                    (32769, b"CD001"),
                    (32808, b"config-2                        "),
                ]),
                Some("config-2"),
            ),
            (
                head(&[(1080, &[0x53, 0xef]), (1144, b"root\0garbage")]),
                Some("root"),
            ),
            (head(&[(54, b"FAT16   ")]), None),
            (head(&[]), None),
            (Vec::new(), None),
        ] {
            assert_eq!(find(&head).as_deref(), label);
            assert_eq!(is_file_system(&head), label.is_some());
        }
    }

    #[test]
    fn foreign_bytes() {
        crate::fuzz::run("label", |bytes| {
            assert!(find(bytes).is_none() || is_file_system(bytes));
        });
    }
}
