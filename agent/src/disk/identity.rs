//! The identity of a file system, as Linux calls it: `UUID`. Ironic is told the root's, and
//! boot loaders look for it.
//!
//! Known are the file systems that systems boot from; of others a partition's own identity
//! is told, which is what follows in the Python agent, too, when there is no UUID.

use crate::system::disk::{Disk, DiskError};

/// Enough to see every identity.
const HEAD: u64 = 68 << 10;

/// Where a file system says what it is, and where its sixteen bytes are.
struct Place {
    magic: (usize, &'static [u8]),
    uuid: usize,
}

/// ext2 to 4, XFS, btrfs, F2FS, swap of 4 KiB pages, and SquashFS has none.
const PLACES: [Place; 7] = [
    Place {
        magic: (1024 + 0x38, &[0x53, 0xef]),
        uuid: 1024 + 0x68,
    },
    Place {
        magic: (0, b"XFSB"),
        uuid: 32,
    },
    Place {
        magic: (0x1_0040, b"_BHRfS_M"),
        uuid: 0x1_0020,
    },
    Place {
        magic: (1024, &[0x10, 0x20, 0xf5, 0xf2]),
        uuid: 1024 + 108,
    },
    Place {
        magic: (4086, b"SWAPSPACE2"),
        uuid: 1024 + 12,
    },
    // Of kernels with pages of 16 and 64 KiB.
    Place {
        magic: (16_374, b"SWAPSPACE2"),
        uuid: 1024 + 12,
    },
    Place {
        magic: (65_526, b"SWAPSPACE2"),
        uuid: 1024 + 12,
    },
];

/// The identity of the file system that starts at byte `offset` of a disk and has `size`
/// bytes. `None`: it has none that is known.
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

/// The identity in the first bytes of a file system; 68 KiB are enough.
#[must_use]
pub fn find(head: &[u8]) -> Option<String> {
    let known = PLACES.iter().find(|place| {
        let (at, magic) = place.magic;
        head.get(at..at + magic.len()) == Some(magic)
    });
    if let Some(place) = known {
        let bytes = head.get(place.uuid..place.uuid + 16)?;
        let uuid = uuid::Uuid::from_slice(bytes).ok()?;
        return Some(uuid.to_string()).filter(|_| !uuid.is_nil());
    }
    luks(head).or_else(|| fat(head))
}

/// An encrypted root: forty characters of text.
fn luks(head: &[u8]) -> Option<String> {
    if !head.starts_with(b"LUKS\xba\xbe") {
        return None;
    }
    let text = head.get(168..208)?.split(|byte| *byte == 0).next()?;
    let text = std::str::from_utf8(text).ok()?;
    Some(text.to_owned()).filter(|text| uuid::Uuid::try_parse(text).is_ok())
}

/// FAT has a serial number, written `1234-ABCD`.
fn fat(head: &[u8]) -> Option<String> {
    let is_signed = head.get(510..512) == Some(&[0x55, 0xaa]);
    let is_named = |at: usize| head.get(at..at + 3) == Some(b"FAT");
    let at = match (is_signed, is_named(82), is_named(54)) {
        (true, true, _) => 67,
        (true, false, true) => 39,
        _ => return None,
    };
    let serial: [u8; 4] = head.get(at..at + 4)?.try_into().ok()?;
    Some(self::serial(u32::from_le_bytes(serial)))
}

/// The serial number of a FAT file system as its identity is written.
#[must_use]
pub fn serial(number: u32) -> String {
    format!("{:04X}-{:04X}", number >> 16, number & 0xffff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::process::Programs;
    use crate::system::{Cmd, Run, RunError};

    fn head(marks: &[(usize, &[u8])]) -> Vec<u8> {
        let mut head = vec![0; 68 << 10];
        for (offset, bytes) in marks {
            head[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        head
    }

    #[test]
    fn every_kind_has_its_place() {
        let uuid: [u8; 16] = *b"\x3e\x6b\xe9\xde\x8f\xc1\x4c\x6d\x8b\x2a\x10\x20\x30\x40\x50\x60";
        let text = Some("3e6be9de-8fc1-4c6d-8b2a-102030405060");
        for place in PLACES {
            let head = head(&[place.magic, (place.uuid, &uuid)]);
            assert_eq!(find(&head).as_deref(), text);
        }
        let encrypted = head(&[
            (0, b"LUKS\xba\xbe"),
            (168, b"3e6be9de-8fc1-4c6d-8b2a-102030405060"),
        ]);
        assert_eq!(find(&encrypted).as_deref(), text);
        let sign: (usize, &[u8]) = (510, &[0x55, 0xaa]);
        let serial: [u8; 4] = [0xcd, 0xab, 0x34, 0x12];
        for marks in [
            [(82, &b"FAT32   "[..]), (67, &serial), sign],
            [(54, &b"FAT16   "[..]), (39, &serial), sign],
        ] {
            assert_eq!(find(&head(&marks)).as_deref(), Some("1234-ABCD"));
        }
        for nothing in [
            head(&[]),
            head(&[(1080, &[0x53, 0xef])]),
            vec![0; 10],
            vec![],
        ] {
            assert_eq!(find(&nothing), None);
        }
    }

    #[tokio::test]
    async fn the_programs_that_make_them_agree() {
        let wanted = "3e6be9de-8fc1-4c6d-8b2a-102030405060";
        for (program, options) in [
            ("mkfs.ext4", ["-q", "-F", "-U"]),
            ("mkswap", ["-q", "-f", "-U"]),
        ] {
            let file = tempfile::NamedTempFile::new().unwrap();
            file.as_file().set_len(8 << 20).unwrap();
            let path = file.path().to_str().unwrap();
            let make = Cmd::new(program).args(options).args([wanted, path]);
            match Programs.run(make).await {
                Err(RunError::Missing { program }) => eprintln!("not checked: {program}"),
                said => {
                    said.unwrap();
                    let head = std::fs::read(file.path()).unwrap();
                    assert_eq!(find(&head).as_deref(), Some(wanted), "{program}");
                }
            }
        }
    }
}
